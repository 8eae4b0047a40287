"""Joins cameras, viewers and the RTSP server; the only file that sees all of them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
gi.require_version("GLib", "2.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

from veil.rtsp_server.camera import Camera  # noqa: E402
from veil.rtsp_server.ingest import Connection  # noqa: E402
from veil.rtsp_server.media import MOST_STALLED_NS, Factory, GstViewer  # noqa: E402
from veil.rtsp_server.wire import Hello, Packet  # noqa: E402

TICK_MS: Final = 100
MOST_VIEWERS: Final = 32
MOST_SESSIONS: Final = 256
_CLEAN_UP_S: Final = 5


class RtspServer:
    """`rtsp://address:port/NAME` for each camera that ever said hello. A context manager.

    Cameras are heard in the main loop; viewers come and go in threads of the RTSP server. One lock guards
    both, and nothing that may block is done while it is held.

    Raises OSError where the address cannot be listened at.
    """

    def __init__(self, address: str, port: int, slate_after_s: float, report: Callable[[str], None]) -> None:
        self._address, self._port = address, port
        self._slate_after_ns = int(slate_after_s * 1e9)
        self._report = report
        self._lock = threading.RLock()
        self._cameras: dict[str, Camera] = {}
        self._connections: dict[str, Connection] = {}
        self._viewers: set[GstViewer] = set()
        self._disconnected = 0
        self._dropped = 0
        self._server = GstRtspServer.RTSPServer()
        self._sources: list[int] = []

    @property
    def port(self) -> int:
        """Where it really listens."""
        return int(self._server.get_bound_port())

    def __enter__(self) -> RtspServer:
        self._server.set_address(self._address)
        self._server.set_service(str(self._port))
        # A thread for each client, because some of their requests wait for a picture.
        self._server.get_thread_pool().set_max_threads(-1)
        self._server.get_session_pool().set_max_sessions(MOST_SESSIONS)
        source = self._server.attach(None)
        if not source:
            raise OSError(98, "cannot listen", f"{self._address}:{self._port}")
        self._sources = [
            source,
            GLib.timeout_add(TICK_MS, self._tick),
            GLib.timeout_add_seconds(_CLEAN_UP_S, self._clean_up),
        ]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for source in self._sources:
            GLib.source_remove(source)
        self._server.client_filter(lambda *_: GstRtspServer.RTSPFilterResult.REMOVE)

    def hello(self, hello: Hello, connection: Connection) -> None:
        """A camera says hello; a connection that it had before is of a process that is gone."""
        now = time.monotonic_ns()
        with self._lock:
            before = self._connections.get(hello.name)
            self._connections[hello.name] = connection
            camera = self._cameras.get(hello.name)
            is_new = camera is None
            if camera is None:
                camera = Camera(hello, slate_after_ns=self._slate_after_ns, now_ns=now)
                self._cameras[hello.name] = camera
            ended = camera.connected(hello, connection.request_keyframe)
        if before is not None and before is not connection:
            before.close()
        for viewer in ended:
            viewer.disconnect()
        if is_new:
            self._mount(hello.name, camera)
        self._report(f"camera {hello.name} is connected, {hello.width}x{hello.height}")

    def packet(self, name: str, packet: Packet) -> None:
        with self._lock:
            self._cameras[name].packet(packet, time.monotonic_ns())

    def gone(self, name: str, connection: Connection) -> None:
        with self._lock:
            if self._connections.get(name) is not connection:
                return
            del self._connections[name]
            self._cameras[name].disconnected(time.monotonic_ns())
        self._report(f"camera {name} is gone; its viewers see the slate")

    def stats(self) -> bytes:
        """Counts since the start, as JSON."""
        with self._lock:
            cameras = {
                name: {
                    "state": camera.state,
                    "connected": camera.is_connected,
                    "viewers": len(camera.viewers),
                    "packets": camera.packets,
                    "slates": camera.slates,
                }
                for name, camera in self._cameras.items()
            }
            return json.dumps(
                {
                    "cameras": cameras,
                    "pipelines": len(self._viewers),
                    "dropped": self._dropped + sum(viewer.gate.dropped for viewer in self._viewers),
                    "disconnected": self._disconnected,
                }
            ).encode()

    def _mount(self, name: str, camera: Camera) -> None:
        def is_open() -> bool:
            with self._lock:
                return len(camera.viewers) < MOST_VIEWERS

        def started(viewer: GstViewer) -> None:
            with self._lock:
                self._viewers.add(viewer)
                camera.add(viewer, time.monotonic_ns())

        def stopped(viewer: GstViewer) -> None:
            with self._lock:
                camera.remove(viewer)
                self._viewers.discard(viewer)
                self._dropped += viewer.gate.dropped

        self._server.get_mount_points().add_factory(f"/{name}", Factory(is_open, started, stopped))

    def _tick(self) -> bool:
        now = time.monotonic_ns()
        with self._lock:
            for camera in self._cameras.values():
                camera.tick(now)
            ended = [viewer.media for viewer in self._viewers if _is_over(viewer, now)]
        if ended:
            self._disconnect(ended)
        return True

    def _disconnect(self, medias: list[Any]) -> None:
        """Closes the connections of the clients that play one of `medias`."""
        keep, remove = GstRtspServer.RTSPFilterResult.KEEP, GstRtspServer.RTSPFilterResult.REMOVE

        def of_client(_server: Any, client: Any, *_: Any) -> Any:
            found: list[bool] = []

            def of_session(_client: Any, session: Any, *_: Any) -> Any:
                def of_media(_session: Any, session_media: Any, *_: Any) -> Any:
                    if session_media.get_media() in medias:
                        found.append(True)
                    return keep

                session.filter(of_media)
                return keep

            client.session_filter(of_session)
            if not found:
                return keep
            self._disconnected += 1
            return remove

        self._server.client_filter(of_client)

    def _clean_up(self) -> bool:
        """Ends sessions of clients that vanished without a word (UDP)."""
        self._server.get_session_pool().cleanup()
        return True


def _is_over(viewer: GstViewer, now_ns: int) -> bool:
    since = viewer.gate.stalled_since_ns
    return viewer.is_ended or (since is not None and now_ns - since > MOST_STALLED_NS)


def initialize() -> None:
    """Loads GStreamer. Raises RuntimeError where an element is missing."""
    Gst.init(None)
    missing = [
        name for name in ("appsrc", "h264parse", "rtph264pay") if Gst.ElementFactory.find(name) is None
    ]
    if missing:
        raise RuntimeError(f"GStreamer lacks {', '.join(missing)}")
