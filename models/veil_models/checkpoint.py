"""Checkpoints small enough to commit, and from checkpoint to folded weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from veil_models.graph import SPECS, Node, build
from veil_models.net import Net, fold
from veil_models.quantized import Folded


def load_average(path: Path) -> tuple[str, Net]:
    """The averaged net of a training checkpoint or of a small one: spec name and net in evaluation mode."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    spec = str(state.get("spec", "veil-s"))
    net = Net(build(SPECS[spec]))
    net.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state["average"].items()})
    return spec, net.eval()


def load_folded(path: Path) -> tuple[str, list[Node], dict[str, Folded]]:
    """Spec name, nodes and folded weights of a checkpoint's average."""
    spec, net = load_average(path)
    return spec, net.nodes, fold(net)


def steps_of(path: Path) -> int:
    """How many steps a checkpoint has made."""
    return int(torch.load(path, map_location="cpu", weights_only=True)["step"])


def shrink(source: Path, target: Path) -> None:
    """Keep what resuming needs, in half precision: both sets of weights, the step and the spec; the
    optimizer's moments are rebuilt within some hundred steps."""
    state = torch.load(source, map_location="cpu", weights_only=True)
    small = {
        key: {k: v.half() if v.is_floating_point() else v for k, v in state[key].items()}
        for key in ("net", "average")
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    torch.save({**small, "step": int(state["step"]), "spec": str(state.get("spec", "veil-s"))}, target)


def mix(sources: Sequence[Path], target: Path) -> None:
    """The mean of several checkpoints of one run's averages: what each learned last, with less of what each
    forgot for it. Raises ValueError where they are of different nets."""
    states = [torch.load(source, map_location="cpu", weights_only=True) for source in sources]
    specs = {str(state.get("spec", "veil-s")) for state in states}
    if len(specs) != 1:
        raise ValueError(f"checkpoints of different nets: {', '.join(sorted(specs))}")
    parts = [state["average"] for state in states]
    mean = {
        key: sum(part[key].float() for part in parts) / len(parts) if value.is_floating_point() else value
        for key, value in parts[-1].items()
    }
    steps = max(int(state["step"]) for state in states)
    torch.save({"net": mean, "average": mean, "step": steps, "spec": specs.pop()}, target)
