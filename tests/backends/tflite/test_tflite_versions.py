"""Operator versions against the rules of TensorFlow's op_version.cc."""

from __future__ import annotations

import numpy as np
import pytest

from qhal.ir.dtypes import DType
from qhal.ir.graph import TensorType
from qhal.quant.model import QuantParams
from qhal_backends.tflite import versions
from qhal_backends.tflite.flat import FlatActivation, FlatOperator, FlatTensor, OptionValue
from qhal_backends.tflite.options import OPTIONS
from qhal_backends.tflite.releases import RELEASES
from qhal_backends.tflite.versions import Use, lowest_runtime, lowest_version

F32, I8, I16, I32 = DType.FLOAT32, DType.INT8, DType.INT16, DType.INT32
I4 = DType.INT4
PER_AXIS = QuantParams(I8, np.ones(4, np.float32), np.zeros(4, np.int64), 0)


def tensor(
    dtype: DType, shape: tuple[int, ...] = (1, 4, 4, 4), scale: float | None = None
) -> FlatTensor:
    params = None if scale is None else QuantParams.per_tensor(dtype, scale, 0)
    return FlatTensor("t", TensorType(shape, dtype), params)


def weight(dtype: DType, params: QuantParams | None = None) -> FlatTensor:
    return FlatTensor("w", TensorType((4, 3, 3, 4), dtype), params)


CASES: list[tuple[str, list[FlatTensor], dict[str, OptionValue], int]] = [
    ("CONV_2D", [tensor(F32), weight(F32)], {}, 1),
    ("CONV_2D", [tensor(I8), weight(I8, PER_AXIS)], {}, 3),
    ("CONV_2D", [tensor(I16), weight(I8, PER_AXIS)], {}, 4),
    ("CONV_2D", [tensor(F32), weight(I8, PER_AXIS)], {}, 5),
    ("CONV_2D", [tensor(I8, (1, 4, 4, 8)), weight(I8)], {}, 6),
    ("CONV_2D", [tensor(I8), weight(I4, PER_AXIS)], {}, 7),
    ("DEPTHWISE_CONV_2D", [tensor(I8), weight(I4, PER_AXIS)], {"dilationHFactor": 2}, 7),
    ("FULLY_CONNECTED", [tensor(I8), weight(I4, PER_AXIS), tensor(I32)], {}, 12),
    ("FULLY_CONNECTED", [tensor(F32), weight(I4, PER_AXIS), tensor(F32)], {}, 12),
    ("DEPTHWISE_CONV_2D", [tensor(F32), weight(F32)], {"dilationHFactor": 2}, 2),
    ("DEPTHWISE_CONV_2D", [tensor(I8), weight(I8)], {"dilationHFactor": 2}, 3),
    ("DEPTHWISE_CONV_2D", [tensor(F32), weight(I8, PER_AXIS)], {}, 6),
    ("FULLY_CONNECTED", [tensor(I8), weight(I8), tensor(I32)], {}, 4),
    ("FULLY_CONNECTED", [tensor(F32), weight(F32)], {}, 6),
    ("FULLY_CONNECTED", [tensor(F32), weight(F32), tensor(F32)], {"keepNumDims": True}, 5),
    ("FULLY_CONNECTED", [tensor(F32), weight(I8), tensor(F32)], {}, 3),
    (
        "FULLY_CONNECTED",
        [tensor(F32), weight(I8), tensor(F32)],
        {"asymmetricQuantizeInputs": True},
        9,
    ),
    ("FULLY_CONNECTED", [tensor(F32), weight(I8, PER_AXIS), tensor(F32)], {}, 12),
    ("TRANSPOSE_CONV", [tensor(I32), weight(I8), tensor(I8)], {}, 2),
    ("TRANSPOSE_CONV", [tensor(I32), weight(I8), tensor(I8), tensor(I32)], {}, 3),
    (
        "TRANSPOSE_CONV",
        [tensor(I32), weight(I8), tensor(I8)],
        {"fusedActivationFunction": FlatActivation.RELU},
        4,
    ),
    ("MUL", [tensor(I8, scale=1.0), tensor(I8, scale=1.0)], {}, 3),
    ("MUL", [tensor(I8, scale=0.1), tensor(I8, scale=0.1)], {}, 2),
    ("SPLIT", [tensor(I32), tensor(I8)], {}, 2),
    ("RESIZE_BILINEAR", [tensor(I8)], {"halfPixelCenters": True}, 3),
    ("RESIZE_BILINEAR", [tensor(I8)], {"alignCorners": True}, 2),
    ("RESIZE_NEAREST_NEIGHBOR", [tensor(F32)], {"alignCorners": True}, 3),
    ("TRANSPOSE", [tensor(I8, (1,) * 6)], {}, 6),
    ("TRANSPOSE", [tensor(I8, (1,) * 5)], {}, 4),
    ("PAD", [tensor(I8)], {}, 2),
    ("PAD", [tensor(I8, (1,) * 5)], {}, 4),
    ("BROADCAST_TO", [tensor(F32)], {}, 2),
    ("SUB", [tensor(F32, (1,) * 5), tensor(F32, (2,) * 5)], {}, 3),
    ("RESHAPE", [tensor(I8)], {}, 1),
]


@pytest.mark.parametrize(("builtin", "inputs", "options", "version"), CASES)
def test_lowest_version(
    builtin: str, inputs: list[FlatTensor], options: dict[str, OptionValue], version: int
) -> None:
    kind = inputs[versions._DATA_OPERAND.get(builtin, 0)].type.dtype
    output = tensor(kind, scale=None if kind is F32 else 1.0)
    assert lowest_version(builtin, Use(inputs, output, options)) == version


def test_every_version_has_a_release() -> None:
    for builtin, by_type in versions._BY_TYPE.items():
        assert max(by_type.values()) <= len(RELEASES[builtin]), builtin
    assert set(RELEASES) == set(OPTIONS)


def test_lowest_runtime_is_the_latest_of_all() -> None:
    made = [FlatOperator(b, v, (), (), {}, "") for b, v in (("ADD", 2), ("MEAN", 3), ("PAD", 1))]
    assert lowest_runtime(made) == "2.4.0"
    assert lowest_runtime([]) == "1.5.0"
