"""Every change to a box's evidence is found, by both verifiers; honest evidence never is."""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path

import pytest

from audit.boxes import Files, MadeBox, make_box, write_files
from audit.javascript import NODE, JavaScriptVerifier
from audit.mutations import MAKERS, Mutation, Needs, mutation_of
from veil.audit.findings import Report
from veil.audit.verify import Demands, verify

MUTATIONS = int(os.environ.get("VEIL_MUTATIONS", "2000"))
_PER_BOX = 100

pytestmark = pytest.mark.skipif(NODE is None, reason="node, for the second verifier, is not installed")


def apply(folder: Path, changes: dict[str, bytes | None]) -> None:
    for name, data in changes.items():
        path = folder / name
        if data is None:
            path.unlink(missing_ok=True)
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
    for path in {(folder / name).parent for name in changes} - {folder}:
        if path.exists() and not any(path.iterdir()):
            path.rmdir()


def restore(folder: Path, changes: dict[str, bytes | None], files: Files) -> None:
    apply(folder, {name: files.get(name) for name in changes})


class Judge:
    """Asks both verifiers about a folder, with what a mutation needs to be seen."""

    def __init__(self, folder: Path, box: MadeBox, other: JavaScriptVerifier) -> None:
        self._folder = folder
        self._box = box
        self._other = other
        self._anchor = folder.with_name("anchor")

    def ask(self, mutation: Mutation) -> tuple[Report, dict[str, object]]:
        key = anchor = None
        if mutation.needs is Needs.KEY:
            key = self._box.keys[0].verifier
        if mutation.needs is Needs.ANCHOR:
            anchor = self._box.anchor(mutation.log)
            assert anchor is not None
            self._anchor.write_text(anchor.encode())
        asked = None if key is None else str(key)
        self._other.ask(self._folder, asked, self._anchor if anchor is not None else None)
        ours = verify(self._folder, Demands(key, anchor))
        return ours, self._other.answer()


def check_box(number: int, count: int, folder: Path, other: JavaScriptVerifier) -> Counter[str]:
    """`count` mutations of the box with that number, each found by both; what they were."""
    seen: Counter[str] = Counter()
    rng = random.Random(f"mutations {number}")
    box = make_box(number)
    files = box.files()
    write_files(folder, files)
    judge = Judge(folder, box, other)
    assert verify(folder).ok
    for _ in range(count):
        mutation = mutation_of(box, files, rng)
        apply(folder, mutation.changes)
        ours, theirs = judge.ask(mutation)
        assert not ours.ok, (number, mutation)
        assert theirs["ok"] is False, (number, mutation)
        assert "error" not in theirs, (number, mutation, theirs)
        restore(folder, mutation.changes, files)
        seen[mutation.what] += 1
    assert verify(folder).ok
    return seen


def test_every_mutation_is_found_by_both_verifiers(tmp_path: Path) -> None:
    seen: Counter[str] = Counter()
    with JavaScriptVerifier() as other:
        for number in range(-(-MUTATIONS // _PER_BOX)):
            count = min(_PER_BOX, MUTATIONS - number * _PER_BOX)
            seen += check_box(number, count, tmp_path / str(number) / "log", other)
    print(f"{seen.total()} mutations of {len(seen)} kinds")
    assert len(seen) >= len(MAKERS) - 1 or MUTATIONS < 2000


@pytest.mark.parametrize("seed", range(5))
def test_forks_and_rollbacks_need_what_was_kept_elsewhere(tmp_path: Path, seed: int) -> None:
    """The labels hold: without the pinned key or the anchor, whoever has the keys is not seen."""
    box = make_box(seed)
    files = box.files()
    write_files(tmp_path / "log", files)
    rng = random.Random(seed)
    unseen = Counter[Needs]()
    for _ in range(300):
        mutation = mutation_of(box, files, rng)
        if mutation.needs is Needs.NOTHING:
            continue
        apply(tmp_path / "log", mutation.changes)
        unseen[mutation.needs] += verify(tmp_path / "log").ok
        restore(tmp_path / "log", mutation.changes, files)
    assert unseen[Needs.KEY]
    assert unseen[Needs.ANCHOR]
