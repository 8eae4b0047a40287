"""Network cameras over RTSP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import av
from av.container import InputContainer
from av.packet import Packet

from veil.capture.address import CameraAddress
from veil.capture.backoff import Backoff
from veil.capture.decoder import Aim, DecodeError, Decoder, Limits
from veil.capture.intake import LiveTimeline
from veil.capture.live import AccessRefusedError, LiveSource
from veil.capture.packets import Lost, Opened, PacketReader, Phase
from veil.capture.source import CaptureObserver, DropReason, PoolProvider
from veil.config import CaptureConfig
from veil.domain.clock import NANOSECONDS, Clock
from veil.errors import CaptureError, PipelineError, SourceEndedError, StreamStalledError
from veil.frames.raw import RawFrame

_LOOK_S: Final = 0.2
_SILENT_SHARE: Final = 0.9
_NO_PICTURE_S: Final = 30.0
_THREAD_END_S: Final = 90.0
_ALLOW_UDP_REORDER_US: Final = 200_000
_UDP_BUFFER_BYTES: Final = 4 << 20
_PROBE_US: Final = 1_000_000


class RtspSource(LiveSource):
    """An RTSP camera (TCP or UDP; H.264, H.265, MJPEG, and whatever else the codec library decodes).

    Only decodable pictures get through: decoding starts at a keyframe, and after a packet that is lost or
    broken it goes on at the next one. What falls out is counted.
    """

    def __init__(
        self,
        source: str,
        config: CaptureConfig,
        pools: PoolProvider,
        observer: CaptureObserver,
        clock: Clock,
        backoff: Backoff | None = None,
    ) -> None:
        super().__init__(config, pools, observer, clock, backoff)
        self.address = CameraAddress(source, config)
        self._limits = Limits.of(config)
        self._left_behind: PacketReader | None = None
        # A little less, so that noticing it is done within the configured time.
        self._silent_s = config.stall_timeout_s * _SILENT_SHARE

    def __repr__(self) -> str:
        return f"RtspSource({str(self.address)!r})"

    def session(self) -> Iterator[RawFrame]:
        self._wait_for_last_reader()
        if self.closed.is_set():
            return
        with PacketReader(self._open, self._failure) as reader:
            self._left_behind = reader
            opened = self._opened(reader)
            if opened is None:
                return
            self.intake.begin(opened.frame_rate, LiveTimeline)
            yield from self._pictures(reader, opened)

    def _wait_for_last_reader(self) -> None:
        """A thread that never comes back is answered by ending the process."""
        deadline_ns = self.clock.monotonic_ns() + round(_THREAD_END_S * NANOSECONDS)
        while self._left_behind is not None and not self._left_behind.ended_within(_LOOK_S):
            if self.closed.is_set():
                return
            if self.clock.monotonic_ns() > deadline_ns:
                raise PipelineError(f"Reading from {self.address} hangs.", hint="The process starts again.")

    def _opened(self, reader: PacketReader) -> Opened | None:
        """What was opened, None when closed meanwhile."""
        config = self.config
        # The library first connects and then looks at the first packets, with a timeout for each.
        limit_s = config.connect_timeout_s + config.stall_timeout_s + 1
        deadline_ns = self.clock.monotonic_ns() + round(limit_s * NANOSECONDS)
        while not self.closed.is_set():
            try:
                item = reader.get(_LOOK_S)
            except EOFError:
                raise SourceEndedError(f"{self.address} ended the stream.") from None
            if isinstance(item, Opened):
                return item
            if self.clock.monotonic_ns() > deadline_ns:
                raise CaptureError(f"{self.address} did not answer within {limit_s:g} s.", hint=_HINT_NETWORK)
        return None

    def _pictures(self, reader: PacketReader, opened: Opened) -> Iterator[RawFrame]:
        threads = self.config.decoder_threads
        decoder = Decoder.of_context(opened.context, self._limits, threads, Aim.LIVE)
        is_synchronous = False
        first_pts: int | None = None
        packet_ns = picture_ns = self.clock.monotonic_ns()
        while not self.closed.is_set():
            try:
                item = reader.get(_LOOK_S)
            except EOFError:
                raise SourceEndedError(f"{self.address} ended the stream.") from None
            now_ns = self.clock.monotonic_ns()
            if item is None:
                silent_s = (now_ns - packet_ns) / NANOSECONDS
                if silent_s >= self._silent_s:
                    raise self._stalled(silent_s)
                continue
            packet_ns = now_ns
            if now_ns - picture_ns > _NO_PICTURE_S * NANOSECONDS:
                raise CaptureError(
                    f"{self.address} sends packets, but no picture could be decoded for {_NO_PICTURE_S:g} s.",
                    hint="Set the camera to H.264 or H.265 with a keyframe every one or two seconds.",
                )
            if isinstance(item, Lost):
                for _ in range(item.count):
                    self.observer.dropped(DropReason.DECODER_SLOW)
                is_synchronous = False
                continue
            if not isinstance(item, Packet):
                continue
            if not is_synchronous and not item.is_keyframe:
                self.observer.dropped(DropReason.BEFORE_KEYFRAME)
                continue
            if not is_synchronous:
                # Pictures from before the gap would come out mixed with those after it.
                decoder.flush()
                first_pts = item.pts
            is_synchronous = not item.is_corrupt
            frames: list[av.VideoFrame] = []
            if is_synchronous:
                try:
                    frames = decoder.decode(item)
                except DecodeError:
                    is_synchronous = False
            if not is_synchronous:
                self.observer.dropped(DropReason.DECODE_ERROR)
            for frame in frames:
                if first_pts is not None and frame.pts is not None and frame.pts < first_pts:
                    # HEVC: the broken picture itself outlives the flush.
                    continue
                if frame.is_corrupt or not is_synchronous:
                    # What follows predicts from this one: it would show the same damage unmarked.
                    self.observer.dropped(DropReason.DECODE_ERROR)
                    is_synchronous = False
                    continue
                picture_ns = now_ns
                raw = self.intake.take(
                    frame, pts=frame.pts, time_base=opened.time_base, sample_aspect=decoder.sample_aspect
                )
                if raw is not None:
                    yield raw

    def _stalled(self, silent_s: float) -> StreamStalledError:
        return StreamStalledError(
            f"{self.address} is connected and has sent no picture for {silent_s:.1f} s.",
            hint="Check the camera's load and the network.",
        )

    def _open(self) -> InputContainer:
        config = self.config
        options = {
            "rtsp_transport": config.transport,
            # Audio and metadata tracks are not even asked for.
            "allowed_media_types": "video",
            "timeout": str(round(self._silent_s * 1e6)),
            "max_delay": str(_ALLOW_UDP_REORDER_US),
            "buffer_size": str(_UDP_BUFFER_BYTES),
            "analyzeduration": str(_PROBE_US),
            "fpsprobesize": "3",
            **self._limits.codec_options,
        }
        started_ns = self.clock.monotonic_ns()
        container = av.open(
            self.address.url(),
            options=options,
            metadata_errors="ignore",
            timeout=(config.connect_timeout_s * _SILENT_SHARE, self._silent_s),
        )
        took_s = (self.clock.monotonic_ns() - started_ns) / NANOSECONDS
        if took_s >= self._silent_s and not any(s.codec_context.pix_fmt for s in container.streams.video):
            # The library looks for a first picture and takes a timeout there for the end of looking.
            container.close()
            raise self._stalled(took_s)
        return container

    def _failure(self, error: av.FFmpegError, phase: Phase) -> CaptureError:
        """Our error for one of the library's, whose text and arguments hold the address with the password."""
        where = str(self.address)
        match error:
            case av.error.HTTPUnauthorizedError() | av.error.HTTPForbiddenError():
                return AccessRefusedError(
                    f"{where} refuses the user or the password.",
                    hint="Check capture.user and capture.password_file.",
                )
            case av.error.HTTPNotFoundError():
                return CaptureError(f"{where}: the camera has no such stream.", hint="Check the path.")
            case av.error.HTTPOtherClientError() if phase is Phase.OPENING:
                # Of a camera with sound alone no track is asked for, and playing none is refused.
                return CaptureError(
                    f"{where}: the camera has no video there, or refuses to send it.",
                    hint="Check that the path names a video stream, and how many viewers the camera takes.",
                )
            case av.error.ConnectionRefusedError():
                return CaptureError(f"{where} refuses the connection.", hint="Check address and port.")
            case av.error.TimeoutError() | av.error.ExitError() if phase is Phase.READING:
                return self._stalled(self._silent_s)
            case av.error.InvalidDataError() if phase is Phase.OPENING:
                # Also how the library puts a host that accepts the connection and says nothing.
                return CaptureError(f"{where} does not answer as an RTSP camera does.", hint=_HINT_NETWORK)
            case av.error.TimeoutError() | av.error.ExitError():
                return CaptureError(f"{where} does not answer in time.", hint=_HINT_NETWORK)
        return CaptureError(f"{where} cannot be read: {error.strerror}.", hint=_HINT_NETWORK)


_HINT_NETWORK: Final = "Check power, cable and address of the camera."
