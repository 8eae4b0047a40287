"""A segment's event says with what its pictures were hidden; the largest configuration still fits a line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from veil import __version__
from veil.audit.canonical import MAX_LINE_BYTES
from veil.audit.event import Event, Kind, canonical_line
from veil.config import CameraConfig, Config
from veil.config_load import load_config
from veil.detect.detector import Detector
from veil.domain.detection import ObjectClass
from veil.origin import never_found, not_hidden, origin_of


class Seen:
    """A detector by name only."""

    identity = "veil-s@0.2.0"
    thresholds: Mapping[ObjectClass, object] = {ObjectClass.FACE: object()}


def camera(tmp_path: Path, text: str) -> CameraConfig:
    path = tmp_path / "veil.toml"
    path.write_text(text)
    config: Config = load_config(path, {})
    return config.cameras["front"]


def said(camera_config: CameraConfig) -> dict[str, object]:
    detector: Detector = Seen()  # type: ignore[assignment]
    return dict(origin_of(camera_config, detector))


def test_operator_strength_margin_model_configuration_and_software_are_named(tmp_path: Path) -> None:
    config = camera(
        tmp_path,
        '[camera.front]\nsource = "file:x.mp4"\n[camera.front.mask.plate]\noperator = "pixelate"\ncells = 4\n'
        "margin = 0.25\n",
    )
    origin = said(config)
    assert origin["software"] == __version__
    assert origin["config_sha256"] == config.digest
    assert origin["model"] == {
        "name": "veil-s",
        "version": "0.2.0",
        "sha256": None,
        "runtime": None,
        "classes": ("face",),
    }
    policies = origin["policies"]
    assert isinstance(policies, dict)
    assert policies["plate"] == {
        "operator": "pixelate",
        "cells": 4,
        "margin_permille": 250,
        "min_size_px": config.mask.plate.min_size,
    }
    assert policies["face"]["operator"] == "solid"


def test_what_is_to_be_hidden_and_never_found_is_told(tmp_path: Path) -> None:
    class All(Seen):
        thresholds = dict.fromkeys(ObjectClass, object())

    detectors: list[Detector] = [Seen(), All()]  # type: ignore[list-item]
    plain = camera(tmp_path, '[camera.front]\nsource = "file:x.mp4"\n')
    assert [never_found(plain, each) for each in detectors] == [("plate",), ()]
    heads = camera(
        tmp_path, '[camera.front]\nsource = "file:x.mp4"\n[camera.front.mask.head]\noperator = "blur"\n'
    )
    assert never_found(heads, detectors[0]) == ("head", "plate")
    told = not_hidden(heads, detectors[0])
    assert told is not None
    assert "veil-s@0.2.0 finds no heads and plates" in told[0]
    assert not_hidden(plain, detectors[1]) is None


def test_most_zones_that_a_camera_may_have_fit_a_line(tmp_path: Path) -> None:
    zones = "".join(
        f'[[camera.front.mask.zones]]\nname = "{"z" * 28}{number:03d}"\n'
        "points = [[0.0, 0.0], [1.0, 0.0], [1.0, 0.5]]\n"
        '[camera.front.mask.zones.policy]\noperator = "pixelate"\n'
        for number in range(64)
    )
    data = said(camera(tmp_path, f'[camera.front]\nsource = "file:x.mp4"\n{zones}'))
    line = canonical_line("front", 10**9, bytes(32), 0, Event(Kind.SEGMENT_CLOSED, data))  # type: ignore[arg-type]
    assert len(line) < MAX_LINE_BYTES - 3000
