"""Vectors that verify."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from verifier.evidence_made import WITNESS, Box, Key
from verifier.vector import Vector

FLEET = Key("fleet.example/collector", "witness", WITNESS)
AUDITOR = Key("auditor", "auditor", WITNESS)


def small() -> Box:
    """One log of seven lines, signed at 3 and 7."""
    box = Box()
    box.fill("cam1", 3)
    box.sign("cam1")
    box.fill("cam1", 4)
    box.sign("cam1")
    return box


def large() -> Box:
    """Three logs, two rotations, cosigned, a tail that is not signed."""
    box = Box()
    for name in ("box", "cam1", "cam-2_b"):
        box.fill(name, 5)
        box.sign(name)
        box.fill(name, 3)
    box.sign("cam1")
    box.rotate()
    box.fill("cam1", 9)
    box.sign("cam1")
    box.sign("box")
    box.cosign("box", FLEET)
    box.rotate()
    box.fill("cam1", 15)
    box.sign("cam1")
    box.cosign("cam1", FLEET, AUDITOR)
    box.fill("cam1", 1)
    box.sign("cam1")
    box.fill("cam1", 2)
    return box


def torn(tail: bytes) -> Vector:
    box = small()
    box.log("cam1").torn = tail
    return Vector("Power was lost in the middle of a line", box, warnings=["torn_line"])


def texts() -> Vector:
    box = Box()
    box.add(
        "file",
        {"text": "Straße, 東京, 😀, \U0010ffff, \u2028\u2029 \ufeff \ufffe"},
        {"text": '" \\ / \b\t\n\f\r \x00\x01\x1f \x7f'},
        {"": "", "\n": 0, "\x1f": 0, "!": 0, "A": 0, "\\": 0},
        {"a": {"b": [[], {}, None, [{"c": ""}]]}, "\x7f": 0},
        {"large": 2**53 - 1, "small": -(2**53) + 1, "zero": 0, "list": [0, -1, 10, 999_999_999_999_999]},
        {"__proto__": {"constructor": None}, "toString": "", "10": 0, "9": 0},
    )
    box.sign("file")
    return Vector("Text outside ASCII, all escapes, the largest integers, order of keys", box)


def limits() -> Vector:
    box = Box()
    deep: list[object] = []
    for _ in range(29):
        deep = [deep]
    box.add("cam1", {"a": deep})
    box.second = 0  # so that the next line has a length that is known
    spare = 16_384 - len(box.event("cam1", {"a": ""}))
    box.second = 0
    box.add("cam1", {"a": "x" * spare})
    assert len(box.log("cam1").lines[-1]) == 16_384
    box.sign("cam1")
    return Vector("A line of 16,384 bytes, and 32 objects and arrays one in another", box)


def witnessed(*sizes: int) -> Vector:
    """What the fleet manager exports of large(): of cam1 the checkpoints of these sizes, all cosigned."""
    box = large()
    log = box.log("cam1")
    notes = []
    for note in log.notes:
        if int(note.split("\n")[1]) in sizes:
            text = note.partition("\n\n")[0] + "\n"
            notes.append(f"{note}{FLEET.cosign_line(text, 1_795_262_400)}")
    assert len(notes) == len(sizes)
    log.notes = notes
    log.cosigned = notes[-1]
    return Vector("A witnessed file: only checkpoints that were cosigned", box)


def empty() -> Vector:
    box = Box()
    box.log("cam1")
    return Vector("A log without a line and without a checkpoint", box)


def no_checkpoints() -> Vector:
    box = Box()
    box.fill("cam1", 3)
    return Vector("Nothing is signed yet", box)


def skipped_key() -> Vector:
    box = Box()
    box.fill("cam1", 2)
    box.sign("cam1")
    box.rotate()
    box.rotate()
    box.fill("cam1", 1)
    box.sign("cam1")
    return Vector("A key that never signed a checkpoint", box)


def tree_shapes() -> Vector:
    box = Box()
    for _ in range(35):
        box.fill("cam1", 1)
        box.sign("cam1")
    return Vector("A checkpoint for each size up to 35", box)


def clock() -> Vector:
    box = small()
    box.second -= 100
    box.log("cam1").lines.append(box.event("cam1", {}, time="2024-02-29T23:59:59.999999Z"))
    box.sign("cam1")
    return Vector("The clock steps backwards, to a leap day", box)


def not_read() -> Vector:
    def others(root: Path) -> None:
        (root / "notes.txt").write_bytes(b"\xff")
        (root / "segments").mkdir()
        (root / "segments" / "a.mp4").write_bytes(b"\x00")
        (root / "cam1" / "events.jsonl.bak").write_bytes(b"{")

    return Vector("Other files and folders are not evidence", small(), on_disk=[others])


def one_log_beside() -> Vector:
    return Vector("The folder of one log, its keys beside it", large(), call={"dir": "log/cam1"})


def one_log_in_it() -> Vector:
    def move(root: Path) -> None:
        for name in ("keys.jsonl", "witness.vkeys"):
            (root / name).rename(root / "cam1" / name)

    return Vector("The folder of one log, its keys in it", large(), call={"dir": "log/cam1"}, on_disk=[move])


def pinned(first: bool) -> Vector:
    box = large()
    key = Key(box.key.name, f"{box.device} 0").text if first else box.key.text
    return Vector("A pinned key that is one of the box's", box, call={"key": key})


def anchored() -> Vector:
    box = large()
    anchor = box.log("cam1").cosigned or ""
    return Vector("An anchor with cosignatures", box, anchor=anchor.encode(), call={"anchor": "anchor"})


def anchored_plain() -> Vector:
    box = large()
    anchor = box.log("cam1").notes[0]
    return Vector("An anchor as in checkpoints.jsonl", box, anchor=anchor.encode(), call={"anchor": "anchor"})


def complete() -> Vector:
    box = small()
    box.log("cam1").torn = b'{"data":'
    return Vector(
        "All is signed; a torn line is no line", box, warnings=["torn_line"], call={"complete": True}
    )


VECTORS: dict[str, Callable[[], Vector]] = {
    "honest_small": lambda: Vector("One log, two checkpoints", small()),
    "honest_large": lambda: Vector("Three logs, two rotations, two witnesses, lines not signed yet", large()),
    "honest_texts": texts,
    "honest_limits": limits,
    "honest_witnessed": lambda: witnessed(5, 17, 33),
    "honest_witnessed_gap": lambda: witnessed(8, 33),
    "honest_witnessed_one": lambda: witnessed(32),
    "honest_empty": empty,
    "honest_no_checkpoints": no_checkpoints,
    "honest_skipped_key": skipped_key,
    "honest_tree_shapes": tree_shapes,
    "honest_clock": clock,
    "honest_not_read": not_read,
    "honest_torn": lambda: torn(b'{"data":{"n":7},"ki'),
    "honest_torn_zeros": lambda: torn(bytes(100)),
    "honest_torn_whole": lambda: torn(b"{}"),
    "honest_one_log_beside": one_log_beside,
    "honest_one_log_in_it": one_log_in_it,
    "honest_pinned_first": lambda: pinned(True),
    "honest_pinned_last": lambda: pinned(False),
    "honest_anchor": anchored,
    "honest_anchor_plain": anchored_plain,
    "honest_complete": complete,
}
