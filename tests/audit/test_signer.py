"""The signer: signs what is durable and fits, never twice, and says so where somebody changed a log."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from veil.audit.checkpoint import Checkpoint
from veil.audit.event import Event, Kind
from veil.audit.heads import sizes_under
from veil.audit.log import EventLog
from veil.audit.note import COSIGNATURE_V1, Note, SigningKey, cosign_note
from veil.audit.signer import LogSigner
from veil.audit.tree import leaf_hash, verify_consistency, verify_inclusion
from veil.audit.witness import keep_witness_keys, read_witness_keys
from veil.domain.clock import SystemClock
from veil.errors import EvidenceError, LogError, NoteError

CLOCK = SystemClock()
KEY = SigningKey.from_seed("veil/box-7", b"k" * 32)
WITNESS = SigningKey.from_seed("fleet", b"w" * 32, COSIGNATURE_V1)


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests are not about power cuts."""
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: None)


def append(folder: Path, count: int) -> None:
    with EventLog(folder / "events.jsonl", folder.name, CLOCK, reserve_bytes=0) as log:
        for number in range(count):
            log.append(Event(Kind.FAULT, {"number": number}))


def open_signer(folder: Path) -> LogSigner:
    return LogSigner(folder, folder.name, "box-7", CLOCK)


def follow_all(signer: LogSigner) -> list[tuple[int, str]]:
    return [entry for batch in iter(signer.follow, []) for entry in batch]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "front"


@pytest.fixture
def signed(folder: Path) -> Iterator[LogSigner]:
    append(folder, 700)
    with open_signer(folder) as signer:
        follow_all(signer)
        signer.sign(KEY)
        yield signer


def test_new_lines_are_followed_once_and_in_order(folder: Path) -> None:
    append(folder, 300)
    lines = (folder / "events.jsonl").read_text().splitlines()
    with open_signer(folder) as signer:
        assert signer.follow(10) == list(enumerate(lines))[:10]
        assert follow_all(signer) == list(enumerate(lines))[10:]
        assert signer.follow() == []
        append(folder, 2)
        assert [number for number, _ in signer.follow()] == [300, 301]


def test_nothing_new_is_not_signed_again(signed: LogSigner) -> None:
    assert signed.newest is not None
    assert signed.signed_size == signed.size == 700
    assert signed.sign(KEY) is None


def test_restart_goes_on_behind_the_last_checkpoint(folder: Path, signed: LogSigner) -> None:
    append(folder, 30)
    follow_all(signed)
    with open_signer(folder) as again:
        assert again.newest == signed.newest
        assert again.size == again.signed_size == 700
        assert [number for number, _ in follow_all(again)] == list(range(700, 730))
        note = again.sign(KEY)
    assert note is not None
    assert signed.newest is not None
    before, after = Checkpoint.parse(signed.newest.text), Checkpoint.parse(note.text)
    assert after.previous == before.digest()
    proof = again_proof(folder, before.size, after.size)
    verify_consistency(before.size, after.size, proof, before.root, after.root)


def again_proof(folder: Path, old: int, new: int) -> list[bytes]:
    with open_signer(folder) as signer:
        return signer.consistency_proof(old, new)


def test_restart_does_not_read_the_log_again(
    folder: Path, signed: LogSigner, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[bytes] = []
    monkeypatch.setattr("veil.audit.signer.leaf_hash", lambda line: read.append(line) or leaf_hash(line))
    with open_signer(folder) as again:
        assert again.size == 700
    assert len(read) <= 512


def index_gone(folder: Path) -> None:
    (folder / "tree.index").unlink()


def index_torn(folder: Path) -> None:
    os.truncate(folder / "tree.index", 50)


def index_of_nonsense(folder: Path) -> None:
    (folder / "tree.index").write_bytes(b"\xff" * 80)


def index_with_other_offsets(folder: Path) -> None:
    data = bytearray((folder / "tree.index").read_bytes())
    data[7] ^= 4
    (folder / "tree.index").write_bytes(data)


@pytest.mark.parametrize("harm", [index_gone, index_torn, index_of_nonsense, index_with_other_offsets])
def test_index_is_a_cache_and_never_believed(
    folder: Path, signed: LogSigner, harm: Callable[[Path], None]
) -> None:
    harm(folder)
    lines = (folder / "events.jsonl").read_text().splitlines()
    with open_signer(folder) as again:
        assert again.size == 700
        for first in (0, 255, 256, 300, 699):
            assert again.lines(first, 5) == lines[first : first + 5]
        append(folder, 1)
        assert [number for number, _ in again.follow()] == [700]
        checkpoint = Checkpoint.parse(again.sign(KEY).text)  # type: ignore[union-attr]
        line = (folder / "events.jsonl").read_bytes().splitlines()[300]
        verify_inclusion(leaf_hash(line), 300, 701, again.inclusion_proof(300, 701), checkpoint.root)


def line_changed(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"number":650', b'"number":651'))


def log_cut_back(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def log_gone(path: Path) -> None:
    path.unlink()


def log_replaced(path: Path) -> None:
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    copy.replace(path)


def foreign_line(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b'{"seq":700}\n')


def last_line_again(path: Path) -> None:
    with path.open("ab") as file:
        file.write(path.read_bytes().splitlines()[-1] + b"\n")


@pytest.mark.parametrize("harm", [log_cut_back, log_gone, log_replaced, foreign_line, last_line_again])
def test_changed_log_is_noticed_while_it_is_followed(
    folder: Path, signed: LogSigner, harm: Callable[[Path], None]
) -> None:
    harm(folder / "events.jsonl")
    for _ in range(2):
        with pytest.raises(EvidenceError):
            signed.follow()
    with pytest.raises(EvidenceError):
        signed.sign(KEY)


@pytest.mark.parametrize("nonsense", [b"x" * 20_000 + b"\n", b"\0" * 500 + b"\n", b"{}}\n"])
def test_what_a_power_cut_left_waits_for_its_repair_but_is_not_signed(
    folder: Path, signed: LogSigner, nonsense: bytes
) -> None:
    with (folder / "events.jsonl").open("ab") as file:
        file.write(nonsense)
    assert signed.follow() == []
    append(folder, 1)
    assert [json.loads(line)["kind"] for _, line in follow_all(signed)] == ["log_repaired", "fault"]
    with EventLog(folder / "events.jsonl", "front", CLOCK), (folder / "events.jsonl").open("ab") as file:
        file.write(nonsense)
        file.flush()
        with pytest.raises(EvidenceError):
            signed.follow()


@pytest.mark.parametrize("harm", [log_cut_back, log_gone, line_changed])
def test_changed_log_is_noticed_at_the_start(
    folder: Path, signed: LogSigner, harm: Callable[[Path], None]
) -> None:
    harm(folder / "events.jsonl")
    with pytest.raises(EvidenceError), open_signer(folder):
        pass


def test_log_set_back_behind_its_cosignature_is_noticed(folder: Path, signed: LogSigner) -> None:
    assert signed.newest is not None
    signed.store_cosigned(cosign_note(signed.newest, WITNESS, 1), [WITNESS.verifier])
    (folder / "checkpoints.jsonl").write_bytes(b"")
    with pytest.raises(EvidenceError, match="older state"), open_signer(folder):
        pass


def test_torn_checkpoint_is_cut_off(folder: Path, signed: LogSigner) -> None:
    path = folder / "checkpoints.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:100])
    with open_signer(folder) as again:
        assert again.newest == signed.newest
    assert path.read_bytes() == whole


def test_only_our_checkpoints_with_a_trusted_witness_are_kept(folder: Path, signed: LogSigner) -> None:
    assert signed.newest is not None
    mine = signed.newest
    foreign = Note(mine.text.replace("700", "699"), mine.signatures)
    other = SigningKey.generate("fleet", COSIGNATURE_V1)
    refused = [
        mine,
        cosign_note(foreign, WITNESS, 1),
        cosign_note(mine, other, 1),
        cosign_note(cosign_note(mine, WITNESS, 1), other, 1),
        Note(mine.text, cosign_note(mine, WITNESS, 1).signatures[1:]),
        Note(mine.text, (*mine.signatures, cosign_note(foreign, WITNESS, 1).signatures[1])),
    ]
    for note in refused:
        with pytest.raises(NoteError):
            signed.store_cosigned(note, [WITNESS.verifier])
    assert not (folder / "cosigned").exists()
    good = cosign_note(mine, WITNESS, 1)
    signed.store_cosigned(good, [WITNESS.verifier])
    assert (folder / "cosigned").read_text() == good.encode()


def test_older_cosignature_does_not_replace_a_newer_one(folder: Path, signed: LogSigner) -> None:
    first = signed.newest
    append(folder, 1)
    signed.follow()
    second = signed.sign(KEY)
    assert first is not None
    assert second is not None
    for note in (second, first):
        signed.store_cosigned(cosign_note(note, WITNESS, 1), [WITNESS.verifier])
    assert Note.parse((folder / "cosigned").read_text()).text == second.text


def test_line_that_may_be_taken_back_is_not_followed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append(folder, 1)
    with open_signer(folder) as signer, EventLog(folder / "events.jsonl", "front", CLOCK) as log:
        seen: list[list[tuple[int, str]]] = []
        (folder / "events.jsonl.reserve").unlink()

        def fail(descriptor: int) -> None:
            seen.append([])
            if len(seen) == 1:
                seen[0] = signer.follow()
                raise OSError(5, "Input/output error")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", fail)
            with pytest.raises(LogError):
                log.append(Event(Kind.FAULT, {"lost": 1}))
        log.append(Event(Kind.FAULT, {"kept": 1}))
        assert seen[0] == []
        assert [number for number, _ in follow_all(signer)] == [0, 1]


def test_disk_that_does_not_take_a_checkpoint_leaves_none(
    folder: Path, signed: LogSigner, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(folder, 1)
    signed.follow()

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    before = (folder / "checkpoints.jsonl").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        with pytest.raises(LogError):
            signed.sign(KEY)
    assert (folder / "checkpoints.jsonl").read_bytes() == before
    assert signed.signed_size == 700
    assert signed.sign(KEY) is not None


def test_sizes_for_a_rotation_are_of_the_present_key_only(tmp_path: Path, signed: LogSigner) -> None:
    other = SigningKey.from_seed("veil/box-7", b"o" * 32)
    append(tmp_path / "back", 3)
    append(tmp_path / "silent", 3)
    with open_signer(tmp_path / "back") as back:
        back.follow()
        back.sign(other)
    assert sizes_under(tmp_path, KEY.verifier) == {"front": 700}
    assert sizes_under(tmp_path, other.verifier) == {"back": 3}


def test_witness_keys_are_added_and_stay(tmp_path: Path) -> None:
    other = SigningKey.generate("fleet-2", COSIGNATURE_V1)
    keep_witness_keys(tmp_path, [WITNESS.verifier])
    keep_witness_keys(tmp_path, [other.verifier, WITNESS.verifier])
    assert read_witness_keys(tmp_path / "witness.vkeys") == [WITNESS.verifier, other.verifier]
    with pytest.raises(EvidenceError):
        keep_witness_keys(tmp_path, [KEY.verifier])


@settings(deadline=None, max_examples=15)
@given(st.lists(st.tuples(st.integers(0, 300), st.booleans(), st.booleans()), max_size=6))
def test_whatever_the_order_of_appends_signatures_and_restarts_the_tree_is_the_logs(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, bool, bool]]
) -> None:
    folder = tmp_path_factory.mktemp("any") / "front"
    append(folder, 1)
    signer = open_signer(folder)
    for count, signs, restarts in steps:
        append(folder, count)
        if signs:
            follow_all(signer)
            signer.sign(KEY)
        if restarts:
            signer.close()
            signer = open_signer(folder)
    with signer:
        follow_all(signer)
        lines = (folder / "events.jsonl").read_bytes().splitlines()
        assert signer.size == len(lines)
        signer.sign(KEY)
        assert signer.newest is not None
        root = Checkpoint.parse(signer.newest.text).root
        for index in {0, len(lines) // 2, len(lines) - 1}:
            proof = signer.inclusion_proof(index, len(lines))
            verify_inclusion(leaf_hash(lines[index]), index, len(lines), proof, root)
