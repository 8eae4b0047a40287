"""Hands masked packets to the RTSP server's process. Never waits for it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final

from veil.channel import ChannelClosedError, Latest
from veil.domain.clock import media_ns
from veil.encode.packet import MaskedPacket, StreamInfo
from veil.encode.slate import Slate
from veil.rtsp_server.wire import Hello, Kind, MessageReader, Packet, ProtocolError

_BOUND: Final = 60
_SEND_TIMEOUT_S: Final = 1.0
_POLL_S: Final = 0.04
_RECONNECT_S: Final = (0.1, 0.2, 0.5, 1.0)


class RtspSink:
    """One camera's way to the RTSP server. A context manager with one thread.

    While the server is away, packets are dropped and counted; it is tried again at most every second. After
    each loss the stream goes on at a keyframe, which is asked for.

    Args:
        socket_path: where the server listens for cameras.
        camera: the mount point.
        slates: makes the slates of a stream, for the server to show when this process cannot; see
            `veil.encode.slate.encode_slate`. Called in the sink's thread.
        on_keyframe_request: called in the sink's thread when a viewer or the sink itself needs a keyframe.
    """

    def __init__(
        self,
        socket_path: Path,
        camera: str,
        *,
        slates: Callable[[StreamInfo], Slate],
        on_keyframe_request: Callable[[], None],
    ) -> None:
        self._path = socket_path
        self._camera = camera
        self._ask = on_keyframe_request
        self._slates = slates
        self._channel: Latest[MaskedPacket] = Latest(_BOUND, self._lost)
        self._thread = threading.Thread(target=self._run, name=f"rtsp-{camera}", daemon=True)
        self._stream: StreamInfo | None = None
        self._hello: bytes | None = None
        self._socket: socket.socket | None = None
        self._reader = MessageReader()
        self._needs_keyframe = True
        self._retry_at = 0.0
        self._failures = 0
        self._error: BaseException | None = None
        self._dropped = 0
        self._sent = 0

    @property
    def dropped(self) -> int:
        """Packets that no server got."""
        return self._dropped

    @property
    def sent(self) -> int:
        return self._sent

    @property
    def is_connected(self) -> bool:
        return self._socket is not None

    def __enter__(self) -> RtspSink:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()
        self._thread.join(_SEND_TIMEOUT_S + 1)

    def publish(self, packet: MaskedPacket) -> None:
        """Never blocks; drops the oldest packet when the server does not keep up.

        Raises what ended the sink's thread, such as an EncoderError of the slates.
        """
        if self._error is not None:
            raise self._error
        self._channel.put(packet)

    def _lost(self, packet: MaskedPacket) -> None:
        del packet
        self._dropped += 1
        self._needs_keyframe = True

    def _run(self) -> None:
        try:
            while True:
                packet = self._channel.get(_POLL_S)
                if packet is None:
                    self._connect()
                else:
                    if packet.stream != self._stream:
                        self._announce(packet.stream)
                    self._forward(packet)
                self._listen()
        except ChannelClosedError:
            pass
        except BaseException as error:  # noqa: BLE001  publish() raises it on the caller's thread
            self._error = error
        finally:
            self._disconnect()

    def _announce(self, stream: StreamInfo) -> None:
        """Tells the server what the next packets are, now or as soon as it is there."""
        self._stream = stream
        one, two = self._slates(stream)
        self._hello = Hello(
            name=self._camera,
            width=stream.width,
            height=stream.height,
            parameter_sets=stream.extradata,
            slates=(one.data, two.data),
        ).encode()
        self._needs_keyframe = True
        if self._socket is not None:
            self._send(self._hello)

    def _forward(self, packet: MaskedPacket) -> None:
        if not self._connect():
            self._dropped += 1
            return
        if self._needs_keyframe and not packet.keyframe:
            self._dropped += 1
            return
        self._needs_keyframe = False
        said = Packet(media_ns(packet.pts, packet.stream.time_base), packet.keyframe, packet.data)
        if self._send(said.encode()):
            self._sent += 1
        else:
            self._dropped += 1

    def _connect(self) -> bool:
        """Whether there is a server that knows the stream."""
        if self._socket is not None:
            return True
        if self._hello is None or time.monotonic() < self._retry_at:
            return False
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        server.settimeout(_SEND_TIMEOUT_S)
        try:
            server.connect(str(self._path))
        except OSError:
            server.close()
            self._back_off()
            return False
        self._socket, self._reader = server, MessageReader()
        self._needs_keyframe = True
        if not self._send(self._hello):
            return False
        self._failures = 0
        self._ask()
        return True

    def _send(self, data: bytes) -> bool:
        """Whether the server took it; one that does not within a second is left."""
        if self._socket is None:
            return False
        try:
            self._socket.settimeout(_SEND_TIMEOUT_S)
            self._socket.sendall(data)
        except OSError:
            self._disconnect()
            self._back_off()
            return False
        return True

    def _listen(self) -> None:
        """Hears what the server wants, without waiting."""
        if self._socket is None:
            return
        try:
            self._socket.settimeout(0)
            data = self._socket.recv(4096)
            if not data:
                raise ConnectionResetError("the server is gone")
            kinds = [kind for kind, _ in self._reader.feed(data)]
        except (BlockingIOError, InterruptedError):
            return
        except (OSError, ProtocolError):
            self._disconnect()
            self._back_off()
            return
        if Kind.KEYFRAME in kinds:
            self._ask()

    def _back_off(self) -> None:
        wait = _RECONNECT_S[min(self._failures, len(_RECONNECT_S) - 1)]
        self._failures += 1
        self._retry_at = time.monotonic() + wait

    def _disconnect(self) -> None:
        server, self._socket = self._socket, None
        self._needs_keyframe = True
        if server is not None:
            with contextlib.suppress(OSError):
                server.close()
