"""Veil: hides faces and licence plates in a camera's picture before a frame is stored or sent on."""

from __future__ import annotations

import os

__version__ = "0.1.0"

# Read by numpy when it is loaded. Nothing here multiplies matrices; a thread for each core would only spin.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
