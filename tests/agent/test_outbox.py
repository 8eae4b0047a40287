"""The outbox: what has no receipt stays, through kills, full disks and damaged files."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from veil.agent.outbox import HEALTH_KEPT, Outbox, OutboxDamagedError
from veil.config import AgentConfig

KILLS = int(os.environ.get("VEIL_KILLS", "4"))
LIMIT = 64 << 20


def line(log: str, number: int, size: int = 60) -> bytes:
    return f"{log} {number} ".encode() + b"x" * size


def lines(log: str, first: int, count: int, size: int = 60) -> list[bytes]:
    return [line(log, first + at, size) for at in range(count)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "agent" / "outbox.sqlite"


def opened(path: Path, log: str = "front", size: int = 0, limit: int = LIMIT) -> Outbox:
    outbox = Outbox.open(path, limit)
    outbox.begin(log, size)
    return outbox


def test_lines_leave_by_their_receipt_and_by_nothing_else(path: Path) -> None:
    with opened(path) as outbox:
        assert outbox.put("front", 0, lines("front", 0, 100)) == 100
        outbox.put_checkpoint("front", 60, "note 60")
        outbox.settle("front", 60)
        assert outbox.checkpoint("front") is None
    with opened(path, size=60) as outbox:
        assert (outbox.first("front"), outbox.next("front"), outbox.events) == (60, 100, 40)
        assert outbox.lines("front", 60, 1000, 1 << 20) == lines("front", 60, 40)
        assert outbox.line_bytes == sum(map(len, lines("front", 60, 40)))


def test_the_newest_checkpoint_is_kept(path: Path) -> None:
    with opened(path) as outbox:
        outbox.put_checkpoint("front", 5, "five")
        outbox.put_checkpoint("front", 9, "nine")
        outbox.settle("front", 5)
        waiting = outbox.checkpoint("front")
        assert waiting is not None
        assert (waiting.size, waiting.note) == (9, "nine")


def test_a_line_out_of_order_is_refused(path: Path) -> None:
    with opened(path) as outbox:
        outbox.put("front", 0, lines("front", 0, 3))
        for first in (2, 4):
            with pytest.raises(ValueError, match="does not go on"):
                outbox.put("front", first, [b"x"])


def test_what_does_not_go_on_from_the_receipt_is_remade_from_the_log(path: Path) -> None:
    with opened(path, size=10) as outbox:
        outbox.put("front", 10, lines("front", 10, 5))
    for size in (4, 30):
        with opened(path, size=size) as outbox:
            assert (outbox.first("front"), outbox.next("front")) == (size, size)
            outbox.put("front", size, lines("front", size, 5))


def test_a_hole_in_the_file_is_remade_from_the_log(path: Path) -> None:
    with opened(path) as outbox:
        outbox.put("front", 0, lines("front", 0, 50))
    with sqlite3.connect(path) as database:
        database.execute("DELETE FROM lines WHERE seq = 20")
    with opened(path) as outbox:
        assert outbox.next("front") == 0


def test_a_full_outbox_takes_no_line_and_loses_none(path: Path) -> None:
    with opened(path, limit=1 << 20) as outbox:
        number = 0
        while taken := outbox.put("front", number, lines("front", number, 100, 1000)):
            number += taken
        assert "full" in outbox.problem
        assert 500 < number < 1100
        assert outbox.put_checkpoint("front", number, "note")
        outbox.put_health(b"{}")
        assert outbox.take_health() == []
        assert outbox.lines("front", number - 1, 1, 1) == [line("front", number - 1, 1000)]
        outbox.settle("front", number)
        assert outbox.problem == ""
        assert outbox.put("front", number, lines("front", number, 100, 1000)) == 100


def test_health_is_the_newest_few_and_goes_first(path: Path) -> None:
    with opened(path) as outbox:
        for number in range(HEALTH_KEPT + 30):
            outbox.put_health(b"%d" % number)
        kept = outbox.take_health()
        assert kept == [b"%d" % number for number in range(30, HEALTH_KEPT + 30)]
        assert outbox.take_health() == []


def test_72_hours_of_eight_cameras_fit_with_room_to_spare(path: Path) -> None:
    """Measured with a hundredth of it: a segment a minute, and nine other events, for each camera."""
    minutes, cameras = 72 * 60, 8
    segments, others = minutes * cameras, 9 * minutes * cameras
    limit = AgentConfig().outbox_max_mib << 20
    with opened(path, limit=limit) as outbox:
        empty, number = outbox.used_bytes, 0
        for size, count in ((1800, segments // 100), (450, others // 100)):
            assert outbox.put("front", number, lines("front", number, count, size)) == count
            number += count
        needed = (outbox.used_bytes - empty) * 100
    assert needed < limit * 0.75


def test_bytes_of_a_batch_are_bounded(path: Path) -> None:
    with opened(path) as outbox:
        outbox.put("front", 0, lines("front", 0, 100, 1000))
        assert len(outbox.lines("front", 0, 100, 10_000)) == 9
        assert len(outbox.lines("front", 0, 100, 10)) == 1
        assert outbox.lines("front", 100, 5, 1000) == []


def test_a_changed_line_is_never_sent(path: Path) -> None:
    with opened(path) as outbox:
        outbox.put("front", 0, lines("front", 0, 10))
    with sqlite3.connect(path) as database:
        database.execute("UPDATE lines SET line = x'00' || substr(line, 2) WHERE seq = 5")
    with opened(path) as outbox:
        assert outbox.lines("front", 0, 5, 1 << 20) == lines("front", 0, 5)
        with pytest.raises(OutboxDamagedError):
            outbox.lines("front", 5, 5, 1 << 20)


@pytest.mark.parametrize("seed", range(30))
def test_a_damaged_file_is_moved_aside_and_never_a_crash(path: Path, seed: int) -> None:
    chance = random.Random(seed)
    with opened(path) as outbox:
        outbox.put("front", 0, lines("front", 0, 400, 500))
        outbox.put_checkpoint("front", 300, "note")
    content = bytearray(path.read_bytes())
    match seed % 5:
        case 0:
            del content[chance.randrange(len(content)) :]
        case 1:
            content[:100] = chance.randbytes(100)
        case 2:
            at = chance.randrange(len(content) - 20_000)
            content[at : at + 16384] = chance.randbytes(16384)
        case 3:
            at = chance.randrange(len(content))
            content[at] ^= 1 << chance.randrange(8)
        case _:
            content = bytearray(chance.randbytes(50_000))
    path.write_bytes(content)
    try:
        outbox = opened(path)
        held = outbox.lines("front", outbox.first("front"), 1000, 1 << 30)
        outbox.checkpoint("front")
        outbox.put("front", outbox.next("front"), [b"more"])
        outbox.settle("front", 5)
    except OutboxDamagedError:
        outbox, aside = Outbox.renew(path, LIMIT)
        assert aside is not None
        assert aside.read_bytes()[:50] == bytes(content[:50])
        outbox.begin("front", 7)
        assert outbox.put("front", 7, lines("front", 7, 3)) == 3
    else:
        # Where the damage hit nothing that is read, what is there is what was written.
        assert held == lines("front", 0, len(held), 500)
    outbox.close()


def test_without_a_disk_a_small_one_in_memory_serves(tmp_path: Path) -> None:
    (tmp_path / "agent").write_text("a file, where a folder should be")
    with opened(tmp_path / "agent" / "outbox.sqlite") as outbox:
        assert "cannot be kept on disk" in outbox.problem
        assert outbox.put("front", 0, lines("front", 0, 10)) == 10
        assert outbox.lines("front", 0, 10, 1000) == lines("front", 0, 10)


CHILD = """
import sys
from pathlib import Path
from veil.agent.outbox import Outbox
path, first = Path(sys.argv[1]), int(sys.argv[2])
settled = int(sys.argv[3])
with Outbox.open(path, 64 << 20) as outbox:
    outbox.begin("front", settled)
    number = outbox.next("front")
    print("at", number, flush=True)
    while True:
        outbox.put("front", number, [f"front {number + at} ".encode() + b"x" * 60 for at in range(7)])
        number += 7
        print("put", number, flush=True)
        if number % 5 == 0:
            settled = max(settled, number - 40)
            print("settle", settled, flush=True)
            outbox.settle("front", settled)
"""


def test_no_line_is_lost_when_the_agent_is_killed_at_any_moment(path: Path) -> None:
    settled = 0
    for number in range(KILLS):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(path), "0", str(settled)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(random.Random(number).randrange(6, 120))]
        child.send_signal(signal.SIGKILL)
        said += child.stdout.readlines()
        child.wait(10)
        told = [text.split() for text in said if text.endswith("\n")]
        put = max([int(word[1]) for word in told if word[0] in {"put", "at"}])
        settled = max([settled, *(int(word[1]) for word in told if word[0] == "settle")])
        with opened(path, size=settled) as outbox:
            assert outbox.first("front") == settled
            assert outbox.next("front") >= put
            kept = outbox.lines("front", settled, 100_000, 1 << 30)
            assert kept == lines("front", settled, outbox.next("front") - settled)


FULL = """
import resource, signal, sys
from pathlib import Path
from veil.agent.outbox import Outbox
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with Outbox.open(Path(sys.argv[1]), 64 << 20) as outbox:
    outbox.begin("front", 0)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
    number = 0
    while taken := outbox.put("front", number, [b"x" * 1000] * 100):
        number += taken
    assert outbox.problem, "a full disk is told"
    assert outbox.next("front") == number
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert outbox.put("front", number, [b"x" * 1000] * 100) == 100
    assert not outbox.problem
    assert len(outbox.lines("front", 0, 10_000, 1 << 30)) == number + 100
"""


def test_a_full_disk_stops_it_and_room_lets_it_go_on(path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", FULL, str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert result.returncode == 0, result.stderr
