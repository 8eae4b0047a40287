"""What a user can put right."""

from __future__ import annotations


class ModelsError(Exception):
    """One sentence that says what to do; `main` prints it and exits with 2."""
