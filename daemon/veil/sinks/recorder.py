"""Anonymized recordings: masked packets into segments that survive a power cut."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Final

from veil.config import RecorderConfig
from veil.domain.clock import NANOSECONDS, Clock, media_ns
from veil.encode.packet import MaskedPacket
from veil.errors import DiskFullError, SinkError
from veil.sinks import mp4
from veil.sinks.segment_file import (
    SegmentFile,
    free_bytes,
    move_aside,
    segment_name,
    segment_number,
)

_MEBIBYTE: Final = 1 << 20
_LEAST_ROOM: Final = 1 << 20
_LOOK_AGAIN_NS: Final = 2 * NANOSECONDS


class RecorderState(StrEnum):
    """What happens to the next packet."""

    WAITING = "waiting"  # for a keyframe, to start a segment
    RECORDING = "recording"
    DISK_FULL = "disk_full"  # dropped and counted; space is looked for every two seconds
    CLOSED = "closed"


class SegmentEnd(StrEnum):
    """Why a segment was closed."""

    LENGTH = "length"
    NEW_STREAM = "new_stream"
    DISK_FULL = "disk_full"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class SegmentClosed:
    """A recording that is complete, durable and has its final name: what evidence is made of.

    Attributes:
        first_media_ns, last_media_ns: media time of the first frame, and of the end of the last.
        first_wall_ns, last_wall_ns: wall time at which the first and the last frame were captured.
        masked_frames: with regions; `whole_frames`: hidden altogether; `slate_frames`: nothing was captured.
        dropped_frames: captured since the last segment's end and missing here, from gaps in the sequence.
        number: counts up for each camera.
    """

    path: Path
    sha256: str
    size: int
    number: int
    first_sequence: int
    last_sequence: int
    first_media_ns: int
    last_media_ns: int
    first_wall_ns: int
    last_wall_ns: int
    masked_frames: int
    whole_frames: int
    slate_frames: int
    dropped_frames: int
    end: SegmentEnd

    @property
    def frames(self) -> int:
        """In the file."""
        return self.masked_frames + self.whole_frames + self.slate_frames


@dataclass(frozen=True, slots=True)
class SegmentSetAside:
    """A recording that could not be closed; kept for a person to look at."""

    path: Path
    reason: str


class _Segment:
    """An open segment: the file, the samples that are not in it yet, and the counts of those that are."""

    def __init__(self, file: SegmentFile, number: int, first: MaskedPacket, wall_ns: int) -> None:
        self.file = file
        self.number = number
        self.stream = first.stream
        self.first = first
        self.last = first
        self.first_wall_ns = wall_ns
        self.last_wall_ns = wall_ns
        self.pending: list[MaskedPacket] = []
        self.fragments = 0
        self.masked = self.whole = self.slate = 0

    def flush(self, next_dts: int) -> None:
        """Writes the pending packets as one fragment; `next_dts` is when the next one begins."""
        if not self.pending:
            return
        unit = self.stream.time_base.numerator
        times = [packet.dts for packet in self.pending] + [next_dts]
        samples = [
            mp4.Sample(
                data=mp4.sample_data(packet.data, self.stream),
                duration=min(mp4.LARGEST_DURATION, (after - packet.dts) * unit),
                composition=(packet.pts - packet.dts) * unit,
                keyframe=packet.keyframe,
            )
            for packet, after in zip(self.pending, times[1:], strict=True)
        ]
        start = (self.pending[0].dts - self.first.dts) * unit
        self.file.append(mp4.fragment(self.fragments + 1, start, samples))
        self.fragments += 1
        for packet in self.pending:
            self.slate += packet.is_slate
            self.whole += packet.is_whole and not packet.is_slate
            self.masked += not (packet.is_slate or packet.is_whole)
        self.last = self.pending[-1]
        self.pending = []


class Recorder:
    """Writes one camera's packets into segments. A context manager; used from one thread.

    `write` blocks while the disk works. Packets before the first keyframe, and between a failure and the next
    keyframe, are dropped and counted.

    Args:
        config: the `[recorder]` section.
        directory: of this camera alone; made when missing.
        on_segment: called for each closed segment, in the thread of `write`.
        on_set_aside: called for each segment that could not be closed.
    """

    def __init__(
        self,
        config: RecorderConfig,
        *,
        camera: str,
        directory: Path,
        clock: Clock,
        on_segment: Callable[[SegmentClosed], None],
        on_set_aside: Callable[[SegmentSetAside], None],
    ) -> None:
        self._config = config
        self._camera = camera
        self._directory = directory
        self._clock = clock
        self._on_segment = on_segment
        self._on_set_aside = on_set_aside
        self._state = RecorderState.WAITING
        self._segment: _Segment | None = None
        self._number = 0
        self._largest_fragment = 0
        self._look_again_ns = 0
        self._last_sequence: int | None = None
        self._dropped = 0

    @property
    def state(self) -> RecorderState:
        return self._state

    @property
    def written(self) -> range:
        """Sequence numbers from the open segment's first to the last in its file; what it says later has the
        same start and no earlier end. Without a segment an empty range behind all that it was given.
        """
        if self._segment is None:
            behind = 0 if self._last_sequence is None else self._last_sequence + 1
            return range(behind, behind)
        first, last = self._segment.first.sequence, self._segment.last.sequence
        return range(first, last + 1 if self._segment.fragments else first)

    @property
    def dropped_frames(self) -> int:
        """Missing since the last closed segment."""
        return self._dropped

    def __enter__(self) -> Recorder:
        """Raises SinkError where the directory cannot be used."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o750)
            numbers = [segment_number(path.name) for path in self._directory.iterdir()]
        except OSError as error:
            raise SinkError(
                f"{self._directory} cannot be used for recordings: {error.strerror}.",
                hint="Set recorder.directory to a folder that the service may write to.",
            ) from error
        self._number = max((number for number in numbers if number is not None), default=0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the open segment. Raises SinkError where the disk does not take it."""
        segment, self._segment = self._segment, None
        self._state = RecorderState.CLOSED
        if segment is not None:
            self._finish(segment, SegmentEnd.STOPPED, self._after(segment))

    def write(self, packet: MaskedPacket) -> None:
        """Takes one packet.

        Raises:
            DiskFullError: once, when recording stops. What is complete was kept; recording goes on by itself
                at a keyframe once there is space again.
            SinkError: the segment failed and was set aside; the next one starts at the next keyframe.
        """
        if self._state is RecorderState.CLOSED:
            raise SinkError("the recorder is closed.")
        before, self._last_sequence = self._last_sequence, packet.sequence
        try:
            if self._segment is not None:
                self._continue(self._segment, packet)
        finally:
            # After a segment was ended, so that a gap counts for the one that begins with it.
            if before is not None:
                self._dropped += max(0, packet.sequence - before - 1)
        if self._segment is None:
            if not self._may_start(packet):
                self._dropped += 1
                return
            self._segment = self._start(packet)
            self._state = RecorderState.RECORDING
        self._segment.pending.append(packet)
        self._segment.last_wall_ns = self._captured_wall_ns(packet)

    def _continue(self, segment: _Segment, packet: MaskedPacket) -> None:
        """Writes what `packet` completes; ends the segment where it does not belong into it."""
        if packet.stream != segment.stream:
            self._end(segment, SegmentEnd.NEW_STREAM, self._after(segment))
            return
        base = segment.stream.time_base
        if packet.keyframe and (packet.dts - segment.first.dts) * base >= Fraction(self._config.segment_s):
            self._end(segment, SegmentEnd.LENGTH, packet.dts)
        elif segment.pending:
            age = packet.dts - segment.pending[0].dts
            is_too_long = age * base.numerator > mp4.LARGEST_DURATION
            if is_too_long or age * base >= Fraction(self._config.fragment_s):
                self._flush(segment, packet.dts)

    def _may_start(self, packet: MaskedPacket) -> bool:
        if not packet.keyframe:
            return False
        if self._state is not RecorderState.DISK_FULL:
            return True
        now = self._clock.monotonic_ns()
        if now < self._look_again_ns:
            return False
        self._look_again_ns = now + _LOOK_AGAIN_NS
        # Room for some fragments over the limit, or recording would stop again at once.
        return self._free() >= self._least_free + max(_LEAST_ROOM, 4 * self._largest_fragment)

    @property
    def _least_free(self) -> int:
        return int(self._config.min_free_mib * _MEBIBYTE)

    def _free(self) -> int:
        try:
            return free_bytes(self._directory)
        except OSError as error:
            raise SinkError(
                f"{self._directory} is gone: {error.strerror}.", hint="Mount it again."
            ) from error

    def _captured_wall_ns(self, packet: MaskedPacket) -> int:
        return self._clock.wall_ns() - (self._clock.monotonic_ns() - packet.captured_ns)

    def _start(self, packet: MaskedPacket) -> _Segment:
        if self._state is not RecorderState.DISK_FULL and self._free() < self._least_free:
            self._stop_full()
            raise self._too_full()
        wall_ns = self._captured_wall_ns(packet)
        self._number += 1
        name = segment_name(self._camera, wall_ns, self._number)
        try:
            file = SegmentFile(self._directory, name, mp4.header(packet.stream))
        except DiskFullError:
            self._stop_full()
            raise
        except SinkError:
            self._dropped += 1
            raise
        return _Segment(file, self._number, packet, wall_ns)

    def _stop_full(self) -> None:
        self._state = RecorderState.DISK_FULL
        self._look_again_ns = self._clock.monotonic_ns() + _LOOK_AGAIN_NS
        self._dropped += 1

    def _too_full(self) -> DiskFullError:
        return DiskFullError(
            f"less than {self._config.min_free_mib:g} MiB are free at {self._directory}; recording stops.",
            hint="Free space, or lower recorder.keep_gib or recorder.keep_days.",
        )

    def _after(self, segment: _Segment) -> int:
        """Where the segment ends when no packet follows."""
        last = segment.pending[-1] if segment.pending else segment.last
        return last.dts + last.duration

    def _flush(self, segment: _Segment, next_dts: int) -> None:
        before = segment.file.size
        try:
            segment.flush(next_dts)
        except DiskFullError:
            self._lose(segment)
            self._segment = None
            self._stop_full()
            self._finish(segment, SegmentEnd.DISK_FULL, self._after(segment))
            raise
        except SinkError as error:
            self._lose(segment)
            self._segment, self._state = None, RecorderState.WAITING
            segment.file.abandon()
            self._set_aside(segment, error)
            self._dropped += 1
            raise
        self._largest_fragment = max(self._largest_fragment, segment.file.size - before)
        if self._free() < self._least_free:
            self._segment = None
            self._stop_full()
            self._finish(segment, SegmentEnd.DISK_FULL, next_dts)
            raise self._too_full()

    def _end(self, segment: _Segment, end: SegmentEnd, next_dts: int) -> None:
        self._flush(segment, next_dts)
        self._segment, self._state = None, RecorderState.WAITING
        self._finish(segment, end, next_dts)

    def _lose(self, segment: _Segment) -> None:
        self._dropped += len(segment.pending)
        segment.pending = []

    def _finish(self, segment: _Segment, end: SegmentEnd, next_dts: int) -> None:
        """Closes the file and reports it. Raises SinkError; the file is then set aside."""
        try:
            segment.flush(next_dts)
        except SinkError:
            self._lose(segment)
        if not segment.fragments:
            segment.file.discard()
            return
        try:
            path, sha256 = segment.file.close()
        except SinkError as error:
            self._set_aside(segment, error)
            raise
        dropped, self._dropped = self._dropped, 0
        base = segment.stream.time_base
        self._on_segment(
            SegmentClosed(
                path=path,
                sha256=sha256,
                size=segment.file.size,
                number=segment.number,
                first_sequence=segment.first.sequence,
                last_sequence=segment.last.sequence,
                first_media_ns=media_ns(segment.first.pts, base),
                last_media_ns=media_ns(next_dts, base),
                first_wall_ns=segment.first_wall_ns,
                last_wall_ns=segment.last_wall_ns,
                masked_frames=segment.masked,
                whole_frames=segment.whole,
                slate_frames=segment.slate,
                dropped_frames=dropped,
                end=end,
            )
        )

    def _set_aside(self, segment: _Segment, error: SinkError) -> None:
        path = segment.file.path
        # Where that fails too it stays where it is, as a `.part`; the repair at the next start looks at it.
        with contextlib.suppress(OSError):
            path = move_aside(path)
        self._on_set_aside(SegmentSetAside(path, error.message))
