"""ONNX INT8, TFLite INT8 and float are one net."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from veil_models.detect import OnnxDetector, TfliteDetector
from veil_models.graph import BOX_CHANNELS, VEIL_N, VEIL_S, Node, Op, build, channels, outputs
from veil_models.onnx_writer import blocked, write_float, write_int8
from veil_models.quantize import calibrate, corrected
from veil_models.quantized import PRODUCTS, Folded, affine, grids, integers
from veil_models.tflite_writer import write_tflite

Made = tuple[list[Node], dict[str, Folded], dict[str, tuple[float, float]]]


def picture(seed: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3)).astype(np.uint8)


@pytest.fixture(scope="module", params=[VEIL_S, VEIL_N], ids=lambda s: s.name)
def made(request: pytest.FixtureRequest) -> Made:
    """Random weights of sensible size, ranges from random pictures."""
    nodes = build(request.param)
    known = channels(nodes)
    rng = np.random.default_rng(0)
    weights = {}
    for node in nodes:
        if node.op is Op.CONV:
            shape = (node.channels, known[node.inputs[0]], node.kernel, node.kernel)
            spread = np.sqrt(2 / np.prod(shape[1:]))
            bias = rng.standard_normal(node.channels).astype(np.float32) * 0.1
            weights[node.name] = Folded((rng.standard_normal(shape) * spread).astype(np.float32), bias)
    found = calibrate(nodes, weights, [picture(i, 96, 128) for i in range(3)])
    ranges = {k: (-20.0, 20.0) if k.startswith("cls_") else v for k, v in found.ranges.items()}
    return nodes, weights, ranges


def test_tflite_and_onnx_give_the_same_integers(made: Made) -> None:
    nodes, weights, ranges = made
    grid = grids(nodes, ranges)
    onnx = OnnxDetector("onnx", write_int8(nodes, weights, grid).SerializeToString())
    tflite = TfliteDetector("tflite", write_tflite(nodes, weights, grid, (128, 96)))
    seen = picture(7, 96, 128)
    a, b = onnx.raw(seen), tflite.raw(seen)
    for name in outputs():
        steps = np.abs(a[name] - b[name]) / grid[name].scale
        assert steps.max() <= 4
        assert (steps > 0.5).mean() < 0.02


def test_processors_without_vnni_lose_nothing(made: Made) -> None:
    nodes, weights, ranges = made
    for node in nodes:
        if node.op is Op.CONV:
            flat = integers(weights[node.name], 1.0).weight.transpose(0, 2, 3, 1).reshape(node.channels, -1)
            pairs = flat.astype(int).reshape(node.channels, -1, 2)
            assert 255 * np.maximum(pairs, 0).sum(axis=2).max() < 2**15
            assert 255 * np.minimum(pairs, 0).sum(axis=2).min() >= -(2**15)
    model = write_int8(nodes, weights, grids(nodes, ranges))
    assert [(p.key, p.value) for p in model.metadata_props] == [PRODUCTS]
    seen = {"image": picture(9, 96, 128)[None]}
    exact, fast = (_session(model.SerializeToString(), how).run(outputs(), seen) for how in ("1", "0"))
    for one, other in zip(exact, fast, strict=True):
        np.testing.assert_array_equal(one, other)


def _session(model: bytes, precision: str) -> Any:
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", precision)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def test_the_stem_in_blocks_is_the_stem() -> None:
    """Written as it is trained beside as it is run: the same numbers, at the picture's edges too."""
    nodes = build(VEIL_N)
    stem = nodes[0]
    rng = np.random.default_rng(4)
    weight = rng.integers(-127, 128, (stem.channels, 3, stem.kernel, stem.kernel)).astype(np.int8)
    seen = rng.integers(0, 256, (32, 64, 3)).astype(np.int64)
    padded = np.pad(seen, ((1, 1), (1, 1), (0, 0)))
    rows = np.lib.stride_tricks.sliding_window_view(padded, (stem.kernel, stem.kernel), axis=(0, 1))
    expected = np.einsum("yxcij,ocij->oyx", rows[:: stem.stride, :: stem.stride], weight.astype(np.int64))
    blocks = blocked(weight, stem.stride).astype(np.int64)
    wide = np.pad(seen, ((1, 1), (1, 3), (0, 0))).reshape(34, -1, 12)
    windows = np.lib.stride_tricks.sliding_window_view(wide, blocks.shape[2:], axis=(0, 1))
    found = np.einsum("yxcij,ocij->oyx", windows[:: stem.stride], blocks)
    np.testing.assert_array_equal(found, expected)


def test_integers_stay_near_the_float_net(made: Made) -> None:
    nodes, weights, ranges = made
    real = OnnxDetector("float", write_float(nodes, weights).SerializeToString())
    whole = OnnxDetector("int8", write_int8(nodes, weights, grids(nodes, ranges)).SerializeToString())
    seen = picture(8, 96, 128)
    a, b = real.raw(seen), whole.raw(seen)
    for name in outputs():
        assert np.abs(a[name] - b[name]).mean() < 0.12 * a[name].std() + 0.02


def test_any_multiple_of_32_is_a_valid_size(made: Made) -> None:
    nodes, weights, ranges = made
    detector = OnnxDetector("int8", write_int8(nodes, weights, grids(nodes, ranges)).SerializeToString())
    for height, width in ((32, 32), (96, 160), (544, 960)):
        raw = detector.raw(picture(1, height, width))
        assert raw["cls_8"].shape == (3, height // 8, width // 8)
        assert raw["box_32"].shape == (BOX_CHANNELS, height // 32, width // 32)
        assert min(float(raw[f"box_{s}"].min()) for s in (8, 16, 32)) >= 0


def test_files_stay_small(made: Made) -> None:
    nodes, weights, ranges = made
    grid = grids(nodes, ranges)
    assert len(write_int8(nodes, weights, grid).SerializeToString()) <= 1_500_000
    assert len(write_tflite(nodes, weights, grid, (640, 384))) <= 1_500_000


def test_zero_is_on_every_grid() -> None:
    for low, high in ((-3.0, 5.0), (0.0, 6.0), (1.0, 2.0), (-7.0, -1.0)):
        g = affine(low, high)
        assert 0 <= g.zero_point <= 255
        assert g.scale > 0
    assert replace(affine(0.0, 255.0)).zero_point == 0


def test_torch_net_and_onnx_float_agree() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: models/requirements-train.txt")
    from veil_models.net import Net, fold

    torch.manual_seed(0)
    net = Net(build(VEIL_N)).eval()
    seen = picture(3, 64, 96)
    with torch.no_grad():
        out = net(torch.from_numpy(seen.transpose(2, 0, 1)[None].copy()).float() / 255)
    raw = OnnxDetector("float", write_float(net.nodes, fold(net)).SerializeToString()).raw(seen)
    for name in outputs():
        np.testing.assert_allclose(raw[name], out[name][0].numpy(), atol=2e-4)


def test_corrected_biases_keep_the_mean_of_what_rounded_weights_give() -> None:
    """One convolution over one colour: coarse weights are off by much, corrected ones by nothing."""
    rng = np.random.default_rng(1)
    nodes = [Node("stem", Op.CONV, ("image",), 8, kernel=6, stride=4)]
    weight = rng.standard_normal((8, 3, 6, 6)).astype(np.float32)
    weight[:, 0, 0, 0] = 40.0
    weights = {"stem": Folded(weight, np.zeros(8, np.float32))}
    mean = np.array([0.5, 0.2, 0.9], np.float32)
    exact = (weight.sum((2, 3)) * mean).sum(1)

    def given(folded: Folded) -> np.ndarray:
        stored = integers(folded, 1 / 255)
        real = stored.weight * stored.scale[:, None, None, None]
        return np.asarray((real.sum((2, 3)) * mean).sum(1) + stored.bias * stored.scale / 255)

    before = np.abs(given(weights["stem"]) - exact).max()
    after = np.abs(given(corrected(nodes, weights, {"image": mean})["stem"]) - exact).max()
    assert before > 0.2
    assert after < 0.01
