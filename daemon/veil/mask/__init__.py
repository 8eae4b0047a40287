"""Policy, look-back, painter, and the masker that alone makes MaskedFrames."""
