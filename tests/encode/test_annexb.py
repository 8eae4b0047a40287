"""Splitting and joining of NAL units is exact for any content."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from veil.encode.annexb import access_unit, join, nal_type, split


def _unit(kind: int, payload: bytes) -> bytes:
    """A NAL unit with emulation prevention, as encoders write them."""
    escaped, zeros = bytearray(), 0
    for byte in payload:
        if zeros >= 2 and byte <= 3:
            escaped.append(3)
            zeros = 0
        escaped.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes([kind | 0x60]) + bytes(escaped) + b"\x80"


units = st.builds(_unit, st.integers(1, 23), st.binary(max_size=40))


@given(st.lists(units, max_size=8))
def test_units_survive_joining_and_splitting(parts: list[bytes]) -> None:
    assert split(join(parts)) == parts


@given(st.lists(units, max_size=8), st.lists(st.sampled_from([3, 4]), min_size=8, max_size=8))
def test_short_start_codes_and_trailing_zeros_are_understood(parts: list[bytes], codes: list[int]) -> None:
    stream = b"".join(
        b"\x00" * (n - 1) + b"\x01" + unit + b"\x00" for n, unit in zip(codes, parts, strict=False)
    )
    assert split(stream) == parts


@given(st.lists(units, max_size=8))
def test_only_slices_are_carried_over(parts: list[bytes]) -> None:
    left = split(access_unit(join(parts), b""))
    assert left == [unit for unit in parts if nal_type(unit) in {1, 2, 3, 4, 5}]


@given(st.binary(max_size=200))
def test_any_bytes_are_split_without_an_error(stream: bytes) -> None:
    split(stream)
