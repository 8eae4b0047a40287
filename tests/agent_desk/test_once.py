"""A command is carried out at most once, whatever happens to process, disk and clock."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from agent_desk.house import DEVICE, KEY, Counting, Desk, HandClock, command
from veil.agent.commands import CommandDesk, Done
from veil.agent.commands.nonces import FILE, MAX_NONCES, NonceStore
from veil.audit.event import Event
from veil.errors import CommandError, LogError
from veil.messages.command import CommandBody, Result

_TESTS = Path(__file__).resolve().parents[1]


def test_a_replay_is_refused(tmp_path: Path) -> None:
    actions = Counting()
    with Desk(tmp_path, actions=actions) as house:
        assert house.handle(command()).error == ""
        assert house.handle(command()).error.startswith("replayed")
        (event,) = house.events("command_refused")
    assert event["reason"] == "replayed"
    assert len(actions.ran) == 1


def test_a_replay_is_refused_after_a_restart(tmp_path: Path) -> None:
    with Desk(tmp_path) as house:
        house.handle(command())
    actions = Counting()
    with Desk(tmp_path, actions=actions) as house:
        assert house.handle(command()).error.startswith("replayed")
    assert actions.ran == []


def test_another_signature_for_the_same_nonce_is_a_replay(tmp_path: Path) -> None:
    with Desk(tmp_path) as house:
        house.handle(command(1))
        assert house.handle(command(1, issued_s=1)).error.startswith("replayed")


def test_the_same_command_from_many_threads_is_done_once(tmp_path: Path) -> None:
    actions = Counting()
    with Desk(tmp_path, actions=actions) as house:
        said: list[str] = []
        threads = [
            threading.Thread(target=lambda: said.append(house.handle(command()).error)) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(actions.ran) == 1
    assert sorted(text.split(":")[0] for text in said) == ["", *["replayed"] * 7]


_KILLED_WHILE_ACTING = """
import os, signal, sys
from pathlib import Path
from agent_desk.house import Desk, command

class Dying:
    def run(self, body):
        Path(sys.argv[1], "acted").open("a").write("once\\n")
        os.kill(os.getpid(), signal.SIGKILL)

with Desk(Path(sys.argv[1]), actions=Dying()) as house:
    house.handle(command())
"""


def test_killed_while_it_acts_it_acts_once_and_says_so(tmp_path: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(_TESTS), *sys.path])}
    ended = subprocess.run(
        [sys.executable, "-c", _KILLED_WHILE_ACTING, str(tmp_path)], env=environ, check=False, timeout=60
    )
    assert ended.returncode == -signal.SIGKILL
    actions = Counting()
    with Desk(tmp_path, actions=actions) as house:
        assert house.handle(command()).error.startswith("replayed")
        (event,) = house.events("command_done")
    assert (tmp_path / "acted").read_text() == "once\n"
    assert actions.ran == []
    assert event == {
        "command": "ping",
        "key": KEY.verifier.id.hex(),
        "nonce": f"{1:032x}",
        "outcome": "interrupted",
    }
    with Desk(tmp_path) as house:
        assert len(house.events("command_done")) == 1


def test_what_cannot_be_kept_as_taken_is_not_done(tmp_path: Path) -> None:
    actions = Counting()
    with Desk(tmp_path, actions=actions) as house:
        house.desk._nonces._database.execute("PRAGMA query_only = ON")
        assert house.handle(command()).error.startswith("unavailable")
        assert actions.ran == []
        house.desk._nonces._database.execute("PRAGMA query_only = OFF")
        assert house.handle(command()).error == ""
    assert len(actions.ran) == 1


def test_a_clock_set_back_does_not_bring_a_command_back(tmp_path: Path) -> None:
    """Its nonce is forgotten by then: the newest command taken says what time it is at least."""
    actions = Counting()
    with Desk(tmp_path, actions=actions) as house:
        house.handle(command(1))
        house.clock.run(600)
        house.handle(command(2, issued_s=600))
        assert len(house.desk._nonces) == 1
        house.clock.set_by(-600)
        assert house.handle(command(1)).error.startswith("expired")
    assert len(actions.ran) == 2


def test_a_command_that_was_held_back_is_not_taken_when_the_clock_is_set_back(tmp_path: Path) -> None:
    actions = Counting()
    with Desk(tmp_path, actions=actions) as house:
        house.clock.run(600)
        house.handle(command(2, issued_s=600))
        house.clock.set_by(-600)
        assert house.handle(command(1)).error.startswith("expired")
    assert len(actions.ran) == 1


@pytest.mark.parametrize("by_s", [-1_795_262_400, -3600, 3600])
def test_a_clock_that_is_wrong_refuses_and_that_is_over_with_the_error(by_s: int, tmp_path: Path) -> None:
    with Desk(tmp_path) as house:
        house.clock.set_by(by_s)
        wrong = "expired" if by_s > 0 else "not_yet_valid"
        assert house.handle(command(1)).error.startswith(wrong)
        house.clock.set_by(-by_s)
        assert house.handle(command(1)).error == ""


def test_a_damaged_store_takes_nothing_that_may_have_been_taken(tmp_path: Path) -> None:
    with Desk(tmp_path) as house:
        house.handle(command(1))
    (tmp_path / "commands" / FILE).write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 16)
    clock, actions = HandClock(), Counting()
    with Desk(tmp_path, clock, actions) as house:
        assert house.handle(command(1)).error.startswith("expired")
        clock.run(400)
        assert house.handle(command(2, issued_s=400)).error == ""
        assert len(house.events("fault")) == 1
    assert len(actions.ran) == 1
    assert (tmp_path / "commands" / f"{FILE}.damaged").exists()


def test_the_store_stays_small_and_old_commands_are_forgotten(tmp_path: Path) -> None:
    with Desk(tmp_path) as house:
        for number in range(40):
            assert house.handle(command(number, issued_s=number * 30)).error == ""
            house.clock.run(30)
        assert len(house.desk._nonces) <= 5


def test_more_commands_than_it_remembers_are_refused(tmp_path: Path) -> None:
    store = NonceStore(tmp_path, 0)
    store._database.execute("BEGIN")
    store._database.executemany(
        "INSERT INTO taken VALUES (?, ?, 'ping', '00000000', 1)",
        [(f"{number:032x}", 2**62) for number in range(1000, 1000 + MAX_NONCES)],
    )
    store._database.execute("COMMIT")
    store.close()
    (tmp_path / "commands").mkdir()
    (tmp_path / FILE).rename(tmp_path / "commands" / FILE)
    actions = Counting()
    with Desk(tmp_path, actions=actions) as house:
        assert house.handle(command()).error.startswith("busy")
        assert len(house.desk._nonces) == MAX_NONCES
    assert actions.ran == []


class _Failing:
    def run(self, body: CommandBody) -> Done:
        del body
        raise CommandError("The camera is on fire.")


def test_a_command_that_fails_is_told_and_not_tried_again(tmp_path: Path) -> None:
    with Desk(tmp_path, actions=_Failing()) as house:
        assert house.handle(command()).error == "failed: The camera is on fire."
        assert house.handle(command()).error.startswith("replayed")
        (event,) = house.events("command_done")
    assert event["outcome"] == "failed CommandError"


class _FullLog:
    def __init__(self) -> None:
        self.full = True
        self.events: list[Event] = []

    def append(self, event: Event) -> int:
        if self.full:
            raise LogError("No space.")
        self.events.append(event)
        return len(self.events)


def test_what_cannot_be_logged_does_not_leave_the_box_and_is_logged_later(tmp_path: Path) -> None:
    log, clock = _FullLog(), HandClock()
    with CommandDesk(DEVICE, [str(KEY.verifier)], tmp_path, log, clock, Counting()) as desk:
        for number in (1, 2):
            response = desk.handle(command(number))
            assert response.result is None
            assert response.error.startswith("failed: No space.")
        assert desk.handle(b"x").error.startswith("malformed")
        # Not even time lets it forget what it owes the log.
        clock.run(400)
        assert desk.handle(command(3, issued_s=400)).error.startswith("failed: No space.")
        assert len(desk._nonces) == 3
        log.full = False
        desk.step()
    done = [event.data for event in log.events if event.kind == "command_done"]
    assert [(data["nonce"], data["outcome"]) for data in done] == [
        (f"{number:032x}", "done") for number in (1, 2, 3)
    ]


class _Huge:
    def run(self, body: CommandBody) -> Done:
        del body
        return Done(
            Result(jpeg="A" * 60_000, version="ü" * 400, restarted=tuple(f"{n:032}" for n in range(64)) * 1)
        )


def test_an_answer_that_fits_into_no_message_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("veil.messages.command.Response.MAX_BYTES", 60_000)
    with Desk(tmp_path, actions=_Huge()) as house:
        assert "does not fit" in house.handle(command()).error
