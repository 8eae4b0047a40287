"""Cameras and files in, RawFrames out."""
