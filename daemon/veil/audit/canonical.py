"""The canonical form of lines: RFC 8785, restricted as docs/log-format.md has it, exact and quick."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

MAX_LINE_BYTES = 16 * 1024
"""Of a line without its newline."""

MAX_DEPTH = 32
"""Objects and arrays one in another."""

MAX_INTEGER = 2**53 - 1

_LONG_NUMBER = re.compile(rb"[0-9]{16}")
_OUTSIDE_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"|([\[{])|([\]}])', re.DOTALL)


class NotCanonicalError(ValueError):
    """A line that is not what `dump` writes. The text says why, without repeating the line."""


def _no_fraction(text: str) -> NoReturn:
    del text
    raise NotCanonicalError("a number that is no integer")


_encode = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, sort_keys=True, separators=(",", ":")
).encode
_decode = json.JSONDecoder(parse_float=_no_fraction, parse_constant=_no_fraction).decode


def dump(value: object) -> bytes:
    """RFC 8785 of objects and arrays of strings, integers and null with ASCII keys.

    For these values Python's encoder with sorted keys writes exactly that form (held by a property test
    against the rfc8785 package). Raises ValueError for strings that are not Unicode.
    """
    return _encode(value).encode()


def parse_line(line: bytes) -> dict[str, Any]:
    """The object in a line (without its newline). Raises NotCanonicalError for whatever is not canonical."""
    if len(line) > MAX_LINE_BYTES:
        raise NotCanonicalError(f"longer than {MAX_LINE_BYTES} bytes")
    if line.count(b"[") + line.count(b"{") > MAX_DEPTH:
        _check_depth(line)
    try:
        value = _decode(line.decode())
        written = _encode(value).encode()
    except NotCanonicalError:
        raise
    except UnicodeDecodeError:
        raise NotCanonicalError("not UTF-8") from None
    except UnicodeEncodeError:
        raise NotCanonicalError("half a surrogate pair") from None
    except (ValueError, RecursionError):
        raise NotCanonicalError("not JSON") from None
    if not isinstance(value, dict):
        raise NotCanonicalError("not an object")
    if written != line:
        raise NotCanonicalError("not in canonical form")
    # What these tests let through can hold nothing that the walk would find.
    if not line.isascii() or b"true" in line or b"false" in line or _LONG_NUMBER.search(line):
        _check_values(value)
    return value


def _check_values(value: object) -> None:
    match value:
        case bool():
            raise NotCanonicalError("a boolean")
        case int():
            if abs(value) > MAX_INTEGER:
                raise NotCanonicalError("an integer beyond 2^53")
        case list():
            for item in value:
                _check_values(item)
        case Mapping():
            for key, item in value.items():
                if not key.isascii():
                    raise NotCanonicalError("a key that is not ASCII")
                _check_values(item)


def _check_depth(line: bytes) -> None:
    depth = 0
    for match in _OUTSIDE_STRINGS.finditer(line):
        if match[1]:
            depth += 1
            if depth > MAX_DEPTH:
                raise NotCanonicalError(f"nested deeper than {MAX_DEPTH}")
        elif match[2]:
            depth -= 1
