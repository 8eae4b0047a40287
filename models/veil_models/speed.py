"""Time of one inference on one thread, detectors in turn so that all meet the same machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from veil_models.detect import OnnxDetector, TfliteDetector
from veil_models.teachers import YuNet


def medians_ms(jobs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median milliseconds of each job over `rounds`, after three rounds to warm up."""
    spent: dict[str, list[float]] = {name: [] for name in jobs}
    for number in range(rounds + 3):
        for name, job in jobs.items():
            start = time.perf_counter()
            job()
            if number >= 3:
                spent[name].append((time.perf_counter() - start) * 1e3)
    return {name: float(np.median(values)) for name, values in spent.items()}


def speed(
    bundles: Path, checkpoints: Path | None, yunet: Path | None, rounds: int = 60
) -> dict[str, dict[str, float]]:
    """Milliseconds by input size (`WIDTHxHEIGHT`) and detector."""
    result: dict[str, dict[str, float]] = {}
    for width, height in ((640, 384), (640, 640), (320, 320)):
        rgb = np.random.default_rng(0).integers(0, 255, (height, width, 3)).astype(np.uint8)
        jobs: dict[str, Callable[[], object]] = {}
        for folder in sorted(p for p in bundles.iterdir() if (p / "bundle.toml").exists()):
            onnx = OnnxDetector(folder.name, folder / "model.onnx")
            jobs[f"{folder.name} int8"] = partial(onnx.raw, rgb)
            if checkpoints is not None:
                from veil_models.checkpoint import load_folded
                from veil_models.onnx_writer import write_float

                _, nodes, weights = load_folded(checkpoints / f"{folder.name}.pt")
                real = OnnxDetector("float", write_float(nodes, weights).SerializeToString())
                jobs[f"{folder.name} float"] = partial(real.raw, rgb)
            tflite = TfliteDetector(folder.name, folder / "model.tflite")
            if tflite.size == (width, height):
                jobs[f"{folder.name} tflite"] = partial(tflite.raw, rgb)
        if yunet is not None:
            teacher = YuNet(yunet)
            jobs["yunet"] = partial(teacher.raw, rgb)
        result[f"{width}x{height}"] = medians_ms(jobs, rounds)
    return result
