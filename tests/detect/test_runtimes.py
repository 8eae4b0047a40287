"""Runtimes: the one that was asked for, or a refusal; broken answers are errors, never silence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from detect.bundles import MANIFEST, spot_model, sum_model, write_bundle
from detect.tflite_made import spot_tflite
from veil.config import DetectorConfig
from veil.detect.bundle import load_bundle
from veil.detect.decode import LtrbGrid
from veil.detect.detector import load_detector
from veil.detect.onnx import OnnxRuntime
from veil.detect.tflite import TfliteRuntime
from veil.errors import BundleError, DetectorError, RuntimeMissingError
from veil.frames.picture import ColorInfo
from veil.frames.still import i420

SHAPES = LtrbGrid((8,), (0.1, 0.1)).shapes


def _config(folder: Path, **settings: object) -> DetectorConfig:
    return DetectorConfig.model_validate({"bundle": "spot", "bundle_dir": folder, **settings})


def _made(folder: Path, manifest: str, **files: bytes) -> Path:
    write_bundle(folder / "spot", manifest, {name.replace("_", "."): data for name, data in files.items()})
    return folder


def _spots() -> NDArray[np.uint8]:
    """384 x 640: three green squares and a red one, at cells' centres, on noise too dark to fire."""
    rgb = np.random.default_rng(1).integers(0, 40, (384, 640, 3), np.uint8)
    for x, y in ((80, 80), (320, 200), (600, 360)):
        rgb[y : y + 8, x : x + 8] = (0, 255, 0)
    rgb[16:24, 400:408] = (255, 0, 0)
    return rgb


def test_the_runtime_makes_no_identity_of_the_device(bundles: Path, tmp_path: Path) -> None:
    """ONNX Runtime's telemetry begins with one below HOME."""
    code = (
        "import sys; from pathlib import Path; from veil.config import DetectorConfig; "
        "from veil.detect.detector import load_detector; "
        "load_detector(DetectorConfig(bundle='spot', bundle_dir=Path(sys.argv[1])))"
    )
    environ = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environ |= {"HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": "", "PYTHONPATH": os.pathsep.join(sys.path)}
    (tmp_path / "home").mkdir()
    subprocess.run([sys.executable, "-c", code, str(bundles)], env=environ, check=True, timeout=120)
    assert not list((tmp_path / "home").rglob("*"))


def test_sums_of_integers_are_exact_on_every_processor(tmp_path: Path) -> None:
    """Without VNNI 510 would be 258, unless the runtime is asked for precision."""
    folder = _made(tmp_path, MANIFEST, model_onnx=sum_model())
    runtime = OnnxRuntime(load_bundle(folder / "spot"), "cpu", 1, SHAPES)
    white = np.full((1, 3, 64, 64), 255, np.uint8)
    assert (runtime.run(white)["cls_8"] == 510).all()


@pytest.mark.parametrize("provider", ["cuda", "tensorrt", "openvino"])
def test_a_provider_that_is_missing_is_refused_by_name(bundles: Path, provider: str) -> None:
    with pytest.raises(RuntimeMissingError, match=provider) as refused:
        load_detector(_config(bundles, provider=provider))
    assert "detector.provider" in refused.value.hint


@pytest.mark.parametrize("provider", ["cuda", "openvino"])
def test_a_silent_fall_back_to_the_cpu_is_refused(
    bundles: Path, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    claimed = ["CUDAExecutionProvider", "OpenVINOExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(ort, "get_available_providers", lambda: claimed)
    with pytest.raises(RuntimeMissingError, match=provider):
        load_detector(_config(bundles, provider=provider))


def test_without_an_interpreter_tflite_is_refused(bundles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ai_edge_litert.interpreter", "tflite_runtime.interpreter"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(RuntimeMissingError, match="TFLite"):
        load_detector(_config(bundles, runtime="tflite"))


def test_without_onnxruntime_onnx_is_refused(bundles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(RuntimeMissingError, match="ONNX"):
        load_detector(_config(bundles))


def test_tflite_runtime_is_used_where_litert_is_missing(
    bundles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ai_edge_litert.interpreter as litert

    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    monkeypatch.setitem(sys.modules, "tflite_runtime", litert)
    monkeypatch.setitem(sys.modules, "tflite_runtime.interpreter", litert)
    assert load_detector(_config(bundles, runtime="tflite")).runtime.startswith("tflite/")


def test_both_runtimes_see_the_same_objects(bundles: Path) -> None:
    planes = i420(_spots())
    answers = []
    for runtime in ("onnx", "tflite"):
        with load_detector(_config(bundles, runtime=runtime)) as detector:
            found = detector.detect_planes(planes, 640, 384, ColorInfo())
            answers.append(
                sorted(
                    (each.kind.value, each.box.x0, each.box.y0, each.box.x1, each.box.y1) for each in found
                )
            )
    assert answers[0] == answers[1]
    assert [each[0] for each in answers[0]] == ["face"] * 3 + ["plate"]


@pytest.mark.parametrize("size", [None, (640, 384)])
def test_pictures_with_colours_last_are_seen_the_same(tmp_path: Path, size: tuple[int, int] | None) -> None:
    manifest = MANIFEST if size is None else MANIFEST.replace("onnx_dynamic = true", "")
    answers = []
    for layout in ("nchw", "nhwc"):
        folder = _made(tmp_path / layout, manifest, model_onnx=spot_model(size, layout=layout))
        with load_detector(_config(folder)) as detector:
            answers.append(detector.detect_planes(i420(_spots()), 640, 384, ColorInfo()))
    assert answers[0] == answers[1]
    assert len(answers[0]) == 4


@pytest.mark.parametrize(
    "names", [("StatefulPartitionedCall:0", "StatefulPartitionedCall:1"), ("cls_8", "b")]
)
def test_tflite_outputs_are_found_by_shape_where_names_are_lost(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    folder = _made(tmp_path, MANIFEST, model_tflite=spot_tflite(names=names))
    detector = load_detector(_config(folder, runtime="tflite"))
    assert len(detector.detect_planes(i420(_spots()), 640, 384, ColorInfo())) == 4


@pytest.mark.parametrize(
    ("manifest", "model", "named"),
    [
        (MANIFEST, spot_tflite(zero_point=0), "zero point"),
        (MANIFEST, spot_tflite((320, 192)), "640x384"),
        (MANIFEST, spot_tflite(classes=1), "cls_8"),
        (MANIFEST, b"not a model", "cannot be loaded"),
        (MANIFEST.replace("tflite_size = [640, 384]", ""), spot_tflite(), "tflite_size"),
        (MANIFEST.replace("strides = [8]", "strides = [8, 16]"), spot_tflite(), "cls_16"),
    ],
)
def test_a_tflite_model_that_does_not_agree_with_its_manifest_is_refused(
    tmp_path: Path, manifest: str, model: bytes, named: str
) -> None:
    folder = _made(tmp_path, manifest, model_tflite=model)
    with pytest.raises(BundleError, match=named) as refused:
        load_detector(_config(folder, runtime="tflite"))
    assert refused.value.hint


@pytest.mark.parametrize(
    ("manifest", "model", "named"),
    [
        (MANIFEST, b"not a model", "cannot be loaded"),
        (MANIFEST, spot_model((320, 192)), "320x192"),
        (MANIFEST, spot_model((320, 192), layout="nhwc"), "320x192"),
        (MANIFEST.replace("onnx_dynamic = true", ""), spot_model(), "HxW|WxH"),
        (MANIFEST.replace('"uint8"', '"float32"'), spot_model(), "float32"),
        (MANIFEST.replace("strides = [8]", "strides = [8, 16]"), spot_model(), "cls_16"),
        (MANIFEST, spot_model(broken=float("nan")), "not finite"),
    ],
)
def test_an_onnx_model_that_does_not_agree_with_its_manifest_is_refused(
    tmp_path: Path, manifest: str, model: bytes, named: str
) -> None:
    folder = _made(tmp_path, manifest, model_onnx=model)
    with pytest.raises(BundleError, match=named) as refused:
        load_detector(_config(folder))
    assert refused.value.hint


def test_one_class_too_many_in_the_manifest_is_refused(tmp_path: Path) -> None:
    manifest = MANIFEST.replace('["face", "plate"]', '["face", "plate", "head"]').replace(
        "[selftest]", "[thresholds.head]\nscore = 0.3\nlow = 0.1\n[selftest]"
    )
    with pytest.raises(BundleError, match="cls_8 is 1x2x48x80"):
        load_detector(_config(_made(tmp_path, manifest, model_onnx=spot_model())))


def test_a_bundle_without_the_runtimes_model_is_refused(tmp_path: Path) -> None:
    folder = _made(tmp_path, MANIFEST, model_onnx=spot_model())
    with pytest.raises(BundleError, match=r"no model\.tflite"):
        load_detector(_config(folder, runtime="tflite"))


def test_a_picture_of_another_shape_is_a_detector_error(bundles: Path) -> None:
    bundle = load_bundle(bundles / "spot")
    wrong = np.zeros((1, 5, 32, 32), np.uint8)
    with pytest.raises(DetectorError):
        OnnxRuntime(bundle, "cpu", 1, SHAPES).run(wrong)
    with pytest.raises(DetectorError):
        TfliteRuntime(bundle, 1, SHAPES).run(wrong)


def test_a_model_leaves_the_thread_s_arithmetic_alone(bundles: Path) -> None:
    with load_detector(_config(bundles)) as detector:
        detector.detect_planes(i420(_spots()), 640, 384, ColorInfo())
    assert np.finfo(np.float64).smallest_subnormal > 0
    assert np.float64(2.0**-1074) * np.float64(1.0) > 0


def test_threads_do_not_spin(bundles: Path) -> None:
    runtime = OnnxRuntime(load_bundle(bundles / "spot"), "cpu", 2, SHAPES)
    options = runtime._session.get_session_options()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.get_session_config_entry("session.inter_op.allow_spinning") == "0"
    assert options.intra_op_num_threads == 2
