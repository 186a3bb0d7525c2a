"""Kernel selection, inserted conversions and relations on small graphs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qhal.decisions import Code
from qhal.errors import PluginError, RefusedError, UnknownRecipeError
from qhal.ir.build import GraphBuilder
from qhal.ir.dtypes import DType
from qhal.ir.graph import Graph, Node, NodeView, TensorType
from qhal.ir.ops import (
    Add,
    Concat,
    DepthwiseConv,
    Dequantize,
    FullyConnected,
    Gather,
    Op,
    Opaque,
    Quantize,
    Requantize,
    Reshape,
    Sigmoid,
    Tanh,
    Unary,
)
from qhal.quant.choice import Verdict
from qhal.quant.constraints import constrain
from qhal.quant.select import select
from qhal.targets.capability import Capabilities, Capability, KernelRow
from qhal.targets.limit import limit
from qhal.targets.recipe import RECIPES, Recipe, find_recipe
from qhal.targets.spec import (
    FLOAT,
    Derived,
    PerAxis,
    PerTensor,
    QuantSpec,
    SameAsInput,
)
from tests.core.quant.targets import INT8, INT16, WEIGHT, capabilities, weighted

W8A8 = RECIPES[0]
FLOAT_ROW = KernelRow(FLOAT, FLOAT)


def layer(b: GraphBuilder, x: str, name: str, width: int = 4) -> str:
    rng = np.random.default_rng(len(name))
    weight = b.constant(f"{name}_w", rng.normal(size=(width, width)).astype(np.float32))
    bias = b.constant(f"{name}_b", np.ones(width, np.float32))
    return b.one(FullyConnected(), (x, weight, bias), name=name, output=f"{name}_out")


def start(width: int = 4) -> tuple[GraphBuilder, str]:
    b = GraphBuilder("g")
    return b, b.input("x", TensorType((1, width)))


def kinds(graph: Graph) -> list[str]:
    return [node.op.kind for node in graph.nodes]


def chain(*ops: Op) -> Graph:
    """x -> fc -> every op in turn."""
    b, x = start()
    x = layer(b, x, "fc")
    for i, op in enumerate(ops):
        x = b.one(op, (x,), name=f"n{i}", output=f"t{i}")
    return b.build(outputs=[x])


def test_float_inputs_and_outputs_get_conversions_and_keep_their_names() -> None:
    solved = constrain(chain(), capabilities(), W8A8)
    graph = solved.qdq.graph
    assert kinds(graph) == ["Quantize", "FullyConnected", "Dequantize"]
    assert graph.inputs == ("x",)
    assert graph.outputs == ("fc_out",)
    assert graph.tensors["fc_out"].dtype is DType.FLOAT32
    assert graph.tensors["fc_out__quantized"].dtype is DType.INT8
    assert [d.code for d in solved.decisions] == [Code.BOUNDARY, Code.BOUNDARY]


def test_integer_io_needs_no_conversions() -> None:
    graph = constrain(chain(), capabilities(integer_io=True), W8A8).qdq.graph
    assert kinds(graph) == ["FullyConnected"]
    assert graph.tensors["x"].dtype is graph.tensors["fc_out"].dtype is DType.INT8


def test_an_operator_without_integer_row_falls_back_with_a_reason() -> None:
    solved = constrain(chain(Unary("Erf")), capabilities(), W8A8)
    choice = solved.choices["n0"]
    assert choice.verdict is Verdict.FALLBACK
    assert (
        choice.reason == "runs in float, because qhal knows no w8a8 kernel for Erf on this target"
    )
    assert kinds(solved.qdq.graph) == ["Quantize", "FullyConnected", "Dequantize", "Erf"]


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_a_constant_that_no_integer_stands_for_keeps_its_node_in_float(value: float) -> None:
    b, x = start()
    mask = b.constant("mask", np.asarray([0, 0, 0, value], np.float32))
    b.one(Add(), (layer(b, x, "fc"), mask), name="masked", output="y")
    choice = constrain(b.build(outputs=("y",)), capabilities(), W8A8).choices["masked"]
    assert choice.verdict is Verdict.FALLBACK
    assert "operand mask holds Inf or NaN" in choice.reason


def test_nothing_is_supported_by_accident() -> None:
    with pytest.raises(RefusedError, match="qhal knows no kernel for Erf on this target"):
        constrain(chain(Unary("Erf")), capabilities(floats=False), W8A8)


def test_a_limit_is_quoted_with_the_offending_value() -> None:
    @limit()
    def narrow(view: object) -> str | None:
        """At most 2 columns."""
        return "4 columns; allowed: 2"

    caps = Capabilities((Capability("FullyConnected", (weighted(),), "tests", limits=(narrow,)),))
    with pytest.raises(RefusedError, match="4 columns; allowed: 2"):
        constrain(chain(), caps, W8A8)


def test_the_first_row_whose_limits_hold_wins_and_a_host_row_is_recorded() -> None:
    @limit()
    def never(view: object) -> str | None:
        """Never."""
        return "the NPU is busy"

    rows = (KernelRow(INT8, INT8, limits=(never,)), KernelRow(INT8, INT8, unit="host"))
    caps = capabilities(extra=(Capability("Tanh", rows, "tests"),))
    choice = select(chain(Tanh()), caps, W8A8)["n0"]
    assert choice.verdict is Verdict.HOST
    assert choice.reason == "runs on the host, because the NPU is busy"


def test_data_movement_stays_where_its_producer_is() -> None:
    solved = constrain(chain(Unary("Erf"), Reshape((4, 1))), capabilities(), W8A8)
    assert solved.choices["n1"].follows
    assert "its input is float" in solved.choices["n1"].reason
    assert kinds(solved.qdq.graph)[-2:] == ["Erf", "Reshape"]


def test_data_movement_between_input_and_float_nodes_stays_in_float() -> None:
    b, x = start()
    y = b.one(Reshape((4, 1)), (x,), name="r", output="r_out")
    z = b.one(Unary("Erf"), (y,), name="e", output="e_out")
    solved = constrain(b.build(outputs=[z]), capabilities(), W8A8)
    assert kinds(solved.qdq.graph) == ["Reshape", "Erf"]


def test_data_movement_before_an_integer_node_moves_integers() -> None:
    b, x = start()
    y = b.one(Reshape((1, 4)), (x,), name="r", output="r_out")
    z = layer(b, y, "fc")
    graph = constrain(b.build(outputs=[z]), capabilities(), W8A8).qdq.graph
    assert kinds(graph) == ["Quantize", "Reshape", "FullyConnected", "Dequantize"]


def test_rows_of_a_table_stay_integers_in_front_of_float_nodes() -> None:
    b = GraphBuilder("g")
    table = b.constant("table", np.ones((9, 4), np.float32))
    ids = b.input("ids", TensorType((3,), DType.INT64))
    y = b.one(Gather(0), (table, ids), name="take")
    graph = b.build(outputs=[b.one(Unary("Erf"), (y,))])
    rows = (KernelRow(INT8, SameAsInput()), FLOAT_ROW)
    caps = capabilities(extra=(Capability("Gather", rows, "tests"),))
    assert kinds(constrain(graph, caps, W8A8).qdq.graph) == ["Gather", "Dequantize", "Erf"]


GIVES_FLOAT = Capability(
    "FullyConnected", (KernelRow(INT8, FLOAT, weight=WEIGHT, bias=FLOAT),), "tests"
)
"""A product that reads integers and gives float."""


def products_that_give_float() -> Capabilities:
    known = capabilities()
    others = tuple(c for c in known.kernels if c.op != "FullyConnected")
    return replace(known, kernels=(GIVES_FLOAT, *others))


def test_data_movement_between_products_that_give_float_moves_integers() -> None:
    b, x = start()
    y = layer(b, x, "fc")
    for i, shape in enumerate(((4, 1), (1, 4))):
        y = b.one(Reshape(shape), (y,), name=f"r{i}", output=f"r{i}_out")
    graph = b.build(outputs=[layer(b, y, "last")])
    solved = constrain(graph, products_that_give_float(), W8A8)
    assert kinds(solved.qdq.graph)[2:] == ["Quantize", "Reshape", "Reshape", "FullyConnected"]


def test_data_movement_in_front_of_a_float_reader_or_an_output_is_not_rounded() -> None:
    b, x = start()
    y = b.one(Reshape((4, 1)), (layer(b, x, "fc"),), name="r", output="r_out")
    z = b.one(Reshape((1, 4)), (y,), name="s", output="s_out")
    layer(b, z, "last")
    graph = b.build(outputs=["last_out", y])
    solved = constrain(graph, products_that_give_float(), W8A8)
    assert solved.choices["r"].follows
    assert not solved.choices["r"].quantized
    assert solved.choices["s"].quantized


def test_a_scale_per_channel_is_given_up_where_a_reader_wants_one_scale() -> None:
    per_channel = KernelRow(replace(INT8, granularity=PerAxis()), FLOAT, weight=WEIGHT, bias=FLOAT)
    extra = (Capability("DepthwiseConv", (per_channel,), "tests"),)
    for readers, expected in ((1, PerAxis()), (2, PerTensor())):
        b = GraphBuilder("g")
        x = b.input("x", TensorType((1, 2, 4, 4)))
        weight = b.constant("w", np.ones((2, 1, 1, 1), np.float32))
        y = b.one(DepthwiseConv((1, 1), (0, 0, 0, 0), (1, 1)), (x, weight), name="d", output="y")
        outputs = [y]
        if readers == 2:
            outputs.append(b.one(Add(), (x, x), name="a", output="z"))
        solved = constrain(b.build(outputs=outputs), capabilities(extra=extra), W8A8)
        spec = solved.qdq.specs["x__quantized"]
        assert isinstance(spec, QuantSpec)
        assert spec.granularity == expected


def test_one_conversion_serves_all_readers() -> None:
    b, x = start()
    y = layer(b, x, "fc")
    one, two = (b.one(Unary("Erf"), (y,), name=n, output=f"{n}_out") for n in ("e1", "e2"))
    graph = constrain(b.build(outputs=[one, two]), capabilities(), W8A8).qdq.graph
    assert kinds(graph).count("Dequantize") == 1


def test_two_integer_types_meet_in_a_requantize() -> None:
    rows = (KernelRow(INT16, INT16),)
    caps = capabilities(extra=(Capability("Tanh", rows, "tests"),))
    mixed = Recipe("mixed", "", frozenset({DType.INT8, DType.INT16}), frozenset({DType.INT8}))
    solved = constrain(chain(Tanh()), caps, mixed)
    conversions = [n for n in solved.qdq.graph.nodes if isinstance(n.op, Requantize)]
    assert [n.outputs for n in conversions] == [("fc_out__int16",)]


def test_concat_shares_and_a_fixed_operand_is_requantized() -> None:
    b, x = start()
    one, two = layer(b, x, "fc"), layer(b, x, "second")
    gate = b.one(Sigmoid(), (two,), name="gate", output="gate_out")
    y = b.one(Concat(1), (one, gate), name="cat", output="cat_out")
    solved = constrain(b.build(outputs=[y]), capabilities(), W8A8)
    shared = next(set(g) for g in solved.groups if "fc_out" in g)
    assert shared == {"fc_out", "gate_out__for_cat", "cat_out__quantized"}
    assert Code.RELATION in [d.code for d in solved.decisions]
    assert solved.to_observe == ("x", "fc_out", "second_out", "gate_out")


def test_concat_of_equally_fixed_operands_needs_no_conversion() -> None:
    b, x = start()
    gates = [
        b.one(Sigmoid(), (layer(b, x, n),), name=f"{n}_s", output=f"{n}_s_out")
        for n in ("fc", "second")
    ]
    y = b.one(Concat(1), gates, name="cat", output="cat_out")
    graph = constrain(b.build(outputs=[y]), capabilities(), W8A8).qdq.graph
    assert "Requantize" not in kinds(graph)


def test_constants_of_two_readers_get_a_form_each() -> None:
    b, x = start()
    shift = b.constant("shift", np.full((1, 4), 0.5, np.float32))
    one = b.one(Add(), (x, shift), name="a1", output="a1_out")
    two = b.one(Add(), (one, shift), name="a2", output="a2_out")
    forms = constrain(b.build(outputs=[two]), capabilities(), W8A8).qdq.forms
    assert {f.source for f in forms.values()} == {"shift"}
    assert {f.node for f in forms.values()} == {"a1", "a2"}


def test_opaque_nodes_run_only_where_the_runtime_takes_them() -> None:
    op = Opaque("custom", "Mystery", 1, b"", "custom::Mystery has no canonical form")
    graph = Graph(
        "g",
        ("x",),
        ("y",),
        (Node("m", op, ("x",), ("y",)),),
        {"x": TensorType((1, 4)), "y": TensorType((1, 4))},
    )
    with pytest.raises(RefusedError, match="has no canonical form"):
        constrain(graph, capabilities(), W8A8)
    taking = Capabilities((), opaque=None)
    assert select(graph, taking, W8A8)["m"].verdict is Verdict.FALLBACK
    ruled = Capabilities((), opaque=limit()(_no_mysteries))
    assert select(graph, ruled, W8A8)["m"].reason.startswith("it is a mystery: custom::Mystery")
    with pytest.raises(PluginError, match="not a Limit"):
        Capabilities((), opaque=_no_mysteries)  # type: ignore[arg-type]


def _no_mysteries(view: NodeView) -> str | None:
    """There are no mysteries."""
    return "it is a mystery" if view.op.kind.endswith("Mystery") else None


def test_integer_tensors_are_left_alone() -> None:
    b = GraphBuilder("g")
    ids = b.input("ids", TensorType((3,), DType.INT64))
    table = b.constant("table", np.ones((5, 4), np.float32))
    y = b.one(Gather(0), (table, ids), name="take", output="rows")
    rows = (KernelRow(INT8, SameAsInput()),)
    caps = capabilities(extra=(Capability("Gather", rows, "tests"),))
    graph = constrain(b.build(outputs=[y]), caps, W8A8).qdq.graph
    assert graph.tensors["ids"].dtype is DType.INT64
    assert kinds(graph) == ["Gather", "Dequantize"]


def test_a_recipe_that_the_target_lacks_names_those_it_has() -> None:
    assert find_recipe("w8a8", capabilities(), "npu") is W8A8
    with pytest.raises(UnknownRecipeError, match=r"no kernels for it.*Recipes of npu: w8a8"):
        find_recipe("w8a16", capabilities(), "npu")
    with pytest.raises(UnknownRecipeError, match="no such recipe"):
        find_recipe("w9a9", capabilities(), "npu")


def test_every_tensor_has_one_type() -> None:
    graph = constrain(chain(Sigmoid(), Unary("Erf")), capabilities(), W8A8).qdq.graph
    for node in graph.nodes:
        if isinstance(node.op, Quantize):
            assert graph.tensors[node.inputs[0]].dtype.is_float
        if isinstance(node.op, Dequantize):
            assert graph.tensors[node.outputs[0]].dtype.is_float


def test_an_integer_layer_without_bias_gets_one_of_zeros() -> None:
    b, x = start()
    weight = b.constant("w", np.eye(4, dtype=np.float32)[:3])
    y = b.one(FullyConnected(), (x, weight), name="fc", output="y")
    qdq = constrain(b.build(outputs=[y]), capabilities(), W8A8).qdq
    (node,) = (n for n in qdq.graph.nodes if n.name == "fc")
    np.testing.assert_array_equal(qdq.graph.constants[node.inputs[2]], np.zeros(3))
    assert isinstance(qdq.forms[node.inputs[2]].spec, Derived)


def test_a_float_layer_without_bias_stays_without() -> None:
    b, x = start()
    weight = b.constant("w", np.eye(4, dtype=np.float32))
    y = b.one(FullyConnected(), (x, weight), name="fc", output="y")
    float_rows = capabilities().of("FullyConnected")[0].rows[1:]
    caps = Capabilities((Capability("FullyConnected", float_rows, "tests"),))
    (node,) = constrain(b.build(outputs=[y]), caps, W8A8).qdq.graph.nodes
    assert len(node.inputs) == 2
