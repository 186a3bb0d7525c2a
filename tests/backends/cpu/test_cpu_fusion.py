"""Every integer row is a kernel that ONNX Runtime has, and computes what the oracle does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest

from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.dtypes import DType
from qhal.ir.graph import Node, NodeView, TensorType
from qhal.ir.ops import Activation
from qhal.plugin.backend import RunOptions
from qhal.quant.model import QuantModel, QuantParams
from qhal.quant.oracle import Oracle
from qhal.quant.select import select
from qhal.targets.profile import TargetProfile
from qhal.targets.recipe import RECIPES
from qhal.targets.spec import FixedQParams, SameAsInput
from qhal_backends.cpu import limits
from qhal_backends.cpu.capabilities import UINT8 as UINT8_SPEC
from qhal_backends.cpu.capabilities import capabilities
from qhal_backends.cpu.plugin import CpuBackend
from tests.backends.cpu.cpu_models import (
    OTHER,
    UINT8,
    Bias,
    Operand,
    Stored,
    Weight,
    feeds,
    quantized,
)

TARGET = TargetProfile("cpu", backend="cpu", title="")
X = (1, 8, 12, 12)
ONE = ((1, 1), (1, 1, 1, 1), (1, 1))
STORED = Stored(np.arange(8, dtype=np.uint8).reshape(8, 1, 1) * 30)

COMPUTED: list[tuple[str, ops.Op, list[Operand]]] = [
    ("QLinearConv", ops.Conv(*ONE), [X, Weight((16, 8, 3, 3)), Bias(16)]),
    ("QLinearConv", ops.Conv(*ONE, activation=Activation.RELU), [X, Weight((16, 8, 3, 3))]),
    ("QLinearConv", ops.Conv(*ONE, groups=2), [X, Weight((16, 4, 3, 3)), Bias(16)]),
    ("QLinearConv", ops.Conv((1,), (1, 1), (1,)), [(1, 8, 30), Weight((4, 8, 3)), Bias(4)]),
    ("QLinearConv", ops.DepthwiseConv(*ONE), [X, Weight((8, 1, 3, 3)), Bias(8)]),
    ("QLinearConv", ops.DepthwiseConv(*ONE, multiplier=2), [X, Weight((16, 1, 3, 3))]),
    ("QGemm", ops.FullyConnected(), [(2, 32), Weight((10, 32)), Bias(10)]),
    ("QGemm", ops.FullyConnected(Activation.RELU6), [(2, 3, 32), Weight((10, 32)), Bias(10)]),
    ("QGemm", ops.FullyConnected(), [(2, 32), Weight((10, 32))]),
    ("QLinearMatMul", ops.MatMul(), [(2, 3, 32), (2, 32, 7)]),
    ("QLinearAdd", ops.Add(Activation.RELU), [X, X]),
    ("QLinearAdd", ops.Add(), [X, STORED]),
    ("QLinearMul", ops.Mul(Activation.RELU6), [X, X]),
    ("QLinearMul", ops.Mul(), [X, (1, 8, 1, 1)]),
    ("QLinearWhere", ops.Where(), [Stored(np.arange(12) % 2 == 0), X, X]),
    ("QLinearLeakyRelu", ops.LeakyRelu(0.1), [X]),
    ("QLinearAveragePool", ops.AveragePool((3, 3), (2, 2), (1, 1, 1, 1)), [X]),
    ("QLinearAveragePool", ops.AveragePool((3, 3), (2, 2), (1, 1, 1, 1), True), [X]),
    ("QLinearGlobalAveragePool", ops.Reduce("Mean", (2, 3)), [X]),
    ("QLinearGlobalAveragePool", ops.Reduce("Mean", (2, 3), keepdims=False), [X]),
    ("QLinearConcat", ops.Concat(1), [X, X]),
]
FIXED = [
    ("QLinearSigmoid", ops.Sigmoid()),
    ("QLinearSigmoid", ops.Tanh()),
    ("QLinearAdd", ops.HardSigmoid()),
    ("QLinearAdd", ops.HardSigmoid(1 / 6, 0.5)),
    ("QLinearSoftmax", ops.Softmax(1)),
]
MOVED = [
    ("MaxPool", ops.MaxPool((3, 3), (2, 2), (1, 1, 1, 1)), 1),
    ("Resize", ops.Resize("nearest", (24, 24), "asymmetric", "floor"), 1),
    ("Transpose", ops.DepthToSpace(2), 1),
    ("Transpose", ops.DepthToSpace(2, "CRD"), 1),
    ("Transpose", ops.SpaceToDepth(2), 1),
    ("Reshape", ops.Reshape((8, 144)), 1),
    ("Transpose", ops.Transpose((0, 2, 3, 1)), 1),
    ("Split", ops.Split(1, (3, 5)), 1),
    ("Slice", ops.Slice((0, 0, 0, 1), (1, 8, 12, 6), (1, 1, 1, 2)), 1),
    ("Pad", ops.Pad((0, 0, 1, 1, 0, 0, 1, 1), value=0.5), 1),
    ("Pad", ops.Pad((0, 0, 1, 1, 0, 0, 1, 1), mode="reflect"), 1),
    ("Expand", ops.Expand((2, 8, 12, 12)), 1),
    ("Tile", ops.Tile((1, 1, 2, 1)), 1),
    ("Clip", ops.Relu(), 1),
    ("Clip", ops.Relu6(), 1),
    ("Clip", ops.Clip(-1.0, 1.0), 1),
    ("ReduceMax", ops.Reduce("Max", (2,)), 1),
    ("ReduceMin", ops.Reduce("Min", (1,), keepdims=False), 1),
    ("Concat", ops.Concat(1), 3),
]


def require(dtype: DType) -> None:
    """Skip where the installed ONNX Runtime does not run Cast from the type."""
    rule = limits.casts_int2 if dtype is DType.INT2 else limits.casts_int4
    model = quantized(ops.Relu(), [X], UINT8)
    broken = rule.check(NodeView(model.graph, model.graph.nodes[0]))
    if broken is not None:
        pytest.skip(broken)


def check(model: QuantModel, kernel: str) -> None:
    """The artifact is valid, runs the kernel on integers, and agrees with the oracle."""
    backend = CpuBackend()
    artifact = backend.lower(model, TARGET)
    onnx.checker.check_model(onnx.load_model_from_string(artifact.files["model.onnx"]), True)
    placed = {node.name: node for node in backend.placement(artifact, TARGET).nodes}
    assert (placed["node"].where.kernel, placed["node"].where.dtype) == (kernel, "uint8")
    runner, oracle = backend.load(artifact, TARGET, RunOptions()), Oracle(model)
    for seed in range(3):
        inputs = feeds(model, seed)
        expected, got = oracle.run(inputs), runner.run(inputs)
        for name in model.graph.outputs:
            np.testing.assert_array_equal(got[name], expected[name])


@pytest.mark.parametrize(("kernel", "op", "operands"), COMPUTED)
def test_computed(kernel: str, op: ops.Op, operands: list[Operand]) -> None:
    check(quantized(op, operands), kernel)


@pytest.mark.parametrize("dtype", [DType.INT4, DType.INT2])
@pytest.mark.parametrize(
    ("kernel", "op", "operands"), [case for case in COMPUTED if Weight in map(type, case[2])]
)
def test_weights_of_few_bits_run_as_bytes(
    kernel: str, op: ops.Op, operands: list[Operand], dtype: DType
) -> None:
    require(dtype)
    few = [replace(o, dtype=dtype) if isinstance(o, Weight) else o for o in operands]
    model = quantized(op, few)
    check(model, kernel)
    proto = onnx.load_model_from_string(CpuBackend().lower(model, TARGET).files["model.onnx"])
    (weight,) = (t for t in proto.graph.initializer if t.name == "w")
    assert len(weight.raw_data) == -(-np.prod(weight.dims) * dtype.bits // 8)


@pytest.mark.parametrize("dtype", [DType.INT4, DType.INT2])
@pytest.mark.parametrize(("kernel", "op", "operands"), COMPUTED)
def test_other_kernels_are_the_same_beside_weights_of_few_bits(
    kernel: str, op: ops.Op, operands: list[Operand], dtype: DType
) -> None:
    """Few bits raise the opset of the whole model; fusions know operators by their versions."""
    require(dtype)
    model = quantized(op, operands)
    tensors = {**model.graph.tensors, "unread": TensorType((1,), dtype)}
    params = {**model.params, "unread": QuantParams.per_tensor(dtype, 1.0, 0)}
    check(replace(model, graph=replace(model.graph, tensors=tensors), params=params), kernel)


@pytest.mark.parametrize(("kernel", "op"), FIXED)
def test_fixed_output(kernel: str, op: ops.Op) -> None:
    (spec,) = [
        row.output
        for capability in capabilities().of(op.kind)
        for row in capability.rows
        if isinstance(row.output, FixedQParams)
    ]
    result = QuantParams.per_tensor(spec.dtype, spec.scale, spec.zero_point)
    check(quantized(op, [X], result), kernel)


@pytest.mark.parametrize(("kernel", "op", "count"), MOVED)
def test_moved(kernel: str, op: ops.Op, count: int) -> None:
    check(quantized(op, [X] * count, UINT8), kernel)


def test_gather_moves_integers() -> None:
    check(quantized(ops.Gather(1), [X, Stored(np.array([3, 0]))], UINT8), "Gather")


def test_arg_max_reads_integers() -> None:
    model = quantized(ops.Relu(), [X], UINT8)
    types = {**model.graph.tensors, "index": TensorType((1, 1, 12, 12), DType.INT64)}
    nodes = (model.graph.nodes[0], Node("best", ops.ArgMax(1), ("x0q",), ("index",)))
    graph = replace(model.graph, outputs=("index",)).with_nodes(nodes, types)
    model = replace(model, graph=graph, params={"x0q": UINT8})
    backend = CpuBackend()
    artifact = backend.lower(model, TARGET)
    placed = {node.name: node for node in backend.placement(artifact, TARGET).nodes}
    assert (placed["best"].where.kernel, placed["best"].where.dtype) == ("ArgMax", "uint8")
    inputs = feeds(model)
    got = backend.load(artifact, TARGET, RunOptions()).run(inputs)["index"]
    np.testing.assert_array_equal(got, Oracle(model).run(inputs)["index"])


def test_every_integer_row_is_covered() -> None:
    tested = {op.kind for _, op, _ in COMPUTED} | {op.kind for _, op in FIXED}
    tested |= {op.kind for _, op, _ in MOVED} | {"Gather", "ArgMax"}
    rows = {c.op for c in capabilities().kernels for row in c.rows if row.activation.quantized}
    assert rows == tested


@pytest.mark.parametrize("op", [ops.Relu(), ops.Tanh(), ops.HardSigmoid(), ops.Concat(1)])
def test_other_parameters_than_the_row_says_still_compute_right(op: ops.Op) -> None:
    """A relation that the solver would not make is lowered through float, never wrongly."""
    model = quantized(op, [X], OTHER)
    backend = CpuBackend()
    inputs = feeds(model)
    runner = backend.load(backend.lower(model, TARGET), TARGET, RunOptions())
    expected, got = Oracle(model).run(inputs)["y0"], runner.run(inputs)["y0"]
    assert np.rint(np.abs(expected - got) / OTHER.scale).max() <= 1


def test_a_chain_of_concats_does_not_share_one_scale() -> None:
    builder = GraphBuilder("g")
    x = builder.input("x", TensorType(X))
    first = builder.one(ops.Concat(1), [x, x], name="first")
    pooled = builder.one(ops.MaxPool((2, 2), (1, 1), (0, 0, 1, 1)), [first])
    builder.add(ops.Concat(1), [pooled, x], name="second", outputs=["y"])
    chosen = select(builder.build(outputs=["y"]), capabilities(), RECIPES[0])
    rows = {name: choice.row.output for name, choice in chosen.items() if choice.row is not None}
    assert rows["first"] == SameAsInput(every=True)
    assert rows["second"] == UINT8_SPEC


def test_moves_share_parameters_in_the_capabilities() -> None:
    for kind in ("MaxPool", "Reshape", "Clip"):
        (row,) = (r for c in capabilities().of(kind) for r in c.rows if r.activation.quantized)
        assert isinstance(row.output, SameAsInput)
