"""Every integer row of the processor is a kernel that OpenVINO has, and equals the oracle."""

from __future__ import annotations

import numpy as np
import pytest

from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.graph import Graph, TensorType
from qhal.ir.ops import Activation
from qhal.plugin.backend import PlacedNode, RunOptions
from qhal.quant.oracle import Oracle
from qhal.targets.profile import TargetProfile
from qhal_backends.openvino.plugin import OpenVinoBackend
from tests.backends.openvino.openvino_models import (
    Constant,
    Quantized,
    Shape,
    quantize,
    single,
    sqnr_db,
)

pytest.importorskip("openvino", reason="pip install 'quant-hal[openvino]'")

CPU = TargetProfile("openvino-cpu", "openvino", "", options={"device": "CPU"})
X = (1, 8, 12, 12)
ONE = ((1, 1), (1, 1, 1, 1), (1, 1))
RELU6 = Activation.RELU6

WEIGHTED: list[tuple[ops.Op, list[Shape | Constant]]] = [
    (ops.Conv(*ONE), [X, Constant((16, 8, 3, 3)), Constant((16,))]),
    (ops.Conv(*ONE, activation=RELU6), [X, Constant((16, 8, 3, 3))]),
    (ops.Conv(*ONE, groups=2), [X, Constant((16, 4, 3, 3)), Constant((16,))]),
    (ops.Conv((1,), (1, 1), (1,)), [(1, 8, 30), Constant((4, 8, 3)), Constant((4,))]),
    (ops.DepthwiseConv(*ONE), [X, Constant((8, 1, 3, 3)), Constant((8,))]),
    (ops.DepthwiseConv(*ONE, multiplier=2), [X, Constant((16, 1, 3, 3))]),
    (
        ops.ConvTranspose((2, 2), (0, 0, 0, 0), (1, 1), (0, 0)),
        [X, Constant((8, 16, 2, 2)), Constant((16,))],
    ),
    (ops.FullyConnected(), [(2, 32), Constant((10, 32)), Constant((10,))]),
    (ops.FullyConnected(RELU6), [(2, 3, 32), Constant((10, 32)), Constant((10,))]),
    (ops.MatMul(), [(2, 3, 32), (2, 32, 7)]),
]

MOVED = [
    ops.MaxPool((3, 3), (2, 2), (1, 1, 1, 1)),
    ops.Slice((0, 0, 0, 1), (1, 8, 12, 6), (1, 1, 1, 2)),
    ops.Pad((0, 0, 1, 1, 0, 0, 1, 1)),
    ops.Pad((0, 0, 1, 1, 0, 0, 1, 1), "reflect"),
    ops.Pad((0, 0, 1, 1, 0, 0, 1, 1), "edge"),
    ops.Reshape((1, 8, 6, 24)),
    ops.Transpose((0, 1, 3, 2)),
    ops.Expand((2, 8, 12, 12)),
    ops.Reduce("Max", (2,)),
    ops.Reduce("Min", (3,)),
    ops.DepthToSpace(2),
    ops.Gather(2),
    ops.Split(1, (3, 5)),
    ops.Concat(1),
]


def run(made: Quantized) -> dict[str, PlacedNode]:
    """What executes; fails unless it computes what the oracle does."""
    backend = OpenVinoBackend()
    artifact = backend.lower(made.model, CPU)
    runner = backend.load(artifact, CPU, RunOptions())
    assert runner is not None
    for index in range(len(made.data)):
        sample = made.data.sample(index)
        expected, found = Oracle(made.model).run(sample), runner.run(sample)
        for name in made.graph.outputs:
            assert sqnr_db(expected[name], found[name]) > 90
    placement = backend.placement(artifact, CPU)
    assert placement is not None
    return {node.name: node for node in placement.nodes}


@pytest.mark.parametrize(("op", "operands"), WEIGHTED)
def test_products_run_on_integers(op: ops.Op, operands: list[Shape | Constant]) -> None:
    assert run(quantize(single(op, operands)))["node"].where.dtype in ("uint8", "int8")


@pytest.mark.parametrize(
    ("recipe", "stored"), [("w4a8", "4 bits"), ("w3a8", "4 bits with 8 levels"), ("w2a8", "2 bits")]
)
@pytest.mark.parametrize(("op", "operands"), WEIGHTED[:-1])
def test_weights_of_few_bits_run_on_integers(
    op: ops.Op, operands: list[Shape | Constant], recipe: str, stored: str
) -> None:
    made, whole = quantize(single(op, operands), recipe), quantize(single(op, operands))
    assert str(made.model.kernels["node"]).endswith(f"(stored {stored}, computes 8)")
    placed = run(made)["node"].where
    assert placed.dtype in ("uint8", "int8")
    assert str(placed.kernel) == str(run(whole)["node"].where.kernel)
    sizes = [len(OpenVinoBackend().lower(m.model, CPU).files["model.bin"]) for m in (made, whole)]
    saved = np.prod(made.graph.tensors["c1"].shape) * (8 - int(stored[0])) // 8
    assert sizes[0] <= sizes[1] - saved + 8, "one more constant is aligned"


def test_products_in_generated_code_run_on_integers() -> None:
    """Processors for which OpenVINO generates no such code have a kernel for each product."""
    builder, random = GraphBuilder("g"), np.random.default_rng(1)
    x = builder.input("x", TensorType((1, 64)))
    names = [f"layer{i}" for i in range(6)]
    for name in names:
        weight = builder.constant("w", random.normal(0, 0.2, (64, 64)).astype(np.float32))
        bias = builder.constant("b", random.normal(0, 0.2, 64).astype(np.float32))
        x = builder.one(ops.FullyConnected(Activation.RELU), (x, weight, bias), name=name)
    placed = run(quantize(builder.build(outputs=(x,))))
    assert {placed[name].where.dtype for name in names} <= {"uint8", "int8"}


def between(op: ops.Op) -> Graph:
    """Two convolutions with an operator between them."""
    builder, random = GraphBuilder("g"), np.random.default_rng(1)
    builder.input("x", TensorType(X))

    def conv(source: str, name: str) -> str:
        shape = (8, builder.type(source).shape[1], 1, 1)
        weight = builder.constant("w", random.normal(0, 0.2, shape).astype(np.float32))
        plain = ops.Conv((1, 1), (0, 0, 0, 0), (1, 1))
        return builder.one(plain, (source, weight), name=name)

    operands = [conv("x", "first")]
    if isinstance(op, ops.Gather):
        operands.append(builder.constant("indices", np.arange(0, 12, 3)))
    if isinstance(op, ops.Concat):
        operands.append(conv("x", "second"))
    moved = builder.add(op, operands, name="moved")
    return builder.build(outputs=[conv(name, f"last{i}") for i, name in enumerate(moved)])


@pytest.mark.parametrize("op", MOVED)
def test_movement_between_products_is_on_integers(op: ops.Op) -> None:
    made = quantize(between(op))
    assert made.choices["moved"].quantized
    placed = run(made)
    assert placed["last0"].where.dtype == "uint8"
    assert "moved" not in placed or placed["moved"].where.dtype == "uint8"


def test_an_activation_behind_a_product_stays_in_float() -> None:
    made = quantize(between(ops.Silu()))
    steps = [node.inputs[0] for node in made.model.graph.nodes if isinstance(node.op, ops.Quantize)]
    assert steps == ["x", "moved"]
    assert run(made)["first"].where.dtype == "uint8"


def test_movement_in_front_of_a_float_reader_is_not_rounded() -> None:
    graph = between(ops.Silu())
    builder = GraphBuilder("g", graph)
    for node in graph.nodes:
        builder.emit(node)
    output = builder.one(ops.Transpose((0, 2, 3, 1)), graph.outputs, name="turned")
    made = quantize(builder.build(outputs=(output,)))
    assert not made.choices["turned"].quantized


@pytest.mark.parametrize("recipe", ["w8a8", "fp16"])
def test_a_product_may_end_in_a_scalar(recipe: str) -> None:
    builder = GraphBuilder("g")
    x = builder.input("x", TensorType((1, 32)))
    weight = builder.constant("w", np.linspace(-1, 1, 32, dtype=np.float32)[None])
    score = builder.one(ops.FullyConnected(), (x, weight), name="last0")
    run(quantize(builder.build(outputs=(builder.one(ops.Reshape(()), (score,)),)), recipe))


def test_channels_of_a_depthwise_convolution_have_their_own_scales() -> None:
    made = quantize(single(ops.DepthwiseConv(*ONE), [X, Constant((8, 1, 3, 3))]))
    params = made.model.params["x0__quantized"]
    assert (params.axis, params.scale.shape) == (1, (8,))
    assert len(set(params.zero_point.tolist())) == 1


@pytest.mark.parametrize(("recipe", "least_db"), [("w8", 35), ("w4", 12), ("fp16", 60)])
def test_stored_weights(recipe: str, least_db: float) -> None:
    graph = single(ops.FullyConnected(), [(2, 64), Constant((10, 64)), Constant((10,))])
    made = quantize(graph, recipe)
    assert made.choices["node"].reason == ""
    placed = run(made)
    assert str(placed["node"].where.kernel).startswith("FullyConnected")
    sample = made.data.sample(0)
    weight, bias = (graph.constants[name].astype(np.float32) for name in ("c1", "c2"))
    exact = sample["x0"].astype(np.float32) @ weight.T + bias
    assert sqnr_db(exact, Oracle(made.model).run(sample)[graph.outputs[0]]) > least_db


@pytest.mark.parametrize(
    ("op", "operands", "reason"),
    [
        (ops.Pad((0, 0, 1, 1, 0, 0, 1, 1), value=0.5), [X], "the padding is 0.5; allowed: 0"),
        (
            ops.ConvTranspose((2, 2), (0, 0, 0, 0), (1, 1), (0, 0), groups=2),
            [X, Constant((8, 4, 2, 2))],
            "it has 2 groups; allowed: 1",
        ),
    ],
)
def test_what_would_run_in_float_is_planned_in_float(
    op: ops.Op, operands: list[Shape | Constant], reason: str
) -> None:
    made = quantize(single(op, operands))
    assert reason in made.choices["node"].reason
    run(made)


def test_weights_in_groups_are_whole_groups() -> None:
    graph = single(ops.FullyConnected(), [(2, 40), Constant((10, 40))])
    reason = quantize(graph, "w4").choices["node"].reason
    assert "an output has 40 weights; allowed: multiples of 32" in reason
