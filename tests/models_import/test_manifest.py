"""What a manifest may say of an imported model's outputs."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from models_import.exports import Yolov8, model_giving
from veil.detect.manifest import DecoderTable


@pytest.mark.parametrize(
    "table",
    [
        {"kind": "scrfd", "strides": (8, 16)},
        {"kind": "retinaface", "strides": (8, 16, 32, 64)},
        {"kind": "yolov5_face_raw", "strides": (16, 32, 64)},
        {"kind": "yolov8", "strides": (8, 16, 32)},
        {"kind": "yolov8", "strides": (8, 16, 32), "channels": (1,), "values": 5},
        {"kind": "yolov8", "strides": (8, 16, 32), "channels": (-1,), "values": 5},
        {"kind": "yunet", "strides": (8, 16, 32), "channels": (0,), "values": 5},
        {"kind": "yunet", "strides": (8, 16, 32), "outputs": {"cls_8": ""}},
        {"kind": "ssd", "strides": (8,)},
    ],
)
def test_a_decoder_that_does_not_hold_together_is_refused(table: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DecoderTable.model_validate({"nms_iou": 0.4, **table})


def test_the_models_of_these_tests_are_what_they_say() -> None:
    """A graph made here runs; otherwise every refusal in these tests would prove nothing."""
    import numpy as np
    import onnxruntime as ort

    export = Yolov8(64, 64)
    session = ort.InferenceSession(model_giving((64, 64), export.arrays), providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {"image": np.ones((1, 3, 64, 64), np.float32)})
    assert output.tolist() == export.arrays["output0"].tolist()
