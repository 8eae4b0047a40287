"""Turns a user's own ONNX detector into a bundle. docs/import.md is the manual."""
