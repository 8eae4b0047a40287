"""Data tools, training, quantization, evaluation and release of Veil's own detector."""
