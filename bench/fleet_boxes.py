"""Many boxes in one process: real lines, real signatures, real MQTT; a few connections carry all of them.

A program of its own (`fleet_boxes.py PORT BOXES SECONDS SPEED`), so that its share of the machine can be told
from the fleet manager's. Prints one JSON object at the end.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from fleet.boxes import START_NS, Box, segment
from fleet.health import health
from veil.audit.canonical import dump
from veil.audit.checkpoint import Checkpoint, origin_of
from veil.audit.event import timestamp
from veil.audit.tree import leaf_hash
from veil.messages.health import EXPIRES_S
from veil.messages.topics import Kind, Topic

CONNECTIONS = 8
HEALTH_S, STATUS_S, SEGMENT_S = 30.0, 15.0, 30.0
RESEND_LIMIT = 200


@dataclass
class Link:
    """One connection, worked from the main loop."""

    client: mqtt.Client
    acknowledged: int = 0
    sent: int = 0

    @property
    def waiting(self) -> int:
        return self.sent - self.acknowledged


@dataclass
class Tally:
    """What happened: cosignature delays in seconds."""

    sent: dict[str, int] = field(default_factory=dict)
    cosigned: int = 0
    resends: int = 0
    delays: deque[float] = field(default_factory=lambda: deque(maxlen=200_000))
    late_s: float = 0.0


class Fleet:
    """Boxes at random phases, so that the load is even."""

    def __init__(self, port: int, count: int, speed: float) -> None:
        self.tally = Tally()
        self.speed = speed
        self.boxes = [Box(f"box-{number:05d}") for number in range(count)]
        self.at: dict[str, tuple[int, float]] = {}
        self.links = [self._connect(port, number) for number in range(CONNECTIONS)]
        self.by_name = {
            box.name: (box, self.links[number % CONNECTIONS]) for number, box in enumerate(self.boxes)
        }
        self._data = dict(segment(0).data)
        self._expiry = Properties(PacketTypes.PUBLISH)
        self._expiry.MessageExpiryInterval = EXPIRES_S
        sample = Box("box-zzzzz")
        sample.log()
        self._health = health(sample).payload.decode()
        self._status = sample.status().payload.decode()
        self._asked: deque[tuple[str, str, int, int]] = deque()

    def _connect(self, port: int, number: int) -> Link:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2, f"boxes-{number}", protocol=MQTTProtocolVersion.MQTTv5
        )
        client.max_inflight_messages_set(90)
        link = Link(client)
        client.on_publish = lambda *_: setattr(link, "acknowledged", link.acknowledged + 1)
        client.on_message = self._heard
        client.connect("127.0.0.1", port, keepalive=60)
        client.loop_start()
        time.sleep(0.3)
        if number == 0:
            client.subscribe([("veil/+/cosign/+", 0), ("veil/+/resend/+", 0)])
        return link

    def _heard(self, _client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        topic = Topic.parse(message.topic)
        said = json.loads(message.payload)
        assert topic is not None
        if topic.kind is Kind.RESEND:
            self.tally.resends += 1
            self._asked.append((topic.device, topic.name, said["first"], said["count"]))
            return
        size = int(said["note"].split("\n", 2)[1])
        sent_size, sent_at = self.at.get(topic.device, (0, 0.0))
        self.tally.cosigned += 1
        if size == sent_size:
            self.tally.delays.append(time.monotonic() - sent_at)

    def _send(self, name: str, kind: Kind, payload: bytes, log: str = "", *, qos: int = 1) -> None:
        link = self.by_name[name][1]
        keep = kind in {Kind.STATUS, Kind.HEALTH, Kind.KEYS}
        properties = self._expiry if kind is Kind.STATUS else None
        link.client.publish(str(Topic(name, kind, log)), payload, qos, retain=keep, properties=properties)
        link.sent += 1
        self.tally.sent[kind] = self.tally.sent.get(kind, 0) + 1

    def birth(self) -> None:
        """Status and keys of all, as fast as the broker takes them."""
        for box in self.boxes:
            self.status(box)
            self._send(box.name, Kind.KEYS, box.keys().payload)
            while self.by_name[box.name][1].waiting > 2000:
                time.sleep(0.01)

    def status(self, box: Box) -> None:
        self._send(box.name, Kind.STATUS, self._status.replace("box-zzzzz", box.name).encode())

    def health(self, box: Box) -> None:
        self._send(box.name, Kind.HEALTH, self._health.replace("box-zzzzz", box.name).encode(), qos=0)

    def segment(self, box: Box) -> None:
        """A recording closes: its line, and a checkpoint signed there and then."""
        log = box.log()
        number = log.tree.size
        line = dump(
            {
                "data": self._data | {"number": number},
                "kind": "segment_closed",
                "log": "front",
                "prev": log._head.hex(),
                "seq": number,
                "time": timestamp(START_NS + number * 1_000_000),
            }
        )
        log._head = leaf_hash(line)
        log.tree.append(log._head)
        log.lines.append(line.decode())
        message = {"v": 1, "log": "front", "first": number, "lines": [line.decode()]}
        self._send(box.name, Kind.LOG, json.dumps(message).encode(), "front")
        checkpoint = Checkpoint(
            origin_of(box.name, "front"),
            log.tree.size,
            log.tree.root(),
            timestamp(time.time_ns()),
            log.previous,
        )
        log.previous = checkpoint.digest()
        note = checkpoint.sign(box.key).encode()
        self.at[box.name] = log.tree.size, time.monotonic()
        self._send(
            box.name, Kind.CHECKPOINT, json.dumps({"v": 1, "log": "front", "note": note}).encode(), "front"
        )

    def answer(self) -> None:
        """Lines that were asked for again."""
        while self._asked:
            name, log, first, count = self._asked.popleft()
            box = self.by_name[name][0]
            lines = box.log(log).lines[first : first + min(count, RESEND_LIMIT)]
            if lines:
                message = {"v": 1, "log": log, "first": first, "lines": lines}
                self._send(name, Kind.LOG, json.dumps(message).encode(), log)

    def run(self, seconds: float) -> float:
        """Sends at the wanted rate; returns how long it took."""
        start = time.monotonic()
        chance = random.Random(1)
        due: list[tuple[float, Any, Box]] = []
        for what, every in ((self.status, STATUS_S), (self.health, HEALTH_S), (self.segment, SEGMENT_S)):
            step = every / self.speed
            for box in self.boxes:
                at = chance.uniform(0, step)
                while at < seconds:
                    due.append((at, what, box))
                    at += step
        due.sort(key=lambda item: item[0])
        for at, what, box in due:
            ahead = start + at - time.monotonic()
            if ahead > 0.002:
                time.sleep(ahead)
            self.tally.late_s = max(self.tally.late_s, -ahead)
            while self.by_name[box.name][1].waiting > 5000:
                time.sleep(0.002)
            what(box)
            if self._asked:
                self.answer()
        return time.monotonic() - start

    def settle(self, limit_s: float) -> None:
        """Answers until no receipt has come for ten seconds."""
        start = last = time.monotonic()
        cosigned = self.tally.cosigned
        while time.monotonic() < min(start + limit_s, last + 10):
            self.answer()
            time.sleep(0.05)
            if self.tally.cosigned != cosigned:
                cosigned, last = self.tally.cosigned, time.monotonic()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("boxes", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("speed", type=float)
    arguments = parser.parse_args()
    fleet = Fleet(arguments.port, arguments.boxes, arguments.speed)
    fleet.birth()
    print("born", flush=True)
    sys.stdin.readline()
    fleet.tally.sent.clear()
    took = fleet.run(arguments.seconds)
    print("sent", flush=True)
    fleet.settle(120)
    delays = sorted(fleet.tally.delays)

    def share(part: float) -> float:
        return round(delays[min(len(delays) - 1, int(len(delays) * part))], 3) if delays else -1

    result = {
        "seconds": round(took, 1),
        "sent": fleet.tally.sent,
        "cosigned": fleet.tally.cosigned,
        "resends": fleet.tally.resends,
        "sender_late_s": round(fleet.tally.late_s, 2),
        "delay_p50_s": share(0.5),
        "delay_p95_s": share(0.95),
        "delay_max_s": share(1),
    }
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
