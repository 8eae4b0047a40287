"""`load_config`: file, environment, merging, and one clear message for everything that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from veil.config import CameraConfig, Config
from veil.config_load import load_config
from veil.domain.detection import ObjectClass
from veil.errors import ConfigError

Load = Callable[..., Config]

CAMERA = '[camera.front]\nsource = "rtsp://192.0.2.1/a"\n'


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(text: str = "", **environ: str) -> Config:
        path = tmp_path / "veil.toml"
        path.write_text(text, encoding="utf-8")
        return load_config(path, environ)

    return load


def refused(load: Load, text: str = "", **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(text, **environ)
    return str(caught.value)


def test_without_a_file_the_defaults_hold() -> None:
    config = load_config(None, {})
    assert config.cameras == {}
    assert config.rtsp.port == 8554
    assert config.defaults.mask.plate.margin == 0.09
    assert config.camera_for("x", "clip.mp4").mask == config.defaults.mask


def test_camera_section_overrides_single_keys_of_the_defaults(load: Load) -> None:
    config = load("[detector]\nthreads = 2\ntiles_per_frame = 3\n" + CAMERA + "detector.threads = 4\n")
    detector = config.cameras["front"].detector
    assert (detector.threads, detector.tiles_per_frame) == (4, 3)
    assert config.defaults.detector.threads == 2


def test_partial_policy_keeps_the_default_of_its_class(load: Load) -> None:
    mask = load("[mask.plate]\noperator = 'blur'\n" + CAMERA).cameras["front"].mask
    assert (mask.plate.operator, mask.plate.margin) == ("blur", 0.09)


def test_environment_wins_over_the_file_but_not_over_a_camera(load: Load) -> None:
    text = "[encoder]\nthreads = 3\n" + CAMERA + "[camera.front.recorder]\nsegment_s = 10\n"
    config = load(text, VEIL_ENCODER__THREADS="5", VEIL_RECORDER__SEGMENT_S="20")
    assert config.cameras["front"].encoder.threads == 5
    assert config.cameras["front"].recorder.segment_s == 10
    config = load(text, VEIL_CAMERA__FRONT__RECORDER__SEGMENT_S="30")
    assert config.cameras["front"].recorder.segment_s == 30


def test_environment_alone_makes_a_camera() -> None:
    config = load_config(
        None,
        {
            "VEIL_CAMERA__FRONT__SOURCE": "/dev/video0",
            "VEIL_CAMERA__FRONT__DETECTOR__THRESHOLDS__FACE__SCORE": "0.3",
            "VEIL_MASK__ZONES": '[{"name": "top", "points": [[0,0],[1,0],[1,0.5]]}]',
        },
    )
    camera = config.cameras["front"]
    assert camera.source == "/dev/video0"
    assert next(iter(camera.detector.thresholds.values())).score == 0.3
    assert camera.mask.zones[0].name == "top"


@pytest.mark.parametrize(("word", "enabled"), [("no", False), ("0", False), ("true", True), ("1", True)])
def test_variables_say_numbers_and_truth_as_text(load: Load, word: str, enabled: bool) -> None:
    config = load(CAMERA, VEIL_RTSP__ENABLED=word, VEIL_CAPTURE__WIDTH="640", VEIL_CAPTURE='{"height": 480}')
    capture = config.cameras["front"].capture
    assert (config.rtsp.enabled, capture.width, capture.height) == (enabled, 640, 480)
    assert "must be a number" in refused(load, CAMERA, VEIL_MASK__LOOKBACK_S="true")
    assert "must be a number" in refused(load, CAMERA, VEIL_MASK='{"lookback_s": true}')


def test_the_fleet_manager_on_the_same_machine_has_variables_of_its_own() -> None:
    config = load_config(None, {"VEIL_FLEET_BROKER__PORT": "8884", "VEIL_FLEET__PORT": "8885"})
    assert config.fleet.port == 8885


def test_environment_names_a_camera_with_a_dash(load: Load) -> None:
    text = CAMERA.replace("front", "front-door")
    assert load(text, VEIL_CAMERA__FRONT_DOOR__TRACKER__HOLD_S="2").cameras["front-door"].tracker.hold_s == 2


def test_variables_without_a_section_are_not_ours(load: Load) -> None:
    assert load("", VEIL_BENCH="10000", VEIL_CONFIG="/x").cameras == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[detector]\nthraeds = 2", 'veil.toml:2 [detector] thraeds: unknown key; did you mean "threads"?'),
        ("[detecter]\nthreads = 2", 'veil.toml:1 [detecter]: unknown section; did you mean "detector"?'),
        ("[box]\ntiles_per_frame = 2", "it belongs into [detector]"),
        (CAMERA + "detector.threads = 99", "veil.toml:3 [camera.front.detector] threads: must be at most 16"),
        ("[detector]\nthreads = 99\n" + CAMERA, "veil.toml:2 [detector] threads: must be at most 16, not 99"),
        ("[capture]\ntransport = 'sctp'", "[capture] transport: must be 'tcp' or 'udp'"),
        (
            "[capture]\nreconnect_min_s = 5\nreconnect_max_s = 2",
            "reconnect_min_s (5) is over reconnect_max_s",
        ),
        ("[capture]\nwidth = 640", "width and height belong together"),
        ("[detector.thresholds.face]\nscore = 0.2\nlow = 0.3", "low (0.3) is over score (0.2)"),
        ("[detector.thresholds.fase]\nscore = 0.2", "must be 'face', 'plate' or 'head'"),
        ("[detector]\nruntime = 'tflite'\nprovider = 'cuda'", 'provider "cuda" needs runtime "onnx"'),
        ("[recorder]\nsegment_s = 1\nfragment_s = 2", "fragment_s (2) is over segment_s (1)"),
        ("[page]\nport = 8554", "port 8554 is the port of [rtsp] too"),
        ("[camera.front]", "[camera.front] source: is missing"),
        ("[camera.front]\nsource = ''", "[camera.front] source: String should have at least 1 character"),
        ("[camera.front]\nsource = 'http://x/y'", "unknown scheme; known are rtsp, rtsps"),
        ("[camera.front]\nsource = 'rtsp:///y'", "names no host"),
        ("[camera.'Front Door']\nsource = 'x'", "names have 1 to 32 of a-z"),
        ("camera = 3", "[camera]: is not a section; write [camera.NAME]"),
        ("[camera]\nfront = 'x'", "[camera] front: is not a section; write [camera.front]"),
        (CAMERA + "name = 'back'", "remove this"),
        (
            CAMERA.replace("rtsp://192.0.2.1/a", "/dev/video0")
            + CAMERA.replace("front", "back").replace("rtsp://192.0.2.1/a", "/dev/video0"),
            "/dev/video0 is read by camera front already",
        ),
        ("[tracker]\nmatch_iou = nan", "must be a finite number"),
        ("[tracker]\nhold_s = '1 s'", "[tracker] hold_s: must be a number"),
        (
            CAMERA.replace("rtsp://192.0.2.1/a", "/dev/video0")
            + CAMERA.replace("front", "back").replace("rtsp://192.0.2.1/a", "v4l2:/dev//video0"),
            "/dev/video0 is read by camera front already",
        ),
        ("[recorder]\nenabled = 'maybe'", "must be true or false"),
        ("[recorder]\nenabled = 'no'", "must be true or false"),
        ("[recorder]\nenabled = 0", "must be true or false, not 0"),
        ("[mask]\nlookback_s = true", "[mask] lookback_s: must be a number"),
        ("[detector]\nthreads = true", "[detector] threads: must be a whole number"),
        ("[detector]\nthreads = '2'", "[detector] threads: must be a whole number"),
        ("[capture]\nframe_rate = true", "[capture] frame_rate: must be a number"),
        (
            "[[mask.zones]]\nname = 'a'\npoints = [[true, 0], [1, 1], [0, 1]]",
            "points: holds true or false",
        ),
        ("[capture", "is not TOML"),
        ("\ufeff" + CAMERA, "byte order mark"),
        ("a = " + "[" * 5000 + "]" * 5000, "nested too deeply"),
    ],
)
def test_refusal_says_where_and_what(load: Load, text: str, said: str) -> None:
    assert said in refused(load, text)


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ("[[0, 0], [1, 1]]", "at least three points"),
        ("[[0, 0], [1.5, 0], [1, 1]]", "normalized"),
        ("[[0, 0], [1, 1], [1, 0], [0, 1]]", "cross"),
        ("[[0, 0], [0.5, 0.5], [1, 1]]", "no area"),
        ("[[0, 0], [1, 0], [1, 1], [0, 0]]", "a corner twice"),
    ],
)
def test_a_polygon_that_would_leave_holes_is_refused(load: Load, points: str, said: str) -> None:
    assert said in refused(load, f"[[mask.zones]]\nname = 'a'\npoints = {points}\n")


def test_zones_have_different_names(load: Load) -> None:
    zone = "[[mask.zones]]\nname = 'a'\npoints = [[0, 0], [1, 0], [1, 1]]\n"
    assert "zones with the same name: a" in refused(load, zone + zone)


def test_all_problems_come_in_one_message(load: Load) -> None:
    message = refused(load, "[box]\nnam = 'x'\n[encoder]\nthreads = 0\n" + CAMERA, VEIL_TRACKER__HOLD_S="x")
    assert "3 problems" in message
    assert "environment VEIL_TRACKER__HOLD_S: must be a number" in message
    assert all(len(line) < 200 for line in message.splitlines())


def test_a_default_that_is_wrong_is_said_once_for_all_cameras(load: Load) -> None:
    text = "[encoder]\nthreads = 0\n" + CAMERA + CAMERA.replace("front", "back")
    assert refused(load, text).count("threads") == 1


def test_unknown_variable_names_the_nearest_section(load: Load) -> None:
    said = refused(load, "", VEIL_DETECTR__THREADS="1")
    assert 'environment VEIL_DETECTR__THREADS: unknown section; did you mean "detector"?' in said


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("VEIL_DETECTOR__THRESHOLDS__FACE__SCORE", "0.3"),
        ("VEIL_DETECTOR__THRESHOLDS__FACE", '{"score": 0.3}'),
        ("VEIL_DETECTOR__THRESHOLDS", '{"face": {"score": 0.3}}'),
        ("VEIL_DETECTOR", '{"thresholds": {"face": {"score": 0.3}}}'),
        ("VEIL_CAMERA__FRONT__DETECTOR__THRESHOLDS", '{"face": {"score": 0.3}}'),
        ("VEIL_CAMERA__FRONT__DETECTOR", '{"thresholds": {"face": {"score": 0.3}}}'),
    ],
)
def test_tables_within_tables_come_from_the_environment(load: Load, variable: str, value: str) -> None:
    text = CAMERA + "detector.thresholds.plate.score = 0.2\n"
    thresholds = load(text, **{variable: value}).cameras["front"].detector.thresholds
    assert thresholds[ObjectClass.FACE].score == 0.3
    assert thresholds[ObjectClass.PLATE].score == 0.2


@pytest.mark.parametrize(
    "value", ["{'face': {'score': 0.3}}", '{"face": {"score":', "score=0.3 or so", '{"face":' * 50_000]
)
@pytest.mark.parametrize(
    "variable", ["VEIL_DETECTOR__THRESHOLDS", "VEIL_CAMERA__FRONT__DETECTOR__THRESHOLDS"]
)
def test_a_variable_that_is_not_json_is_named_without_its_value(
    load: Load, variable: str, value: str
) -> None:
    said = refused(load, CAMERA, VEIL_DETECTOR__THREADS="2", **{variable: value})
    assert f"environment {variable}: is not JSON" in said
    assert value[:20] not in said


@pytest.mark.parametrize("value", ["on", "[1]", "3"])
def test_a_section_that_is_none_is_refused(load: Load, value: str) -> None:
    assert "VEIL_DETECTOR" in refused(load, "", VEIL_DETECTOR=value)


def test_a_missing_file_is_said_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file") as caught:
        load_config(tmp_path / "none.toml", {})
    assert caught.value.exit_code == 3


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "veil.toml"
    path.write_bytes(b"[box]\nsite = '\xff'\n")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(path, {})


def test_no_threshold_passes_the_safety_limits(load: Load) -> None:
    for key, value in (("score", "0.61"), ("low", "0.51"), ("min_size", "25")):
        assert "must be at most" in refused(load, f"[detector.thresholds.face]\n{key} = {value}")


def test_no_key_switches_masking_off() -> None:
    names = set(CameraConfig.model_fields["mask"].annotation.model_fields)  # type: ignore[union-attr]
    assert "enabled" not in names
    assert load_config(None, {}).defaults.mask.face.operator == "solid"


def test_digest_changes_with_the_settings_and_with_nothing_else(load: Load) -> None:
    plain = load(CAMERA)
    assert plain.digest == load("# a comment\n" + CAMERA).digest
    assert plain.cameras["front"].digest != load(CAMERA + "tracker.hold_s = 2").cameras["front"].digest
    secret = load(CAMERA.replace("//", "//user:hunter2@"))
    assert secret.digest == plain.digest
    assert secret.cameras["front"].digest == plain.cameras["front"].digest
