"""Evidence folders with something changed at random: bytes, lines, values, files, what was signed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

from verifier.evidence_made import WITNESS, Box, Key, b64, canonical
from verifier.honest import AUDITOR, FLEET

Mutate = Callable[[Random, Path], None]
STRANGER = Key("veil/box-17", "somebody else")
_VALUES: list[object] = [
    *(0, 1, -1, 2**53 - 1, 2**53, True, None, "", "x", [], {}, {"a": 1}, 1.5),
    *("0" * 64, "cam1", "veil/box-17/cam1", STRANGER.text, FLEET.text, b64(bytes(64)), b64(bytes(32))),
    *("2026-11-21T12:00:00.000000Z", "2026-02-30T12:00:00.000000Z", "2026-11-21T24:00:00.000000Z"),
    *("\ud83d\ude00", "é", "\u2028", "\x7f", "tick\n", "٣"),
]


def make(random: Random, folder: Path) -> None:
    """One mutated folder; some verify all the same."""
    signed_wrong(random, folder) if random.random() < 0.4 else honest(random).write(folder)
    for _ in range(random.choice([0, 1, 1, 1, 1, 2])):
        mutate: Mutate = random.choice(
            [flip, flip, cut, insert, lines, lines, value, value, value, whole, across]
        )
        mutate(random, folder)


def honest(random: Random) -> Box:
    box = Box()
    names = random.sample(["box", "cam1", "cam2", "file"], random.randint(1, 3))
    for _ in range(random.randint(1, 14)):
        name = random.choice(names)
        step(random, box, name)
    for name in names:
        box.log(name)
        if random.random() < 0.1:
            box.log(name).torn = b'{"data":{"n":7},"k'
    return box


def step(random: Random, box: Box, name: str) -> None:
    choice = random.random()
    log = box.log(name)
    if choice < 0.15:
        box.rotate()
    elif choice < 0.6 and len(log.lines) > log.size:
        box.sign(name)
        if random.random() < 0.3:
            box.cosign(name, *random.sample([FLEET, AUDITOR], random.randint(1, 2)))
    else:
        box.fill(name, random.randint(1, 5))


def signed_wrong(random: Random, folder: Path) -> None:
    """A box that signs what it must not."""
    box = honest(random)
    name = random.choice(sorted(box.logs))
    log = box.log(name)
    if random.random() < 0.7:
        changed = {
            "size": random.choice(["0", "1", str(log.size), "9", "08", "99999999999999999999", "-1", ""]),
            "root": random.choice([b64(bytes(32)), "", b64(bytes(31)), "A" * 44]),
            "origin": random.choice([f"veil/box-18/{name}", f"veil/box-17/{name}2", "veil", ""]),
            "previous": random.choice([f"previous {b64(bytes(32))}", "previous ", "next"]),
            "time": random.choice(["time 2026-11-21T12:00:00Z", "time", "time 2026-11-31T12:00:00.000000Z"]),
        }
        keys = [box.key, Key(box.key.name, "box-17 0"), STRANGER, Key("veil/other", "x"), FLEET]
        key = random.choices(keys, [6, 3, 1, 1, 1])[0]
        part = random.choice(sorted(changed))
        box.sign(name, key, **({part: changed[part]} if random.random() < 0.7 else {}))
        if random.random() < 0.3:
            box.cosign(name, random.choice([FLEET, Key("veil/x", "x"), Key("who", "who", WITNESS)]))
            if random.random() < 0.3:
                log.notes.pop()
    else:
        sizes = {
            each: random.choice([log.size, 1, 3, 99, 0, -1]) for each in box.logs if random.random() < 0.7
        }
        if random.random() < 0.2:
            sizes[random.choice(["cam9", "Cam", "x" * 33])] = 3
        old, new = (
            box.key,
            random.choice([Key("veil/box-17", "n"), Key("veil/box-18", "n"), Key("veil/box-17", "box-17 0")]),
        )
        box.keys.append(box.key_line(random.choice([old, old, old, STRANGER]), sizes, new))
        box.key = new
    if random.random() < 0.5:
        box.fill(name, 2)
        box.sign(name)
    box.write(folder)


def _file(random: Random, folder: Path) -> Path:
    return random.choice(sorted(path for path in folder.rglob("*") if path.is_file()) or [folder / "more"])


def flip(random: Random, folder: Path) -> None:
    path = _file(random, folder)
    data = bytearray(path.read_bytes())
    if data:
        at = random.randrange(len(data))
        data[at] = random.choice([data[at] ^ 1 << random.randrange(8), random.randrange(256)])
        path.write_bytes(data)


def cut(random: Random, folder: Path) -> None:
    path = _file(random, folder)
    data = path.read_bytes()
    start = random.randint(0, len(data))
    path.write_bytes(
        data[:start] + (data[random.randint(start, len(data)) :] if random.random() < 0.7 else b"")
    )


def insert(random: Random, folder: Path) -> None:
    path = _file(random, folder)
    data = path.read_bytes()
    pieces = [
        b"\n",
        b"\r",
        b" ",
        b"\x00",
        b"\xef\xbb\xbf",
        b"0",
        b"=",
        b"\\",
        b'"',
        b",",
        b"}",
        b"[",
        b"\xed\xa0\x80",
        b"+",
    ]
    start = random.choice([0, len(data), random.randint(0, len(data))])
    path.write_bytes(data[:start] + random.choice(pieces) + data[start:])


def lines(random: Random, folder: Path) -> None:
    path = _file(random, folder)
    parts = path.read_bytes().splitlines(keepends=True)
    if not parts:
        return
    at, other = random.randrange(len(parts)), random.randrange(len(parts))
    match random.randrange(5):
        case 0:
            del parts[at]
        case 1:
            parts.insert(other, parts[at])
        case 2:
            parts[at], parts[other] = parts[other], parts[at]
        case 3:
            parts.insert(other, parts.pop(at))
        case _:
            del parts[at:]
    path.write_bytes(b"".join(parts))


def value(random: Random, folder: Path) -> None:
    """Another value, canonical as far as its type allows, in one line; or a key more or less."""
    found = sorted(path for path in folder.rglob("*.jsonl") if path.is_file())
    if not found:
        return
    path = random.choice(found)
    parts = path.read_bytes().split(b"\n")
    at = random.randrange(len(parts))
    try:
        fields = json.loads(parts[at])
    except ValueError:
        return
    if not isinstance(fields, dict) or not fields:
        return
    name = random.choice(sorted(fields))
    if random.random() < 0.1:
        del fields[name]
    elif random.random() < 0.1:
        fields[random.choice(["extra", "", "é", "\n"])] = random.choice(_VALUES)
    else:
        fields[name] = random.choice(_VALUES)
    try:
        parts[at] = canonical(fields)
    except UnicodeEncodeError:
        return
    path.write_bytes(b"\n".join(parts))


def whole(random: Random, folder: Path) -> None:
    path = _file(random, folder)
    match random.randrange(4):
        case 0:
            path.unlink()
        case 1:
            path.write_bytes(b"")
        case 2:
            path.unlink()
            path.mkdir()
        case _ if path.parent != folder:
            shutil.rmtree(path.parent)
        case _:
            path.unlink()


def across(random: Random, folder: Path) -> None:
    """A file of another log, or of another box."""
    path = _file(random, folder)
    other = folder.parent / f"{folder.name}-other"
    honest(random).write(other)
    candidates = sorted(
        each for each in [*other.rglob(path.name), *folder.rglob(path.name)] if each.is_file()
    )
    if candidates:
        path.write_bytes(random.choice(candidates).read_bytes())
    shutil.rmtree(other)
