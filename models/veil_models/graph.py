"""The net as a list of named nodes: what PyTorch trains, and what the ONNX and TFLite writers read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from veil_models.dataset import CLASSES

STRIDES: tuple[int, ...] = (8, 16, 32)
IMAGE = "image"

BOX_OF: tuple[int, ...] = (0, 0, 1)
"""Which four of a cell's distances each class has: a head has a box of its own beside its face's."""

BOX_CHANNELS = 4 * (max(BOX_OF) + 1)


class Op(StrEnum):
    """All operations there are; each quantizes to integers in both runtimes."""

    CONV = "conv"
    ADD = "add"
    UPSAMPLE = "upsample"


@dataclass(frozen=True, slots=True)
class Node:
    """One operation; its output carries its name.

    A convolution has `channels` outputs, a square `kernel`, `stride`, `dilation` and symmetric padding that
    keeps size/stride. `relu` clips its (or an addition's) output at 0. `norm` says whether it is trained with
    batch normalisation, which folding removes. Upsampling doubles both sides, nearest.
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
    """A net: a stem of one 6x6 convolution to stride 4 (a 3x3 pair to strides 2 and 4 costs twice its time,
    most of it spent gathering three channels at a time), then `widths` and `depths` of the stages at strides
    8, 16, 32.

    `dilations` widen what the last stage sees (faces of 600 px); `neck` are the widths of the three heads.
    """

    name: str
    stem: int
    widths: tuple[int, int, int]
    depths: tuple[int, int, int]
    dilations: tuple[int, ...]
    neck: tuple[int, int, int]


VEIL_S = Spec("veil-s", 32, (48, 64, 96), (2, 3, 4), (1, 2, 2, 3), (48, 64, 64))
VEIL_N = Spec("veil-n", 16, (32, 48, 64), (2, 2, 3), (1, 2, 3), (32, 48, 48))
SPECS = {s.name: s for s in (VEIL_S, VEIL_N)}


def build(spec: Spec) -> list[Node]:
    """Nodes in order of execution; outputs are `cls_S` (logits) and `box_S` (distances) for S in STRIDES."""
    nodes = [Node("stem", Op.CONV, (IMAGE,), spec.stem, kernel=6, stride=4, relu=True)]
    taps: list[str] = []
    for stride, width, depth in zip(STRIDES, spec.widths, spec.depths, strict=True):
        nodes.append(Node(f"down{stride}", Op.CONV, (nodes[-1].name,), width, stride=2, relu=True))
        for block in range(depth):
            name, before = f"s{stride}b{block}", nodes[-1].name
            dilation = spec.dilations[block] if stride == STRIDES[-1] else 1
            if block % 2:  # every second block adds the input of the pair
                nodes.append(Node(f"{name}c", Op.CONV, (before,), width, dilation=dilation))
                nodes.append(Node(name, Op.ADD, (f"{name}c", nodes[-2].inputs[0]), relu=True))
            else:
                nodes.append(Node(name, Op.CONV, (before,), width, dilation=dilation, relu=True))
        taps.append(nodes[-1].name)
    above = ""
    for stride, width, tap in zip(reversed(STRIDES), reversed(spec.neck), reversed(taps), strict=True):
        nodes.append(Node(f"lat{stride}", Op.CONV, (tap,), width, kernel=1, relu=not above))
        if above:
            nodes.append(Node(f"red{stride}", Op.CONV, (above,), width, kernel=1))
            nodes.append(Node(f"up{stride}", Op.UPSAMPLE, (f"red{stride}",)))
            nodes.append(Node(f"sum{stride}", Op.ADD, (f"lat{stride}", f"up{stride}"), relu=True))
        nodes.append(Node(f"head{stride}", Op.CONV, (nodes[-1].name,), width, relu=True))
        above = nodes[-1].name
        nodes.append(Node(f"cls_{stride}", Op.CONV, (above,), len(CLASSES), kernel=1, norm=False))
        nodes.append(Node(f"box_{stride}", Op.CONV, (above,), BOX_CHANNELS, kernel=1, relu=True, norm=False))
    return nodes


def padding(node: Node) -> int:
    """Zeros added on each side of a convolution's input."""
    return (node.dilation * (node.kernel - 1) + 1 - node.stride + 1) // 2


def channels(nodes: list[Node]) -> dict[str, int]:
    """Channels of every tensor."""
    known = {IMAGE: 3}
    for node in nodes:
        known[node.name] = node.channels if node.op is Op.CONV else known[node.inputs[0]]
    return known


def outputs() -> list[str]:
    """Names of the outputs, in order."""
    return [f"{kind}_{s}" for kind in ("cls", "box") for s in STRIDES]
