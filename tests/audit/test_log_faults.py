"""The log and its signer while system calls fail in turn, threads compete, and processes are killed."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from veil.audit import durable, heads
from veil.audit import log as log_module
from veil.audit.canonical import MAX_LINE_BYTES
from veil.audit.event import Event, Kind
from veil.audit.keys import KeyStore
from veil.audit.log import EventLog
from veil.audit.note import SigningKey
from veil.audit.signer import LogSigner
from veil.audit.verify import verify
from veil.domain.clock import SystemClock
from veil.errors import LogError, VeilError

CLOCK = SystemClock()
KILLS = int(os.environ.get("VEIL_KILLS", "5"))


def texts(path: Path) -> list[str]:
    lines = path.read_bytes().splitlines()
    return [json.loads(line)["data"].get("text", "") for line in lines]


def test_threads_share_a_wait_for_the_disk_and_each_gets_its_own_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs: list[int] = []

    def slow(descriptor: int) -> None:
        syncs.append(descriptor)
        time.sleep(0.005)

    monkeypatch.setattr(os, "fdatasync", slow)
    places: dict[str, int] = {}
    with EventLog(tmp_path / "events.jsonl", "front", CLOCK, reserve_bytes=0) as log:

        def work(name: int) -> None:
            for number in range(25):
                text = f"{name}-{number}"
                places[text] = log.append(Event(Kind.FAULT, {"text": text}))

        threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    written = texts(tmp_path / "events.jsonl")
    assert {text: written.index(text) for text in written} == places
    assert len(written) == 200
    assert len(syncs) < 100


def test_append_returns_only_after_the_disk_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line that was promised was in the file when the disk was last waited for."""
    safe: list[bytes] = []

    def sync(descriptor: int) -> None:
        safe.append((tmp_path / "events.jsonl").read_bytes())

    monkeypatch.setattr(os, "fdatasync", sync)
    with EventLog(tmp_path / "events.jsonl", "front", CLOCK, reserve_bytes=0) as log:

        def work(name: int) -> None:
            for number in range(20):
                log.append(Event(Kind.FAULT, {"text": f"{name}-{number}."}))
                assert f'"{name}-{number}."'.encode() in safe[-1]

        threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(texts(tmp_path / "events.jsonl")) == 80


def test_failing_disk_fails_every_append_that_shared_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: list[str] = []
    kept: list[str] = []
    with EventLog(tmp_path / "events.jsonl", "front", CLOCK, reserve_bytes=0) as log:
        rng = random.Random(1)

        def sometimes(descriptor: int) -> None:
            time.sleep(0.001)
            if rng.random() < 0.3:
                raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(os, "fdatasync", sometimes)

        def work(name: int) -> None:
            for number in range(20):
                text = f"{name}-{number}"
                try:
                    log.append(Event(Kind.FAULT, {"text": text}))
                except LogError:
                    failed.append(text)
                else:
                    kept.append(text)

        threads = [threading.Thread(target=work, args=(name,)) for name in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failed
    assert sorted(texts(tmp_path / "events.jsonl")) == sorted(kept)


def test_event_that_is_too_large_is_refused_and_the_log_goes_on(tmp_path: Path) -> None:
    with EventLog(tmp_path / "events.jsonl", "front", CLOCK) as log:
        with pytest.raises(LogError, match="does not fit"):
            log.append(Event(Kind.FAULT, {"text": "x" * MAX_LINE_BYTES}))
        with pytest.raises(ValueError, match="surrogate"):
            log.append(Event(Kind.FAULT, {"text": "\ud800"}))
        assert log.append(Event(Kind.FAULT, {})) == 0


def test_file_that_is_no_log_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("one\ntwo\n")
    with pytest.raises(LogError, match="not events"):
        EventLog(path, "file", CLOCK)
    assert path.read_text() == "one\ntwo\n"


class PowerCutError(BaseException):
    """The process is gone."""


@contextmanager
def failing(number: int, error: Callable[[], BaseException], patch: pytest.MonkeyPatch) -> Iterator[None]:
    """The `number`-th system call of a kind that writes, from here on, fails."""
    left = [number]

    def in_turn(real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            left[0] -= 1
            if left[0] == -1:
                raise error()
            return real(*arguments, **options)

        return call

    with patch.context() as scope:
        for name in ("open", "write", "pwrite", "fsync", "fdatasync", "ftruncate"):
            scope.setattr(os, name, in_turn(getattr(os, name)))
        scope.setattr(Path, "replace", in_turn(Path.replace))
        for module in (durable, heads, log_module):
            scope.setattr(module, "sync_directory", in_turn(module.sync_directory))
        yield


@pytest.mark.parametrize("error", [lambda: OSError(errno.ENOSPC, "No space left"), PowerCutError])
@pytest.mark.parametrize("number", range(30))
def test_whichever_call_fails_what_was_promised_is_there_and_the_box_verifies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: Callable[[], BaseException]
) -> None:
    folder = tmp_path / "log" / "front"
    keys = KeyStore.open(tmp_path / "log", "box-7", CLOCK)
    promised: list[str] = []
    signed = 0

    def live() -> None:
        nonlocal signed
        with EventLog(folder / "events.jsonl", "front", CLOCK, reserve_bytes=4096) as log:
            for turn in range(3):
                text = f"{len(promised)}-{turn}"
                log.append(Event(Kind.FAULT, {"text": text}))
                promised.append(text)
                with LogSigner(folder, "front", "box-7", CLOCK) as signer:
                    signer.follow()
                    signer.sign(keys.signing_key)
                    signed = signer.signed_size

    live()
    with suppress(VeilError, OSError, PowerCutError), failing(number, error, monkeypatch):
        live()
    assert [text for text in texts(folder / "events.jsonl") if text in promised] == promised
    live()
    assert [text for text in texts(folder / "events.jsonl") if text in promised] == promised
    report = verify(tmp_path / "log")
    assert report.findings == []
    assert report.logs["front"].signed == signed


CAMERA = """
import sys, threading
from pathlib import Path
from veil.audit.event import Event, Kind
from veil.audit.log import EventLog
from veil.domain.clock import SystemClock
with EventLog(Path(sys.argv[1]) / "log/front/events.jsonl", "front", SystemClock()) as log:
    lock = threading.Lock()
    def work(name):
        for number in range(10**9):
            text = f"{sys.argv[2]}-{name}-{number}"
            log.append(Event(Kind.FAULT, {"text": text}))
            with lock:
                sys.stdout.write(text + chr(10))
                sys.stdout.flush()
    threads = [threading.Thread(target=work, args=(name,)) for name in range(3)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
"""

AGENT = """
import sys
from pathlib import Path
from veil.audit.event import Event, Kind
from veil.audit.heads import sizes_under
from veil.audit.keys import KeyStore
from veil.audit.log import EventLog
from veil.audit.signer import LogSigner
from veil.domain.clock import SystemClock
clock, folder = SystemClock(), Path(sys.argv[1]) / "log"
with EventLog(folder / "box/events.jsonl", "box", clock) as log:
    keys = KeyStore.open(folder, "box-7", clock)
    keys.announce(log)
    signers = [LogSigner(folder / name, name, "box-7", clock) for name in ("box", "front")]
    for turn in range(10**9):
        for signer in signers:
            signer.follow()
            note = signer.sign(keys.signing_key)
            if note is not None:
                print(signer.name, signer.signed_size, flush=True)
        if turn % 3 == 2:
            keys.rotate(sizes_under(folder, keys.verifier))
            keys.announce(log)
"""


def test_camera_and_agent_killed_at_any_moment_lose_nothing_that_was_promised(tmp_path: Path) -> None:
    """kill -9 while appending, signing and rotating; then both go on, and the box verifies."""
    rng = random.Random(5)
    promised: set[str] = set()
    signed = {"box": 0, "front": 0}
    for turn in range(KILLS):
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", program, str(tmp_path), str(turn)], stdout=subprocess.PIPE, text=True
            )
            for program in (CAMERA, AGENT)
        ]
        assert processes[0].stdout is not None
        assert processes[1].stdout is not None
        # Both are at work; then any moment is as good as another.
        first = [process.stdout.readline() for process in processes if process.stdout]
        time.sleep(rng.random() * 0.3)
        rng.shuffle(order := list(processes))
        for process in order:
            process.send_signal(signal.SIGKILL)
            time.sleep(rng.random() * 0.02)
        outputs = [process.communicate()[0] for process in processes]
        promised.update((first[0] + outputs[0]).split("\n")[:-1])
        for line in (first[1] + outputs[1]).split("\n")[:-1]:
            name, size = line.split()
            signed[name] = int(size)
    report = verify(tmp_path / "log")
    assert report.findings == []
    assert promised <= set(texts(tmp_path / "log" / "front" / "events.jsonl"))
    assert all(report.logs[name].signed >= size for name, size in signed.items())
    with EventLog(tmp_path / "log" / "front" / "events.jsonl", "front", CLOCK) as log:
        log.append(Event(Kind.FAULT, {}))
    KeyStore.open(tmp_path / "log", "box-7", CLOCK)
    assert verify(tmp_path / "log").ok


def test_stopped_reader_does_not_stop_the_log(tmp_path: Path) -> None:
    """An agent that hangs while it looks at the log must not hold a camera up."""
    with EventLog(tmp_path / "front" / "events.jsonl", "front", CLOCK) as log:
        log.append(Event(Kind.FAULT, {}))
        program = (
            "import fcntl, os, sys, time; f = os.open(sys.argv[1], os.O_RDONLY)\n"
            "fcntl.flock(f, fcntl.LOCK_SH); print(flush=True); time.sleep(60)"
        )
        command = [sys.executable, "-c", program, str(log.path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as reader:
            assert reader.stdout is not None
            reader.stdout.readline()
            assert log.append(Event(Kind.FAULT, {})) == 1
            reader.kill()


def test_closing_a_reader_does_not_free_the_writers_lock(tmp_path: Path) -> None:
    """The agent reads the box's log beside the writer in the same process."""
    with EventLog(tmp_path / "box" / "events.jsonl", "box", CLOCK) as log:
        log.append(Event(Kind.FAULT, {}))
        with LogSigner(tmp_path / "box", "box", "box-7", CLOCK) as signer:
            signer.follow()
            signer.sign(SigningKey.generate("veil/box-7"))
        with pytest.raises(LogError):
            EventLog(tmp_path / "box" / "events.jsonl", "box", CLOCK)
