"""Frames as they move through one camera: I420 slots, raw frames, masked frames.

`frames.raw` and `frames.pool` are closed to sinks, encoders and the agent (an import contract holds that).
"""
