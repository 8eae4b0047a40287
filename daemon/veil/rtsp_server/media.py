"""Viewers: each RTSP client has a pipeline of its own, so that a slow one harms nobody.

`appsrc ! h264parse ! rtph264pay`: nothing is transcoded.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Final

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst, GstRtsp, GstRtspServer  # noqa: E402

from veil.rtsp_server.gate import KeyframeGate  # noqa: E402

MOST_QUEUED_NS: Final = 2_000_000_000
MOST_QUEUED_BYTES: Final = 8 << 20
MOST_STALLED_NS: Final = 10_000_000_000
_LAUNCH: Final = (
    "( appsrc name=src is-live=true format=time block=false max-bytes=0 min-latency=0 do-timestamp=false"
    " caps=video/x-h264,stream-format=byte-stream,alignment=au"
    " ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1 )"
)


class GstViewer:
    """One client's pipeline. What it may have is decided by its gate."""

    def __init__(self, media: Any, source: Any) -> None:
        self.media = media
        self.gate = KeyframeGate()
        self.is_ended = False
        self._source = source
        self._pipeline = source.get_parent().get_parent()

    def show(self, data: bytes, at_ns: int, *, keyframe: bool) -> None:
        """Puts the picture into the client's queue; `at_ns` is on the clock of its pipeline."""
        if not self.gate.admits(time.monotonic_ns(), keyframe=keyframe, has_room=self._has_room()):
            return
        buffer = Gst.Buffer.new_wrapped(data)
        buffer.pts = max(0, at_ns - self._pipeline.get_base_time())
        buffer.dts = buffer.pts
        if not keyframe:
            buffer.set_flags(Gst.BufferFlags.DELTA_UNIT)
        self._source.emit("push-buffer", buffer)

    def _has_room(self) -> bool:
        waiting_ns = self._source.get_property("current-level-time")
        waiting_bytes = self._source.get_property("current-level-bytes")
        return bool(waiting_ns <= MOST_QUEUED_NS and waiting_bytes <= MOST_QUEUED_BYTES)

    def disconnect(self) -> None:
        """The stream ends; the connection is closed by the server's next look around."""
        self.is_ended = True
        self._source.emit("end-of-stream")


class Factory(GstRtspServer.RTSPMediaFactory):  # type: ignore[misc]
    """Makes one media for each client of one camera.

    Args:
        is_open: whether another viewer is allowed; where not, clients get an error.
        started: called with each viewer as soon as its pipeline runs.
        stopped: called when its pipeline is gone.
    """

    def __init__(
        self,
        is_open: Callable[[], bool],
        started: Callable[[GstViewer], None],
        stopped: Callable[[GstViewer], None],
    ) -> None:
        super().__init__()
        self._is_open = is_open
        self._started = started
        self._stopped = stopped
        self.set_shared(False)
        self.set_suspend_mode(GstRtspServer.RTSPSuspendMode.NONE)
        self.set_protocols(GstRtsp.RTSPLowerTrans.UDP | GstRtsp.RTSPLowerTrans.TCP)
        self.set_latency(0)
        self.set_buffer_size(1 << 20)
        self.connect("media-configure", self._configure)

    def do_create_element(self, _url: Any) -> Any:
        """None, which the client sees as 503, when there are too many."""
        return Gst.parse_launch(_LAUNCH) if self._is_open() else None

    def _configure(self, _factory: Any, media: Any) -> None:
        source = media.get_element().get_by_name("src")
        viewers: list[GstViewer] = []
        lock = threading.Lock()

        def need_data(*_: Any) -> None:
            # Only a running pipeline asks, so its base time is known now.
            with lock:
                if viewers:
                    return
                viewers.append(GstViewer(media, source))
            source.disconnect(asked[0])
            self._started(viewers[0])

        def unprepared(*_: Any) -> None:
            media.disconnect(ended[0])
            for viewer in viewers:
                self._stopped(viewer)
            viewers.clear()

        asked = [source.connect("need-data", need_data)]
        ended = [media.connect("unprepared", unprepared)]
