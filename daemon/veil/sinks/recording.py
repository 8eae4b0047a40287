"""Recording beside live video: the recorder on a thread of its own, and what it says as evidence."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Protocol

from veil.audit.event import Event, Kind, Value, said
from veil.audit.log import EventSink
from veil.audit.tally import Tally
from veil.channel import ChannelClosedError, ChannelFullError, Reliable
from veil.encode.packet import MaskedPacket
from veil.errors import DiskFullError, SinkError
from veil.sinks.recorder import RecorderState, SegmentClosed, SegmentSetAside
from veil.stats import CameraStats

_PATIENCE_S = 0.5
_WAITING_PACKETS = 256
_CLOSE_S = 10.0


class Records(Protocol):
    """The recorder's verbs; see `veil.sinks.recorder`."""

    @property
    def state(self) -> RecorderState: ...

    @property
    def written(self) -> range: ...

    def write(self, packet: MaskedPacket) -> None: ...

    def __enter__(self) -> Records: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


OnSegment = Callable[[SegmentClosed], None]
OnSetAside = Callable[[SegmentSetAside], None]
MakeRecorder = Callable[[OnSegment, OnSetAside], Records]


class Recording:
    """A context manager. `publish` waits half a second for a slow disk, then drops up to the next keyframe.

    `origin` is repeated in the event of each segment: with what it was hidden.

    A recorder that fails pauses and goes on by itself; each change is an event. A log that cannot be appended
    to is kept in `error` and raised by the next `publish`: no log, no video.
    """

    def __init__(
        self,
        make: MakeRecorder,
        log: EventSink,
        tally: Tally,
        stats: CameraStats,
        origin: Mapping[str, Value],
    ) -> None:
        self._recorder = make(self._closed, self._set_aside)
        self._log = log
        self._tally = tally
        self._stats = stats
        self._origin = origin
        self._channel: Reliable[MaskedPacket] = Reliable(_WAITING_PACKETS)
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._skipping = False
        self._paused = False
        self._error: BaseException | None = None

    def __enter__(self) -> Recording:
        self._recorder.__enter__()
        self._thread.start()
        return self

    def publish(self, packet: MaskedPacket) -> None:
        if self._error is not None:
            raise self._error
        if self._skipping and not packet.keyframe:
            self._stats.dropped("recorder_behind")
            return
        try:
            self._channel.put(packet, 0.0 if self._skipping else _PATIENCE_S)
        except ChannelFullError:
            self._stats.dropped("recorder_behind")
            if not self._skipping:
                self._skipping = True
                self._log.append(Event(Kind.RECORDING_PAUSED, {"reason": "recorder_behind"}))
            return
        if self._skipping:
            self._skipping = False
            self._log.append(Event(Kind.RECORDING_RESUMED, {}))

    def _work(self) -> None:
        try:
            while True:
                try:
                    packet = self._channel.get(1.0)
                except ChannelClosedError:
                    break
                if packet is not None:
                    self._write(packet)
                    self._tally.settle(self._recorder.written)
        except BaseException as error:  # noqa: BLE001  publish() raises it on the output thread
            self._error = error

    def _write(self, packet: MaskedPacket) -> None:
        try:
            self._recorder.write(packet)
        except SinkError as error:
            reason = "disk_full" if isinstance(error, DiskFullError) else "failed"
            self._paused = True
            self._log.append(Event(Kind.RECORDING_PAUSED, {"reason": reason, "text": said(error.message)}))
            return
        if self._paused and self._recorder.state is RecorderState.RECORDING:
            self._paused = False
            self._log.append(Event(Kind.RECORDING_RESUMED, {}))

    def _closed(self, segment: SegmentClosed) -> None:
        self._stats.segment()
        data: dict[str, Value] = {
            "file": segment.path.name,
            "sha256": segment.sha256,
            "bytes": segment.size,
            "number": segment.number,
            "first_wall_us": segment.first_wall_ns // 1000,
            "last_wall_us": segment.last_wall_ns // 1000,
            "duration_us": (segment.last_media_ns - segment.first_media_ns) // 1000,
            "frames_masked": segment.masked_frames,
            "frames_whole": segment.whole_frames,
            "frames_slate": segment.slate_frames,
            "frames_dropped": segment.dropped_frames,
            "end": str(segment.end),
            **self._origin,
            **self._tally.close_segment(segment.first_sequence, segment.last_sequence),
        }
        self._log.append(Event(Kind.SEGMENT_CLOSED, data))

    def _set_aside(self, segment: SegmentSetAside) -> None:
        data: dict[str, Value] = {"file": segment.path.name, "reason": said(segment.reason)}
        self._log.append(Event(Kind.SEGMENT_SET_ASIDE, data))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()
        self._thread.join(_CLOSE_S)
        if not self._thread.is_alive():
            self._recorder.__exit__(None, None, None)
