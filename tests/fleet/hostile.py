"""Payloads that nobody honest sends: wrong types, deep, no Unicode, and true with one thing wrong."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from fleet.boxes import Box, segment
from fleet.health import health
from veil.messages.topics import Kind

NASTY = (
    "\x00",
    "a\x00b",
    "\ud800",
    "\u202e",
    "x" * 500,
    "9" * 400,
    "",
    "../..",
    "$share/a/#",
    "NaN",
    "'; --",
)
NUMBERS = (-1, 0, 2**31, 2**53 - 1, 2**53, 2**63, 2**64, 10**300, -(2**63), 0.5, 1e308, True, False)

_leaves = st.one_of(
    st.none(),
    st.sampled_from(NUMBERS),
    st.sampled_from(NASTY),
    st.text(max_size=20),
    st.integers(),
    st.floats(),
)
json_values = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def _honest() -> dict[Kind, list[dict[str, Any]]]:
    box = Box("box-h")
    for number in range(3):
        box.log().append(segment(number))
    state = {"v": 1, "camera": "front", "time": "2026-01-01T00:00:00.000000Z", "condition": "running"}
    return {
        Kind.STATUS: [json.loads(box.status().payload)],
        Kind.HEALTH: [json.loads(health(box).payload)],
        Kind.KEYS: [json.loads(box.keys().payload)],
        Kind.CAMERA: [state | {"picture": "ok", "connected": True, "reason": ""}],
        Kind.LOG: [json.loads(box.entries().payload)],
        Kind.CHECKPOINT: [json.loads(box.checkpoint().payload)],
    }


HONEST = _honest()


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += _places(inner, (*path, key))
    return found


@st.composite
def spoiled(draw: st.DrawFn, kind: Kind) -> bytes:
    """An honest message with one or two values that do not belong there."""
    message = json.loads(json.dumps(draw(st.sampled_from(HONEST[kind]))))
    for _ in range(draw(st.integers(1, 2))):
        *path, last = draw(st.sampled_from(_places(message)))
        target = message
        try:
            for key in path:
                target = target[key]
            if draw(st.booleans()):
                target[last] = draw(json_values)
            else:
                del target[last]
        except (KeyError, IndexError, TypeError):
            continue
    text = json.dumps(message)
    if draw(st.integers(0, 9)) == 0:
        at = draw(st.integers(0, len(text)))
        return text[:at].encode() + draw(st.binary(max_size=4)) + text[at:].encode()
    return text.encode()


@st.composite
def spoiled_lines(draw: st.DrawFn) -> bytes:
    """Lines that are canonical or nearly so, and say what they should not."""
    line = json.loads(HONEST[Kind.LOG][0]["lines"][0])
    line["seq"] = first = draw(st.sampled_from((0, 1, 2, 3, 4, 2**53 - 1)))
    place = draw(st.sampled_from(_places(line)))
    target = line
    for key in place[:-1]:
        target = target[key]
    target[place[-1]] = draw(json_values)
    text = json.dumps(line, sort_keys=True, separators=(",", ":"), ensure_ascii=draw(st.booleans()))
    return json.dumps({"v": 1, "log": "front", "first": first, "lines": [text]}).encode()


deep = st.builds(
    lambda opening, count: (opening * count).encode()[:60_000],
    st.sampled_from(("[", '{"a":', '[{"v":', "[1,")),
    st.integers(1, 30_000),
)


def payloads(kind: Kind) -> st.SearchStrategy[bytes]:
    """Of a topic of this kind."""
    made = [
        spoiled(kind),
        spoiled(kind),
        st.binary(max_size=200),
        deep,
        json_values.map(lambda value: json.dumps(value).encode()),
    ]
    if kind is Kind.LOG:
        made += [spoiled_lines(), spoiled_lines()]
    return st.one_of(made)


NAMED = {Kind.CAMERA, Kind.LOG, Kind.CHECKPOINT}
messages = st.sampled_from(sorted(HONEST)).flatmap(lambda kind: st.tuples(st.just(kind), payloads(kind)))
"""(kind, payload)."""
