"""Training: resumable at any moment, on two cores or a GPU."""

from __future__ import annotations

import functools
import json
import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from veil_models.dataset import Dataset
from veil_models.errors import ModelsError
from veil_models.graph import SPECS, build
from veil_models.losses import Batch, centres, loss
from veil_models.net import Net
from veil_models.pace import Pace
from veil_models.pack import Pack
from veil_models.sampler import Alarms, Recipe, Sampler

ENDINGS = (signal.SIGTERM, signal.SIGINT)
"""Signals after which a training saves and ends."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A training run. `steps` is the end of the cosine, `first` its beginning (for a run that goes on from
    weights with a cosine of its own); both may be changed when resuming.

    The first of `specs` leads: its steps are counted. The others learn from every `others_every`-th of its
    batches, which costs less than a second stream of pictures.
    """

    specs: tuple[str, ...] = ("veil-s",)
    others_every: int = 1
    steps: int = 25_000
    first: int = 0
    rate: float = 2e-3
    decay: float = 0.02
    warmup: int = 300
    box_gain: float = 1.0
    average: float = 0.9995
    workers: int = 1
    threads: int = 2
    checkpoint_every_s: float = 240.0


REPORT = 50
"""Steps between two lines of the log."""


class Stream(IterableDataset[dict[str, Any]]):
    """The sampler's batches from `first` on; of several workers each makes its share, and the loader takes
    turns, so that the stream is the same with any number of them."""

    def __init__(
        self, pictures: Dataset, pack: Pack, recipe: Recipe, first: int, alarms: Alarms | None = None
    ) -> None:
        self._job = (pictures, pack, recipe, alarms, first)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        pictures, pack, recipe, alarms, first = self._job
        info = torch.utils.data.get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        return Sampler(pictures, pack, recipe, alarms).batches(first + worker, workers)


@functools.cache
def has_bfloat16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16; a CPU that only emulates it is far slower than in float32."""
    return device.type != "cpu" or bool(torch.cpu._is_avx512_bf16_supported())


def rate_at(step: int, plan: Plan) -> float:
    """Linear warm-up, then a cosine to 2 % of the top rate."""
    done = step - plan.first
    if done < plan.warmup:
        return plan.rate * max(1, done + 1) / plan.warmup
    share = min(1.0, (done - plan.warmup) / max(1, plan.steps - plan.first - plan.warmup))
    return plan.rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share)))


def parameter_groups(net: Net, decay: float) -> list[dict[str, Any]]:
    """Weights decay, biases and normalisation do not."""
    decayed = [p for p in net.parameters() if p.ndim > 1]
    plain = [p for p in net.parameters() if p.ndim <= 1]
    return [{"params": decayed, "weight_decay": decay}, {"params": plain, "weight_decay": 0.0}]


@dataclass(slots=True)
class Student:
    """One net in training, its average, its optimizer, how many steps it has made, and the digest of what it
    learned from (empty where its checkpoint does not say)."""

    spec: str
    net: Net
    average: Net
    optimizer: torch.optim.Optimizer
    step: int = 0
    data: str = ""

    def learn(
        self, image: Tensor, batch: Batch, centre: Tensor, rate: float, plan: Plan
    ) -> tuple[float, float]:
        """One step on a batch; returns the classification and the box loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate * min(1.0, (self.step + 1) / plan.warmup)
        with torch.autocast(image.device.type, torch.bfloat16, enabled=has_bfloat16(image.device)):
            out = self.net(image)
        classification, box = loss(out, batch, centre)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward([classification + plan.box_gain * box])
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 10.0)
        self.optimizer.step()
        self.step += 1
        blend(self.average, self.net, min(plan.average, (1 + self.step) / (20 + self.step)))
        return classification.item(), box.item()


def enrol(spec: str, checkpoint: Path, plan: Plan, device: torch.device) -> Student:
    """A new student, or one that goes on from its checkpoint."""
    net = Net(build(SPECS[spec])).to(device)
    net.convs.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in the stub
    average = Net(net.nodes).to(device)
    average.load_state_dict(net.state_dict())
    optimizer = torch.optim.AdamW(parameter_groups(net, plan.decay), lr=plan.rate, betas=(0.9, 0.99))
    student = Student(spec, net, average, optimizer)
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        for part, name in ((net, "net"), (average, "average")):  # a small checkpoint is in half precision
            weights = {k: v.float() if v.is_floating_point() else v for k, v in state[name].items()}
            part.load_state_dict(weights)
        if "optimizer" in state:
            optimizer.load_state_dict(state["optimizer"])
        student.step = int(state["step"])
        student.data = str(state.get("data", ""))
    net.train()
    return student


def train(
    pictures: Dataset,
    pack: Pack,
    folder: Path,
    plan: Plan,
    recipe: Recipe,
    alarms: Alarms | None = None,
    data: str = "",
) -> int:
    """Train every net of the plan on one stream of batches, or go on from `folder`/NAME.pt; returns the steps
    that the first one has made: fewer than `plan.steps` when it was stopped.

    SIGTERM and Ctrl-C save first, SIGSTOP and SIGKILL are fine at any moment. `data` is the digest of
    `pictures`.

    Raises:
        ModelsError: the end was reached with other pictures or labels: nothing would be learned of these.
    """
    torch.manual_seed(recipe.seed)
    torch.set_num_threads(plan.threads)
    torch.set_flush_denormal(True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.pid").write_text(str(os.getpgid(0)))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    students = [enrol(spec, folder / f"{spec}.pt", plan, device) for spec in plan.specs]
    step = students[0].step
    if step >= plan.steps:
        if students[0].data not in {"", data}:
            raise ModelsError(
                f"{folder} has made its {step} steps with other pictures or labels: to learn these, raise "
                f"--steps (now {plan.steps}; make: MODELS_STEPS), or delete {folder} to begin anew."
            )
        print(f"{folder}: {step} steps are made, of {plan.steps}; nothing is left to train.", flush=True)
        return step
    if students[0].data not in {"", data}:
        print(f"{folder}: goes on from step {step} with other pictures or labels than before", flush=True)
    for student in students:
        student.data = data
    say(
        {
            "at": {s.spec: s.step for s in students},
            "pictures": len(pictures),
            "places": 0 if alarms is None else len(alarms.picture),
            **asdict(plan),
            **asdict(recipe),
        }
    )
    stream = Stream(pictures, pack, recipe, step + 1, alarms)
    ahead = 6 if plan.workers else None
    loader = DataLoader(
        stream, batch_size=None, num_workers=plan.workers, prefetch_factor=ahead, worker_init_fn=_outlive
    )
    centre = centres(recipe.size).to(device)
    pace = Pace(plan.threads)
    asked_to_stop = threading.Event()
    for number in ENDINGS:
        signal.signal(number, lambda *_: asked_to_stop.set())
    saved = reported = time.monotonic()
    sums = np.zeros((len(students), 3))
    for arrays in loader:
        if step >= plan.steps or asked_to_stop.is_set():
            break
        pace.step()
        batch = Batch(**{k: torch.as_tensor(v).to(device, non_blocking=True) for k, v in arrays.items()})
        image = batch.image.to(memory_format=torch.channels_last).float().div_(255)
        rate = rate_at(step, plan)
        for place, student in enumerate(students):
            if place == 0 or step % plan.others_every == 0:
                sums[place] += [*student.learn(image, batch, centre, rate, plan), 1]
        step += 1
        now = time.monotonic()
        if step % REPORT == 0:
            crops = REPORT * recipe.batch / (now - reported)
            losses = {
                s.spec: np.round(v[:2] / max(v[2], 1), 3).tolist()
                for s, v in zip(students, sums, strict=True)
            }
            spent = {n: round(v, 2) for n, v in pace.spent.items()}
            say({"step": step, **losses, "crops_s": round(crops, 1), "rate": round(rate, 6), "pace": spent})
            reported = now
            sums[:] = 0
        if now - saved > plan.checkpoint_every_s:
            save(folder, students)
            saved = now
    save(folder, students)
    return step


def _outlive(worker: int) -> None:
    """A worker leaves stopping to the training: Ctrl-C, systemd and `kill -- -GROUP` signal all processes at
    once, and a training whose worker is gone fails before it has saved."""
    for number in ENDINGS:
        signal.signal(number, signal.SIG_IGN)


def say(line: dict[str, Any]) -> None:
    """One line of JSON."""
    print(json.dumps(line), flush=True)


@torch.no_grad()
def blend(average: Net, net: Net, keep: float) -> None:
    """Exponential moving average of everything, running statistics included."""
    for mine, theirs in zip(average.state_dict().values(), net.state_dict().values(), strict=True):
        if mine.is_floating_point():
            mine.lerp_(theirs, 1 - keep)
        else:
            mine.copy_(theirs)


def save(folder: Path, students: list[Student]) -> None:
    """Write whole checkpoints; a crash leaves the ones before."""
    for student in students:
        partial = folder / f"{student.spec}.part"
        torch.save(
            {
                "net": student.net.state_dict(),
                "average": student.average.state_dict(),
                "optimizer": student.optimizer.state_dict(),
                "step": student.step,
                "spec": student.spec,
                "data": student.data,
            },
            partial,
        )
        partial.replace(folder / f"{student.spec}.pt")
