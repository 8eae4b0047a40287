"""Video files."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from veil.capture.copy import rotation_of
from veil.capture.decoder import DecodeError, Decoder, Limits, Threading, frame_rate_of
from veil.capture.intake import Intake, Timeline, wait_for_slot
from veil.capture.source import CaptureObserver, DropReason, PoolProvider
from veil.config import CaptureConfig
from veil.domain.clock import Clock
from veil.errors import CaptureError
from veil.frames.raw import RawFrame


class FileSource:
    """A video file: each of its pictures once, in order, with the timestamps of the file.

    A display matrix is applied while copying (in quarter turns), so that frames are upright and the output
    needs none. Where nobody takes frames, reading waits. Broken packets are counted and skipped.
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
        """Raises CaptureError for a file without a single decodable picture, FrameTooLargeError."""
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
        options = {"protocol_whitelist": "file", **self._limits.codec_options}
        try:
            return av.open(name, options=options, metadata_errors="ignore")
        except FileNotFoundError:
            raise CaptureError(f"{self._path} does not exist.", hint="Check the path.") from None
        except PermissionError:
            raise CaptureError(f"{self._path} may not be read.", hint="Check its permissions.") from None
        except (av.FFmpegError, ValueError, OSError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise CaptureError(
                f"{self._path} cannot be read as video: {reason}.", hint="Is it a video, and complete?"
            ) from None

    def _read(self, container: InputContainer) -> Iterator[RawFrame]:
        stream = container.streams.best("video")
        if not isinstance(stream, VideoStream) or stream.time_base is None:
            raise CaptureError(f"{self._path} has no video in it.")
        decoder = Decoder.of_stream(stream, self._limits, self._threads, Threading.AUTO)
        self.intake.begin(frame_rate_of(stream), Timeline)
        packets = container.demux(stream)
        while not self._closed.is_set():
            try:
                frames = decoder.decode(next(packets))
            except StopIteration:
                return
            except DecodeError:
                self._observer.dropped(DropReason.DECODE_ERROR)
                continue
            except av.FFmpegError:
                # Reading on after an error of the container may never end; what is inside still comes out.
                self._observer.dropped(DropReason.DECODE_ERROR)
                packets = iter(())
                frames = self._flush(decoder)
            for frame in frames:
                raw = self.intake.take(
                    frame, pts=frame.pts, time_base=stream.time_base, rotation=rotation_of(frame)
                )
                if raw is None:
                    return
                yield raw

    def _flush(self, decoder: Decoder) -> list[av.VideoFrame]:
        try:
            return decoder.decode(None)
        except DecodeError:
            self._observer.dropped(DropReason.DECODE_ERROR)
            return []
