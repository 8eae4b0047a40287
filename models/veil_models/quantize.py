"""Post-training quantization: ranges and means of every tensor from real pictures, and biases that make up
for what rounding does to weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort

from veil_models.dataset import Dataset
from veil_models.graph import IMAGE, Node, Op
from veil_models.onnx_writer import write_float
from veil_models.pack import Pixels
from veil_models.quantized import Floats, Folded, integers
from veil_models.teachers import pad_to

LOGIT_FLOOR = -7.0
"""Logits below this all mean nothing there (score < 0.001); finer steps above are worth more."""

BINS = 4096

MEAN_OF = 3
"""Every which picture counts for the means."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What real pictures say of each tensor: its range, and the mean of each of its channels."""

    ranges: dict[str, tuple[float, float]]
    means: dict[str, Floats]


def spread(pictures: Dataset, count: int) -> list[int]:
    """Indices of at most `count` pictures: of each source equally many, as far as it has them, evenly
    spaced."""
    of: dict[str, list[int]] = {}
    for index, picture in enumerate(pictures):
        of.setdefault(picture.source, []).append(index)
    chosen: list[int] = []
    for waiting, indices in zip(range(len(of), 0, -1), sorted(of.values(), key=len), strict=True):
        share = min(len(indices), -(-(count - len(chosen)) // waiting))
        chosen += [indices[place * len(indices) // share] for place in range(share)]
    return sorted(chosen)


def calibrate(
    nodes: list[Node], weights: Mapping[str, Folded], pictures: Iterable[Pixels], tail: float = 2e-6
) -> Calibration:
    """Of the picture and of every convolution's and addition's output, over `pictures`.

    A share of `tail` of the values may be clipped at each end; the distances' largest value is kept, logits
    are cut at LOGIT_FLOOR.
    """
    model = write_float(nodes, weights)
    names = [n.name for n in nodes if n.op is not Op.UPSAMPLE]
    known = {o.name for o in model.graph.output}
    import onnx

    for name in names:
        if name not in known:
            model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session: Any = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    tails: dict[str, list[np.ndarray[Any, np.dtype[np.float32]]]] = {n: [] for n in names}
    count = dict.fromkeys(names, 0)
    sums: dict[str, Any] = dict.fromkeys([IMAGE, *names], 0.0)
    looks = 0
    for number, rgb in enumerate(pictures):
        counts = number % MEAN_OF == 0
        if counts:
            looks += 1
            sums[IMAGE] = sums[IMAGE] + rgb.mean((0, 1)) / 255
        blob = np.ascontiguousarray(pad_to(rgb, 32).transpose(2, 0, 1)[None])
        for name, value in zip(names, session.run(names, {IMAGE: blob}), strict=True):
            if counts:
                sums[name] = sums[name] + value.mean((0, 2, 3))
            flat = value.ravel()
            count[name] += len(flat)
            k = max(1, min(len(flat) // 2 - 1, round(len(flat) * 1e-4)))
            part = np.partition(flat, [k, len(flat) - k - 1])
            tails[name].append(np.concatenate([part[: k + 1], part[-k - 1 :]]))
    ranges: dict[str, tuple[float, float]] = {}
    by_name = {n.name: n for n in nodes}
    for name in names:
        values = np.sort(np.concatenate(tails[name]))
        k = int(count[name] * tail)
        low, high = float(values[min(k, len(values) - 1)]), float(values[max(0, len(values) - 1 - k)])
        if name.startswith("cls_"):
            low, high = LOGIT_FLOOR, max(float(values[-1]), 2.0)
        elif name.startswith("box_"):
            low, high = 0.0, float(values[-1])
        if by_name[name].relu:
            low = 0.0
        ranges[name] = (low, high)
    means = {name: np.asarray(total / max(looks, 1), np.float32) for name, total in sums.items()}
    means |= {n.name: means[n.inputs[0]] for n in nodes if n.op is Op.UPSAMPLE}
    return Calibration(ranges, means)


def corrected(
    nodes: list[Node], weights: Mapping[str, Folded], means: Mapping[str, Floats]
) -> dict[str, Folded]:
    """The weights with biases that take back what rounding adds to each channel's output on average: the
    rounded weights' differences from the real ones, times the mean of what they are multiplied with. Outputs
    keep theirs: scores are told apart by less than that."""
    result = {}
    for node in nodes:
        if node.op is not Op.CONV:
            continue
        folded = weights[node.name]
        if not node.norm:
            result[node.name] = folded
            continue
        stored = integers(folded, 1.0)
        added = stored.weight * stored.scale[:, None, None, None] - folded.weight
        shift = (added.sum((2, 3)) * means[node.inputs[0]]).sum(1)
        result[node.name] = Folded(folded.weight, (folded.bias - shift).astype(np.float32))
    return result
