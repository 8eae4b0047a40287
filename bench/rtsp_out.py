"""What RTSP out adds: time from `publish` to the last RTP packet at a client, and processor time per packet.

python bench/rtsp_out.py [viewers] [seconds]
"""

from __future__ import annotations

import re
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import numpy as np

from masked_media import Camera
from rtsp_house import Server, slates_of, wait_for
from veil.config import EncoderConfig
from veil.encode.packet import MaskedPacket
from veil.sinks.rtsp import RtspSink


def watch(server: Server, arrivals: list[tuple[int, int]], done: threading.Event) -> None:
    """Plays over TCP; notes RTP time and monotonic time of each picture's last packet."""
    with socket.create_connection(("127.0.0.1", server.port), 5) as client:
        url, session = server.url(), ""
        for number, verb in enumerate(("DESCRIBE {0}", "SETUP {0}/stream=0", "PLAY {0}")):
            extra = f"Session: {session}\r\n" if session else ""
            if verb.startswith("SETUP"):
                extra += "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
            client.sendall(f"{verb.format(url)} RTSP/1.0\r\nCSeq: {number}\r\n{extra}\r\n".encode())
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += client.recv(1)
            if (length := re.search(rb"Content-Length: *(\d+)", answer)) is not None:
                client.recv(int(length[1]), socket.MSG_WAITALL)
            if (found := re.search(rb"Session: *([^;\r]+)", answer)) is not None:
                session = found[1].decode()
        while not done.is_set():
            head = client.recv(4, socket.MSG_WAITALL)
            if len(head) < 4:
                return
            body = client.recv(int.from_bytes(head[2:]), socket.MSG_WAITALL)
            if head[1] == 0 and body[1] & 0x80:
                arrivals.append((int.from_bytes(body[4:8]), time.monotonic_ns()))


def noisy(camera: Camera, count: int, config: EncoderConfig) -> Iterator[MaskedPacket]:
    """Pictures that need all of the bit rate."""
    noise = np.random.default_rng(1).integers(0, 40, (camera.height, camera.width), np.uint8)
    with camera.encoder(config) as encoder:
        for index in range(count):
            with camera.frame() as frame:
                frame.planes.y[...] += np.roll(noise, 3 * index, 1)
                yield from encoder.encode(frame)


def processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def main() -> None:
    viewers, seconds = (int(value) for value in [*sys.argv[1:], "1", "10"][:2])
    camera = Camera(1920, 1080)
    config = EncoderConfig(preset="ultrafast", bit_rate=4_000_000)
    packets = list(noisy(camera, 30 * seconds, config))
    sent: list[int] = []
    cost: list[int] = []
    done = threading.Event()
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder)) as server:
        sink = RtspSink(
            server.socket, "front", slates=slates_of(camera, "front"), on_keyframe_request=lambda: None
        )
        with sink:
            sink.publish(packets[0])
            wait_for(lambda: "front" in server.stats()["cameras"], "the camera")
            seen: list[list[tuple[int, int]]] = [[] for _ in range(viewers)]
            clients = [threading.Thread(target=watch, args=(server, one, done), daemon=True) for one in seen]
            for client in clients:
                client.start()
            before, began = processor_s(server.pid), time.monotonic()
            for index, packet in enumerate(packets):
                now = time.monotonic_ns()
                sent.append(now)
                sink.publish(packet)
                cost.append(time.monotonic_ns() - now)
                time.sleep(max(0.0, began + (index + 1) / 30 - time.monotonic()))
            used = processor_s(server.pid) - before
            done.set()
    # Every picture arrives before the next one leaves, so the last publication before it is its own.
    late = [(at - max(when for when in sent if when <= at)) / 1e6 for one in seen for _, at in one[20:]]
    size = sum(len(packet.data) for packet in packets) // len(packets)
    print(f"viewers {viewers}, pictures {len(packets)} of {size} bytes")
    print(f"publish: median {statistics.median(cost) / 1e3:.0f} us")
    p99 = sorted(late)[int(len(late) * 0.99)]
    print(f"publish to client: median {statistics.median(late):.2f} ms, p99 {p99:.2f} ms")
    print(f"server: {used / len(packets) * 1e3:.2f} ms processor time a picture for {viewers} viewers")


if __name__ == "__main__":
    main()
