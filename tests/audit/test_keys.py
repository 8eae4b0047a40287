"""The box's key: made once, never anew in silence, and rotated without a moment in which none is known."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from veil.audit import durable, keys
from veil.audit.event import Event
from veil.audit.keyring import KeyRecord, Keyring
from veil.audit.keys import KeyStore, decode_private, encode_private
from veil.audit.note import SigningKey, VerifierKey
from veil.domain.clock import SystemClock
from veil.errors import EvidenceError

CLOCK = SystemClock()


class Events:
    """Takes events."""

    def __init__(self) -> None:
        self.taken: list[Event] = []

    def append(self, event: Event) -> int:
        self.taken.append(event)
        return len(self.taken) - 1


def open_store(state: Path, credential: Path | None = None) -> KeyStore:
    return KeyStore.open(state / "log", "box-7", CLOCK, credential)


def test_first_start_makes_a_key_that_only_its_owner_reads(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    file = tmp_path / "keys" / "signing.key"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert store.records() == (tmp_path / "log" / "keys.jsonl").read_text().splitlines()
    assert decode_private(file.read_text()).verifier == store.verifier
    assert store.signing_key.seed not in (tmp_path / "log" / "keys.jsonl").read_bytes()


def test_key_stays_the_same_over_restarts(tmp_path: Path) -> None:
    assert open_store(tmp_path).verifier == open_store(tmp_path).verifier


def damage_key(state: Path) -> None:
    (state / "keys" / "signing.key").write_text("PRIVATE+KEY+veil/box-7+00000000+AAAA\n")


def lose_key(state: Path) -> None:
    (state / "keys" / "signing.key").unlink()


def swap_key(state: Path) -> None:
    other = SigningKey.generate("veil/box-7")
    (state / "keys" / "signing.key").write_text(encode_private(other))


def lose_records(state: Path) -> None:
    (state / "log" / "keys.jsonl").unlink()
    (state / "log" / "front").mkdir()
    (state / "log" / "front" / "checkpoints.jsonl").write_text("x")


def damage_records(state: Path) -> None:
    path = state / "log" / "keys.jsonl"
    path.write_text(path.read_text().replace("box-7", "box-8"))


def tear_records(state: Path) -> None:
    path = state / "log" / "keys.jsonl"
    path.write_bytes(path.read_bytes()[:-1])


def show_key(state: Path) -> None:
    (state / "keys" / "signing.key").chmod(0o644)


@pytest.mark.parametrize(
    "harm", [damage_key, lose_key, swap_key, lose_records, damage_records, tear_records, show_key]
)
def test_no_key_is_made_anew_in_silence(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    open_store(tmp_path)
    harm(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(EvidenceError):
        open_store(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def test_logs_of_another_box_are_not_signed(tmp_path: Path) -> None:
    open_store(tmp_path)
    with pytest.raises(EvidenceError, match="box-7"):
        KeyStore.open(tmp_path / "log", "box-8", CLOCK)


def test_rotation_is_signed_by_both_keys_and_holds_over_a_restart(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    old = store.verifier
    record = store.rotate({"front": 12})
    assert record.old == old
    assert record.new == store.verifier == open_store(tmp_path).verifier
    ring = Keyring.of(line.encode() for line in store.records())
    assert ring.last_size(0, "front") == 12
    assert ring.last_size(0, "back") == 0
    assert ring.last_size(1, "front") is None
    assert not (tmp_path / "keys" / "signing.key.next").exists()


def test_each_record_is_an_event_also_after_a_crash_before_it(tmp_path: Path) -> None:
    events = Events()
    store = open_store(tmp_path)
    store.announce(events)
    store.rotate({})
    open_store(tmp_path).announce(events)
    open_store(tmp_path).announce(events)
    assert [str(event.kind) for event in events.taken] == ["key_created", "key_rotated"]
    assert str(events.taken[1].data["old"]) == str(events.taken[0].data["new"])


def test_credential_of_systemd_is_used_and_can_be_rotated_away_and_in(tmp_path: Path) -> None:
    credential = tmp_path / "veil-signing-key"
    first = SigningKey.generate("veil/box-7")
    credential.write_text(encode_private(first))
    store = open_store(tmp_path, credential)
    assert store.verifier == first.verifier
    assert not (tmp_path / "keys" / "signing.key").exists()
    assert keys.credential_file({"CREDENTIALS_DIRECTORY": str(tmp_path)}) == credential
    store.rotate({})
    assert open_store(tmp_path, credential).verifier != first.verifier
    third = SigningKey.generate("veil/box-7")
    credential.write_text(encode_private(third))
    store = open_store(tmp_path, credential)
    store.rotate({})
    assert store.verifier == open_store(tmp_path, credential).verifier == third.verifier


class PowerCutError(BaseException):
    """The process is gone."""


CALLS = ("open", "write", "fsync", "close")


@pytest.mark.parametrize("failing", [OSError, PowerCutError])
@pytest.mark.parametrize("number", range(26))
def test_rotation_that_is_cut_off_anywhere_is_finished_or_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, failing: type[BaseException]
) -> None:
    before = open_store(tmp_path).verifier
    store = open_store(tmp_path)
    left = [number]

    def failing_in_turn(real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            left[0] -= 1
            if left[0] == -1:
                raise failing(5, "Input/output error")
            return real(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, failing_in_turn(getattr(os, name)))
        patch.setattr(Path, "replace", failing_in_turn(Path.replace))
        patch.setattr(durable, "sync_directory", failing_in_turn(durable.sync_directory))
        try:
            store.rotate({"front": 3})
        except (EvidenceError, PowerCutError):
            with suppress(EvidenceError):
                # Where it still knows a key, it is the one that a new start finds.
                assert store.verifier == open_store(tmp_path).verifier
    again = open_store(tmp_path)
    assert len(again.records()) == (1 if again.verifier == before else 2)
    assert again.rotate({}).old == VerifierKey.parse(
        str(Keyring.of(line.encode() for line in again.records()[:-1]).current)
    )
    assert open_store(tmp_path).verifier == again.verifier


def test_record_tells_who_signed_it() -> None:
    first, second = SigningKey.generate("veil/a"), SigningKey.generate("veil/a")
    time = "2026-11-21T12:00:00.000000Z"
    ring = Keyring.of([KeyRecord.make("a", first, None, {}, time).line()])
    forged = KeyRecord.make("a", second, SigningKey.generate("veil/a"), {}, time)
    with pytest.raises(EvidenceError, match="record before"):
        ring.add(forged)
    ring.add(KeyRecord.make("a", second, first, {"front": 9}, time))
    with pytest.raises(EvidenceError, match="there before"):
        ring.add(KeyRecord.make("a", first, second, {}, time))
