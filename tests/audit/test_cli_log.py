"""`veil log`: what a person or a script gets, on a box, on a copy, with and without a running agent."""

from __future__ import annotations

import csv
import hashlib
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from audit.boxes import make_box, write_files
from veil.audit.event import Event, Kind
from veil.audit.heads import sizes_under
from veil.audit.keys import KeyStore
from veil.audit.log import EventLog
from veil.audit.note import Note
from veil.audit.requests import answer_requests
from veil.audit.signer import LogSigner
from veil.audit.tree import leaf_hash, verify_inclusion
from veil.cli_log import app
from veil.domain.clock import SystemClock

CLOCK = SystemClock()
HOUR_US = 3_600_000_000


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(each) for each in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A box with segments of six hours in two logs."""
    state = tmp_path / "state"
    keys = KeyStore.open(state / "log", "box-7", CLOCK)
    for name in ("front", "back"):
        folder = state / "log" / name
        (state / "recordings" / name).mkdir(parents=True)
        with EventLog(folder / "events.jsonl", name, CLOCK) as log:
            for hour in range(6):
                file = state / "recordings" / name / f"{name}-{hour}.mp4"
                file.write_bytes(f"{name} {hour}".encode())
                data = {
                    "file": file.name,
                    "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
                    "bytes": file.stat().st_size,
                    "first_wall_us": hour * HOUR_US,
                    "last_wall_us": (hour + 1) * HOUR_US - 1,
                }
                log.append(Event(Kind.SEGMENT_CLOSED, data))
        with LogSigner(folder, name, "box-7", CLOCK) as signer:
            signer.follow()
            signer.sign(keys.signing_key)
    with EventLog(state / "log" / "box" / "events.jsonl", "box", CLOCK) as box:
        keys.announce(box)
    return state


def box_events(state: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (state / "log" / "box" / "events.jsonl").read_bytes().splitlines()]


def test_exit_code_and_report_say_whether_a_folder_holds(tmp_path: Path) -> None:
    box = make_box(3)
    files = box.files()
    write_files(tmp_path / "log", files)
    key = box.keys[-1].verifier
    code, output = run("verify", tmp_path / "log", "--key", key, "--complete", "--json")
    assert code == 0
    said = json.loads(output)
    assert (said["ok"], said["key_pinned"], said["findings"]) == (True, True, [])
    assert said["logs"]["front"] == {
        "events": len(box.logs["front"].lines),
        "signed": box.logs["front"].sizes[-1],
        "cosigned": box.logs["front"].sizes[-1],
    }
    changed = files["front/events.jsonl"].replace(b'"seq":2', b'"seq":9')
    write_files(tmp_path / "log", {"front/events.jsonl": changed})
    code, output = run("verify", tmp_path / "log", "--json")
    assert code == 10
    finding = json.loads(output)["findings"][0]
    assert (finding["code"], finding["log"], finding["line"], finding["seq"]) == (
        "wrong_sequence",
        "front",
        3,
        2,
    )
    code, output = run("verify", tmp_path / "log")
    assert code == 10
    assert "front, line 3, seq 2: wrong_sequence" in output
    assert "No key was given" in output


@pytest.mark.parametrize(
    "arguments", [["nowhere"], ["."], ["log", "--key", "nonsense"], ["log", "--anchor", "log/keys.jsonl"]]
)
def test_call_that_cannot_be_taken_is_no_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path / "log", make_box(1).files())
    (tmp_path / "empty").mkdir()
    if arguments == ["."]:
        monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(Exception) as caught:  # noqa: PT011  VeilError, whichever
        run("verify", *arguments)
    assert getattr(caught.value, "exit_code", None) == 2


def test_unsigned_file_is_checked_and_called_unsigned(tmp_path: Path) -> None:
    path = tmp_path / "done.jsonl"
    with EventLog(path, "file", CLOCK, reserve_bytes=0) as log:
        log.append(Event(Kind.FILE_ANONYMIZED, {"frames": 1}))
        log.append(Event(Kind.FILE_ANONYMIZED, {"frames": 2}))
    code, output = run("verify", path)
    assert code == 0
    assert "nothing in it is signed" in output
    path.write_bytes(path.read_bytes().replace(b'"frames":1', b'"frames":3'))
    code, output = run("verify", path)
    assert (code, "line 2, seq 1: broken_chain" in output) == (10, True)


def test_export_is_a_folder_that_verifies_with_proofs_that_hold(state: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    recordings = state / "recordings"
    code, output = run(
        "export", state / "log", "--out", out, "--from", "1970-01-01T02:00", "--to", "1970-01-01T04:00",
        "--segments", recordings,
    )  # fmt: skip
    assert code == 0, output
    assert run("verify", out / "evidence")[0] == 0
    assert (out / "log-format.md").read_text().startswith("# The evidence log")
    with (out / "segments.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["log"], row["file"], row["copy"]) for row in rows] == [
        (name, f"{name}-{hour}.mp4", "ok") for name in ("back", "front") for hour in (2, 3)
    ]
    for name in ("back", "front"):
        lines = (out / "evidence" / name / "events.jsonl").read_bytes().splitlines()
        for proof in map(json.loads, (out / "proofs" / f"{name}.jsonl").read_bytes().splitlines()):
            path = [bytes.fromhex(each) for each in proof["path"]]
            root = bytes.fromhex(proof["root"])
            verify_inclusion(leaf_hash(lines[proof["seq"]]), proof["seq"], proof["size"], path, root)
            assert Note.parse(proof["checkpoint"])
        assert sorted(path.name for path in (out / "segments" / name).iterdir()) == [
            f"{name}-{hour}.mp4" for hour in (2, 3)
        ]


def test_taking_recordings_out_is_in_the_log_before_anything_is_copied(state: Path, tmp_path: Path) -> None:
    day = ("--from", "1970-01-01", "--to", "1970-01-02")
    assert run("export", state / "log", "--out", tmp_path / "a", *day)[0] == 0
    assert [event["kind"] for event in box_events(state)] == ["key_created"]
    assert (
        run("export", state / "log", "--out", tmp_path / "b", *day, "--segments", state / "recordings")[0]
        == 0
    )
    event = box_events(state)[-1]
    assert event["kind"] == "recording_accessed"
    assert event["data"]["segments"] == 12
    assert event["data"]["from"] == "1970-01-01T00:00:00.000000Z"


def test_changed_or_missing_recording_is_named(state: Path, tmp_path: Path) -> None:
    (state / "recordings" / "front" / "front-1.mp4").write_bytes(b"something else")
    (state / "recordings" / "front" / "front-2.mp4").unlink()
    code, output = run(
        "export", state / "log" / "front", "--out", tmp_path / "out", "--from", "1970-01-01",
        "--to", "1970-01-02", "--segments", state / "recordings",
    )  # fmt: skip
    assert code == 10
    assert "front-1.mp4: CHANGED" in output
    assert "front-2.mp4: missing" in output


def test_export_of_one_log_verifies_on_its_own(state: Path, tmp_path: Path) -> None:
    keys = KeyStore.open(state / "log", "box-7", CLOCK)
    keys.rotate(sizes_under(state / "log", keys.verifier))
    code, output = run(
        "export", state / "log", "--log", "front", "--out", tmp_path / "out", "--from", "1970-01-01", "--to",
        "1970-01-02",
    )  # fmt: skip
    assert code == 0, output
    assert run("verify", tmp_path / "out" / "evidence" / "front")[0] == 0


class RunningAgent:
    """What the agent does about requests, with the box's log open."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> RunningAgent:
        self._log = EventLog(self._state / "log" / "box" / "events.jsonl", "box", CLOCK)
        self._keys = KeyStore.open(self._state / "log", "box-7", CLOCK)
        self._thread.start()
        return self

    def _work(self) -> None:
        while not self._done.wait(0.05):
            answer_requests(self._state, self._keys, self._log)

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self._log.close()


@pytest.mark.parametrize("agent_runs", [False, True])
def test_key_is_rotated_with_and_without_a_running_agent(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, agent_runs: bool
) -> None:
    config = tmp_path / "veil.toml"
    config.write_text(f'[box]\nname = "box-7"\nstate_dir = "{state}"\n')
    before = KeyStore.open(state / "log", "box-7", CLOCK).verifier
    if agent_runs:
        with RunningAgent(state):
            code, output = run("rotate-key", "--config", config)
    else:
        code, output = run("rotate-key", "--config", config)
    assert code == 0
    after = KeyStore.open(state / "log", "box-7", CLOCK).verifier
    assert str(after) in output
    assert after != before
    assert [event["kind"] for event in box_events(state)] == ["key_created", "key_rotated"]
    assert run("verify", state / "log", "--key", after)[0] == 0


def test_request_that_is_none_is_removed_with_an_event(state: Path) -> None:
    (state / "requests").mkdir()
    hostile = [
        b"",
        b"[]",
        b'{"kind":"rm","data":{}}',
        b"[" * 100_000,
        b'{"kind":"rotate_key","data":{"a":{}}}',
    ]
    for number, text in enumerate(hostile):
        (state / "requests" / f"{number}.json").write_bytes(text)
    with RunningAgent(state):
        threading.Event().wait(0.5)
    assert not list((state / "requests").iterdir())
    assert [event["kind"] for event in box_events(state)][1:] == ["command_refused"] * len(hostile)


def test_show_prints_events_for_people_and_nothing_that_a_terminal_obeys(tmp_path: Path) -> None:
    with EventLog(tmp_path / "front" / "events.jsonl", "front", CLOCK) as log:
        log.append(Event(Kind.FAULT, {"text": "\x1b[2Jgone"}))
        log.append(Event(Kind.SLATE_STARTED, {}))
    code, output = run("show", tmp_path, "--kind", "fault")
    assert code == 0
    assert "front 0 fault" in output
    assert "\x1b[2J" not in output
    assert "slate_started" not in output
    assert run("show", tmp_path / "front" / "events.jsonl", "--from", "2200-01-01")[1] == ""
