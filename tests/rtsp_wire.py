"""A wire between an RTSP client and a server (interleaved over TCP) on which things go wrong.

    with Wire(server) as wire:
        ... wire.address ...
        wire.change = jumped(3600)

`change` gets each RTP packet of the first track and gives what is passed on; `say` gets each of the
server's answers.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

from rtsp_server import Server

RTP_CLOCK = 90_000


class Wire:
    """`change`, `say` and `between` (bytes put in front of each packet) may be set at any time. `noisy`:
    packets that had something put in front of them since `between` was set."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self.change: Callable[[bytearray], bytes] = bytes
        self.say: Callable[[bytes], bytes] = bytes
        self.between = b""
        self.noisy = 0

    @property
    def address(self) -> str:
        return f"rtsp://127.0.0.1:{self._listener.getsockname()[1]}/cam"

    def __enter__(self) -> Wire:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for one in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server.port))
                self._sockets += [client, server]
                threading.Thread(target=self._ask, args=(client, server), daemon=True).start()
                threading.Thread(target=self._answer, args=(server, client), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data)
            server.shutdown(socket.SHUT_RDWR)

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError), server.makefile("rb") as stream:
            while first := stream.read(1):
                if first != b"$":
                    client.sendall(self.say(first + _text(stream)))
                    continue
                channel, size = stream.read(1), int.from_bytes(stream.read(2))
                data = stream.read(size)
                if channel == b"\x00":
                    data = self.change(bytearray(data))
                self.noisy = self.noisy + 1 if self.between else 0
                if data:
                    client.sendall(self.between + b"$" + channel + len(data).to_bytes(2) + data)
            client.shutdown(socket.SHUT_RDWR)


def _text(stream: object) -> bytes:
    """The rest of one answer."""
    readline, read = stream.readline, stream.read  # type: ignore[attr-defined]
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = readline()
        if not line:
            raise EOFError
        head += line
    lengths = [
        line.split(b":")[1] for line in head.lower().splitlines() if line.startswith(b"content-length")
    ]
    body: bytes = read(int(lengths[0])) if lengths else b""
    return head + body


def later(packet: bytearray, seconds: float) -> bytes:
    """The packet with another timestamp."""
    at = (int.from_bytes(packet[4:8]) + round(seconds * RTP_CLOCK)) % (1 << 32)
    packet[4:8] = at.to_bytes(4)
    return bytes(packet)


class AfterFrames:
    """Changes packets by `change` once `count` pictures have passed, for `lasting` pictures."""

    def __init__(self, count: int, change: Callable[[bytearray], bytes], lasting: int = 1 << 30) -> None:
        self._change = change
        self._begin, self._end = count, count + lasting
        self._seen = 0

    def __call__(self, packet: bytearray) -> bytes:
        number = self._seen
        # The marker ends a picture.
        self._seen += packet[1] >> 7
        return self._change(packet) if self._begin <= number < self._end else bytes(packet)
