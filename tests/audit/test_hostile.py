"""Evidence from anybody: whatever the files hold, the verifier answers, quickly and in little memory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.boxes import make_box, write_files
from audit.javascript import NODE, JavaScriptVerifier
from veil.audit.note import COSIGNATURE_V1, SigningKey
from veil.audit.verify import verify

FILES = ("keys.jsonl", "witness.vkeys", "front/events.jsonl", "front/checkpoints.jsonl", "front/cosigned")
NAMES = st.sampled_from(FILES)
NONSENSE = (
    st.binary(max_size=300)
    | st.text(max_size=100).map(lambda text: text.encode(errors="replace"))
    | st.sampled_from(
        [
            b"",
            b"\n",
            b"\n\n\n",
            b"{}\n",
            b"[" * 100_000 + b"\n",
            b'{"note":' + b'{"a":' * 20_000 + b"\n",
            b'{"note":"' + b"\\n" * 4000 + b'"}\n',
            b'{"note":"a\\n\\n\xe2\x80\x94 b AAAAAAAA\\n"}\n',
            b'{"note":null}\n',
            b'{"data":{},"kind":"a","log":"front","prev":"","seq":"0","time":""}\n',
            b"\x00" * 70_000,
            b"x" * 70_000 + b"\n",
            b"9" * 10_000 + b"\n",
            b'{"a":' + b"9" * 10_000 + b"}\n",
        ]
    )
)


@settings(deadline=None, max_examples=150)
@given(NAMES, NONSENSE, st.sampled_from(("instead", "before", "behind")))
def test_nonsense_is_a_finding_and_never_a_crash(
    tmp_path_factory: pytest.TempPathFactory, name: str, nonsense: bytes, where: str
) -> None:
    folder = tmp_path_factory.mktemp("hostile")
    files = make_box(7).files()
    honest = files[name]
    data = {"instead": nonsense, "before": nonsense + honest, "behind": honest + nonsense}[where]
    write_files(folder, {**files, name: data})
    report = verify(folder)
    torn_only = name.endswith("events.jsonl") and where == "behind" and b"\n" not in nonsense
    if data != honest and not torn_only:
        assert not report.ok


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def as_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def as_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


@pytest.mark.parametrize("harm", [as_folder, as_pipe, as_loop])
@pytest.mark.parametrize("name", FILES)
def test_what_is_no_file_is_unreadable(tmp_path: Path, name: str, harm: Callable[[Path], None]) -> None:
    write_files(tmp_path, make_box(7).files())
    harm(tmp_path / name)
    assert "unreadable" in {finding.code for finding in verify(tmp_path).findings}


@pytest.mark.parametrize("tail", [b"", b"\n{}\n"])
def test_endless_line_is_judged_in_little_memory(tmp_path: Path, tail: bytes) -> None:
    """A hole in a file: a line of half a gigabyte that costs no disk."""
    files = make_box(7).files()
    write_files(tmp_path, files)
    path = tmp_path / "front" / "events.jsonl"
    os.truncate(path, path.stat().st_size + (1 << 29))
    with path.open("ab") as file:
        file.write(tail)
    program = (
        "import resource, sys; from pathlib import Path; from veil.audit.verify import verify\n"
        "resource.setrlimit(resource.RLIMIT_DATA, (200 << 20, 200 << 20))\n"
        "report = verify(Path(sys.argv[1]))\n"
        "print([finding.code for finding in report.findings + report.warnings])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ("['not_canonical']" if tail else "['torn_line']")


def witnessed(seed: int) -> tuple[dict[str, bytes], SigningKey]:
    """What a fleet manager hands out: only what it cosigned, each with its line."""
    from audit.boxes import heads_file
    from veil.audit.note import cosign_note

    box = make_box(seed)
    for log in box.logs.values():
        chosen = [
            head for number, head in enumerate(log.heads) if number % 2 == 0 or number == len(log.heads) - 1
        ]
        log.heads = [cosign_note(head, box.witness, 7) for head in chosen]
        log.cosigned = log.heads[-1]
    files = box.files()
    assert files["front/checkpoints.jsonl"] == heads_file(box.logs["front"].heads)
    return files, box.witness


@pytest.mark.skipif(NODE is None, reason="node, for the second verifier, is not installed")
@pytest.mark.parametrize("seed", range(6))
def test_witnessed_copy_holds_and_its_cosignatures_are_checked(tmp_path: Path, seed: int) -> None:
    files, _ = witnessed(seed)
    other = SigningKey.generate("fleet", COSIGNATURE_V1)
    cases = {
        "honest": (files, True),
        "other witness": ({**files, "witness.vkeys": f"{other.verifier}\n".encode()}, False),
        "without its last": (
            {
                **files,
                "front/checkpoints.jsonl": b"".join(
                    files["front/checkpoints.jsonl"].splitlines(keepends=True)[:-1]
                ),
            },
            False,
        ),
        "changed": (
            {**files, "front/events.jsonl": files["front/events.jsonl"].replace(b'"seq":0', b'"seq":1')},
            False,
        ),
    }
    with JavaScriptVerifier() as javascript:
        for name, (case, holds) in cases.items():
            folder = tmp_path / name
            write_files(folder, case)
            report = verify(folder)
            assert report.ok is holds, (name, report.findings)
            assert report.logs["front"].witnessed
            assert javascript.verify(folder)["ok"] is holds, name
