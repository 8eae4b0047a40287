"""Prints one paragraph of the commands under "A box" in docs/install.md: the page is what is run."""

from __future__ import annotations

import re
import sys
from pathlib import Path


def paragraphs(page: str) -> list[str]:
    """The paragraphs of the first block of commands under "## A box"."""
    section = page.split("\n## A box\n", 1)[1]
    block = re.search(r"^```\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    if block is None:
        raise ValueError('The page has no block of commands under "A box".')
    return block.group(1).strip().split("\n\n")


if __name__ == "__main__":
    print(paragraphs(Path(sys.argv[1]).read_text("utf-8"))[int(sys.argv[2])])
