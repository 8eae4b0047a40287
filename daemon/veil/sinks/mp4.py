"""Fragmented MP4 (ISO/IEC 14496-12 and -15) with one H.264 track: bytes from values, no I/O.

Each fragment stands for itself, so a file that was cut off anywhere plays up to its last whole fragment.
No times of day, no encoder names and no other metadata are written.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from veil.encode.annexb import PARAMETER_SETS, NalType, nal_type, split
from veil.encode.packet import StreamInfo
from veil.errors import SinkError
from veil.frames.picture import ColorInfo

LARGEST_DURATION: Final = 2**32 - 1
_MATRIX: Final = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_SYNC_SAMPLE, _OTHER_SAMPLE = 0x02000000, 0x01010000
_DEFAULT_BASE_IS_MOOF = 0x020000
_DATA_OFFSET, _DURATION, _SIZE, _FLAGS, _COMPOSITION = 0x1, 0x100, 0x200, 0x400, 0x800


@dataclass(frozen=True, slots=True)
class Sample:
    """One access unit. `duration` and `composition` (pts - dts) in units of the timescale."""

    data: bytes
    duration: int
    composition: int
    keyframe: bool


def _box(kind: bytes, *parts: bytes) -> bytes:
    size = 8 + sum(len(part) for part in parts)
    return b"".join((struct.pack(">I4s", size, kind), *parts))


def _full(kind: bytes, version: int, flags: int, *parts: bytes) -> bytes:
    return _box(kind, struct.pack(">I", version << 24 | flags), *parts)


def timescale(stream: StreamInfo) -> int:
    """Units of media time a second; one unit of the stream's time base is `time_base.numerator` of them."""
    scale = stream.time_base.denominator
    if scale > LARGEST_DURATION:
        raise SinkError(f"a time base of {stream.time_base} s does not fit into MP4.")
    return scale


def sample_data(access_unit: bytes, stream: StreamInfo) -> bytes:
    """Annex B to length-prefixed units; parameter sets that the header holds are left out."""
    held = set(split(stream.extradata))
    units = [unit for unit in split(access_unit) if nal_type(unit) not in PARAMETER_SETS or unit not in held]
    return b"".join(struct.pack(">I", len(unit)) + unit for unit in units)


def _avc_configuration(extradata: bytes) -> bytes:
    """AVCDecoderConfigurationRecord, ISO/IEC 14496-15, 5.3.3.1."""
    units = split(extradata)
    sps = [unit for unit in units if nal_type(unit) == NalType.SPS]
    pps = [unit for unit in units if nal_type(unit) == NalType.PPS]
    if not sps or not pps:
        raise SinkError("the stream has no parameter sets to write into a recording.")
    record = struct.pack(">B3sBB", 1, sps[0][1:4], 0xFC | 3, 0xE0 | len(sps))
    record += b"".join(struct.pack(">H", len(unit)) + unit for unit in sps)
    record += struct.pack(">B", len(pps)) + b"".join(struct.pack(">H", len(unit)) + unit for unit in pps)
    if sps[0][1] in {100, 110, 122, 144}:
        # 4:2:0 with eight bits, the only format of masked frames.
        record += struct.pack(">4B", 0xFC | 1, 0xF8, 0xF8, 0)
    return _box(b"avcC", record)


def _colour(color: ColorInfo) -> bytes:
    return _box(
        b"colr",
        struct.pack(
            ">4s3HB", b"nclx", color.primaries, color.transfer, color.matrix, 0x80 if color.full_range else 0
        ),
    )


def header(stream: StreamInfo) -> bytes:
    """`ftyp` and a `moov` without samples. Raises SinkError for a stream that is not H.264."""
    if stream.codec != "h264":
        raise SinkError(f"recordings hold H.264, not {stream.codec}.")
    entry = _box(
        b"avc1",
        struct.pack(">6xH16xHHIIIH32xHh", 1, stream.width, stream.height, 0x480000, 0x480000, 0, 1, 24, -1),
        _avc_configuration(stream.extradata),
        _colour(stream.color),
        # After avcC, for players that do not look into the parameter sets.
        _box(b"pasp", struct.pack(">II", *stream.color.aspect)),
    )
    tables = _box(
        b"stbl",
        _full(b"stsd", 0, 0, struct.pack(">I", 1), entry),
        _full(b"stts", 0, 0, struct.pack(">I", 0)),
        _full(b"stsc", 0, 0, struct.pack(">I", 0)),
        _full(b"stsz", 0, 0, struct.pack(">II", 0, 0)),
        _full(b"stco", 0, 0, struct.pack(">I", 0)),
    )
    here = _full(b"dref", 0, 0, struct.pack(">I", 1), _full(b"url ", 0, 1))
    media = _box(
        b"mdia",
        _full(b"mdhd", 0, 0, struct.pack(">IIIIHH", 0, 0, timescale(stream), 0, 0x55C4, 0)),
        _full(b"hdlr", 0, 0, struct.pack(">I4s12xB", 0, b"vide", 0)),
        _box(b"minf", _full(b"vmhd", 0, 1, bytes(8)), _box(b"dinf", here), tables),
    )
    across, down = stream.color.aspect
    shown = min(round((stream.width << 16) * across / down), LARGEST_DURATION)
    size = struct.pack(">II", shown, stream.height << 16)
    track = _box(
        b"trak",
        _full(b"tkhd", 0, 3, struct.pack(">III4xI8xHHHH", 0, 0, 1, 0, 0, 0, 0, 0), _MATRIX, size),
        media,
    )
    movie = _full(
        b"mvhd",
        0,
        0,
        struct.pack(">IIIIIH10x", 0, 0, 1000, 0, 0x10000, 0x100),
        _MATRIX,
        bytes(24),
        b"\0\0\0\2",
    )
    extends = _box(b"mvex", _full(b"trex", 0, 0, struct.pack(">5I", 1, 1, 0, 0, 0)))
    brands = _box(b"ftyp", struct.pack(">4sI", b"isom", 0x200), b"isomiso6avc1mp41")
    return brands + _box(b"moov", movie, track, extends)


def fragment(number: int, decode_time: int, samples: Sequence[Sample]) -> bytes:
    """`moof` and `mdat`.

    Args:
        number: counts up from 1 within a file.
        decode_time: of the first sample since the start of the file, in units of the timescale.
    """
    flags = _DATA_OFFSET | _DURATION | _SIZE | _FLAGS | _COMPOSITION
    entries = b"".join(
        struct.pack(
            ">IIIi",
            sample.duration,
            len(sample.data),
            _SYNC_SAMPLE if sample.keyframe else _OTHER_SAMPLE,
            sample.composition,
        )
        for sample in samples
    )

    def moof(data_offset: int) -> bytes:
        return _box(
            b"moof",
            _full(b"mfhd", 0, 0, struct.pack(">I", number)),
            _box(
                b"traf",
                _full(b"tfhd", 0, _DEFAULT_BASE_IS_MOOF, struct.pack(">I", 1)),
                _full(b"tfdt", 1, 0, struct.pack(">Q", decode_time)),
                _full(b"trun", 1, flags, struct.pack(">Ii", len(samples), data_offset), entries),
            ),
        )

    offset = len(moof(0)) + 8
    return moof(offset) + _box(b"mdat", *(sample.data for sample in samples))
