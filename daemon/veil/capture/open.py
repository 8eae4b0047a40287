"""From a source string to a Source."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from veil.capture.address import SCHEMES
from veil.capture.file import FileSource
from veil.capture.rtsp import RtspSource
from veil.capture.source import CaptureObserver, PoolProvider, Source
from veil.config import CameraConfig, redact
from veil.domain.clock import Clock
from veil.errors import CaptureError

_KINDS: Final = "Give rtsp://HOST/PATH, /dev/videoN, or the path of a video file."
_V4L2_PREFIX: Final = "v4l2:"
_SCHEME: Final = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+)://")


def open_source(config: CameraConfig, pools: PoolProvider, observer: CaptureObserver, clock: Clock) -> Source:
    """The source that `config.source` names; nothing is connected before `frames()` is read.

    `rtsp://` and `rtsps://` are network cameras, `/dev/video*` and `v4l2:PATH` local ones, all else is
    a file.

    Raises:
        CaptureError: the string names none of these. Folders are walked by `veil anonymize`, not here.
    """
    source = config.source.strip()
    scheme = _SCHEME.match(source)
    if scheme is not None:
        if scheme.group(1).lower() not in SCHEMES:
            raise CaptureError(f"Sources of type {scheme.group(1)}:// cannot be read.", hint=_KINDS)
        return RtspSource(source, config.capture, pools, observer, clock)
    if not source:
        raise CaptureError("The camera has no source.", hint=_KINDS)
    if source.startswith(_V4L2_PREFIX) or source.startswith("/dev/"):
        try:
            # Only here: boxes without local cameras need not have linuxpy (docs/decisions/0008).
            from veil.capture.v4l2 import V4l2Source
        except ModuleNotFoundError as error:
            raise CaptureError(
                f"Local cameras need the package {error.name}.", hint="pip install linuxpy"
            ) from error
        device = Path(source.removeprefix(_V4L2_PREFIX))
        return V4l2Source(device, config.capture, pools, observer, clock)
    path = Path(source)
    if path.is_dir():
        raise CaptureError(
            f"{redact(source)} is a folder.", hint="Give one file, or use veil anonymize for folders."
        )
    if not path.exists():
        raise CaptureError(f"{redact(source)} does not exist.", hint=_KINDS)
    return FileSource(path, config.capture, pools, observer, clock)
