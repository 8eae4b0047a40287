"""Names that one module alone may use: import contracts see modules, not names."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

DAEMON = Path(__file__).resolve().parents[2] / "daemon"

# Who may use which name, besides the module that defines it.
OWNERS = {
    "_SEAL": {"veil/frames/masked.py", "veil/mask/masker.py"},
    "_Seal": {"veil/frames/masked.py"},
}
# Who may call which class: everybody else takes what these have made.
MAKERS = {
    "MaskedFrame": {"veil/mask/masker.py"},
    "MaskedPacket": {"veil/encode/encoder.py"},
    "RawFrame": {"veil/capture/intake.py", "veil/capture/still.py"},
}


def breaches(path: str, text: str) -> Iterator[str]:
    """What in a module of the package uses a name that is not its own."""
    for node in ast.walk(ast.parse(text)):
        names: tuple[str, ...] = ()
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name):
                names = (name,)
            case ast.Constant(value=str(name)):
                # getattr(masked, "_SEAL")
                names = (name,)
        for name in names:
            if name in OWNERS and path not in OWNERS[name]:
                yield f"{path}:{getattr(node, 'lineno', 0)} uses {name}"
        if isinstance(node, ast.Call):
            called = node.func
            name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
            if name == "__new__" and isinstance(called, ast.Attribute):
                name = getattr(called.value, "id", "")
            if name in MAKERS and path not in MAKERS[name]:
                yield f"{path}:{node.lineno} makes a {name}"


def test_only_the_masker_seals_and_only_the_encoder_makes_packets() -> None:
    found = [
        breach
        for path in sorted((DAEMON / "veil").rglob("*.py"))
        for breach in breaches(path.relative_to(DAEMON).as_posix(), path.read_text())
    ]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "from veil.frames.masked import _SEAL",
        "from veil.frames.masked import _SEAL as s",
        "x = masked._SEAL",
        "x = getattr(masked, '_SEAL')",
        "x = _Seal()",
        "x = MaskedFrame(seal, info=i)",
        "x = masked.MaskedFrame(seal)",
        "x = MaskedFrame.__new__(MaskedFrame)",
        "x = MaskedPacket(s, b'')",
    ],
)
def test_a_breach_is_noticed(line: str) -> None:
    assert list(breaches("veil/sinks/snapshot.py", line))


def test_owners_are_there() -> None:
    for path in {path for owners in (OWNERS, MAKERS) for paths in owners.values() for path in paths}:
        assert (DAEMON / path).exists(), path
