"""The RTSP server as far as a camera and a viewer can tell: the real protocol and the real choice between
pictures and slate (`veil.rtsp_server.camera`). In place of GStreamer there is a viewer that takes notes."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from pathlib import Path
from types import TracebackType

from veil.rtsp_server.camera import Camera
from veil.rtsp_server.wire import Hello, Kind, MessageReader, Packet, ProtocolError, message

_TICK_S = 0.03


class Viewer:
    """Notes when it was shown something."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def show(self, data: bytes, at_ns: int, *, keyframe: bool) -> None:
        del data, at_ns, keyframe
        self.times.append(time.monotonic())

    def disconnect(self) -> None:
        """The server takes it on again by itself, as a VMS would do."""


class ViewerServer:
    """Serves one camera to one viewer that is always there. A context manager with one thread."""

    def __init__(self, path: Path, slate_after_s: float) -> None:
        self._path = path
        self._slate_after_ns = int(slate_after_s * 1e9)
        self.viewer = Viewer()
        self.camera: Camera | None = None
        self._done = threading.Event()
        self.stalled = threading.Event()
        self._away = threading.Event()
        self._selector = selectors.DefaultSelector()
        self._listener: socket.socket | None = None
        self._peers: dict[socket.socket, MessageReader] = {}
        self._thread = threading.Thread(target=self._run, name="viewer-server", daemon=True)

    def __enter__(self) -> ViewerServer:
        self._listen()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self._close()
        self._selector.close()

    def kill(self) -> None:
        """Everything it knew is lost, and nobody listens until `back`."""
        self._away.set()

    def back(self) -> None:
        self._away.clear()

    def _listen(self) -> None:
        self._path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self._path))
        self._listener.listen(16)
        self._selector.register(self._listener, selectors.EVENT_READ)

    def _close(self) -> None:
        for peer in list(self._peers):
            self._drop(peer)
        if self._listener is not None:
            self._selector.unregister(self._listener)
            self._listener.close()
            self._listener = None
        self._path.unlink(missing_ok=True)
        self.camera = None

    def _drop(self, peer: socket.socket) -> None:
        self._selector.unregister(peer)
        del self._peers[peer]
        peer.close()
        if self.camera is not None and not self._peers:
            self.camera.disconnected(time.monotonic_ns())

    def _run(self) -> None:
        while not self._done.is_set():
            if self._away.is_set():
                if self._listener is not None:
                    self._close()
                time.sleep(_TICK_S)
                continue
            if self._listener is None:
                self._listen()
            if self.stalled.is_set():
                time.sleep(_TICK_S)
                continue
            for key, _ in self._selector.select(_TICK_S):
                if key.fileobj is self._listener:
                    self._accept()
                elif isinstance(key.fileobj, socket.socket):
                    self._read(key.fileobj)
            if self.camera is not None:
                self.camera.tick(time.monotonic_ns())

    def _accept(self) -> None:
        assert self._listener is not None
        peer, _ = self._listener.accept()
        peer.setblocking(False)
        self._peers[peer] = MessageReader()
        self._selector.register(peer, selectors.EVENT_READ)

    def _read(self, peer: socket.socket) -> None:
        try:
            data = peer.recv(1 << 18)
            if not data:
                raise ConnectionResetError
            for kind, payload in self._peers[peer].feed(data):
                self._heard(peer, kind, payload)
        except BlockingIOError:
            return
        except (OSError, ProtocolError):
            self._drop(peer)

    def _heard(self, peer: socket.socket, kind: Kind, payload: bytes) -> None:
        now = time.monotonic_ns()

        def ask() -> None:
            with contextlib.suppress(OSError):
                peer.send(message(Kind.KEYFRAME))

        if kind is Kind.HELLO:
            hello = Hello.decode(payload)
            if self.camera is None:
                self.camera = Camera(hello, slate_after_ns=self._slate_after_ns, now_ns=now)
            ended = self.camera.connected(hello, ask)
            if ended or not self.camera.viewers:
                self.camera.add(self.viewer, now)
        elif kind is Kind.PACKET and self.camera is not None:
            self.camera.packet(Packet.decode(payload), now)
