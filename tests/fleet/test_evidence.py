"""What boxes send is stored once, held against what they sent before, and cosigned when it fits."""

from __future__ import annotations

import json

import pytest

from fleet.boxes import Box, segment
from fleet.store_house import StoreHouse, receipts
from veil.audit.checkpoint import Checkpoint, origin_of
from veil.audit.event import Event, Kind, timestamp
from veil.audit.note import Note
from veil.audit.tree import Frontier, leaf_hash
from veil_fleet.collector import logbook
from veil_fleet.store.tables import Alarm
from veil_fleet.store.tables import Checkpoint as CheckpointRow


def box_with_lines(count: int = 5) -> Box:
    box = Box()
    for number in range(count):
        box.log().append(segment(number))
    return box


def settled(house: StoreHouse, count: int = 5) -> Box:
    """A box of whose log `count` lines are cosigned."""
    box = box_with_lines(count)
    outcome = house.take(box.keys(), box.entries(), box.checkpoint())
    assert len(receipts(outcome)) == 1
    return box


def test_a_checkpoint_whose_lines_are_all_here_is_cosigned(house: StoreHouse) -> None:
    box = box_with_lines()
    note = box.log().sign(box.key)
    outcome = house.take(box.keys(), box.entries(), box.checkpoint(note=note))
    (receipt,) = receipts(outcome)
    cosigned = Note.parse(receipt)
    assert cosigned.text == note.text
    cosigned.verify(box.key.verifier)
    assert cosigned.verify_cosignature(house.witness.verifier) == box.now_ms // 1000
    assert house.lines() == box.log().lines
    log = house.log()
    assert (log.stored_size, log.seen_size, log.cosigned_size) == (5, 5, 5)
    assert (log.gap_ms, log.behind_ms, log.pending) == (None, None, "")
    assert house.alarms() == []


def test_many_checkpoints_grow_on_each_other(house: StoreHouse) -> None:
    box = Box()
    house.take(box.keys())
    for number in range(40):
        box.log().append(segment(number))
        if number % 3 == 0:
            first = house.log().stored_size if number else 0
            assert len(receipts(house.take(box.entries(first), box.checkpoint()))) == 1
    assert house.log().cosigned_size == 40
    assert len(house.rows(CheckpointRow)) == 14
    assert house.alarms() == []


def test_messages_that_come_twice_change_nothing(house: StoreHouse) -> None:
    box = box_with_lines()
    batch = box.keys(), box.entries(), box.checkpoint()
    first = receipts(house.take(*batch))
    again = receipts(house.take(*batch, *batch))
    assert set(again) == set(first)
    assert house.lines() == box.log().lines
    assert house.alarms() == []


def test_lines_may_come_in_any_order(house: StoreHouse) -> None:
    box = box_with_lines(9)
    house.take(box.keys(), box.entries(6, 9))
    assert receipts(house.take(box.checkpoint())) == []
    assert house.log().gap_ms is not None
    house.take(box.entries(3, 6))
    assert len(receipts(house.take(box.entries(0, 3)))) == 1
    log = house.log()
    assert (log.stored_size, log.cosigned_size, log.gap_ms) == (9, 9, None)
    assert [row.seq for row in house.segments()] == list(range(9))
    assert house.alarms() == []


def test_a_gap_is_asked_for_again_and_not_without_end(house: StoreHouse) -> None:
    box = box_with_lines(9)
    now = box.now_ms
    house.take(box.keys(), box.entries(0, 3), box.entries(5, 9))
    assert house.ask(now).publish == []
    asked = [house.ask(now + second * 1000).publish for second in range(2, 60)]
    wanted = [json.loads(item.payload) for publish in asked for item in publish]
    assert 4 <= len(wanted) <= 8
    assert {(item["first"], item["count"]) for item in wanted} == {(3, 2)}
    house.take(box.entries(3, 5))
    assert house.ask(now + 100_000).publish == []
    assert house.log().stored_size == 9


def test_lines_that_waited_are_taken_up_without_a_pause(
    house: StoreHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logbook, "MAX_ADVANCE", 50)
    box = box_with_lines(125)
    house.take(box.keys(), box.entries(1, 63), box.entries(63), box.checkpoint())
    house.take(box.entries(0, 1))
    assert house.log().stored_size == 51
    outcomes = [house.ask(box.now_ms)]
    while outcomes[-1].more_waits:
        outcomes.append(house.ask(box.now_ms))
    assert len(outcomes) == 2
    assert len(receipts(outcomes[-1])) == 1
    assert not any("/resend/" in item.topic for outcome in outcomes for item in outcome.publish)
    log = house.log()
    assert (log.stored_size, log.cosigned_size, log.gap_ms) == (125, 125, None)


def test_a_gap_that_stays_is_an_alarm_until_it_is_filled(house: StoreHouse) -> None:
    box = box_with_lines(9)
    house.take(box.keys(), box.entries(0, 3), box.entries(5, 9))
    house.overdue(box.now_ms + 59_000)
    assert house.alarms() == []
    house.overdue(box.now_ms + 61_000)
    house.overdue(box.now_ms + 90_000)
    assert house.alarms() == ["gap"]
    house.take(box.entries(3, 5), now_ms=box.now_ms + 95_000)
    assert house.alarms() == []


def test_a_checkpoint_shows_that_the_last_lines_are_missing(house: StoreHouse) -> None:
    box = box_with_lines(4)
    house.take(box.keys(), box.entries(0, 2), box.checkpoint())
    (asked,) = house.ask(box.now_ms + 2000).publish
    assert json.loads(asked.payload) == {"v": 1, "log": "front", "first": 2, "count": 2}


def test_a_changed_line_is_a_fork_and_replaces_nothing(house: StoreHouse) -> None:
    box = settled(house)
    stored = box.log().lines[2]
    forged = stored.replace('"bytes":3000002', '"bytes":3000003')
    assert forged != stored
    house.take(box.raw_entries(2, [forged]))
    assert house.alarms() == ["fork"]
    assert house.lines()[2] == stored
    (alarm,) = house.rows(Alarm)
    (evidence,) = json.loads(alarm.evidence)
    assert (evidence["stored"], evidence["received"]) == (stored, forged)


def test_another_root_for_a_cosigned_size_is_a_fork(house: StoreHouse) -> None:
    box = settled(house)
    other = Box()
    for number in range(5):
        other.log().append(segment(number + 7))
    house.take(box.checkpoint(note=other.log().sign(box.key)))
    assert house.alarms() == ["fork"]
    assert house.log().cosigned_size == 5


def test_a_signed_root_that_is_not_that_of_the_lines_is_never_cosigned(house: StoreHouse) -> None:
    box = settled(house)
    box.log().append(segment(5))
    wrong = Frontier()
    for _ in range(6):
        wrong.append(leaf_hash(b"other"))
    origin = origin_of(box.name, "front")
    note = Checkpoint(origin, 6, wrong.root(), timestamp(0), bytes(31) + b"1").sign(box.key)
    assert receipts(house.take(box.entries(5), box.checkpoint(note=note))) == []
    assert house.alarms() == ["fork"]
    assert house.log().cosigned_size == 5


def test_fewer_lines_than_were_cosigned_are_a_rollback(house: StoreHouse) -> None:
    box = settled(house)
    tree = Frontier()
    for line in box.log().lines[:3]:
        tree.append(leaf_hash(line.encode()))
    later = timestamp(1_900_000_000_000_000_000)
    note = Checkpoint(origin_of(box.name, "front"), 3, tree.root(), later, bytes(32)).sign(box.key)
    assert receipts(house.take(box.checkpoint(note=note))) == []
    assert house.alarms() == ["rollback"]


def test_an_older_size_with_other_lines_is_a_fork(house: StoreHouse) -> None:
    box = settled(house)
    other = Box()
    for number in range(3):
        other.log().append(segment(number + 7))
    house.take(box.checkpoint(note=other.log().sign(box.key)))
    assert house.alarms() == ["fork"]


def test_a_checkpoint_that_was_overtaken_is_no_alarm_and_gets_the_newer_receipt(house: StoreHouse) -> None:
    box = box_with_lines(3)
    early = box.checkpoint()
    box.log().append(segment(3))
    newest = receipts(house.take(box.keys(), box.entries(), box.checkpoint()))
    assert len(newest) == 1
    assert receipts(house.take(early)) == newest
    assert house.alarms() == []


def test_an_older_checkpoint_that_was_cosigned_is_cosigned_again(house: StoreHouse) -> None:
    box = box_with_lines(3)
    early = box.checkpoint()
    (receipt,) = receipts(house.take(box.keys(), box.entries(), early))
    box.log().append(segment(3))
    house.take(box.entries(3), box.checkpoint())
    assert receipts(house.take(early)) == [receipt]
    assert house.alarms() == []


def test_a_forged_signature_is_an_alarm(house: StoreHouse) -> None:
    box = box_with_lines()
    note = box.log().sign(box.key)
    forged = Note(note.text.replace("\n5\n", "\n4\n"), note.signatures)
    assert receipts(house.take(box.keys(), box.entries(), box.checkpoint(note=forged))) == []
    assert house.alarms() == ["bad_signature"]


def test_another_logs_checkpoint_is_not_taken(house: StoreHouse) -> None:
    box = box_with_lines()
    other = Box(box.name)
    other.log("back").append(segment(0))
    note = other.log("back").sign(box.key)
    assert receipts(house.take(box.keys(), box.entries(), box.checkpoint(note=note))) == []
    assert house.alarms() == ["bad_signature"]


def test_a_checkpoint_waits_for_the_keys_of_its_box(house: StoreHouse) -> None:
    box = box_with_lines()
    outcome = house.take(box.entries(), box.checkpoint())
    assert receipts(outcome) == []
    assert outcome.unknown_keys == {box.name}
    assert len(receipts(house.take(box.keys()))) == 1
    assert house.alarms() == []


def test_a_key_that_the_box_never_showed_is_an_alarm(house: StoreHouse) -> None:
    box = settled(house)
    box.log().append(segment(5))
    stranger = Box(box.name)
    assert receipts(house.take(box.entries(5), box.checkpoint(note=box.log().sign(stranger.key)))) == []
    house.take(box.keys())
    assert house.alarms() == ["unknown_key"]


def test_the_keys_of_a_box_can_grow_and_never_change(house: StoreHouse) -> None:
    box = settled(house)
    box.rotate({"front": 5})
    box.log().append(segment(5))
    assert len(receipts(house.take(box.keys(), box.entries(5), box.checkpoint()))) == 1
    assert house.alarms() == []
    usurper = Box(box.name)
    house.take(box.keys(usurper.records))
    assert house.alarms() == ["fork"]
    assert house.device().keys == "\n".join(box.records)


def test_a_key_chained_by_nobody_is_refused(house: StoreHouse) -> None:
    box = settled(house)
    known = list(box.records)
    box.key = Box(box.name).key
    box.rotate({"front": 5})
    house.take(box.keys(box.records))
    assert house.alarms() == ["bad_signature"]
    assert house.device().keys == "\n".join(known)


def test_a_retired_key_signs_nothing_new(house: StoreHouse) -> None:
    box = settled(house)
    old = box.key
    box.rotate({"front": 5})
    box.log().append(segment(5))
    note = box.log().sign(old)
    assert receipts(house.take(box.keys(), box.entries(5), box.checkpoint(note=note))) == []
    assert house.alarms() == ["unknown_key"]


def test_another_first_key_than_the_enrolled_one_is_refused(house: StoreHouse) -> None:
    box, other = box_with_lines(), Box()
    house.take(other.keys())
    outcome = house.take(box.keys(), box.entries(), box.checkpoint())
    assert receipts(outcome) == []
    assert "fork" in house.alarms()


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "{}",
        "[1]",
        "nonsense",
        '{"data":{},"kind":"x","log":"front","prev":"00","seq":5,"time":""}',
        "{" * 3000,
        '{"a":' * 2000 + "1" + "}" * 2000,
        '{"a":1e999}',
        '{"data":{"a":true}}',
    ],
)
def test_a_bad_line_is_an_alarm_and_not_stored(house: StoreHouse, bad: str) -> None:
    box = settled(house)
    house.take(box.raw_entries(5, [bad]))
    assert house.alarms() == ["bad_line"]
    assert house.lines() == box.log().lines


def test_a_line_that_names_another_before_it_is_not_taken(house: StoreHouse) -> None:
    box = settled(house)
    other = Box(box.name)
    for number in range(6):
        other.log().append(segment(number + 3))
    house.take(box.raw_entries(5, [other.log().lines[5]]))
    assert house.alarms() == ["bad_line"]
    assert house.log().stored_size == 5


def test_a_line_far_ahead_is_not_kept_but_asked_for(house: StoreHouse) -> None:
    box = settled(house)
    far = box.log().lines[4].replace('"seq":4', '"seq":9000000000')
    house.take(box.raw_entries(9_000_000_000, [far]))
    assert len(house.lines()) == 5
    (asked,) = house.ask(box.now_ms + 5000).publish
    assert json.loads(asked.payload)["first"] == 5


def test_segments_follow_their_events(house: StoreHouse) -> None:
    box = Box()
    box.log().append(segment(0))
    box.log().append(segment(1))
    data = segment(0).data
    gone = {key: data[key] for key in ("file", "sha256", "bytes")} | {"reason": "age"}
    box.log().append(Event(Kind.SEGMENT_DELETED, gone))
    recovered = {
        "file": "front-20260921T150000.500Z-000007.mp4",
        "sha256": "cd" * 32,
        "bytes": 10,
        "bytes_cut": 3,
        "frames": 9,
        "reason": "power",
    }
    box.log().append(Event(Kind.SEGMENT_RECOVERED, recovered))
    # The deletion comes before what it deletes.
    house.take(box.keys(), box.entries(2), box.entries(0, 2))
    first, second, third = house.segments()
    assert (first.deleted_seq, second.deleted_seq, third.deleted_seq) == (2, None, None)
    assert (first.file, first.size, first.frames) == (data["file"], 3_000_000, 450)
    assert (first.start, first.end) == ("2026-09-21T14:13:20.000000Z", "2026-09-21T14:13:50.000000Z")
    assert third.start == "2026-09-21T15:00:00.500000Z"
    assert (first.deleted_sha256, second.deleted_sha256) == (data["sha256"], None)
    assert house.alarms() == []


def deletion(number: int, sha256: str | None = None) -> Event:
    data = segment(number).data
    return Event(
        Kind.SEGMENT_DELETED,
        {"file": data["file"], "sha256": sha256 or data["sha256"], "bytes": data["bytes"], "reason": "age"},
    )


def test_a_recording_that_was_altered_is_gone_with_its_deletion_and_an_alarm(house: StoreHouse) -> None:
    box = box_with_lines(3)
    box.log("yard").append(segment(0))
    house.take(box.keys(), box.entries(), box.entries(name="yard"))
    box.log().append(deletion(0))
    box.log().append(deletion(1, "ee" * 32))
    box.log().append(deletion(1, "dd" * 32))  # a second time: it was gone already
    house.take(box.entries(3))
    honest, altered, kept = (row for row in house.segments() if row.camera == "front")
    assert (honest.deleted_seq, honest.deleted_sha256) == (3, honest.sha256)
    assert (altered.deleted_seq, altered.deleted_sha256) == (4, "ee" * 32)
    assert (kept.deleted_seq, kept.deleted_sha256) == (None, None)
    (alarm,) = house.rows(Alarm)
    assert (alarm.kind, alarm.log, alarm.count) == ("altered_recording", "front", 1)
    assert "altered before it was deleted" in alarm.text
    assert altered.file in alarm.text
    (piece,) = json.loads(alarm.evidence)
    assert (piece["closed"], piece["deleted"]) == (box.log().lines[1], box.log().lines[4])
    house.take(box.entries(), box.entries(3))  # sent again: neither anew nor more of them
    assert [row.count for row in house.rows(Alarm)] == [1]


def test_many_deletions_in_one_batch_are_each_held_against_its_closing(house: StoreHouse) -> None:
    count = 600
    box = box_with_lines(count)
    for number in range(count):
        box.log().append(deletion(number, "ee" * 32 if number in {0, 550} else None))
    house.take(*(box.entries(first, first + 100) for first in range(0, 2 * count, 100)))
    assert all(row.deleted_seq == count + row.seq for row in house.segments())
    differing = [row.seq for row in house.segments() if row.deleted_sha256 != row.sha256]
    assert differing == [0, 550]
    assert [row.count for row in house.rows(Alarm)] == [2]


def test_a_box_online_and_not_cosigned_for_minutes_is_late(house: StoreHouse) -> None:
    box = box_with_lines()
    house.take(box.keys(), box.status(), box.entries())
    box.now_ms += 170_000
    house.take(box.status())
    house.overdue(box.now_ms)
    assert house.alarms() == []
    box.now_ms += 20_000
    house.take(box.status())
    house.overdue(box.now_ms)
    assert house.alarms() == ["late"]
    house.take(box.checkpoint())
    assert house.alarms() == []


def test_repeated_alarms_are_one_row(house: StoreHouse) -> None:
    box = settled(house)
    for _ in range(30):
        house.take(box.raw_entries(5, ["{}"]), box.raw_entries(6, ["{}"]))
    (alarm,) = house.rows(Alarm)
    assert alarm.count == 60
    assert len(json.loads(alarm.evidence)) == 2
