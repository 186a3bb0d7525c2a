"""Limits of the Edge TPU refuse with the offending value."""

from __future__ import annotations

import numpy as np
import pytest

from qhal.ir import ops
from qhal.ir.dtypes import DType
from qhal.ir.graph import NodeView, TensorType
from qhal.targets.limit import Limit
from qhal_backends.edgetpu import limits as the
from tests.backends.tflite.test_tflite_limits import view_of

PLANE = (1, 4, 8, 8)
CONV = np.ones((4, 4, 3, 3), np.float32)

CASES: list[tuple[Limit, NodeView, str | None]] = [
    (
        the.integers_only,
        view_of(ops.Cast(DType.FLOAT32), TensorType((2,), DType.INT64)),
        "node is float, but the Edge TPU's host runs only integers",
    ),
    (the.integers_only, view_of(ops.Cast(DType.INT32), TensorType((2,), DType.INT64)), None),
    (
        the.not_fused,
        view_of(
            ops.ConvTranspose((1, 1), (0,) * 4, (1, 1), (0, 0), activation=ops.Activation.RELU),
            PLANE,
            CONV,
        ),
        "the activation relu is fused; allowed: none",
    ),
    (the.three_innermost, view_of(ops.Relu(), PLANE), None),
    (
        the.three_innermost,
        view_of(ops.Relu(), (2, 4, 8, 8)),
        "x0 has the shape (2, 4, 8, 8): only the 3 innermost dimensions may exceed 1",
    ),
    (
        the.same_dilation,
        view_of(ops.Conv((1, 1), (0,) * 4, (2, 1)), PLANE, CONV),
        "the dilations are (2, 1); they must be equal",
    ),
    (the.constants_are_zeros, view_of(ops.Concat(1), PLANE, PLANE), None),
    (the.constants_are_zeros, view_of(ops.Concat(1), PLANE, np.zeros(PLANE, "f")), None),
    (
        the.constants_are_zeros,
        view_of(ops.Concat(1), PLANE, np.full(PLANE, 3, "f")),
        "a constant operand has the magnitude 3; allowed: 0",
    ),
    (
        the.constants_are_zeros,
        view_of(ops.Concat(1), PLANE, PLANE, np.zeros(PLANE, "f")),
        "there are 3 operands, one of them constant; allowed: 2",
    ),
    (
        the.reduces_no_batch,
        view_of(ops.Reduce("Max", (0, 2)), PLANE),
        "the axes (0, 2) are reduced; allowed: 1 or more",
    ),
    (the.depth_is_multiple, view_of(ops.Reduce("Mean", (3,)), PLANE), None),
    (
        the.depth_is_multiple,
        view_of(ops.Reduce("Mean", (3,)), (1, 8, 8, 6)),
        "a depth of 6 is reduced; allowed: multiples of 4",
    ),
    (the.slope_is_innermost, view_of(ops.PRelu(), PLANE, np.ones((1, 1, 8), "f")), None),
    (
        the.slope_is_innermost,
        view_of(ops.PRelu(), PLANE, np.ones((4, 8, 1), "f")),
        "the slope has the shape (4, 8, 1); only the innermost dimension may exceed 1",
    ),
    (
        the.pads_no_batch,
        view_of(ops.Pad((1, 0, 0, 0) * 2), PLANE),
        "the batch is padded by (1, 1); allowed: 0",
    ),
    (
        the.pads_with_zero,
        view_of(ops.Pad((0, 0, 1, 0) * 2, "reflect"), PLANE),
        "the padding is reflect; allowed: constant 0",
    ),
    (
        the.pads_with_zero,
        view_of(ops.Pad((0, 0, 1, 0) * 2, "constant", 2.0), PLANE),
        "the padding is 2.0; allowed: constant 0",
    ),
    (
        the.pads_without_lowest,
        view_of(ops.MaxPool((3, 3), (2, 2), (1, 1, 1, 1)), PLANE),
        "the pads (1, 1, 1, 1) are neither SAME nor VALID, and the Edge TPU lacks PADV2",
    ),
    (the.resizes_in_a_known_mode, view_of(ops.Resize("nearest", (16, 16)), PLANE), None),
    (
        the.resizes_in_a_known_mode,
        view_of(ops.Resize("nearest", (11, 13), "half_pixel", "ceil"), PLANE),
        "TFLite has no such resize mode, so it would need GATHER, which the Edge TPU lacks",
    ),
    (the.softmax_is_small, view_of(ops.Softmax(1), (1, 10)), None),
    (
        the.softmax_is_small,
        view_of(ops.Softmax(1), (2, 10)),
        "the operand has the shape (2, 10); only the innermost dimension may exceed 1",
    ),
    (
        the.softmax_is_small,
        view_of(ops.Softmax(1), (1, 16001)),
        "there are 16001 elements; allowed: up to 16000",
    ),
    (
        the.strides_in_height_and_width,
        view_of(ops.Slice((0, 0, 0, 0), (1, 2, 4, 8), (1, 2, 2, 1)), PLANE),
        None,
    ),
    (
        the.strides_in_height_and_width,
        view_of(ops.Slice((0, 0, 0, 0), (1, 4, 8, 4), (1, 1, 1, 2)), PLANE),
        "the strides are (1, 1, 1, 2); only those in height and width may differ from 1",
    ),
]


@pytest.mark.parametrize(("limit", "view", "sentence"), CASES)
def test_limit(limit: Limit, view: NodeView, sentence: str | None) -> None:
    assert limit.check(view) == sentence
