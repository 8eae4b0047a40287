"""The demo's camera: an H.264 elementary stream as an endless RTSP stream.

Runs under the distribution's Python, which has gi; standard library besides.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

from veil.host.lifeline import die_with_parent  # noqa: E402

_DELIMITER = b"\x00\x00\x00\x01\x09"


def access_units(stream: bytes) -> list[bytes]:
    """Annex B with access unit delimiters, cut at these."""
    return [_DELIMITER + unit for unit in stream.split(_DELIMITER) if unit]


class Feed:
    """Pushes the access units at `rate` a second, again and again, with rising timestamps."""

    def __init__(self, units: list[bytes], rate: int, appsrc: Any) -> None:
        self._units = units
        self._step = Gst.SECOND // rate
        self._appsrc = appsrc
        self._pushed = 0
        self._begun = GLib.get_monotonic_time()
        GLib.timeout_add(5, self._push)

    def _push(self) -> bool:
        due = (GLib.get_monotonic_time() - self._begun) * 1000 // self._step
        while self._pushed <= due:
            buffer = Gst.Buffer.new_wrapped(self._units[self._pushed % len(self._units)])
            buffer.pts = buffer.dts = self._pushed * self._step
            buffer.duration = self._step
            self._pushed += 1
            if self._appsrc.emit("push-buffer", buffer) != Gst.FlowReturn.OK:
                return False
        return True


def main() -> None:
    """`serve.py FILE RATE PORT`: serves FILE at rtsp://127.0.0.1:PORT/camera; prints `ready`."""
    units = access_units(Path(sys.argv[1]).read_bytes())
    rate, port = int(sys.argv[2]), sys.argv[3]
    die_with_parent()
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_shared(True)
    factory.set_launch(
        "( appsrc name=src is-live=true format=time "
        "caps=video/x-h264,stream-format=byte-stream,alignment=au "
        "! h264parse config-interval=-1 ! rtph264pay name=pay0 pt=96 )"
    )
    factory.connect(
        "media-configure",
        lambda _, media: Feed(units, rate, media.get_element().get_by_name("src")),
    )
    server.get_mount_points().add_factory("/camera", factory)
    if server.attach(None) == 0:
        sys.exit(f"port {port} is in use")
    loop = GLib.MainLoop()
    for number in (signal.SIGINT, signal.SIGTERM):
        GLib.unix_signal_add(GLib.PRIORITY_HIGH, number, loop.quit)
    print("ready", flush=True)
    loop.run()


if __name__ == "__main__":
    main()
