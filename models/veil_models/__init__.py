"""Data tools, training, quantization, evaluation and release of Veil's own detector."""

import os

# Before ONNX Runtime is loaded: its telemetry is for nobody here.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
