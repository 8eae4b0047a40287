"""Veil: hides faces and licence plates in a camera's picture before a frame is stored or sent on."""

__version__ = "0.1.0"
