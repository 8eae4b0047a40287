"""Training: resumable at any moment, on two cores or a GPU."""

from __future__ import annotations

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
from torch.utils.data import DataLoader, IterableDataset

from veil_models.dataset import Dataset
from veil_models.graph import SPECS, build
from veil_models.losses import Batch, centres, loss
from veil_models.net import Net
from veil_models.pace import Pace
from veil_models.pack import Pack
from veil_models.sampler import Recipe, Sampler


@dataclass(frozen=True, slots=True)
class Plan:
    """A training run. `steps` is the length of the cosine; it may be changed when resuming."""

    spec: str = "veil-s"
    steps: int = 25_000
    rate: float = 2e-3
    decay: float = 0.02
    warmup: int = 300
    box_gain: float = 1.0
    average: float = 0.9995
    workers: int = 1
    threads: int = 2
    checkpoint_every_s: float = 240.0


class Stream(IterableDataset[dict[str, Any]]):
    """The sampler's batches from `first` on, one stream per worker."""

    def __init__(self, pictures: Dataset, pack: Pack, recipe: Recipe, first: int) -> None:
        self._job = (pictures, pack, recipe, first)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        pictures, pack, recipe, first = self._job
        info = torch.utils.data.get_worker_info()
        return Sampler(pictures, pack, recipe).batches(0 if info is None else info.id, first)


def rate_at(step: int, plan: Plan) -> float:
    """Linear warm-up, then a cosine to 2 % of the top rate."""
    if step < plan.warmup:
        return plan.rate * (step + 1) / plan.warmup
    share = min(1.0, (step - plan.warmup) / max(1, plan.steps - plan.warmup))
    return plan.rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share)))


def parameter_groups(net: Net, decay: float) -> list[dict[str, Any]]:
    """Weights decay, biases and normalisation do not."""
    decayed = [p for p in net.parameters() if p.ndim > 1]
    plain = [p for p in net.parameters() if p.ndim <= 1]
    return [{"params": decayed, "weight_decay": decay}, {"params": plain, "weight_decay": 0.0}]


def train(pictures: Dataset, pack: Pack, folder: Path, plan: Plan, recipe: Recipe) -> None:
    """Train, or go on from `folder`/last.pt; SIGTERM saves first, SIGSTOP and SIGKILL are
    fine at any moment."""
    torch.manual_seed(recipe.seed)
    torch.set_num_threads(plan.threads)
    torch.set_flush_denormal(True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.pid").write_text(str(os.getpgid(0)))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net = Net(build(SPECS[plan.spec])).to(device, memory_format=torch.channels_last)
    average = Net(net.nodes).to(device)
    average.load_state_dict(net.state_dict())
    optimizer = torch.optim.AdamW(parameter_groups(net, plan.decay), lr=plan.rate, betas=(0.9, 0.99))
    step = 0
    last = folder / "last.pt"
    if last.exists():
        state = torch.load(last, map_location=device, weights_only=True)
        for part, name in ((net, "net"), (average, "average")):  # a small checkpoint is in half precision
            part.load_state_dict(
                {k: v.float() if v.is_floating_point() else v for k, v in state[name].items()}
            )
        if "optimizer" in state:
            optimizer.load_state_dict(state["optimizer"])
        step = int(state["step"])
    print(
        json.dumps({"resumed_at": step, "pictures": len(pictures), **asdict(plan), **asdict(recipe)}),
        flush=True,
    )
    stream = Stream(pictures, pack, recipe, step // max(1, plan.workers) + 1)
    loader = DataLoader(
        stream, batch_size=None, num_workers=plan.workers, prefetch_factor=6 if plan.workers else None
    )
    centre = centres(recipe.size).to(device)
    net.train()
    saved = reported = time.monotonic()
    sums = np.zeros(3)
    pace = Pace(plan.threads)
    asked_to_stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked_to_stop.set())
    for arrays in loader:
        if step >= plan.steps or asked_to_stop.is_set():
            break
        pace.step()
        batch = Batch(**{k: torch.as_tensor(v).to(device, non_blocking=True) for k, v in arrays.items()})
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, plan)
        image = batch.image.to(memory_format=torch.channels_last).float().div_(255)
        with torch.autocast(device.type, torch.bfloat16):
            out = net(image)
        classification, box = loss(out, batch, centre)
        total = classification + plan.box_gain * box
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 10.0)
        optimizer.step()
        step += 1
        blend(average, net, min(plan.average, (1 + step) / (20 + step)))
        sums += [classification.item(), box.item(), 1]
        now = time.monotonic()
        if step % 50 == 0:
            line = {
                "step": step,
                "cls": round(sums[0] / sums[2], 4),
                "box": round(sums[1] / sums[2], 4),
                "crops_s": round(50 * recipe.batch / (now - reported), 1),
                "rate": round(rate_at(step, plan), 6),
                "pace": {n: round(v, 2) for n, v in pace.spent.items()},
            }
            print(json.dumps(line), flush=True)
            reported, sums = now, np.zeros(3)
        if now - saved > plan.checkpoint_every_s:
            save(last, net, average, optimizer, step, plan.spec)
            saved = now
    save(last, net, average, optimizer, step, plan.spec)


@torch.no_grad()
def blend(average: Net, net: Net, keep: float) -> None:
    """Exponential moving average of everything, running statistics included."""
    for mine, theirs in zip(average.state_dict().values(), net.state_dict().values(), strict=True):
        if mine.is_floating_point():
            mine.lerp_(theirs, 1 - keep)
        else:
            mine.copy_(theirs)


def save(path: Path, net: Net, average: Net, optimizer: torch.optim.Optimizer, step: int, spec: str) -> None:
    """Write a whole checkpoint; a crash leaves the one before."""
    partial = path.with_suffix(".part")
    torch.save(
        {
            "net": net.state_dict(),
            "average": average.state_dict(),
            "optimizer": optimizer.state_dict(),
            "step": step,
            "spec": spec,
        },
        partial,
    )
    partial.replace(path)
