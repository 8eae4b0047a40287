"""The metrics are what Prometheus's text format 0.0.4 says, on this machine only."""

from __future__ import annotations

import re
import socket
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass, field

import pytest

from agent_desk.health_made import health
from fleet_house import free_ports
from veil.agent.prometheus import CONTENT_TYPE, Exporter, exposition
from veil.errors import LinkError

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"'
_UNESCAPED = {r"\\": "\\", r"\n": "\n", r"\"": '"'}
_SAMPLE = re.compile(rf"({_NAME})(?:\{{((?:{_LABEL},?)*)\}})? (\S+)")


@dataclass
class Family:
    kind: str
    samples: dict[tuple[tuple[str, str], ...], float] = field(default_factory=dict)


def parsed(text: str) -> dict[str, Family]:
    """Strictly by prometheus.io/docs/instrumenting/exposition_formats; fails on what is not so."""
    assert text.endswith("\n")
    families: dict[str, Family] = {}
    helped, name = set(), ""
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            name = line.split(" ")[2]
            assert name not in helped, "one HELP a name"
            helped.add(name)
        elif line.startswith("# TYPE "):
            _, _, of, kind = line.split(" ")
            assert of == name
            assert name not in families, "one TYPE a name, before its samples"
            assert kind in {"counter", "gauge"}
            assert kind != "counter" or name.endswith("_total")
            families[name] = Family(kind)
        else:
            match = _SAMPLE.fullmatch(line)
            assert match, line
            assert match[1] == name, "the samples of a name stand together"
            labels = tuple(
                (label, re.sub(r"\\.", lambda found: _UNESCAPED[found[0]], value))
                for label, value in re.findall(_LABEL, match[2] or "")
            )
            assert len({label for label, _ in labels}) == len(labels)
            assert labels not in families[name].samples, "each sample once"
            families[name].samples[labels] = float(match[5])
    return families


def test_every_number_of_health_is_there_in_base_units() -> None:
    found = parsed(exposition(health()))
    assert found["veil_up"].samples == {(): 1.0}
    front, yard = (("camera", "front"),), (("camera", "yard"),)
    assert found["veil_camera_fps_out"].samples == {front: 29.9, yard: 0.0}
    assert found["veil_camera_latency_p99_seconds"].samples[front] == pytest.approx(0.70025)
    assert found["veil_camera_whole_frames_total"].samples[front] == 7
    assert found["veil_camera_last_frame_age_seconds"].samples == {front: 0.03}
    assert found["veil_camera_picture_ok"].samples == {front: 1.0, yard: 0.0}
    assert found["veil_camera_condition"].samples[*yard, ("condition", "hung")] == 1.0
    assert found["veil_camera_condition"].samples[*yard, ("condition", "running")] == 0.0
    assert found["veil_box_memory_used_bytes"].samples == {(): 900 * 1024 * 1024}
    assert found["veil_box_cpu_ratio"].samples[()] == pytest.approx(0.205)
    assert found["veil_box_queue_events"].samples == {(): 12.0}
    (labels,) = found["veil_box_info"].samples
    assert dict(labels)["bundle"] == "veil-s@0.2.0"


def test_odd_text_stays_inside_its_label() -> None:
    odd = 'a"b\\c\nveil_up 7 {} ü'
    found = parsed(exposition(health(reason=odd, system=odd)))
    assert found["veil_up"].samples == {(): 1.0}
    assert found["veil_camera_dropped_frames_total"].samples[("camera", "front"), ("reason", odd)] == 3
    (labels,) = found["veil_box_info"].samples
    assert dict(labels)["system"] == odd


def test_without_health_it_says_that_it_knows_nothing() -> None:
    assert parsed(exposition(None)).keys() == {"veil_up"}
    assert parsed(exposition(None))["veil_up"].samples == {(): 0.0}


def test_it_is_served_on_this_machine_only_and_nothing_else_is() -> None:
    (port,) = free_ports(1)
    with Exporter(port, health):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            assert answer.headers["Content-Type"] == CONTENT_TYPE
            assert "veil_box_info" in parsed(answer.read().decode())
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10)
        with pytest.raises(urllib.error.HTTPError, match="501"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", data=b"x", timeout=10)
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
        with socket.create_connection(("127.0.0.1", port)) as listed:
            assert listed.getpeername()[0] == "127.0.0.1"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)


def test_scrapers_that_say_nothing_do_not_hold_its_end_up() -> None:
    (port,) = free_ports(1)
    with Exporter(port, health):
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(8)]
    for one in silent:
        one.close()


def test_it_is_off_by_default() -> None:
    with Exporter(0, health):
        assert "metrics" not in {thread.name for thread in threading.enumerate()}


def test_a_port_that_is_taken_is_said_with_its_key() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(LinkError, match="prometheus_port"), Exporter(other.getsockname()[1], health):
            pass
