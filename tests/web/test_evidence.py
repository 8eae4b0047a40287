"""Evidence: proofs that anybody can check, and bundles that both verifiers accept."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select, update

from veil.audit.checkpoint import Checkpoint, key_name_of
from veil.audit.keyring import KeyRecord
from veil.audit.note import Note, SigningKey
from veil.audit.tree import Frontier, leaf_hash, verify_inclusion
from veil.audit.verify import Demands, verify
from veil_fleet.evidence_export import Wanted, export
from veil_fleet.evidence_proofs import Stretch
from veil_fleet.store import tables
from veil_fleet.store.engine import writing
from veil_fleet.web.house import wall_ms
from veil_fleet.witness_keys import FORMER_KEYS, witness_keys
from web_house import MINUTE_US, WebHouse, csrf_of

LONG_AGO, FAR_OFF = "2000-01-01T00:00", "2999-01-01T00:00"
NODE = shutil.which("node")
JAVASCRIPT = Path(__file__).resolve().parents[2] / "docs/verifier/verify.mjs"


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 300), st.data())
def test_a_proof_between_two_checkpoints_holds_in_the_whole_tree(size: int, data: st.DataObject) -> None:
    leaves = [leaf_hash(b"%d" % number) for number in range(size)]
    start = data.draw(st.integers(0, size - 1))
    seq = data.draw(st.integers(start, size - 1))
    older, whole = Frontier(), Frontier()
    for number, leaf in enumerate(leaves):
        whole.append(leaf)
        if number < start:
            older.append(leaf)
    proof = Stretch(start, older.peaks, leaves[start:]).prove(seq)
    assert proof.root == whole.root()
    verify_inclusion(leaves[seq], seq, size, proof.path, whole.root())


def unpacked(house: WebHouse, folder: Path, device: str = "kerb-1") -> Path:
    """Exports as an auditor does, and unpacks it; the folder."""
    client = house.signed_in("auditor")
    token = csrf_of(client.get("/export").text)
    answer = client.post("/export", data={"csrf": token, "device": device, "from": LONG_AGO, "to": FAR_OFF})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        archive.extractall(folder)
        (root,) = {name.split("/")[0] for name in archive.namelist()}
    assert root in answer.headers["content-disposition"]
    return folder / root


def test_the_python_verifier_accepts_an_exported_bundle(any_house: WebHouse, tmp_path: Path) -> None:
    any_house.box("kerb-1")
    any_house.segments("kerb-1", "front", 9)
    any_house.segments("kerb-1", "yard", 1)  # not one checkpoint of it was cosigned
    folder = unpacked(any_house, tmp_path / "out")
    report = verify(folder, Demands(key=any_house.keys["kerb-1"].verifier))
    assert report.ok, report
    assert report.logs["front"].witnessed
    assert "Witnessed files" in (folder / "log-format.md").read_text()


@pytest.mark.skipif(NODE is None, reason="node is not installed (Debian: nodejs)")
def test_the_second_verifier_accepts_it_too(house: WebHouse, tmp_path: Path) -> None:
    house.box("kerb-1")
    house.segments("kerb-1", "front", 9)
    folder = unpacked(house, tmp_path / "out")
    command = [str(NODE), str(JAVASCRIPT), "--key", str(house.keys["kerb-1"].verifier), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_bundle_over_a_rotation_of_the_key_verifies(house: WebHouse, tmp_path: Path) -> None:
    house.box("kerb-1")
    log = house.segments("kerb-1", "front", 5)
    old, new = house.keys["kerb-1"], SigningKey.generate(key_name_of("kerb-1"))
    record = KeyRecord.make("kerb-1", new, old, {"front": len(log.lines)}, "2026-11-21T00:00:00.000000Z")
    at = wall_ms() * 1000
    with writing(house.engine) as connection:
        log.sign(connection, at)  # the last one under the old key: it was not cosigned in time
        lines = connection.scalar(select(tables.Device.keys)) or ""
        connection.execute(update(tables.Device).values(keys=lines + record.line().decode() + "\n"))
        log.key = new
        log.cosign_every = 1
        log.segment(connection, at + MINUTE_US)
        log.sign(connection, at + MINUTE_US)
        log.stored(connection)
    report = verify(unpacked(house, tmp_path / "out"), Demands(key=old.verifier, complete=True))
    assert report.ok, report


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE events SET line = replace(line, 'late', 'soon') WHERE seq = 2",
        "DELETE FROM events WHERE seq = 4",
        "UPDATE checkpoints SET note = replace(note, 'front', 'yard')",
        "UPDATE devices SET keys = replace(keys, 'time', 'tide')",
    ],
)
def test_a_store_that_was_tampered_with_is_found_out_by_the_bundle(
    house: WebHouse, tmp_path: Path, change: str
) -> None:
    house.box("kerb-1")
    house.segments("kerb-1", "front", 9)
    with writing(house.engine) as connection:
        assert connection.exec_driver_sql(change).rowcount
    assert not verify(unpacked(house, tmp_path / "out")).ok


def test_each_recording_of_a_bundle_has_its_proof(house: WebHouse, tmp_path: Path) -> None:
    house.box("kerb-1")
    house.segments("kerb-1", "front", 9)
    folder = unpacked(house, tmp_path / "out")
    lines = (folder / "front/events.jsonl").read_bytes().splitlines()
    proofs = [json.loads(line) for line in (folder / "proofs/front.jsonl").read_text().splitlines()]
    with (folder / "segments.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9
    assert len(proofs) == 9
    assert proofs.pop()["problem"] == "no checkpoint was cosigned over it yet"
    for proof in proofs:
        note = Note.parse(proof["checkpoint"])
        assert note.verify_cosignature(house.witness.verifier)
        checkpoint = Checkpoint.parse(note.text)
        path = [bytes.fromhex(node) for node in proof["path"]]
        verify_inclusion(leaf_hash(lines[proof["seq"]]), proof["seq"], proof["size"], path, checkpoint.root)
        assert json.loads(lines[proof["seq"]])["data"]["sha256"] == proof["sha256"]


def test_the_range_chooses_recordings_and_never_shortens_the_log(house: WebHouse) -> None:
    house.box("kerb-1")
    log = house.segments("kerb-1", "front", 9)
    now = wall_ms()
    empty = Wanted("kerb-1", "2001-01-01T00:00:00.000000Z", "2001-01-02T00:00:00.000000Z", now)
    data = b"".join(export(house.engine, empty, witness_keys(house.settings)))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        events = archive.read(f"{empty.name}/front/events.jsonl").splitlines()
        assert events == log.lines
        assert len(archive.read(f"{empty.name}/segments.csv").splitlines()) == 1


def test_an_export_takes_little_memory_however_long_the_log_is(house: WebHouse) -> None:
    house.box("kerb-1")
    house.log("kerb-1", "front")
    rest = {"device": "kerb-1", "log": "front", "kind": "fault", "time": "", "received_ms": 0}
    rows = [rest | {"seq": number, "line": f"{number:0600}"} for number in range(12_000)]
    with writing(house.engine) as connection:
        connection.execute(insert(tables.LogLine), rows)
        connection.execute(update(tables.Log).values(stored_size=len(rows)))
    wanted = Wanted("kerb-1", "2001-01-01T00:00:00.000000Z", "2099-01-02T00:00:00.000000Z", wall_ms())
    keys = witness_keys(house.settings)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for piece in export(house.engine, wanted, keys):
            assert len(piece) < 1 << 20
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert peak < 6 << 20, f"{peak} bytes for a log of 7 MB"


def test_an_export_that_breaks_off_cannot_be_opened(house: WebHouse) -> None:
    house.box("kerb-1")
    house.segments("kerb-1", "front", 3)
    wanted = Wanted("kerb-1", "2001-01-01T00:00:00.000000Z", "2099-01-02T00:00:00.000000Z", wall_ms())
    pieces = export(house.engine, wanted, witness_keys(house.settings))
    got = [next(pieces), next(pieces)]
    with house.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE checkpoints RENAME TO gone")
    with pytest.raises(Exception, match="checkpoints"):
        got.extend(pieces)
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(io.BytesIO(b"".join(got)))


def test_a_box_that_sent_nothing_has_no_bundle(house: WebHouse) -> None:
    house.box("kerb-1")
    client = house.signed_in("auditor")
    token = csrf_of(client.get("/export").text)
    sent = {"csrf": token, "device": "kerb-1", "from": LONG_AGO, "to": FAR_OFF}
    assert "has sent no evidence yet" in client.post("/export", data=sent).text
    for wrong in (
        {"device": "../etc"},
        {"device": "nobody"},
        {"from": "soon"},
        {"from": FAR_OFF, "to": LONG_AGO},
    ):
        assert client.post("/export", data=sent | wrong).status_code in {400, 404}, wrong


def test_what_was_exported_is_written_down(house: WebHouse, tmp_path: Path) -> None:
    house.box("kerb-1")
    house.segments("kerb-1", "front", 2)
    unpacked(house, tmp_path)
    page = house.signed_in("auditor").get("/accesses").text
    assert "kerb-1 2000-01-01T00:00:00.000000Z 2999-01-01T00:00:00.000000Z" in page


def test_a_segment_is_found_by_camera_time_and_hash(any_house: WebHouse) -> None:
    any_house.box("kerb-1")
    any_house.segments("kerb-1", "front", 70)
    any_house.segments("kerb-1", "yard", 3)
    client = any_house.signed_in("auditor")
    query = {"device": "kerb-1", "from": LONG_AGO, "to": FAR_OFF}
    first = client.get("/segments", params=query).text
    assert first.count("/segments/kerb-1/") == 50
    onward = first.split('rel="next" href="')[1].split('"')[0].replace("&amp;", "&")
    second = client.get(onward).text
    assert second.count("/segments/kerb-1/") == 23
    assert not set(first.split('href="/segments/kerb-1/')[1:]) & set(
        second.split('href="/segments/kerb-1/')[1:]
    )
    assert (
        client.get("/segments", params=query | {"camera": "yard"}).text.count("/segments/kerb-1/yard/") == 3
    )
    with any_house.engine.connect() as connection:
        digest = connection.scalar(
            select(tables.Segment.sha256).where(tables.Segment.camera == "yard").limit(1)
        )
    assert (
        client.get("/segments", params={"sha256": str(digest).upper()}).text.count("/segments/kerb-1/") == 1
    )
    assert "was ever told of" in client.get("/segments", params={"sha256": "0" * 64}).text
    assert "64 hexadecimal" in client.get("/segments", params={"sha256": "0"}).text


def verdict(house: WebHouse, seq: int) -> str:
    client = house.signed_in("auditor")
    token = csrf_of(client.get(f"/segments/kerb-1/front/{seq}").text)
    return client.post(f"/segments/kerb-1/front/{seq}/verify", data={"csrf": token}).text


def test_an_honest_segment_verifies_and_shows_its_proof(any_house: WebHouse) -> None:
    any_house.box("kerb-1")
    log = any_house.segments("kerb-1", "front", 9)
    page = any_house.signed_in("auditor").get("/segments/kerb-1/front/7").text
    assert leaf_hash(log.lines[7]).hex() in page
    assert "Everything holds." not in page, "nobody asked yet"
    assert "Everything holds." in verdict(any_house, 7)


def test_a_segment_that_is_not_cosigned_yet_says_so(house: WebHouse) -> None:
    house.box("kerb-1")
    log = house.segments("kerb-1", "front", 9)
    newest = max(number for number, line in enumerate(log.lines) if b"segment_closed" in line)
    assert "None was cosigned over this line yet" in verdict(house, newest)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            "UPDATE events SET line = replace(line, 'masked\":1480', 'masked\":1481') WHERE seq = 7",
            "leads to another root",
        ),
        ("UPDATE events SET line = line || ' ' WHERE seq = 7", "not canonical"),
        ("UPDATE events SET line = replace(line, 'late', 'soon') WHERE seq = 6", "leads to another root"),
        ("DELETE FROM events WHERE seq = 6", "Lines of kerb-1/front are missing"),
        ("UPDATE checkpoints SET peaks = x'00'", "is damaged"),
        ("UPDATE checkpoints SET note = replace(note, 'time 2', 'time 1')", "does not fit the checkpoint"),
        ("UPDATE devices SET pinned_key = 'other'", "do not begin with the one that was pinned"),
        ("UPDATE devices SET keys = ''", "do not begin with the one that was pinned"),
    ],
)
def test_what_does_not_hold_is_said(house: WebHouse, change: str, says: str) -> None:
    house.box("kerb-1")
    house.segments("kerb-1", "front", 9)
    assert "Everything holds." in verdict(house, 7)
    with writing(house.engine) as connection:
        assert connection.exec_driver_sql(change).rowcount
    page = verdict(house, 7)
    assert "Everything holds." not in page
    assert says in page


def test_a_witness_that_nobody_knows_is_not_believed(house: WebHouse) -> None:
    house.box("kerb-1")
    house.segments("kerb-1", "front", 9)
    house.settings.witness_key_file.unlink()
    assert "of no key of this fleet manager" in verdict(house, 7)
    (house.settings.folder / FORMER_KEYS).write_text(f"{house.witness.verifier}\n")
    assert "Everything holds." in verdict(house, 7)


def test_a_file_name_is_no_formula_in_a_spreadsheet(house: WebHouse, tmp_path: Path) -> None:
    house.box("kerb-1")
    log = house.segments("kerb-1", "front", 1)
    with writing(house.engine) as connection:
        log.segment(connection, wall_ms() * 1000, file="=HYPERLINK(1)")
        log.stored(connection)
    rows = (unpacked(house, tmp_path / "out") / "segments.csv").read_text()
    assert ",=HYPERLINK" not in rows
    assert "'=HYPERLINK" in rows


def test_a_recording_that_was_altered_before_its_deletion_is_marked(house: WebHouse, tmp_path: Path) -> None:
    house.box("kerb-1")
    house.segments("kerb-1", "front", 3)
    with writing(house.engine) as connection:
        rows = connection.execute(select(tables.Segment.seq, tables.Segment.sha256)).all()
        for row, then in zip(rows[:2], (rows[0].sha256, "ee" * 32), strict=True):
            change = update(tables.Segment).where(tables.Segment.seq == row.seq)
            connection.execute(change.values(deleted_seq=90 + row.seq, deleted_sha256=then))
    client = house.signed_in("auditor")
    list_page = client.get("/segments", params={"device": "kerb-1"}).text
    assert list_page.count("deleted, line 9") == 2
    assert list_page.count("altered before deletion") == 1
    honest, altered = (client.get(f"/segments/kerb-1/front/{row.seq}").text for row in rows[:2])
    assert "was altered before it was deleted" in altered
    assert "ee" * 32 in altered
    assert "was altered" not in honest
    with (unpacked(house, tmp_path / "out") / "segments.csv").open() as file:
        told = [row["deleted_sha256"] for row in csv.DictReader(file)]
    assert told == [rows[0].sha256, "ee" * 32, ""]


def test_health_points_of_another_box_are_not_shown(house: WebHouse) -> None:
    house.box("kerb-1")
    house.box("kerb-2")
    row = {
        "device": "kerb-2",
        "camera": "secret-door",
        "time_ms": wall_ms(),
        "fps_in": 25.0,
        "fps_out": 20.0,
        "latency_p99_ms": 600.0,
        "detector_p50_ms": 24.0,
        "dropped": 0,
        "whole_frames": 0,
    }
    with writing(house.engine) as connection:
        connection.execute(insert(tables.HealthPoint).values(row))
    assert "secret-door" not in house.signed_in("viewer").get("/boxes/kerb-1").text
