"""Both verifiers say of every vector what docs/log-format.md says."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from verifier import make_vectors
from verifier.verifiers import VERIFIERS

VECTORS = make_vectors.FOLDER
NAMES = sorted(path.name for path in VECTORS.iterdir() if path.is_dir())
PAGE = Path(__file__).parents[2] / "docs" / "log-format.md"


def expected(name: str) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads((VECTORS / name / "expected.json").read_text("utf-8"))
    return parsed


def call(name: str) -> dict[str, Any]:
    given = expected(name)["call"]
    taken = given | {"dir": str(VECTORS / name / given.get("dir", "log"))}
    return taken | ({"anchor": str(VECTORS / name / given["anchor"])} if "anchor" in given else {})


@cache
def answers(verifier: str) -> dict[str, dict[str, Any] | None]:
    missing, run = VERIFIERS[verifier]
    if (reason := missing()) is not None:
        pytest.skip(reason)
    return dict(zip(NAMES, run([call(name) for name in NAMES]), strict=True))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("verifier", VERIFIERS)
def test_verifiers_find_what_the_page_says(verifier: str, name: str) -> None:
    answer, wanted = answers(verifier)[name], expected(name)
    if answer is None:
        assert wanted["exit"] == 2, "the call was not taken"
        return
    assert wanted["exit"] == (0 if answer["ok"] else 10), answer["findings"]
    allowed = set(wanted["also"])
    for code, log, line in wanted["findings"]:
        codes = {code} if isinstance(code, str) else set(code)
        allowed |= codes
        assert any(
            found["code"] in codes and log in {None, found["log"]} and line in {None, found["line"]}
            for found in answer["findings"]
        ), (codes, log, line, answer["findings"])
    assert {found["code"] for found in answer["findings"]} <= allowed, answer["findings"]
    assert [found["code"] for found in answer["warnings"]] == wanted["warnings"]
    assert answer["key_pinned"] == ("key" in wanted["call"])
    for log, counts in wanted.get("logs", {}).items():
        if log in answer["logs"] or "dir" not in wanted["call"]:
            assert counts.items() <= answer["logs"][log].items()


def test_vectors_are_those_that_the_script_writes(tmp_path: Path) -> None:
    make_vectors.main(tmp_path / "made")
    assert tree(tmp_path / "made") == tree(VECTORS)


def tree(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()
    }


def test_every_code_of_the_page_has_a_vector() -> None:
    table = PAGE.read_text("utf-8").split("## Findings")[1]
    codes = {line.split("`")[1] for line in table.splitlines() if line.startswith("| `")}
    sure = {found[0] for name in NAMES for found in expected(name)["findings"] if isinstance(found[0], str)}
    warned = {code for name in NAMES for code in expected(name)["warnings"]}
    assert codes == sure | warned
