"""What is still found after hiding: counted one to one, by place, from a score and a size on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from detect.bundles import MANIFEST, spot_model, write_bundle
from veil.domain.geometry import Box
from veil.errors import UsageError
from veil.frames.picture import Planes
from veil_eval_video.hiders import Deface, Veil
from veil_eval_video.residual import compare
from veil_eval_video.runs import ResidualPlan, run_residual
from veil_eval_video.teachers import Face, Teacher, write_centerface, write_yunet
from veil_eval_video.truth import Truth
from veil_eval_video.video import read_planes, shorten

SHARED = Path(__file__).parents[3] / "shared"
YUNET = SHARED / "teachers" / "yunet_n_640_640.onnx"


def face(x: float, score: float = 0.9, side: float = 20) -> Face:
    return Face(Box(x, 0, x + side, side), score)


def test_a_face_still_there_counts_and_one_hidden_does_not() -> None:
    found = compare([[face(0), face(100)]], [[face(1)]], 0.5)
    assert (found.faces, found.found, found.invented) == (2, 1, 0)
    assert found.share == 0.5


def test_one_sighting_is_never_two_faces_still_found() -> None:
    assert compare([[face(0), face(3)]], [[face(1)]], 0.5).found == 1


def test_what_is_found_elsewhere_is_new() -> None:
    found = compare([[face(0)]], [[face(100)]], 0.5)
    assert (found.found, found.invented) == (0, 1)


def test_small_and_unsure_faces_do_not_count() -> None:
    found = compare([[face(0, side=9), face(50, score=0.4)]], [[face(0, side=9), face(50, score=0.4)]], 0.5)
    assert found.faces == 0


class Constant:
    """A program that hands on what it gets."""

    def __init__(self, name: str) -> None:
        self.name = name

    def hide(self, source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes())


@pytest.fixture(scope="session")
def yunet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not YUNET.is_file():
        pytest.skip("needs ../shared/teachers")
    return write_yunet(tmp_path_factory.mktemp("teachers") / "yunet", YUNET)


@pytest.mark.shared
def test_who_hides_nothing_leaves_every_face(made: tuple[Path, Truth], yunet: Path, tmp_path: Path) -> None:
    from rich.console import Console

    folder, truth = made
    plan = ResidualPlan(scores=(0.5,), frames=9, every=4)
    with Teacher(yunet, lowest=0.5) as teacher:
        results = run_residual(
            [folder / truth.clip], [Constant("nothing")], [teacher], plan, tmp_path, Console(quiet=True)
        )
    (one,) = results["nothing", "yunet"]
    assert one.faces >= 3
    assert one.found == one.faces
    assert one.masked_share == 0


@pytest.mark.shared
def test_the_teacher_sees_the_portrait_where_truth_says(made: tuple[Path, Truth], yunet: Path) -> None:
    folder, truth = made
    faces = [each for each in truth.frames[0] if each.kind.value == "face" and each.visible > 0.9]
    largest = max(faces, key=lambda each: each.size)
    with Teacher(yunet, lowest=0.5) as teacher:
        seen = teacher.faces(next(iter(read_planes(folder / truth.clip))))
    assert max(each.box.iou(largest.box) for each in seen) > 0.5


def test_veil_runs_as_a_user_runs_it(made: tuple[Path, Truth], tmp_path: Path) -> None:
    folder, truth = made
    bundle = write_bundle(
        tmp_path / "spot", MANIFEST, {"model.onnx": spot_model(broken=-50)}
    )  # finds nothing
    out = tmp_path / "out.mp4"
    Veil(str(bundle)).hide(folder / truth.clip, out)
    assert sum(1 for _ in read_planes(out)) == len(truth.frames)


def test_what_a_program_complains_of_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        Veil().hide(tmp_path / "none.mp4", tmp_path / "out.mp4")


def test_programs_are_named_by_what_they_were_given() -> None:
    assert Veil("some/veil-n", Path("a/fast.toml")).name == "veil veil-n fast"
    assert Deface(Path("deface"), "640x360").name == "deface 640x360"


def test_a_shortened_clip_has_the_first_frames(made: tuple[Path, Truth], tmp_path: Path) -> None:
    folder, truth = made
    short = shorten(folder / truth.clip, tmp_path / "short.mp4", 5)
    whole = list(read_planes(folder / truth.clip))
    part = list(read_planes(short))
    assert len(part) == 5
    assert np.array_equal(part[0].y, whole[0].y)


def test_centerface_is_freed_from_its_size(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    names = {"537": 1, "538": 2, "539": 2}
    nodes = [helper.make_node("AveragePool", ["input.1"], ["p"], kernel_shape=[4, 4], strides=[4, 4])]
    nodes += [helper.make_node("Slice", ["p", "zero", f"n{n}", "axis"], [n]) for n in names]
    constants = [helper.make_tensor(f"n{n}", TensorProto.INT64, [1], [c]) for n, c in names.items()]
    constants += [helper.make_tensor(n, TensorProto.INT64, [1], [v]) for n, v in (("zero", 0), ("axis", 1))]
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("input.1", TensorProto.FLOAT, [10, 3, 32, 32])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [10, c, 8, 8]) for n, c in names.items()],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    path = tmp_path / "made.onnx"
    onnx.save(model, str(path))
    # The heat map is the red channel's mean: all black is no face, whatever the size.
    black = Planes(
        np.full((96, 160), 16, np.uint8), np.full((48, 80), 128, np.uint8), np.full((48, 80), 128, np.uint8)
    )
    with Teacher(write_centerface(tmp_path / "bundle", path), lowest=0.5) as teacher:
        assert teacher.faces(black) == []
        assert teacher.name == "centerface"
