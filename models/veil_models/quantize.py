"""Post-training quantization: ranges of every tensor from real pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnxruntime as ort

from veil_models.graph import IMAGE, Node, Op
from veil_models.onnx_writer import write_float
from veil_models.pack import Pixels
from veil_models.quantized import Folded
from veil_models.teachers import pad_to

LOGIT_FLOOR = -7.0
"""Logits below this all mean nothing there (score < 0.001); finer steps above are worth more."""

BINS = 4096


def calibrate(
    nodes: list[Node], weights: Mapping[str, Folded], pictures: Iterable[Pixels], tail: float = 2e-6
) -> dict[str, tuple[float, float]]:
    """The range of every convolution's and addition's output over `pictures`.

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
    for rgb in pictures:
        blob = np.ascontiguousarray(pad_to(rgb, 32).transpose(2, 0, 1)[None])
        for name, value in zip(names, session.run(names, {IMAGE: blob}), strict=True):
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
    return ranges
