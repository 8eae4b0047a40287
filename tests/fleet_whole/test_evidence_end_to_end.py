"""From a camera to the auditor: `veil up`, Mosquitto, `veil-fleet serve`, and both verifiers."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
import signal
import sys
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from sqlalchemy import select

import rtsp_server
from fleet_house import MISSING, mosquitto_is_missing, wait_for
from oracle import PICTURES, Scene, scene_clip
from veil.audit.note import VerifierKey
from veil.cli import app as veil_app
from veil_fleet.store.tables import Access, Device
from verifier.verifiers import node_missing, run_node
from web_house import csrf_of
from whole_house import VEIL, Box, Program, WholeHouse

pytestmark = [
    pytest.mark.skipif(mosquitto_is_missing(), reason=MISSING),
    pytest.mark.skipif(not rtsp_server.is_available(), reason="needs gst-rtsp-server"),
]

NAME, CAMERA = "box-1", "front"
_SECTIONS = """
[recorder]
segment_s = 3.0
keep_gib = 1.0
min_free_mib = 1.0
[preview]
interval_s = 0.5
[detector]
bundle = "veil-n"
threads = 1
"""


@dataclass(frozen=True)
class Whole:
    """What ran: the box is stopped when `stopped` is called."""

    house: WholeHouse
    box: Box
    up: Program
    page: httpx.Client

    @property
    def recordings(self) -> Path:
        return self.box.config.recordings(CAMERA)

    def command(self, *arguments: str) -> str:
        return self.house.ask_box(NAME, *arguments)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    root = tmp_path_factory.mktemp("whole")
    clip = scene_clip(Scene(320, 180), frames=PICTURES, rate=8)
    with ExitStack() as scope:
        source = scope.enter_context(rtsp_server.serve(clip))
        house = scope.enter_context(WholeHouse(root))
        house.manager.start()
        box = house.enroll(NAME, cameras={CAMERA: source.address}, sections=_SECTIONS, oracle=False)
        up = Program([*VEIL, "up", "--config", str(box.config_path)], box.folder / "up.txt")
        scope.callback(up.kill)
        up.start()
        page = scope.enter_context(house.page("auditor"))
        house.wait_online(NAME)
        wait_for(lambda: len(house.segments(NAME)) >= 2, "segments at the fleet manager", 90)
        yield Whole(house, box, up, page)


def test_a_recorded_segment_is_found_by_the_auditor_with_the_hash_of_the_file(whole: Whole) -> None:
    row = whole.house.segments(NAME)[0]
    content = (whole.recordings / row.file).read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    assert (row.sha256, row.size, row.camera) == (sha256, len(content), CAMERA)

    listed = whole.page.get("/segments", params={"device": NAME, "camera": CAMERA}).text
    assert row.file in listed
    by_hash = whole.page.get("/segments", params={"sha256": sha256}).text
    assert row.file in by_hash
    assert row.file not in whole.page.get("/segments", params={"sha256": "0" * 64}).text


def test_commands_are_obeyed_and_written_down(whole: Whole, tmp_path: Path) -> None:
    assert whole.command("ping").startswith(f"{NAME}: ")

    picture = tmp_path / "now.jpg"
    whole.command("snapshot", CAMERA, "--out", str(picture))
    shown = cv2.imdecode(np.frombuffer(picture.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    assert shown is not None
    assert shown.shape == (180, 320, 3)

    def restarts() -> list[str]:
        return [event["data"]["reason"] for event in whole.box.events(CAMERA, "camera_stopped")]

    assert restarts() == []
    whole.command("restart-camera", CAMERA)
    wait_for(lambda: restarts() == ["restart"], "the camera's end", 30)
    wait_for(lambda: len(whole.box.events(CAMERA, "source_connected")) == 2, "the camera again", 60)

    done = [event["data"]["command"] for event in whole.box.events("box", "command_done")]
    assert done == ["ping", "snapshot", "restart_camera"]
    assert whole.box.events("box", "recording_accessed")


def test_an_operator_commands_a_box_from_the_page_and_a_viewer_may_not(whole: Whole) -> None:
    house, box, at = whole.house, whole.box, f"/boxes/{NAME}"
    of_camera = f"{at}/cameras/{CAMERA}"
    had = len(box.events("box", "command_done"))

    def told(kind: str) -> list[dict[str, Any]]:
        """Data of the box's own events about commands of this test."""
        return [event["data"] for event in box.events("box", kind)][had if kind == "command_done" else 0 :]

    with house.page("viewer") as viewer, house.page("operator") as operator:
        for other in (viewer, whole.page):
            page = other.get(at).text
            assert "Ping" not in page
            token = {"csrf": csrf_of(page)}
            assert other.post(f"{at}/ping", data=token).status_code == 403
            assert other.post(f"{of_camera}/snapshot", data=token).status_code == 403
        assert told("command_done") == []

        def press(action: str, **fields: str) -> httpx.Response:
            """As a browser does: the box's page has the button, and the token of its form."""
            page = operator.get(at).text
            assert re.search(rf'(?:form)?action="{re.escape(action)}"', page), f"no button for {action}"
            answer = operator.post(action, data={"csrf": csrf_of(page), **fields})
            assert answer.status_code == 200, answer.text
            return answer

        assert f"{NAME} answers" in press(f"{at}/ping").text

        picture = re.search(r'src="data:image/jpeg;base64,([^"]+)"', press(f"{of_camera}/snapshot").text)
        assert picture
        jpeg = base64.b64decode(picture[1])
        shown = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert shown is not None
        assert shown.shape == (180, 320, 3)

        now = datetime.now(UTC)
        asked = {"from": (now - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M"), "to": now.isoformat()}
        lines = press(f"{of_camera}/manifest", **asked).text.splitlines()
        written = (box.log / CAMERA / "events.jsonl").read_text().splitlines()
        assert len(lines) >= 2
        assert [line for line in written if line in set(lines)] == lines
        assert all('"kind":"segment_closed"' in line for line in lines)
        refused = operator.post(
            f"{of_camera}/manifest", data={"csrf": csrf_of(operator.get(at).text), "from": "now", "to": ""}
        )
        assert refused.status_code == 400
        assert "Two times are needed" in refused.text

        sound = box.config_path.read_text()
        box.config_path.write_text(sound.replace("segment_s = 3.0", "segment_s = -1"))
        failed = operator.post(f"{at}/reload", data={"csrf": csrf_of(operator.get(at).text)})
        assert failed.status_code == 502
        assert "kept as it was" in failed.text
        assert "segment_s" in failed.text
        before, stops = (len(box.events(CAMERA, kind)) for kind in ("source_connected", "camera_stopped"))
        box.config_path.write_text(sound.replace("segment_s = 3.0", "segment_s = 2.5"))
        assert f"These cameras restart with it: {CAMERA}." in press(f"{at}/reload").text
        wait_for(lambda: len(box.events(CAMERA, "source_connected")) > before, "the camera again", 60)
        assert f"{CAMERA} restarts" in press(f"{of_camera}/restart").text
        wait_for(lambda: len(box.events(CAMERA, "camera_stopped")) == stops + 2, "the camera's end", 30)

    key = house.veil_fleet("command-key").stdout.strip()
    done = told("command_done")
    assert [(one["command"], one["outcome"]) for one in done] == [
        ("ping", "done"),
        ("snapshot", "done"),
        ("manifest", "done"),
        ("reload", "failed CommandError"),
        ("reload", "done"),
        ("restart_camera", "done"),
    ]
    assert {one["key"] for one in done} == {VerifierKey.parse(key).id.hex()}, "signed by the fleet's key"
    accessed = told("recording_accessed")[-2:]
    assert [one["what"] for one in accessed] == ["snapshot", "manifest"]
    assert accessed[0]["sha256"] == hashlib.sha256(jpeg).hexdigest()

    with house.connect() as connection:
        rows = connection.execute(select(Access.user, Access.action, Access.allowed)).all()
    commands = ("ping", "snapshot", "manifest", "reload", "restart camera")
    written_down = [tuple(row) for row in rows if row.action in commands]
    assert [row for row in written_down if not row[2]] == [
        (role, action, False) for role in ("viewer", "auditor") for action in ("ping", "snapshot")
    ]
    assert [action for user, action, allowed in written_down if allowed] == [
        "ping", "snapshot", "manifest", "manifest", "manifest", "reload", "reload", "restart camera",
    ]  # fmt: skip
    assert {user for user, _, allowed in written_down if allowed} == {"operator"}


def test_what_the_fleet_manager_holds_is_what_the_box_wrote_and_both_verifiers_agree(
    whole: Whole, tmp_path: Path
) -> None:
    whole.up.send(signal.SIGTERM)
    assert whole.up.process is not None
    assert whole.up.process.wait(30) in {0, -signal.SIGTERM}, whole.up.tail()
    house, box = whole.house, whole.box
    logs = (CAMERA, "box")
    written = {log: (box.log / log / "events.jsonl").read_bytes().splitlines() for log in logs}
    wait_for(
        lambda: all(house.logs(NAME)[log].cosigned_size == len(written[log]) for log in logs),
        f"all lines cosigned {[(log, len(written[log]), house.logs(NAME)[log]) for log in logs]}",
        30,
    )
    for log in logs:
        assert [line.encode() for line in house.lines(NAME, log)] == written[log]
    assert house.alarms() == []

    key, anchor = _key(house), tmp_path / "anchor"
    anchor.write_text(house.logs(NAME)[CAMERA].cosigned)
    call = ("--key", key, "--anchor", str(anchor), "--complete", str(box.log))
    assert _verified(*call) == 0

    evidence = _copied(box.log, tmp_path / "altered")
    path = evidence / CAMERA / "events.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if b'"segment_closed"' in line)
    event = json.loads(lines[at])
    event["data"]["file"] = "another.mp4"
    lines[at] = json.dumps(event, separators=(",", ":"), sort_keys=True).encode() + b"\n"
    path.write_bytes(b"".join(lines))
    assert _verified("--key", key, str(evidence)) == 10

    evidence = _copied(box.log, tmp_path / "cut")
    path = evidence / CAMERA / "events.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    assert _verified("--key", key, str(evidence)) == 10

    older = _copied(box.log, tmp_path / "older")
    _cut_back(older / CAMERA)
    assert _verified("--key", key, str(older)) == 0, "an older honest state holds by itself"
    assert _verified("--key", key, "--anchor", str(anchor), str(older)) == 10


def test_the_exported_bundle_verifies_with_both_verifiers(whole: Whole, tmp_path: Path) -> None:
    form = whole.page.get("/export").text
    now = datetime.now(UTC)
    data = {
        "csrf": csrf_of(form),
        "device": NAME,
        "from": (now - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M"),
        "to": (now + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M"),
    }
    answer = whole.page.post("/export", data=data)
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as bundle:
        bundle.extractall(tmp_path)
    (folder,) = {path.parent for path in tmp_path.rglob("keys.jsonl")}
    assert (folder / CAMERA / "events.jsonl").stat().st_size > 0
    assert _verified("--key", _key(whole.house), str(folder)) == 0


def test_a_recording_that_is_deleted_is_an_event_and_is_marked_in_the_search(whole: Whole) -> None:
    house, box = whole.house, whole.box
    oldest = house.segments(NAME)[0]
    path = whole.recordings / oldest.file
    # Retention goes by what lies there: with a younger one, more than fits.
    (whole.recordings / f"{CAMERA}-29991231T235959.000Z-000001.mp4").write_bytes(bytes(2 << 20))
    box.config_path.write_text(box.config_path.read_text().replace("keep_gib = 1.0", "keep_gib = 0.001"))
    command = [sys.executable, "-m", "fleet_whole.quick_retention", str(box.config_path), CAMERA]
    camera = box.programs[CAMERA] = Program(command, box.folder / "front.txt")
    box.start()
    wait_for(lambda: bool(box.events(CAMERA, "segment_deleted")), "the deletion", 60)
    wait_for(lambda: not path.exists(), "the file's end", 10)
    event = box.events(CAMERA, "segment_deleted")[0]
    assert event["data"]["file"] == oldest.file
    assert event["data"]["sha256"] == oldest.sha256
    wait_for(lambda: house.segments(NAME)[0].deleted_seq == event["seq"], "the mark in the search", 30)
    listed = whole.page.get("/segments", params={"sha256": oldest.sha256}).text
    assert f"deleted, line {event['seq']}" in listed
    assert camera.stop() == 0


def _key(house: WholeHouse) -> str:
    with house.connect() as connection:
        return str(connection.execute(select(Device.pinned_key).where(Device.name == NAME)).scalar_one())


def _verified(*call: str) -> int:
    """The exit code, which both verifiers agree on."""
    told = io.StringIO()
    with redirect_stdout(told):
        code = int(veil_app(["log", "verify", *call], standalone_mode=False) or 0)
    if node_missing() is None:
        theirs = run_node(*call)
        assert theirs.returncode == code, f"{told.getvalue()}\n{theirs.stdout}{theirs.stderr}"
    return code


def _copied(folder: Path, to: Path) -> Path:
    shutil.copytree(folder, to)
    return to


def _cut_back(log: Path) -> None:
    """To the state at an earlier checkpoint: nothing in the folder says that there was more."""
    notes = (log / "checkpoints.jsonl").read_bytes().splitlines(keepends=True)[:-1]
    size = int(json.loads(notes[-1])["note"].splitlines()[1])
    (log / "checkpoints.jsonl").write_bytes(b"".join(notes))
    lines = (log / "events.jsonl").read_bytes().splitlines(keepends=True)[:size]
    (log / "events.jsonl").write_bytes(b"".join(lines))
    (log / "cosigned").unlink()
