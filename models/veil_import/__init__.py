"""Turns a user's own ONNX detector into a bundle. docs/import.md is the manual."""

import os

# Before ONNX Runtime is loaded: its telemetry is for nobody here.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
