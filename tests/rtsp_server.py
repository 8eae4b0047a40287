"""A real RTSP server (gst-rtsp-server) for tests, as a subprocess of the distribution's Python.

It sends the pictures of `media.encode_packets` clips at their rate, in a loop or once, and does on command
what cameras do: stall, cut, change the picture size, send broken pictures.

    with serve(clip, transport="tcp") as server:
        ... server.url ...
        server.stall()
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

if __name__ != "__main__":
    from media import Clip, encode_access_units

_PYTHON = "/usr/bin/python3"
_PARSERS = {
    "h264": (
        "video/x-h264,stream-format=byte-stream,alignment=au",
        "h264parse ! rtph264pay config-interval=-1",
    ),
    "h265": (
        "video/x-h265,stream-format=byte-stream,alignment=au",
        "h265parse ! rtph265pay config-interval=-1",
    ),
    "mjpeg": ("image/jpeg", "jpegparse ! rtpjpegpay"),
}


def is_available() -> bool:
    """Whether the distribution's Python has gst-rtsp-server."""
    if not Path(_PYTHON).exists():
        return False
    check = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    return subprocess.run([_PYTHON, "-c", check], capture_output=True, check=False).returncode == 0


@dataclass
class Server:
    """A running server. `address` has no credentials in it."""

    process: subprocess.Popen[str]
    port: int

    @property
    def address(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/cam"

    def _say(self, command: str) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        assert answer == "OK", answer or "the RTSP server has ended"

    def stall(self) -> None:
        """Connections stay; no more pictures are sent."""
        self._say("stall")

    def resume(self) -> None:
        self._say("resume")

    def mute_new_clients(self) -> None:
        """From now on a client's PLAY is answered and nothing is sent to it."""
        self._say("mute")

    def cut(self) -> None:
        """Closes every connection."""
        self._say("cut")

    def switch(self, index: int) -> None:
        """Goes on with clip `index` from its first picture."""
        self._say(f"switch {index}")

    def break_pictures(self, count: int) -> None:
        """Cuts the next `count` pictures that are no keyframes in half."""
        self._say(f"break {count}")

    def freeze(self) -> None:
        """Stops the whole process (SIGSTOP): a host that is there and says nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()


@contextmanager
def serve(
    *clips: Clip,
    transport: str = "tcp",
    user: str = "",
    password: str = "",
    auth: str = "basic",
    repeat: str = "loop",
    tracks: str = "video",
    port: int = 0,
) -> Iterator[Server]:
    """Serves the first clip until told otherwise. `repeat`: `loop` or `once`; `auth`: `basic` or `digest`;
    `tracks`: `video`, `all` for audio and application data besides, or `audio` alone."""
    with tempfile.TemporaryDirectory() as folder:
        names = []
        for index, clip in enumerate(clips):
            path = Path(folder) / f"{index}.packets"
            with path.open("wb") as out:
                for number, packet in encode_access_units(clip):
                    out.write(len(packet).to_bytes(4, "big") + number.to_bytes(4, "big") + packet)
            names.append(str(path))
        order = "coded" if any(clip.bframes for clip in clips) else "shown"
        first = clips[0]
        arguments = [first.codec, str(first.rate), transport, user, password, auth, repeat, tracks, order]
        arguments.append(str(port))
        process = subprocess.Popen(
            [_PYTHON, __file__, *arguments, *names],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={k: v for k, v in os.environ.items() if not k.startswith("PYTHON")},
        )
        assert process.stdout is not None
        try:
            yield Server(process, int(process.stdout.readline()))
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


def _records(path: str) -> list[tuple[int, bytes]]:
    """Number in presentation order and content of each picture, in order of decoding."""
    data, at, records = Path(path).read_bytes(), 0, []
    while at < len(data):
        size, number = (int.from_bytes(data[at + i : at + i + 4], "big") for i in (0, 4))
        records.append((number, data[at + 8 : at + 8 + size]))
        at += 8 + size
    return records


def _main() -> None:
    codec, rate, transport, user, password, auth_kind, repeat, tracks, order, port, *names = sys.argv[1:]
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtsp", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtsp, GstRtspServer

    Gst.init(None)
    clips = [_records(name) for name in names]
    state = {
        "clip": 0,
        "at": 0,
        "stalled": False,
        "muting": False,
        "muted": False,
        "broken": 0,
        "round_ns": 0,
    }
    sources = []

    def is_key(packet: bytes) -> bool:
        if codec == "mjpeg":
            return True
        kinds = set()
        at = packet.find(b"\x00\x00\x01")
        while at >= 0 and at + 3 < len(packet):
            kinds.add(packet[at + 3] & 31 if codec == "h264" else packet[at + 3] >> 1 & 63)
            at = packet.find(b"\x00\x00\x01", at + 3)
        return bool(kinds & ({5, 7} if codec == "h264" else set(range(16, 24)) | {32, 33}))

    def push() -> bool:
        packets = clips[state["clip"]]
        if state["stalled"] or not sources or not all(source.get_clock() for source in sources):
            return True
        if state["at"] >= len(packets):
            if repeat == "once":
                for source in sources:
                    source.emit("end-of-stream")
                sources.clear()
                return True
            state["at"] = 0
        number, packet = packets[state["at"]]
        state["at"] += 1
        if state["broken"] and (codec == "mjpeg" or not is_key(packet)):
            state["broken"] -= 1
            packet = packet[: len(packet) // 2]
        for source in sources:
            buffer = Gst.Buffer.new_wrapped(packet)
            if order == "coded":
                if state["at"] == 1:
                    state["round_ns"] = (
                        source.get_clock().get_time() - source.get_base_time() + Gst.SECOND // 5
                    )
                buffer.pts = state["round_ns"] + number * Gst.SECOND // int(rate)
            source.emit("push-buffer", buffer)
        return True

    class Factory(GstRtspServer.RTSPMediaFactory):
        def do_configure(self, media):
            if tracks == "audio":
                return
            source = media.get_element().get_child_by_name("source")
            sources[:] = [source]
            state["at"] = 0
            media.connect("unprepared", lambda _: sources.remove(source) if source in sources else None)
            pad = media.get_element().get_child_by_name("pay0").get_static_pad("src")
            kinds = Gst.PadProbeType.BUFFER | Gst.PadProbeType.BUFFER_LIST
            pad.add_probe(
                kinds, lambda *_: Gst.PadProbeReturn.DROP if state["muted"] else Gst.PadProbeReturn.OK
            )

    caps, payloader = _PARSERS[codec]
    stamp = str(order == "shown").lower()
    source = f"appsrc name=source is-live=true do-timestamp={stamp} format=time caps={caps}"
    others = "audiotestsrc is-live=true ! audio/x-raw,rate=8000,channels=1 ! tee name=t "
    others += "t. ! queue ! alawenc ! rtppcmapay name=pay1 pt=8 t. ! queue ! rtpgstpay name=pay2 pt=98"
    factory = Factory()
    factory.connect("media-configure", lambda f, media: f.do_configure(media))
    factory.set_launch(f"( {source} ! {payloader} name=pay0 {others if tracks == 'all' else ''} )")
    if tracks == "audio":
        factory.set_launch("( audiotestsrc is-live=true ! alawenc ! rtppcmapay name=pay0 pt=8 )")
    factory.set_shared(True)
    flags = GstRtsp.RTSPLowerTrans
    factory.set_protocols(flags.UDP if transport == "udp" else flags.TCP)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    if user:
        auth = GstRtspServer.RTSPAuth()
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "user")
        if auth_kind == "digest":
            auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
            auth.add_digest(user, password, token)
        else:
            auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
        server.set_auth(auth)
        permissions = GstRtspServer.RTSPPermissions()
        permissions.add_permission_for_role("user", "media.factory.access", True)
        permissions.add_permission_for_role("user", "media.factory.construct", True)
        factory.set_permissions(permissions)
    server.get_mount_points().add_factory("/cam", factory)

    def on_play(*_):
        if state["muting"]:
            state["muted"] = True

    server.connect("client-connected", lambda _, client: client.connect("pre-play-request", on_pre_play))

    def on_pre_play(*_):
        on_play()
        return GstRtsp.RTSPStatusCode.OK

    server.attach(None)

    def close_client(_server, _client):
        return GstRtspServer.RTSPFilterResult.REMOVE

    def on_command(channel, _condition) -> bool:
        line = channel.readline()
        if not line:
            loop.quit()
            return False
        word, *rest = line.split()
        if word == "stall":
            state["stalled"] = True
        elif word == "resume":
            state.update(stalled=False, muting=False, muted=False)
        elif word == "mute":
            state["muting"] = True
        elif word == "cut":
            server.client_filter(close_client)
        elif word == "switch":
            state.update(clip=int(rest[0]), at=0)
        elif word == "break":
            state["broken"] = int(rest[0])
        print("OK", flush=True)
        return True

    loop = GLib.MainLoop()
    GLib.timeout_add(round(1000 / int(rate)), push)
    GLib.io_add_watch(sys.stdin, GLib.IO_IN | GLib.IO_HUP, on_command)
    print(server.get_bound_port(), flush=True)
    loop.run()


if __name__ == "__main__":
    _main()
