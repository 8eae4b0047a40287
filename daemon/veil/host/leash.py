"""`python -m veil.host.leash COMMAND …`: a program of others that ends with the process that started it."""

from __future__ import annotations

import os
import sys

from veil.host.lifeline import die_with_parent


def main() -> None:
    """Becomes the command. Raises OSError where it cannot be run."""
    # Kept over exec: the kernel forgets it only for programs that change who they run as.
    die_with_parent()
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606  its arguments come from our own code


if __name__ == "__main__":
    main()
