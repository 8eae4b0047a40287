"""The Unix socket at which camera processes hand over their packets."""

from __future__ import annotations

import os
import socket
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol

import gi

gi.require_version("GLib", "2.0")
from gi.repository import GLib  # noqa: E402

from veil.rtsp_server.wire import (  # noqa: E402
    Hello,
    Kind,
    MessageReader,
    Packet,
    ProtocolError,
    message,
)

_READ: Final = 1 << 18
_MOST_CONNECTIONS: Final = 256
_SO_PEERCRED_FORMAT: Final = struct.Struct("3i")


class Hub(Protocol):
    """Where what cameras say goes."""

    def hello(self, hello: Hello, connection: Connection) -> None: ...

    def packet(self, name: str, packet: Packet) -> None: ...

    def gone(self, name: str, connection: Connection) -> None: ...

    def stats(self) -> bytes: ...


class Connection:
    """One camera process. Reads as fast as it says; writes only what fits."""

    def __init__(self, peer: socket.socket, hub: Hub, report: Callable[[str], None]) -> None:
        self._socket = peer
        self._hub = hub
        self._report = report
        self._reader = MessageReader()
        self._name: str | None = None
        self._watch: int | None = GLib.unix_fd_add_full(
            GLib.PRIORITY_DEFAULT,
            peer.fileno(),
            GLib.IOCondition.IN | GLib.IOCondition.HUP | GLib.IOCondition.ERR,
            self._readable,
        )

    @property
    def is_open(self) -> bool:
        return self._watch is not None

    def request_keyframe(self) -> None:
        """Does nothing for a camera that does not read; it will send a keyframe in time anyway."""
        self._send(message(Kind.KEYFRAME))

    def close(self) -> None:
        """Ends the connection; does nothing the second time."""
        watch, self._watch = self._watch, None
        if watch is None:
            return
        GLib.source_remove(watch)
        self._socket.close()
        if self._name is not None:
            self._hub.gone(self._name, self)

    def _send(self, data: bytes) -> None:
        if not self.is_open:
            return
        try:
            self._socket.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return
        except OSError:
            GLib.idle_add(self._close_later)

    def _close_later(self) -> bool:
        self.close()
        return False

    def _readable(self, *_: object) -> bool:
        try:
            data = self._socket.recv(_READ)
            if not data:
                raise ConnectionResetError("closed")
            for kind, payload in self._reader.feed(data):
                self._handle(kind, payload)
        except BlockingIOError:
            return True
        except ProtocolError as error:
            self._report(f"a camera process was disconnected: {error}")
            self.close()
        except OSError:
            self.close()
        return self.is_open

    def _handle(self, kind: Kind, payload: bytes) -> None:
        match kind:
            case Kind.HELLO:
                hello = Hello.decode(payload)
                if self._name not in {None, hello.name}:
                    raise ProtocolError(f"{self._name} now calls itself {hello.name}")
                self._name = hello.name
                self._hub.hello(hello, self)
            case Kind.PACKET:
                if self._name is None:
                    raise ProtocolError("a packet came before the hello")
                self._hub.packet(self._name, Packet.decode(payload))
            case Kind.STATS:
                self._send(message(Kind.STATS, self._hub.stats()))
            case Kind.KEYFRAME:
                raise ProtocolError("cameras do not ask for keyframes")


def _is_allowed(peer: socket.socket, group: int) -> bool:
    """Root, this service's own user, and members of the socket's group."""
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _SO_PEERCRED_FORMAT.size)
    _, user, peer_group = _SO_PEERCRED_FORMAT.unpack(credentials)
    return user in {0, os.geteuid()} or peer_group == group


class Ingest:
    """Listens at a path with mode 0660. A context manager.

    Raises OSError where the socket cannot be made, or another server answers at the path.
    """

    def __init__(self, path: Path, hub: Hub, report: Callable[[str], None]) -> None:
        self._path = path
        self._hub = hub
        self._report = report
        self._connections: list[Connection] = []
        self._socket: socket.socket | None = None
        self._watch: int | None = None
        self._group = os.getegid()

    def __enter__(self) -> Ingest:
        self._remove_stale()
        listener = socket.socket(
            socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        )
        before = os.umask(0o117)
        try:
            listener.bind(str(self._path))
        finally:
            os.umask(before)
        listener.listen(16)
        self._group = self._path.stat().st_gid
        self._socket = listener
        self._watch = GLib.unix_fd_add_full(
            GLib.PRIORITY_DEFAULT, listener.fileno(), GLib.IOCondition.IN, self._acceptable
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watch is not None:
            GLib.source_remove(self._watch)
        for connection in tuple(self._connections):
            connection.close()
        if self._socket is not None:
            self._socket.close()
            self._path.unlink(missing_ok=True)

    def _remove_stale(self) -> None:
        """What a server that was killed left. Raises OSError for one that lives and for any other file."""
        try:
            mode = self._path.stat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise FileExistsError(17, "is not a socket", str(self._path))
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(self._path))
            except ConnectionRefusedError:
                self._path.unlink()
                return
        raise FileExistsError(17, "another server listens there", str(self._path))

    def _acceptable(self, *_: Any) -> bool:
        if self._socket is None:
            return False
        try:
            peer, _address = self._socket.accept()
        except OSError:
            return True
        self._connections = [connection for connection in self._connections if connection.is_open]
        if len(self._connections) >= _MOST_CONNECTIONS or not _is_allowed(peer, self._group):
            self._report("a connection was refused")
            peer.close()
            return True
        peer.settimeout(0)
        self._connections.append(Connection(peer, self._hub, self._report))
        return True
