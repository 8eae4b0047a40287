"""The canonical form: exactly RFC 8785 as the log restricts it, whatever bytes come."""

from __future__ import annotations

import json

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from veil.audit.canonical import MAX_DEPTH, MAX_LINE_BYTES, NotCanonicalError, dump, parse_line

ASCII = st.text(st.characters(max_codepoint=127), max_size=8)
VALUES = st.recursive(
    st.none() | st.text(max_size=12) | st.integers(-(2**53) + 1, 2**53 - 1),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ASCII, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(ASCII, VALUES, max_size=5)


def allowed(value: object) -> bool:
    match value:
        case bool() | float():
            return False
        case int():
            return abs(value) < 2**53
        case list():
            return all(allowed(item) for item in value)
        case dict():
            return all(key.isascii() and allowed(item) for key, item in value.items())
    return True


def depth(value: object) -> int:
    match value:
        case list():
            return 1 + max(map(depth, value), default=0)
        case dict():
            return 1 + max(map(depth, value.values()), default=0)
    return 0


@given(OBJECTS)
def test_what_is_written_is_what_the_reference_writes(value: dict[str, object]) -> None:
    assert dump(value) == rfc8785.dumps(value)  # type: ignore[arg-type]


@given(OBJECTS)
def test_what_is_written_is_read_again(value: dict[str, object]) -> None:
    assert parse_line(dump(value)) == value


def reference(line: bytes) -> bool:
    """Slow and plain: the reference library's form of what was parsed, and the log's restrictions."""
    try:
        value = json.loads(line.decode())
        written = rfc8785.dumps(value)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and written == line and allowed(value) and depth(value) <= MAX_DEPTH


@settings(max_examples=400, deadline=None)
@given(OBJECTS, st.data())
def test_every_change_of_a_line_is_judged_as_the_reference_does(
    value: dict[str, object], data: st.DataObject
) -> None:
    line = bytearray(dump(value))
    at = data.draw(st.integers(0, len(line) - 1))
    piece = data.draw(
        st.sampled_from(
            [b"", b" ", b"\\u0041", b"-0", b"1e3", b"1.0", b"true", b"0", b'"', b"\xff", b"\xc3\xa9"]
        )
        | st.binary(max_size=3)
    )
    line[at : at + data.draw(st.integers(0, 3))] = piece
    try:
        parse_line(bytes(line))
    except NotCanonicalError:
        assert not reference(bytes(line))
    else:
        assert reference(bytes(line))


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b"[]",
        b'"a"',
        b'{"a":-0}',
        b'{"a":1.0}',
        b'{"a":1e2}',
        b'{"a":true}',
        b'{"a":[false]}',
        b'{"a":NaN}',
        b'{"a":9007199254740992}',
        b'{"a":-9007199254740992}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":"\\ud800"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\\ud83d\\ude00"}',
        b'{"a":"\\u0041"}',
        b'{"a":"\\/"}',
        b'{"a":"\\u000A"}',
        b'{"a":"\\u000a"}',
        b'{"a":"\n"}',
        b'{"a":1,"a":1}',
        b'{"b":1,"a":1}',
        b'{"a": 1}',
        b'{"a":1} ',
        b'{"a":1}\n',
        b"\xef\xbb\xbf{}",
        b"{}{}",
        '{"é":1}'.encode(),
        b'{"a":01}',
        b'{"a":+1}',
        b"{'a':1}",
        b'{"a":1,}',
        b'{"a":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}",
        b'{"a":' + b"[" * 8000,
        b'{"a":"' + b"x" * MAX_LINE_BYTES + b'"}',
        b"\0" * 100,
    ],
)
def test_what_is_not_canonical_is_refused(line: bytes) -> None:
    with pytest.raises(NotCanonicalError):
        parse_line(line)


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b'{"a":9007199254740991,"b":-9007199254740991}',
        b'{"a":"true false 12345678901234567890 [[[[{{{{"}',
        b'{"":0,"A":0,"a":0}',
        b'{"a":"' + b"[" * 200 + b'"}',
        b'{"a":' + b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1) + b"}",
        '{"a":"\u007fé\u2028😀\\b\\f\\u001f"}'.encode(),
        b'{"a":"' + b"x" * (MAX_LINE_BYTES - 8) + b'"}',
    ],
)
def test_what_is_canonical_is_taken(line: bytes) -> None:
    assert reference(line)
    parse_line(line)
