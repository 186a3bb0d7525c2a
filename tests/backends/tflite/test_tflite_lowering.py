"""What lowering emits, beyond computing the right thing."""

from __future__ import annotations

import numpy as np
import pytest

from qhal.decisions import Code
from qhal.errors import InternalError
from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.dtypes import DType
from qhal.ir.graph import TensorType
from qhal.plugin.backend import RunOptions
from qhal.quant.model import QuantModel, QuantParams
from qhal.targets.profile import TargetProfile
from qhal.testing.samples import SAMPLES, Sample
from qhal_backends.tflite.capabilities import capabilities
from qhal_backends.tflite.lowering import Lowered, lower_model
from qhal_backends.tflite.plugin import TfliteBackend
from tests.backends.one_node import deploy_row, lay_out

CAPS = capabilities()


def sample(label: str) -> Sample:
    return next(s for s in SAMPLES if str(s) == label)


def lowered(label: str, row: str = "float32") -> Lowered:
    found = sample(label)
    entries = CAPS.of(found.op.kind)
    capability, wanted = next((c, r) for c in entries for r in c.rows if r.name == row)
    return lower_model(deploy_row(found, capability, wanted, CAPS).model)


def builtins(label: str, row: str = "float32") -> list[str]:
    return [op.builtin for op in lowered(label, row).model.operators]


@pytest.mark.parametrize(
    ("label", "row", "wanted"),
    [
        ("Conv-same", "int8 per-axis", ["CONV_2D"]),
        ("Conv-explicit", "int8 per-axis", ["PAD", "CONV_2D"]),
        ("Conv-valid", "dynamic-range int8", ["CONV_2D"]),
        ("Conv-valid", "float16 weights", ["DEQUANTIZE", "DEQUANTIZE", "CONV_2D"]),
        ("ConvTranspose-same", "int8 per-axis", ["TRANSPOSE_CONV"]),
        ("ConvTranspose-crop", "int8 per-axis", ["TRANSPOSE_CONV", "SLICE"]),
        ("FullyConnected-rank3", "int8 per-axis", ["RESHAPE", "FULLY_CONNECTED", "RESHAPE"]),
        ("FullyConnected", "int8x4 per-axis", ["FULLY_CONNECTED"]),
        ("FullyConnected", "dynamic-range int4", ["FULLY_CONNECTED"]),
        ("MaxPool-explicit", "int8", ["PADV2", "MAX_POOL_2D"]),
        ("AveragePool-same-inside", "int8", ["AVERAGE_POOL_2D"]),
        ("AveragePool-same-all", "int8", ["DEPTHWISE_CONV_2D"]),
        ("AveragePool-explicit-all", "int8", ["PAD", "DEPTHWISE_CONV_2D"]),
        ("AveragePool-valid-all", "int8", ["AVERAGE_POOL_2D"]),
        ("AveragePool-global-all", "int8", ["MEAN"]),
        ("AveragePool-same-all", "int16", ["PAD", "AVERAGE_POOL_2D"]),
        ("Slice", "int8", ["SLICE"]),
        ("Slice-steps", "int8", ["STRIDED_SLICE"]),
        ("Slice-plane", "int8", ["RESHAPE", "SLICE", "RESHAPE", "SLICE", "RESHAPE"]),
        ("Expand", "int8", ["TILE"]),
        ("Expand-rank5", "int8", ["RESHAPE", "TILE"]),
        ("Expand", "int16", ["BROADCAST_TO"]),
        ("Relu", "int8", ["QUANTIZE"]),
        ("Relu", "int16", ["RELU"]),
        ("Relu6", "int8", ["QUANTIZE"]),
        ("PRelu", "int8", ["MAXIMUM", "MINIMUM", "MUL", "ADD"]),
        ("PRelu", "float32", ["PRELU"]),
        ("Abs", "int8", ["LEAKY_RELU"]),
        ("Split", "int8", ["SPLIT"]),
        ("Split-uneven", "int8", ["SPLIT_V"]),
        ("Pad", "int8", ["PAD"]),
        ("Pad-value", "int8", ["PADV2"]),
        ("Pad-reflect", "int8", ["GATHER", "GATHER"]),
        ("Pad-edge", "int8", ["GATHER", "GATHER"]),
        ("Clip-0.0-inf", "float32", ["MAXIMUM"]),
        ("Clip--1.0-1.0", "float32", ["MAXIMUM", "MINIMUM"]),
        ("Clip--inf-inf", "float32", ["RESHAPE"]),
        ("ReduceSum", "int8", ["MEAN", "MUL"]),
        ("Mul-rank5", "float32", ["RESHAPE", "MUL", "RESHAPE"]),
        ("Reciprocal", "float32", ["DIV"]),
    ],
)
def test_operators(label: str, row: str, wanted: list[str]) -> None:
    assert builtins(label, row) == wanted


@pytest.mark.parametrize("label", ["Conv-explicit", "MaxPool-explicit", "ConvTranspose-crop"])
def test_an_extra_operator_is_a_decision(label: str) -> None:
    found = lowered(label).decisions
    assert [d.code for d in found] == [Code.DECOMPOSED]
    assert found[0].subject == "node"


def test_zeros_pad_a_maximum_of_nothing_negative() -> None:
    builder = GraphBuilder("pool")
    x = builder.one(ops.Relu(), (builder.input("x", TensorType((1, 2, 8, 8))),))
    pool = ops.MaxPool((3, 3), (2, 2), (1, 1, 1, 1))
    graph = builder.build(outputs=(builder.one(pool, (x,)),))
    found = lower_model(QuantModel(lay_out(graph).graph)).model
    assert [op.builtin for op in found.operators] == ["RELU", "PAD", "MAX_POOL_2D"]


def test_a_constant_is_dequantized_once() -> None:
    builder = GraphBuilder("shared")
    x = builder.input("x", TensorType((1, 4)))
    weight = builder.constant("w", np.ones((4, 4), np.float16))
    first = builder.one(ops.FullyConnected(), (x, weight), name="a")
    second = builder.one(ops.FullyConnected(), (first, weight), name="b")
    model = lower_model(QuantModel(builder.build(outputs=(second,)))).model
    assert [op.builtin for op in model.operators].count("DEQUANTIZE") == 1


def test_an_operator_that_is_not_stated_is_a_bug() -> None:
    builder = GraphBuilder("silu")
    made = builder.one(ops.Silu(), (builder.input("x", TensorType((1, 4))),))
    with pytest.raises(InternalError, match="no lowering for Silu"):
        lower_model(QuantModel(builder.build(outputs=(made,))))


def relu_in_a_wider_range(op: ops.Op) -> QuantModel:
    """An activation whose result shares the range of something negative."""
    builder = GraphBuilder("relu")
    x = builder.input("x", TensorType((1, 8), DType.INT8))
    builder.declare("y", TensorType((1, 8), DType.INT8))
    builder.add(op, (x,), name="relu", outputs=("y",))
    wide = QuantParams.per_tensor(DType.INT8, 0.1, 0)
    return QuantModel(builder.build(outputs=("y",)), {"x": wide, "y": wide})


@pytest.mark.parametrize(
    ("op", "wanted"),
    [
        (ops.Relu(), ["QUANTIZE", "MAXIMUM"]),
        (ops.Relu6(), ["QUANTIZE", "MAXIMUM", "MINIMUM"]),
    ],
)
def test_a_bound_inside_the_range_is_computed(op: ops.Op, wanted: list[str]) -> None:
    model = relu_in_a_wider_range(op)
    assert [o.builtin for o in lower_model(model).model.operators] == wanted
    backend, target = TfliteBackend(), TargetProfile("litert", "tflite", "LiteRT")
    loaded = backend.load(backend.lower(model, target), target, RunOptions(reference=True))
    x = np.asarray([[-128, -1, 0, 1, 59, 60, 61, 127]], np.int8)
    high = 60 if isinstance(op, ops.Relu6) else 127
    np.testing.assert_array_equal(loaded.run({"x": x})["y"], np.clip(x, 0, high))
