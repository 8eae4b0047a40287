"""card.md of an imported bundle: whose weights these are, and what nobody has measured."""

from __future__ import annotations

import hashlib

from veil_import.layout import Layout
from veil_import.probe import Metadata
from veil_import.request import Request


def card(request: Request, model: bytes, used: bytes, layout: Layout, metadata: Metadata) -> str:
    """The text. `model` is the user's file, `used` what the bundle holds of it."""
    changed = (
        "The bundle holds this file byte for byte."
        if used == model
        else "The bundle holds it with its declared sizes made free; weights and operations are unchanged."
    )
    said = [
        f"{what}: {' '.join(words.split())}"
        for what, words in (("author", metadata.author), ("licence", metadata.license))
        if words
    ]
    return f"""# {request.name} {request.version}

Imported from a file of the user's own. The weights belong to whoever trained them;
Veil's licence does not cover them.

- File: `{request.model.name}`, SHA-256 `{hashlib.sha256(model).hexdigest()}`. {changed}
- Licence, as stated by whoever imported it: {" ".join(request.license.split())}
- What the file itself says: {"; ".join(said) if said else "nothing"}
- Kind: {layout.kind}, strides {", ".join(map(str, layout.strides))}
- Classes: {", ".join(request.classes.classes)}

## To be filled in by whoever uses it
- Training data, and whether its terms allow this use.
- Recall and false positives on pictures of one's own cameras. The thresholds in bundle.toml are no more
  than what is usual for this kind of model, unless they were given.
- What it is not good at: small, turned, covered faces; night and infrared; wide angles.
"""
