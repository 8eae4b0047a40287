"""The net as a list of named nodes: what PyTorch trains, and what the ONNX and TFLite writers read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from veil_models.dataset import CLASSES

STRIDES: tuple[int, ...] = (8, 16, 32)
IMAGE = "image"


class Op(StrEnum):
    """All operations there are; each quantizes to integers in both runtimes."""

    CONV = "conv"
    ADD = "add"
    UPSAMPLE = "upsample"


@dataclass(frozen=True, slots=True)
class Node:
    """One operation; its output carries its name.

    A convolution has `channels` outputs, a square `kernel`, `stride`, `dilation` and symmetric padding that keeps
    size/stride. `relu` clips its (or an addition's) output at 0. `norm` says whether it is trained with batch
    normalisation, which folding removes. Upsampling doubles both sides, nearest.
    """

    name: str
    op: Op
    inputs: tuple[str, ...]
    channels: int = 0
    kernel: int = 3
    stride: int = 1
    dilation: int = 1
    relu: bool = False
    norm: bool = True


@dataclass(frozen=True, slots=True)
class Spec:
    """A net: `stages` are the widths and depths at strides 2, 4, 8, 16, 32; `neck` the width of all heads."""

    name: str
    widths: tuple[int, int, int, int, int]
    depths: tuple[int, int, int, int, int]
    dilations: tuple[int, ...]
    neck: tuple[int, int, int]
    head_depth: int = 1


VEIL_S = Spec("veil-s", (16, 32, 48, 64, 96), (0, 0, 2, 3, 4), (1, 2, 2, 3), (48, 64, 64))
VEIL_N = Spec("veil-n", (8, 16, 24, 32, 48), (0, 0, 1, 2, 3), (1, 2, 3), (24, 32, 32))
SPECS = {s.name: s for s in (VEIL_S, VEIL_N)}


def build(spec: Spec) -> list[Node]:
    """Nodes in order of execution; outputs are `cls_S` (logits) and `box_S` for S in STRIDES."""
    nodes: list[Node] = []
    last = IMAGE
    taps: dict[int, str] = {}
    for level, (width, depth) in enumerate(zip(spec.widths, spec.depths, strict=True)):
        stride = 2 ** (level + 1)
        nodes.append(Node(f"down{stride}", Op.CONV, (last,), width, stride=2, relu=True))
        last = f"down{stride}"
        for block in range(depth):
            dilation = spec.dilations[block] if stride == 32 else 1
            name = f"s{stride}b{block}"
            # a residual pair would cost an addition per block; every second block adds its input instead
            if block % 2 == 1:
                nodes.append(Node(f"{name}c", Op.CONV, (last,), width, dilation=dilation))
                nodes.append(Node(name, Op.ADD, (f"{name}c", before), relu=True))
            else:
                before = last
                nodes.append(Node(name, Op.CONV, (last,), width, dilation=dilation, relu=True))
            last = name
        taps[stride] = last
    above = ""
    for stride, width in zip(reversed(STRIDES), reversed(spec.neck), strict=True):
        lateral = f"lat{stride}"
        nodes.append(Node(lateral, Op.CONV, (taps[stride],), width, kernel=1, relu=not above))
        if above:
            nodes.append(Node(f"red{stride}", Op.CONV, (above,), width, kernel=1))
            nodes.append(Node(f"up{stride}", Op.UPSAMPLE, (f"red{stride}",)))
            nodes.append(Node(f"sum{stride}", Op.ADD, (lateral, f"up{stride}"), relu=True))
            lateral = f"sum{stride}"
        above = lateral
        for i in range(spec.head_depth):
            name = f"head{stride}_{i}"
            nodes.append(Node(name, Op.CONV, (above,), width, relu=True))
            above = name
        nodes.append(Node(f"cls_{stride}", Op.CONV, (above,), len(CLASSES), kernel=1, norm=False))
        nodes.append(Node(f"box_{stride}", Op.CONV, (above,), 4, kernel=1, relu=True, norm=False))
    return nodes


def channels(nodes: list[Node]) -> dict[str, int]:
    """Channels of every tensor."""
    known = {IMAGE: 3}
    for node in nodes:
        known[node.name] = node.channels if node.op is Op.CONV else known[node.inputs[0]]
    return known


def outputs() -> list[str]:
    """Names of the outputs, in order."""
    return [f"{kind}_{s}" for kind in ("cls", "box") for s in STRIDES]
