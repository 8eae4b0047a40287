"""`--resume`: what an earlier run has done is left, the rest is done, and nothing else is taken for it."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from PIL import Image as Pillow

from media import Clip, picture, write_clip
from veil.audit.evidence_files import events_with
from veil.errors import UsageError
from veil.jobs import plan

from .test_files import lumas
from .test_folders import VEIL, names_in, run


@pytest.fixture
def footage(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    (folder / "deeper").mkdir(parents=True)
    write_clip(folder / "a.mp4", Clip(160, 120, frames=3))
    write_clip(folder / "deeper" / "b.mp4", Clip(160, 120, frames=4))
    Pillow.fromarray(picture(160, 120, 1)).save(folder / "c.png")
    return folder


@pytest.fixture
def done(footage: Path) -> Path:
    """`footage` after a whole run with evidence."""
    out = footage.parent / "out"
    assert run(footage, out, "--evidence", footage.parent / "done.jsonl").returncode == 0
    return out


def evidence(out: Path) -> Path:
    return out.parent / "done.jsonl"


def events(out: Path) -> int:
    return sum(1 for _ in events_with(evidence(out), b"file_anonymized"))


def states(out: Path) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in out.rglob("*.*")}


def resume(source: Path, out: Path, log: Path) -> subprocess.CompletedProcess[str]:
    return run(source, out, "--resume", "--evidence", log)


def test_only_what_is_missing_is_done(footage: Path, done: Path) -> None:
    before = states(done)
    (done / "deeper" / "b.mp4").unlink()
    again = resume(footage, done, evidence(done))
    assert again.returncode == 0, again.stderr
    assert "2 of 3 files were done before" in again.stdout
    assert len(lumas(done / "deeper" / "b.mp4")) == 4
    after = states(done)
    assert all(after[name] == before[name] for name in ("a.mp4", "c.png"))
    assert events(done) == 4


def test_a_whole_run_leaves_nothing_to_do(footage: Path, done: Path) -> None:
    before = states(done)
    again = resume(footage, done, evidence(done))
    assert again.returncode == 0
    assert "3 of 3 files were done before" in again.stdout
    assert states(done) == before
    assert events(done) == 3


def test_a_file_that_failed_is_tried_again(footage: Path, done: Path) -> None:
    (footage / "cut.mp4").write_bytes((footage / "a.mp4").read_bytes()[:900])
    again = resume(footage, done, evidence(done))
    assert again.returncode != 0
    assert "cut.mp4" in again.stderr
    assert "3 of 4 files were done before" in again.stdout


def test_what_the_evidence_does_not_name_is_not_taken_for_done(footage: Path, done: Path) -> None:
    shutil.copy(footage / "a.mp4", done / "a.mp4")
    with pytest.raises(UsageError, match=r"a\.mp4 exists, and .*done\.jsonl does not say") as raised:
        plan(footage, done, resume=True, evidence=evidence(done))
    assert "--force" in str(raised.value.hint)
    with pytest.raises(UsageError, match="does not say"):
        plan(footage, done, resume=True, evidence=done.parent / "another.jsonl")


def test_another_source_of_the_same_name_is_not_taken_for_done(footage: Path, done: Path) -> None:
    shutil.copy(footage / "deeper" / "b.mp4", footage / "a.mp4")
    with pytest.raises(UsageError, match="does not say that it was made from"):
        plan(footage, done, resume=True, evidence=evidence(done))


def test_without_evidence_nobody_knows_what_is_masked(footage: Path) -> None:
    raw = footage.parent / "out"
    shutil.copytree(footage, raw)
    done = run(footage, raw, "--resume")
    assert done.returncode == UsageError.exit_code
    assert "--resume needs the --evidence" in done.stderr


def test_both_options_together_are_refused(footage: Path) -> None:
    with pytest.raises(UsageError, match="--force does all again"):
        plan(footage, footage.parent / "out", resume=True, overwrite=True)


def test_one_file_that_is_done_is_left(footage: Path, done: Path) -> None:
    before = states(done)
    assert resume(footage / "a.mp4", done / "a.mp4", evidence(done)).returncode == 0
    assert states(done) == before
    assert run(footage / "a.mp4", done / "a.mp4").returncode == UsageError.exit_code


def test_a_killed_run_is_ended_by_the_next(tmp_path: Path) -> None:
    footage, out = tmp_path / "in", tmp_path / "out"
    footage.mkdir()
    for number in range(4):
        write_clip(footage / f"{number}.mp4", Clip(320, 240, frames=40 + number))
    first = subprocess.Popen(
        [*VEIL, str(footage), str(out), "--evidence", str(tmp_path / "done.jsonl")], stdout=subprocess.PIPE
    )
    assert first.stdout is not None
    assert first.stdout.readline()
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert "3.mp4" not in names_in(out)
    again = resume(footage, out, tmp_path / "done.jsonl")
    assert again.returncode == 0, again.stderr
    assert names_in(out) == {f"{number}.mp4" for number in range(4)}
    assert [len(lumas(out / f"{number}.mp4")) for number in range(4)] == [40, 41, 42, 43]
