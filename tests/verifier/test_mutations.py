"""Both verifiers agree on folders changed at random: VEIL_MUTATIONS of them, 60 if that is not set."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from verifier import mutations
from verifier.verifiers import node_answers, node_missing, python_answers, python_missing

COUNT = int(os.environ.get("VEIL_MUTATIONS", "60"))
HONEST = int(os.environ.get("VEIL_HONEST", "60"))
WAVE = 500  # folders that are there at a time
SEED = int(os.environ.get("VEIL_VERIFIER_SEED", "1"))
pytestmark = pytest.mark.skipif(node_missing() is not None, reason=str(node_missing()))


def verdict(answer: dict[str, Any] | None) -> object:
    """What two verifiers must agree on: not what follows from a finding, in its log or from the keys."""
    if answer is None:
        return "not taken"
    wrong = {found["log"] for found in answer["findings"]}
    if "" in wrong:
        return answer["ok"]
    warned = {(each["code"], each["log"]) for each in answer["warnings"] if each["log"] not in wrong}
    return answer["ok"], wrong, warned


def waves(count: int, tmp_path: Path, make: Callable[[int, Path], None]) -> Iterator[list[dict[str, Any]]]:
    """Calls for `count` folders; those of a wave are gone when the next one is made."""
    for start in range(0, count, WAVE):
        calls = []
        for number in range(start, min(start + WAVE, count)):
            folder = tmp_path / str(number)
            make(number, folder)
            calls.append({"dir": str(folder), "complete": number % 5 == 0})
        yield calls
        for call in calls:
            shutil.rmtree(str(call["dir"]))


def test_both_verifiers_agree_on_mutations(tmp_path: Path) -> None:
    if (reason := python_missing()) is not None:
        pytest.skip(reason)

    def make(number: int, folder: Path) -> None:
        mutations.make(Random(f"{SEED} {number}"), folder)

    differ, found = 0, 0
    for calls in waves(COUNT, tmp_path, make):
        for call, node, python in zip(calls, node_answers(calls), python_answers(calls), strict=True):
            found += node is None or bool(node["findings"])
            if verdict(node) != verdict(python):
                differ += 1
                print(call, json.dumps(node), json.dumps(python), sep="\n  ", file=sys.stderr)
        assert differ < 20
    print(f"{COUNT} folders, {found} with findings, {differ} on which they differ")
    assert found > COUNT // 2
    assert not differ


def test_honest_boxes_verify(tmp_path: Path) -> None:
    def make(number: int, folder: Path) -> None:
        mutations.honest(Random(f"honest {SEED} {number}")).write(folder)

    for calls in waves(HONEST, tmp_path, make):
        asked = [{"dir": call["dir"]} for call in calls]
        for answers in (node_answers(asked), python_answers(asked)):
            for call, answer in zip(asked, answers, strict=True):
                assert answer is not None
                assert answer["findings"] == [], call
