"""A masked picture of the camera every few seconds, for previews."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

from PIL import Image

from veil.channel import ChannelClosedError, Latest
from veil.config import PreviewConfig
from veil.domain.clock import NANOSECONDS, Clock
from veil.errors import SinkError
from veil.frames.masked import MaskedFrame
from veil.frames.picture import ColorInfo, Planes
from veil.sinks.beside import remove_left_parts
from veil.sinks.pixels import scaled, to_rgb
from veil.sinks.still import encode_rgb, replace_file

_WAKE_S: Final = 1.0
_JOIN_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class _Picture:
    """A small copy of a masked frame. `width`, `height` visible; `lines` of the frame as captured."""

    planes: Planes
    color: ColorInfo
    width: int
    height: int
    lines: int


class SnapshotSink:
    """Keeps one JPEG up to date. A context manager with one thread.

    Args:
        config: the `[preview]` section.
        path: of the JPEG; its folder is made when missing.
    """

    def __init__(self, config: PreviewConfig, path: Path, clock: Clock) -> None:
        self._config = config
        self._path = path
        self._clock = clock
        self._due_ns = 0
        self._channel: Latest[_Picture] = Latest(1, lambda _: None)
        self._thread = threading.Thread(target=self._work, name="snapshot", daemon=True)
        self._written = 0
        self._failed = 0

    @property
    def written(self) -> int:
        return self._written

    @property
    def failed(self) -> int:
        """Pictures that the disk did not take. Previews are worth no more than a count."""
        return self._failed

    def __enter__(self) -> SnapshotSink:
        """Raises SinkError where the folder cannot be made."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SinkError(
                f"{self._path.parent} cannot be made: {error.strerror}.", hint="Set box.runtime_dir."
            ) from error
        remove_left_parts(self._path)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Waits for the last picture."""
        self._channel.close()
        self._thread.join(_JOIN_S)

    def offer(self, frame: MaskedFrame) -> None:
        """Takes a small copy when one is due, else nothing. `frame` stays the caller's, to release."""
        now = self._clock.monotonic_ns()
        if now < self._due_ns:
            return
        self._due_ns = now + int(self._config.interval_s * NANOSECONDS)
        info, height = frame.info, frame.planes.y.shape[0]
        share = min(1.0, self._config.max_width / info.width)
        coded_width = frame.planes.y.shape[1]
        small = scaled(frame.planes, _even(coded_width * share), _even(height * share))
        self._channel.put(
            _Picture(
                small,
                info.color,
                min(small.y.shape[1], max(1, round(info.width * share))),
                min(small.y.shape[0], max(1, round(info.height * share))),
                info.height,
            )
        )

    def _work(self) -> None:
        try:
            while True:
                picture = self._channel.get(_WAKE_S)
                if picture is not None:
                    self._write(picture)
        except ChannelClosedError:
            return

    def _write(self, picture: _Picture) -> None:
        pixels = to_rgb(picture.planes, picture.color, picture.width, picture.height, picture.lines)
        content = encode_rgb(Image.fromarray(pixels), "JPEG", self._config.quality)
        try:
            replace_file(self._path, content)
        except SinkError:
            self._failed += 1
        else:
            self._written += 1


def _even(size: float) -> int:
    """The nearest even number, at least two."""
    return max(2, 2 * round(size / 2))
