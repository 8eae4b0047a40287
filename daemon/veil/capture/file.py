"""Video files."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.stream import VideoStream

from veil.capture.copy import rotation_of
from veil.capture.decoder import Aim, DecodeError, Decoder, Limits, frame_rate_of
from veil.capture.intake import Intake, Timeline, wait_for_slot
from veil.capture.source import CaptureObserver, DropReason, PoolProvider
from veil.config import CaptureConfig
from veil.domain.clock import Clock
from veil.errors import CaptureError
from veil.frames.raw import RawFrame

ONLY_READ = frozenset(
    {
        *(".3gp", ".asf", ".avi", ".flv", ".gif", ".mpeg", ".mpg", ".mxf", ".ogv", ".vob", ".webm", ".wmv"),
        *(".m2ts", ".mts", ".264", ".265", ".h264", ".h265", ".hevc", ".mjpeg", ".mjpg"),
    }
)
"""Suffixes of videos that are taken from folders and not written."""
_COVER = Disposition.attached_pic
_PLAYLISTS = frozenset({"concat", "dash", "hls", "sdp"})


class Hidden(Enum):
    """Whether a codec has packets that are decoded and never shown (VP8's alternate references)."""

    NEVER = "never"
    SOMETIMES = "sometimes"

    @classmethod
    def of(cls, stream: VideoStream) -> Hidden:
        return cls.SOMETIMES if stream.codec_context.name == "vp8" else cls.NEVER


class _Missing:
    """Counts packets that gave no picture, at the end: several are decoded at once, so that an error does not
    say which one it belongs to, and some decoders skip broken ones without an error.

    Args:
        hidden: what the codec says about packets that are not meant to be shown.
    """

    def __init__(self, observer: CaptureObserver, hidden: Hidden) -> None:
        self._observer = observer
        self._hidden = hidden
        self._open = 0

    def sent(self, packet: Packet[VideoStream]) -> None:
        if packet.size and not packet.is_discard:
            self._open += 1

    def got(self, pictures: int) -> None:
        self._open -= pictures

    def report(self) -> None:
        if self._hidden is Hidden.NEVER:
            for _ in range(self._open):
                self._observer.dropped(DropReason.DECODE_ERROR)


class FileSource:
    """A video file: each of its pictures once, in order, with the timestamps of the file.

    A display matrix is applied while copying (in quarter turns), so that frames are upright and the output
    needs none. Where nobody takes frames, reading waits. Broken packets are counted and skipped. Of several
    streams the best is taken; a cover picture is none.
    """

    def __init__(
        self,
        path: Path,
        config: CaptureConfig,
        pools: PoolProvider,
        observer: CaptureObserver,
        clock: Clock,
    ) -> None:
        self._path = path
        self._limits = Limits.of(config)
        self._threads = config.decoder_threads
        self._observer = observer
        self._closed = threading.Event()
        self.intake = Intake(pools, observer, clock, wait_for_slot(self._closed))

    @property
    def is_live(self) -> bool:
        return False

    def close(self) -> None:
        self._closed.set()

    def frames(self) -> Iterator[RawFrame]:
        """Raises CaptureError for a file without a single decodable picture, or one that is encrypted;
        FrameTooLargeError."""
        delivered = False
        with self._open() as container:
            for raw in self._read(container):
                delivered = True
                yield raw
        if not delivered and not self._closed.is_set():
            raise CaptureError(f"{self._path} has no picture that can be decoded.", hint="Is it a video?")

    def _open(self) -> InputContainer:
        # "file:" keeps a name like "rtsp:x" or "a:b" from being taken for a protocol; the whitelist keeps
        # a playlist from opening anything else.
        name = "file:" + os.fspath(self._path)
        # Where a clock jumps back, the timeline goes on; the library would take it for a jump of 26 hours.
        options = {
            "protocol_whitelist": "file",
            "correct_ts_overflow": "0",
            **self._limits.codec_options,
        }
        try:
            with self._path.open("rb"):
                pass
            container = av.open(name, options=options, metadata_errors="ignore")
        except FileNotFoundError:
            raise CaptureError(f"{self._path} does not exist.", hint="Check the path.") from None
        except PermissionError:
            raise CaptureError(
                f"{self._path} may not be read.",
                hint="Check its permissions. A list of files is not read: name the videos.",
            ) from None
        except (av.FFmpegError, ValueError, OSError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise CaptureError(
                f"{self._path} cannot be read as video: {reason}.", hint="Is it a video, and complete?"
            ) from None
        if container.format.name in _PLAYLISTS:
            container.close()
            raise CaptureError(f"{self._path} only lists other files.", hint="Name the videos themselves.")
        return container

    def _read(self, container: InputContainer) -> Iterator[RawFrame]:
        stream = _video_of(container)
        if stream is None or stream.time_base is None:
            raise CaptureError(f"{self._path} has no video in it.", hint="Name a file with a video.")
        decoder = Decoder.of_stream(stream, self._limits, self._threads, Aim.FILE)
        # AVI has no presentation times; what the library makes up for them is uneven at the end.
        is_avi = container.format.name == "avi"
        # Its average counts fields.
        rate = stream.guessed_rate if is_avi else None
        self.intake.begin(float(rate) if rate else frame_rate_of(stream), Timeline)
        packets = container.demux(stream)
        missing = _Missing(self._observer, Hidden.of(stream))
        while not self._closed.is_set():
            try:
                packet = next(packets)
                if packet.has_sidedata("encryption_info"):
                    raise CaptureError(f"{self._path} is encrypted.", hint="Decrypt it first.")
                missing.sent(packet)
                frames = decoder.decode(packet)
            except StopIteration:
                missing.report()
                return
            except DecodeError:
                continue
            except av.FFmpegError:
                # Reading on after an error of the container may never end; what is inside still comes out.
                self._observer.dropped(DropReason.DECODE_ERROR)
                packets = iter(())
                frames = self._flush(decoder)
            missing.got(len(frames))
            for frame in frames:
                raw = self.intake.take(
                    frame,
                    pts=frame.dts if is_avi else frame.pts,
                    time_base=stream.time_base,
                    rotation=rotation_of(frame),
                    sample_aspect=stream.sample_aspect_ratio,
                )
                if raw is None:
                    return
                yield raw

    def _flush(self, decoder: Decoder) -> list[av.VideoFrame]:
        try:
            return decoder.decode(None)
        except DecodeError:
            return []


def _video_of(container: InputContainer) -> VideoStream | None:
    """The best stream that is a video and not a cover picture."""
    videos = [stream for stream in container.streams.video if not stream.disposition & _COVER]
    best = container.streams.best("video")
    return best if isinstance(best, VideoStream) and best in videos else next(iter(videos), None)
