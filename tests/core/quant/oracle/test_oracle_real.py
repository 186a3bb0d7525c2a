"""Float kernels against ONNX Runtime, and both layouts against each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from qhal.ir import ops
from qhal.ir.dtypes import DType
from qhal.ir.graph import Graph, Node, TensorType
from qhal.ir.ops import Activation, Layout
from qhal.ir.shapes import infer
from qhal.quant.model import QuantModel
from qhal.quant.oracle import Oracle
from tests.core.quant.oracle.oracle_ort import real

RNG = np.random.default_rng(17)
IMAGE = (2, 6, 9, 8)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def run(
    op: ops.Op, operands: Sequence[np.ndarray]
) -> tuple[list[np.ndarray], Sequence[TensorType]]:
    """The oracle's results, and the types of them."""
    names = tuple(f"x{i}" for i in range(len(operands)))
    kinds = infer(op, [TensorType(x.shape, DType.of(x)) for x in operands])
    outputs = tuple(f"y{i}" for i in range(len(kinds)))
    tensors = {n: TensorType(x.shape, DType.of(x)) for n, x in zip(names, operands, strict=True)}
    tensors.update(zip(outputs, kinds, strict=True))
    graph = Graph("one", names, outputs, (Node("node", op, names, outputs),), tensors)
    found = Oracle(QuantModel(graph)).run(dict(zip(names, operands, strict=True)))
    return [found[name] for name in outputs], kinds


def check(op: ops.Op, operands: Sequence[np.ndarray], tolerance: float = 2e-6) -> None:
    ours, kinds = run(op, operands)
    for mine, theirs in zip(ours, real(op, operands, kinds), strict=True):
        assert mine.dtype == theirs.dtype
        assert mine.shape == theirs.shape
        # Equal infinities and NaN are equal.
        scale = np.abs(np.nan_to_num(theirs.astype(np.float64), posinf=0, neginf=0)).max()
        np.testing.assert_allclose(mine, theirs, rtol=tolerance, atol=tolerance * max(scale, 1))


UNARY = ["Abs", "Neg", "Exp", "Log", "Sqrt", "Rsqrt", "Reciprocal", "Erf", "Sin", "Cos", "Floor"]
UNARY += ["Ceil", "Round", "Sign", "Softplus"]
FUNCTIONS = [
    *(ops.Unary(function) for function in UNARY),
    ops.Relu(),
    ops.Relu6(),
    ops.Clip(-0.5, np.inf),
    ops.LeakyRelu(0.2),
    ops.Elu(1.5),
    ops.Sigmoid(),
    ops.Tanh(),
    ops.HardSwish(),
    ops.HardSigmoid(),
    ops.Silu(),
    ops.Gelu(),
    ops.Gelu(True),
    ops.Softmax(1),
    ops.LogSoftmax(3),
    ops.Reduce("Mean", (2, 3)),
    ops.Reduce("Sum", (1,), keepdims=False),
    ops.Reduce("Max", (0, 3)),
    ops.Reduce("Min", (2,)),
    ops.ArgMax(1, keepdims=False),
    ops.MaxPool((3, 2), (2, 1), (1, 0, 1, 1)),
    ops.AveragePool((3, 3), (2, 2), (1, 1, 1, 1)),
    ops.AveragePool((3, 3), (2, 2), (1, 1, 1, 1), count_include_pad=True),
    ops.Reshape((2, 54, 8)),
    ops.Transpose((0, 3, 1, 2)),
    ops.Split(1, (1, 3, 2)),
    ops.Slice((0, 5, 0, 1), (2, 3, 9, 3), (1, -2, 1, 2)),
    ops.Pad((0, 1, 2, 0, 0, 0, 1, 3), value=0.5),
    ops.Pad((0, 0, 2, 1, 0, 0, 1, 3), "reflect"),
    ops.Pad((0, 0, 2, 1, 0, 0, 1, 3), "edge"),
    ops.Expand((2, 6, 9, 8)),
    ops.Tile((1, 2, 1, 3)),
    ops.Cast(DType.INT32),
]


@pytest.mark.parametrize("op", FUNCTIONS, ids=repr)
def test_one_operand(op: ops.Op) -> None:
    x = np.sort(normal(864) * 4).reshape(IMAGE)
    check(op, [x])


def test_erf_is_exact_to_single_precision() -> None:
    import math

    from qhal.quant.oracle.functions import erf

    x = np.linspace(-8, 8, 4001)
    wanted = np.array([math.erf(v) for v in x])
    assert np.abs(erf(x) - wanted).max() < 1e-10


MODES = [
    ops.Resize(mode, sizes, coordinates, nearest)
    for mode in ("nearest", "linear")
    for sizes in ((18, 16), (5, 3), (13, 8))
    for coordinates in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
    for nearest in (("floor", "round_prefer_ceil") if mode == "nearest" else ("floor",))
]


@pytest.mark.parametrize("op", MODES, ids=repr)
def test_resize(op: ops.Op) -> None:
    check(op, [normal(*IMAGE)])


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_and_space(mode: str) -> None:
    check(ops.DepthToSpace(2, mode), [normal(2, 12, 3, 5)])
    check(ops.SpaceToDepth(2), [normal(2, 3, 6, 8)])


PAIRS = [
    (ops.Add(Activation.RELU), ()),
    (ops.Sub(), ()),
    (ops.Mul(Activation.RELU6), ()),
    (ops.Div(), ()),
    (ops.Maximum(), ()),
    (ops.Minimum(), ()),
    (ops.PRelu(), ()),
    (ops.Compare("<"), ()),
]


@pytest.mark.parametrize("op", [op for op, _ in PAIRS], ids=repr)
def test_two_operands(op: ops.Op) -> None:
    check(op, [normal(*IMAGE), normal(6, 1, 1)])


def test_powers_and_integer_quotients() -> None:
    check(ops.Pow(), [np.abs(normal(3, 4)), normal(4)])
    check(ops.Mod(), [normal(3, 4), np.abs(normal(4)) + 0.5])
    check(ops.Mod(truncates=True), [normal(3, 4), normal(4)])
    a, b = np.array([7, -7, 7, -7]), np.array([2, 2, -2, -2])
    (found,), _ = run(ops.Div(), [a, b])
    assert found.tolist() == [3, -3, -3, 3]


def test_choices() -> None:
    check(ops.Where(), [normal(2, 3) > 0, normal(2, 3), normal(3)])
    check(ops.Gather(1), [normal(4, 6, 3), np.array([[0, -1], [2, 5]])])
    check(ops.Concat(1), [normal(2, 3), normal(2, 1), normal(2, 4)])
    check(ops.Unary("Not"), [normal(2, 3) > 0])


def test_products() -> None:
    check(ops.MatMul(), [normal(3, 1, 4, 5), normal(2, 5, 6)], 1e-5)
    check(ops.FullyConnected(Activation.RELU), [normal(7, 5), normal(3, 5), normal(3)], 1e-5)
    check(ops.FullyConnected(), [normal(2, 7, 5), normal(3, 5)], 1e-5)


def test_normalizations() -> None:
    check(ops.LayerNorm(2), [normal(2, 3, 8), normal(8), normal(8)], 1e-5)
    check(ops.InstanceNorm(), [normal(*IMAGE), normal(6), normal(6)], 1e-5)


def in_nhwc(op: Any) -> ops.Op:
    """The same operator in the other layout."""
    found: ops.Op = replace(op, layout=Layout.NHWC)
    return found


CONVS = [
    (ops.Conv((2, 1), (1, 0, 1, 1), (1, 1), activation=Activation.RELU), (4, 6, 3, 2)),
    (ops.Conv((1, 1), (0, 0, 0, 0), (1, 1)), (4, 6, 1, 1)),
    (ops.Conv((2, 2), (0, 0, 0, 0), (1, 1)), (4, 6, 1, 1)),
    (ops.Conv((1, 1), (2, 2, 2, 2), (2, 2), 3), (9, 2, 3, 3)),
    (ops.DepthwiseConv((1, 2), (1, 1, 1, 1), (1, 1)), (6, 1, 3, 3)),
    (ops.DepthwiseConv((1, 1), (1, 1, 1, 1), (1, 1), 2, Activation.RELU6), (12, 1, 3, 3)),
    (ops.ConvTranspose((2, 2), (1, 0, 1, 1), (1, 1), (1, 0)), (6, 4, 3, 3)),
    (ops.ConvTranspose((2, 1), (0, 0, 0, 0), (1, 2), (0, 0), 2), (6, 2, 2, 3)),
]


def channels_out(op: ops.Op, shape: tuple[int, ...]) -> int:
    return shape[1] * op.groups if isinstance(op, ops.ConvTranspose) else shape[0]


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize(("op", "shape"), CONVS, ids=repr)
def test_convolutions(op: ops.Op, shape: tuple[int, ...], biased: bool) -> None:
    bias = [normal(channels_out(op, shape))] if biased else []
    check(op, [normal(*IMAGE), normal(*shape), *bias], 1e-5)


def test_convolutions_of_one_and_three_dimensions() -> None:
    check(ops.Conv((2,), (1, 1), (1,)), [normal(2, 3, 11), normal(4, 3, 3), normal(4)], 1e-5)
    op = ops.Conv((1, 2, 1), (1, 1, 1, 1, 1, 1), (1, 1, 1))
    check(op, [normal(1, 2, 5, 6, 4), normal(3, 2, 3, 3, 3)], 1e-5)


def weight_last(op: ops.Op, weight: np.ndarray) -> np.ndarray:
    if isinstance(op, ops.DepthwiseConv):
        return np.moveaxis(weight, 0, -1)
    return (
        weight.transpose(1, 2, 3, 0)
        if isinstance(op, ops.ConvTranspose)
        else (np.moveaxis(weight, 1, -1))
    )


@pytest.mark.parametrize(("op", "shape"), CONVS[:7], ids=repr)
def test_convolutions_in_the_other_layout(op: ops.Op, shape: tuple[int, ...]) -> None:
    x, w, bias = normal(*IMAGE), normal(*shape), normal(channels_out(op, shape))
    (wanted,), _ = run(op, [x, w, bias])
    other = in_nhwc(op)
    (found,), _ = run(other, [np.moveaxis(x, 1, -1).copy(), weight_last(op, w).copy(), bias])
    assert np.array_equal(np.moveaxis(found, -1, 1), wanted)


SPATIAL = [
    ops.MaxPool((3, 2), (2, 1), (1, 0, 1, 1)),
    ops.AveragePool((3, 3), (2, 2), (1, 1, 1, 1)),
    ops.Resize("linear", (18, 16)),
    ops.Resize("nearest", (13, 20)),
]


@pytest.mark.parametrize("op", SPATIAL, ids=repr)
def test_other_spatial_operators_in_the_other_layout(op: ops.Op) -> None:
    x = normal(*IMAGE)
    (wanted,), _ = run(op, [x])
    (found,), _ = run(in_nhwc(op), [np.moveaxis(x, 1, -1).copy()])
    assert np.array_equal(np.moveaxis(found, -1, 1), wanted)


def test_depth_and_space_in_the_other_layout() -> None:
    for op in (ops.DepthToSpace(2), ops.DepthToSpace(2, "CRD"), ops.SpaceToDepth(2)):
        x = normal(2, 12, 4, 6)
        (wanted,), _ = run(op, [x])
        (found,), _ = run(in_nhwc(op), [np.moveaxis(x, 1, -1).copy()])
        assert np.array_equal(np.moveaxis(found, -1, 1), wanted)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_lstm(direction: str) -> None:
    d = 2 if direction == "bidirectional" else 1
    x, w, r = normal(5, 2, 3), normal(d, 16, 3), normal(d, 16, 4)
    operands = [x, w, r, normal(d, 32), normal(d, 2, 4), normal(d, 2, 4)]
    check(ops.Lstm(4, direction), operands, 1e-5)


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_gru(direction: str, linear: bool) -> None:
    d = 2 if direction == "bidirectional" else 1
    operands = [normal(5, 2, 3), normal(d, 12, 3), normal(d, 12, 4), normal(d, 24), normal(d, 2, 4)]
    check(ops.Gru(4, direction, linear), operands, 1e-5)


@pytest.mark.parametrize("activation", ["Tanh", "Relu"])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_plain_recurrent_layer(direction: str, activation: str) -> None:
    d = 2 if direction == "bidirectional" else 1
    operands = [normal(5, 2, 3), normal(d, 4, 3), normal(d, 4, 4), normal(d, 8), normal(d, 2, 4)]
    check(ops.Rnn(4, direction, activation), operands, 1e-5)
