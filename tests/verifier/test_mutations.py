"""Both verifiers agree on folders changed at random: VEIL_VERIFIER_MUTATIONS of them (60 if not set)."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest

from verifier import mutations
from verifier.verifiers import node_answers, node_missing, python_answers, python_missing

COUNT = int(os.environ.get("VEIL_VERIFIER_MUTATIONS", "60"))
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


def test_both_verifiers_agree_on_mutations(tmp_path: Path) -> None:
    if (reason := python_missing()) is not None:
        pytest.skip(reason)
    calls = []
    for number in range(COUNT):
        folder = tmp_path / str(number)
        mutations.make(Random(f"{SEED} {number}"), folder)
        calls.append({"dir": str(folder), "complete": number % 5 == 0})
    pairs = zip(calls, node_answers(calls), python_answers(calls), strict=True)
    differ = [(call, node, python) for call, node, python in pairs if verdict(node) != verdict(python)]
    for call, node, python in differ[:20]:
        print(call, json.dumps(node), json.dumps(python), sep="\n  ", file=sys.stderr)
    assert not differ


def test_honest_boxes_verify(tmp_path: Path) -> None:
    calls = []
    for number in range(COUNT):
        folder = tmp_path / str(number)
        mutations.honest(Random(f"honest {SEED} {number}")).write(folder)
        calls.append({"dir": str(folder)})
    for call, answer in zip(calls, node_answers(calls), strict=True):
        assert answer is not None
        assert answer["findings"] == [], call
