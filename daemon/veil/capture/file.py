"""Video files."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from operator import attrgetter
from pathlib import Path

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.stream import VideoStream

from veil.capture.copy import DisplayMatrix
from veil.capture.decoder import Aim, Decoder, Limits, frame_rate_of
from veil.capture.intake import Intake, Timeline, wait_for_slot
from veil.capture.mend import Absent, Mender, Shown
from veil.capture.source import CaptureObserver, DropReason, PoolProvider
from veil.config import CaptureConfig
from veil.domain.clock import Clock
from veil.errors import CaptureError
from veil.frames.raw import RawFrame

ONLY_READ = frozenset(
    {
        *(".3gp", ".asf", ".avi", ".flv", ".gif", ".mpeg", ".mpg", ".mxf", ".ogv", ".vob", ".webm", ".wmv"),
        *(".m2ts", ".mts", ".264", ".265", ".h264", ".h265", ".hevc", ".mjpeg", ".mjpg"),
        *(".3g2", ".dav", ".divx", ".f4v", ".ivf", ".m1v", ".m2t", ".m2v", ".mpe", ".nut", ".y4m"),
    }
)
"""Suffixes of videos that are taken from folders and not written."""
_COVER = Disposition.attached_pic
_TOO_LARGE = (
    "Raise capture.max_width and capture.max_height in the configuration, or by the environment: "
    "VEIL_CAPTURE__MAX_WIDTH and VEIL_CAPTURE__MAX_HEIGHT."
)
_PLAYLISTS = frozenset({"concat", "dash", "hls", "sdp"})


class FileSource:
    """A video file: each of its pictures once, in order, with the timestamps of the file.

    A display matrix is applied while copying (in quarter turns), so that frames are upright and the output
    needs none. Where nobody takes frames, reading waits. What cannot be decoded without damage comes as a
    grey picture that says so (`FrameInfo.is_damaged`). Of several streams the best is taken; a cover picture
    is none.

    Attributes:
        other_videos: how many streams were not taken; known once frames come.
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
        self._limits = Limits.of(config, advice=_TOO_LARGE)
        self._threads = config.decoder_threads
        self._observer = observer
        self._closed = threading.Event()
        self.other_videos = 0
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
        with ExitStack() as scope:
            for raw in self._read(scope.enter_context(self._open()), scope):
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

    def _read(self, container: InputContainer, scope: ExitStack) -> Iterator[RawFrame]:
        stream = _video_of(container)
        if stream is None or stream.time_base is None:
            raise CaptureError(f"{self._path} has no video in it.", hint="Name a file with a video.")
        self.other_videos = len(_videos_of(container)) - 1
        decoder = Decoder.of_stream(stream, self._limits, self._threads, Aim.FILE)
        # AVI has no presentation times; what the library makes up for them is uneven at the end.
        is_avi = container.format.name == "avi"
        # Its average counts fields.
        rate = stream.guessed_rate if is_avi else None
        self.intake.begin(float(rate) if rate else frame_rate_of(stream), Timeline)
        stamp = attrgetter("dts" if is_avi else "pts")
        matrix = DisplayMatrix()
        mender = Mender(stream, decoder, partial(self._careful_decoder, scope), stamp)
        for picture in mender.pictures(self._packets(container, stream)):
            take: Callable[..., RawFrame | None]
            match picture:
                case Shown(frame=frame):
                    take = self.intake.take
                case Absent(like=frame):
                    take = self.intake.stand_in
            raw = take(
                frame,
                pts=picture.pts,
                time_base=stream.time_base,
                rotation=matrix.of(frame),
                sample_aspect=stream.sample_aspect_ratio,
            )
            if raw is None:
                return
            yield raw
        for _ in range(mender.missing):
            self._observer.dropped(DropReason.DECODE_ERROR)

    def _packets(self, container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
        try:
            for packet in container.demux(stream):
                if self._closed.is_set():
                    return
                if packet.has_sidedata("encryption_info"):
                    raise CaptureError(f"{self._path} is encrypted.", hint="Decrypt it first.")
                if packet.size:
                    yield packet
        except av.FFmpegError:
            # Reading on after an error of the container may never end.
            self._observer.dropped(DropReason.DECODE_ERROR)

    def _careful_decoder(self, scope: ExitStack) -> Decoder:
        """Another one for the same stream."""
        stream = _video_of(scope.enter_context(self._open()))
        if stream is None:
            raise CaptureError(f"{self._path} has changed.", hint="Anonymize it when it is complete.")
        return Decoder.of_stream(stream, self._limits, 1, Aim.FILE)


def _video_of(container: InputContainer) -> VideoStream | None:
    """The best stream that is a video."""
    videos = _videos_of(container)
    best = container.streams.best("video")
    return best if isinstance(best, VideoStream) and best in videos else next(iter(videos), None)


def _videos_of(container: InputContainer) -> list[VideoStream]:
    """A cover picture is none."""
    return [stream for stream in container.streams.video if not stream.disposition & _COVER]
