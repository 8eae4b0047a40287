"""What docs/verifier/README.md promises of calls, and that hostile input ends in findings."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from verifier.honest import large, small
from verifier.make_vectors import FOLDER as VECTORS
from verifier.verifiers import VERIFY, node_answers, node_missing, run_node

pytestmark = pytest.mark.skipif(node_missing() is not None, reason=str(node_missing()))
ENV = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
GOOD, BAD = str(VECTORS / "honest_large" / "log"), str(VECTORS / "removed_line" / "log")


def codes(folder: Path) -> list[str]:
    (answer,) = node_answers([{"dir": str(folder)}])
    assert answer is not None
    return [found["code"] for found in answer["findings"]]


def test_exit_code_and_words_for_people() -> None:
    good, bad = run_node(GOOD), run_node(GOOD, BAD)
    assert (good.returncode, bad.returncode) == (0, 10)
    assert "verifies" in good.stdout
    assert "no key given" in good.stdout
    assert "cam1 line 5 (seq 4): wrong_sequence" in bad.stdout


def test_json_has_one_line_for_each_folder_in_order() -> None:
    ran = run_node("--json", BAD, GOOD, BAD)
    answers = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [answer["dir"] for answer in answers] == [BAD, GOOD, BAD]
    assert set(answers[0]) == {"dir", "ok", "findings", "warnings", "logs", "key_pinned"}
    assert set(answers[0]["findings"][0]) == {"code", "log", "line", "seq", "text"}
    assert ran.returncode == 10


@pytest.mark.parametrize(
    "args",
    [[], ["--what", GOOD], ["--key"], ["--key", "x", GOOD], ["--anchor", "nowhere", GOOD], ["-", GOOD], [""]],
)
def test_calls_that_cannot_be_taken_end_with_2(args: list[str]) -> None:
    assert run_node(*args).returncode == 2


@pytest.mark.parametrize(
    "line", ["{", "null", "[]", "7", '{"dir":1}', '{"dir":"a\\u0000"}', '{"dir":"","key":1}', "\udcff"]
)
def test_batch_answers_requests_that_are_none(line: str) -> None:
    data = line.encode("utf-8", "surrogateescape") + b"\n" + json.dumps({"dir": GOOD}).encode()
    ran = subprocess.run(["node", str(VERIFY), "-"], input=data, capture_output=True, timeout=60, check=False)
    refused, good = (json.loads(each) for each in ran.stdout.splitlines())
    assert "error" in refused
    assert good["ok"]
    assert ran.returncode == 2


def test_batch_answers_each_request_before_the_next_is_sent() -> None:
    with subprocess.Popen(
        ["node", str(VERIFY), "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(3):
            process.stdin.write(json.dumps({"dir": GOOD}).encode() + b"\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["ok"]
        process.stdin.close()


def test_batch_keeps_no_file_open() -> None:
    def few_files() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    lines = "".join(
        json.dumps({"dir": dir_}) + "\n" for dir_ in (GOOD, BAD, str(VECTORS / "keys_folder" / "log")) * 50
    )
    ran = subprocess.run(
        ["node", str(VERIFY), "-"],
        input=lines,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=few_files,
    )
    assert [json.loads(line)["ok"] for line in ran.stdout.splitlines()] == [True, False, False] * 50


def test_output_that_nobody_reads_ends_quietly() -> None:
    with subprocess.Popen(
        ["node", str(VERIFY), "--json", *[GOOD] * 300], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""


EVIDENCE = ("keys.jsonl", "cam1/events.jsonl", "cam1/checkpoints.jsonl")
HOSTILE: dict[str, tuple[bytes, str]] = {
    "deep_open": (b'{"data":' + b'{"a":' * 200_000 + b"\n", "not_canonical"),
    "deep_closed": (b'{"data":' + b"[" * 200_000 + b"]" * 200_000 + b"}\n", "not_canonical"),
    "many_keys": (b"{" + b",".join(b'"%07d":0' % n for n in range(1_000)) + b"}\n", "bad_field"),
    "long_line": (b'{"data":{"a":"' + b"a" * (17 << 20) + b'"}}\n', "not_canonical"),
    "long_key": (b'{"' + b"a" * 16_000 + b'":0}\n', "bad_field"),
    "long_number": (b'{"data":' + b"9" * (8 << 20) + b"}\n", "not_canonical"),
    "empty_lines": (b"\n" * 200_000, "not_canonical"),
    "zeros": (bytes(1 << 20) + b"\n", "not_canonical"),
}


@pytest.fixture(scope="module")
def hostile_answers(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], set[str]]:
    """The codes for each file and each of HOSTILE in its place; one process, so what it keeps would show."""
    cases = [(file, name) for file in EVIDENCE for name in HOSTILE]
    calls = []
    for file, name in cases:
        folder = tmp_path_factory.mktemp("hostile")
        small().write(folder)
        (folder / file).write_bytes(HOSTILE[name][0])
        calls.append({"dir": str(folder)})
    answers = node_answers(calls)
    return {
        case: {found["code"] for found in answer["findings"]} if answer else set()
        for case, answer in zip(cases, answers, strict=True)
    }


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("file", EVIDENCE)
def test_hostile_lines_are_findings(
    hostile_answers: dict[tuple[str, str], set[str]], file: str, name: str
) -> None:
    assert HOSTILE[name][1] in hostile_answers[file, name]


def test_a_long_torn_line_is_a_warning(tmp_path: Path) -> None:
    small().write(tmp_path)
    with (tmp_path / "cam1" / "events.jsonl").open("ab") as file:
        file.truncate(file.tell() + (1 << 28))
    (answer,) = node_answers([{"dir": str(tmp_path)}])
    assert answer is not None
    assert answer["findings"] == []
    assert [warning["code"] for warning in answer["warnings"]] == ["torn_line"]


def test_a_pipe_or_a_loop_in_place_of_a_file_is_a_finding(tmp_path: Path) -> None:
    large().write(tmp_path)
    for path in ("cam1/events.jsonl", "cam1/cosigned", "box/checkpoints.jsonl", "witness.vkeys"):
        (tmp_path / path).unlink()
    os.mkfifo(tmp_path / "cam1" / "events.jsonl")
    (tmp_path / "cam1" / "cosigned").symlink_to("cosigned")
    os.mkfifo(tmp_path / "box" / "checkpoints.jsonl")
    os.mkfifo(tmp_path / "witness.vkeys")
    assert codes(tmp_path).count("unreadable") == 4


def test_names_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "\x1b[2J\x9b").mkdir()
    (tmp_path / "\x1b[2J\x9b" / "events.jsonl").write_bytes(b"")
    ran = run_node(str(tmp_path))
    assert ran.returncode == 10
    assert "\x1b" not in ran.stdout
    assert "\x9b" not in ran.stdout


_LONG = r"""
import sys
from pathlib import Path
from verifier.evidence_made import Box, leaf_hash
box = Box()
count = int(sys.argv[2])
root = Path(sys.argv[1])
box.log("cam1")
box.write(root)
before = "0" * 64
with (root / "cam1" / "events.jsonl").open("wb") as file:
    for seq in range(count):
        line = b'{"data":{"sha256":"%064d","text":"segment \xc3\xa9"},"kind":"segment","log":"cam1",' \
            b'"prev":"%s","seq":%d,"time":"2026-11-21T12:00:00.000000Z"}' % (seq, before.encode(), seq)
        before = leaf_hash(line).hex()
        file.write(line + b"\n")
"""


def test_memory_does_not_grow_with_the_log(tmp_path: Path) -> None:
    count = int(os.environ.get("VEIL_VERIFIER_LINES", "100000"))
    subprocess.run([sys.executable, "-c", _LONG, str(tmp_path), str(count)], check=True, timeout=300, env=ENV)
    command = (
        "import resource, subprocess, sys;"
        "ran = subprocess.run(sys.argv[1:], capture_output=True, text=True, check=False);"
        "print(ran.stdout, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", command, "node", str(VERIFY), "--json", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    answer, kilobytes = ran.stdout.rsplit("\n", 2)[0], int(ran.stdout.split()[-1])
    parsed: dict[str, Any] = json.loads(answer)
    assert parsed["logs"]["cam1"]["events"] == count
    assert parsed["ok"], parsed["findings"]
    assert kilobytes < 200 * 1024
