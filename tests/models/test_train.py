"""Training stops, goes on and ends as it says."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from models.golden_data import golden_as_data
from veil_models.errors import ModelsError
from veil_models.sampler import Recipe, Sampler
from veil_models.work import Work

torch = pytest.importorskip("torch", reason="PyTorch is not installed: models/requirements-train.txt")

MODELS = Path(__file__).parents[2] / "models"
RECIPE = Recipe(size=128, batch=1)


@pytest.fixture
def work(tmp_path: Path) -> Work:
    golden_as_data(tmp_path, MODELS / "bundles" / "veil-s", frozenset({"face", "plate"}))
    return Work(tmp_path, tmp_path / "work")


def _train(work: Work, steps: int, data: str = "of these") -> int:
    from veil_models.train import ENDINGS, Plan, train

    pictures, pack = work.training()
    before = {number: signal.getsignal(number) for number in ENDINGS}
    try:
        return train(
            pictures,
            pack,
            work.folder / "run",
            Plan(("veil-n",), steps=steps, workers=0, threads=1),
            RECIPE,
            None,
            data,
        )
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_run_at_its_end_says_so_and_refuses_other_data(
    work: Work, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _train(work, 2) == 2
    assert "nothing is left to train" not in capsys.readouterr().out
    assert _train(work, 2) == 2
    assert "nothing is left to train" in capsys.readouterr().out
    with pytest.raises(ModelsError, match="other pictures or labels"):
        _train(work, 2, "of others")
    assert _train(work, 3, "of others") == 3
    assert "goes on from step 2 with other pictures or labels" in capsys.readouterr().out


def test_a_checkpoint_that_does_not_say_what_it_learned_from_goes_on(work: Work) -> None:
    from veil_models.checkpoint import steps_of

    run = work.folder / "run"
    run.mkdir(parents=True)
    start = Path(shutil.copy(MODELS / "checkpoints" / "veil-n.pt", run))
    made = steps_of(start)
    assert _train(work, made) == made
    assert _train(work, made + 1) == made + 1
    assert steps_of(start) == made + 1


def test_the_stream_is_the_same_with_any_number_of_workers(work: Work) -> None:
    from torch.utils.data import DataLoader

    from veil_models.train import Stream

    pictures, pack = work.training()
    wanted = [next(Sampler(pictures, pack, RECIPE).batches(number)) for number in (7, 8, 9, 10, 11)]
    for workers in (0, 1, 2):
        stream = Stream(pictures, pack, RECIPE, 7)
        loader = iter(DataLoader(stream, batch_size=None, num_workers=workers))
        for batch in wanted:
            np.testing.assert_array_equal(next(loader)["image"], batch["image"])


def _command(work: Work, *words: str) -> subprocess.Popen[str]:
    call = [
        sys.executable,
        "-m",
        "veil_models",
        "train",
        "--data",
        str(work.data),
        "--work",
        str(work.folder),
    ]
    small = ["--size", "128", "--batch", "1", "--threads", "1", "--workers", "0", "--spec", "veil-n"]
    environment = {**os.environ, "PYTHONPATH": str(MODELS)}
    return subprocess.Popen(
        [*call, *small, *words],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


@pytest.fixture
def endless(work: Work) -> Iterator[subprocess.Popen[str]]:
    process = _command(work, "--steps", "1000000", "--workers", "1")
    yield process
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_training_that_was_stopped_is_saved_and_no_success(
    work: Work, endless: subprocess.Popen[str], number: signal.Signals
) -> None:
    """`make models` must not release it: 143, as shells call a process that SIGTERM ended. Its workers are
    signalled too, as by Ctrl-C and systemd."""
    from veil_models.checkpoint import steps_of

    assert endless.stdout is not None
    said = next(line for line in endless.stdout if '"step": 50' in line)
    assert said
    os.killpg(endless.pid, number)
    said = endless.stdout.read()
    assert endless.wait() == 143
    assert "stopped and saved" in said
    made = steps_of(work.folder / "run" / "veil-n.pt")
    assert made >= 50
    on = _command(work, "--steps", str(made + 1))
    assert f'"veil-n": {made}' in on.communicate()[0]
    assert on.returncode == 0
    assert steps_of(work.folder / "run" / "veil-n.pt") == made + 1


def test_a_start_that_is_at_the_end_already_is_a_mistake(work: Work) -> None:
    refused = _command(work, "--steps", "100", "--start", str(MODELS / "checkpoints"))
    said = refused.communicate()[0]
    assert refused.returncode == 2
    assert "MODELS_STEPS" in said
    assert "Traceback" not in said
    assert not (work.folder / "run" / "veil-n.pt").exists()
