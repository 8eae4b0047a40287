"""Reads the boxes of a fragmented MP4 that may be cut off or damaged anywhere."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

_LARGEST_INDEX: Final = 16 << 20
_SYNC: Final = 0x00010000  # sample_is_non_sync_sample


@dataclass(frozen=True, slots=True)
class SampleEntry:
    """One picture of a fragment: its size in bytes and its duration in units of the timescale."""

    size: int
    duration: int
    keyframe: bool


@dataclass(frozen=True, slots=True)
class Fragment:
    """A whole `moof` and `mdat`. `end` is the offset after it."""

    start: int
    end: int
    decode_time: int
    samples: tuple[SampleEntry, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """What is whole in a file.

    Attributes:
        header_end: offset after `moov`; 0 where there is none.
        timescale: units a second; 0 where there is no header.
        fragments: from the start without a gap.
        size: of the file; `whole` is the part of it that can be kept.
    """

    header_end: int
    timescale: int
    fragments: tuple[Fragment, ...]
    size: int

    @property
    def whole(self) -> int:
        return self.fragments[-1].end if self.fragments else 0

    @property
    def frames(self) -> int:
        return sum(len(fragment.samples) for fragment in self.fragments)

    @property
    def duration_s(self) -> float:
        if not self.fragments:
            return 0.0
        last = self.fragments[-1]
        return (last.decode_time + sum(sample.duration for sample in last.samples)) / self.timescale


def walk(path: Path) -> Layout:
    """The whole fragments of `path`, up to the first thing that is torn. Raises OSError."""
    with path.open("rb") as file:
        size = path.stat().st_size
        header_end, timescale, offset = 0, 0, 0
        fragments: list[Fragment] = []
        moof: bytes | None = None
        moof_start = 0
        while (box := _read_box(file, offset, size)) is not None:
            kind, start, end = box
            if kind == b"moov" and not header_end and end - start <= _LARGEST_INDEX:
                timescale = _timescale(_read(file, start, end))
                if not timescale:
                    break
                header_end = end
            elif kind == b"moof" and header_end and end - start <= _LARGEST_INDEX:
                moof, moof_start = _read(file, start, end), offset
            elif kind == b"mdat" and moof is not None:
                fragment = _fragment(file, moof, moof_start, start, end)
                if fragment is None:
                    break
                fragments.append(fragment)
                moof = None
            elif kind != b"ftyp" or offset:
                break
            offset = end
    return Layout(header_end, timescale, tuple(fragments), size)


def _read(file: BinaryIO, start: int, end: int) -> bytes:
    file.seek(start)
    return file.read(end - start)


def _read_box(file: BinaryIO, offset: int, size: int) -> tuple[bytes, int, int] | None:
    """Kind, start of the content and end of the box at `offset`; None where no whole box is."""
    head = _read(file, offset, offset + 8)
    if len(head) < 8:
        return None
    length, kind = struct.unpack(">I4s", head)
    if length < 8 or offset + length > size:
        return None
    return kind, offset + 8, offset + length


def _children(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    offset = 0
    while offset + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, offset)
        if length < 8 or offset + length > len(content):
            return
        yield kind, content[offset + 8 : offset + length]
        offset += length


def _find(content: bytes, *path: bytes) -> bytes | None:
    for kind in path:
        found = next((inside for name, inside in _children(content) if name == kind), None)
        if found is None:
            return None
        content = found
    return content


def _timescale(moov: bytes) -> int:
    mdhd = _find(moov, b"trak", b"mdia", b"mdhd")
    return int.from_bytes(mdhd[12:16]) if mdhd is not None and len(mdhd) >= 16 else 0


def _fragment(file: BinaryIO, moof: bytes, moof_start: int, start: int, end: int) -> Fragment | None:
    """The fragment where its tables and its content agree. A page of zeros after a power cut does not."""
    tfdt, trun = _find(moof, b"traf", b"tfdt"), _find(moof, b"traf", b"trun")
    if tfdt is None or trun is None or len(tfdt) != 12 or len(trun) < 12:
        return None
    count = int.from_bytes(trun[4:8])
    if len(trun) != 12 + 16 * count:
        return None
    samples = tuple(
        SampleEntry(size, duration, not flags & _SYNC)
        for duration, size, flags, _ in struct.iter_unpack(">IIIi", trun[12:])
    )
    if not samples or sum(sample.size for sample in samples) != end - start:
        return None
    offset = start
    for sample in samples:
        if not _whole_sample(_read(file, offset, offset + sample.size)):
            return None
        offset += sample.size
    return Fragment(moof_start, end, int.from_bytes(tfdt[4:12]), samples)


def _whole_sample(data: bytes) -> bool:
    """Whether `data` is a row of length-prefixed NAL units, none of them empty or of a forbidden kind."""
    offset = 0
    while offset + 5 <= len(data):
        length = int.from_bytes(data[offset : offset + 4])
        first = data[offset + 4]
        if not length or first & 0x80 or not first & 0x1F:
            return False
        offset += 4 + length
    return bool(data) and offset == len(data)
