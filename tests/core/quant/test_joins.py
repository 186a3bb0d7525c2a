"""What calibration measured decides whether one scale may serve all operands of a node."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from qhal.data import load_dataset
from qhal.decisions import Code, Severity
from qhal.errors import RefusedError
from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.graph import Array, Graph, TensorType
from qhal.quant.calibrate import calibrate
from qhal.quant.choice import Choices, Verdict
from qhal.quant.collectors import TensorStats
from qhal.quant.constraints import constrain
from qhal.quant.joins import find_coarse
from qhal.quant.settle import Settled, settle
from qhal.targets.capability import Capabilities, Capability, KernelRow, ScaleLimit
from qhal.targets.recipe import RECIPES
from qhal.targets.spec import FLOAT, SameAsInput
from tests.core.quant.targets import INT8, WEIGHT, capabilities, weighted

W8A8 = RECIPES[0]
WIDE, NARROW = 300.0, 1.0


def joined(*behind: ops.Op, narrow: float = NARROW) -> Graph:
    """Two inputs of different ranges in one Concat, and what follows."""
    b = GraphBuilder("joined")
    wide, small = (b.input(name, TensorType((1, 4))) for name in ("wide", "small"))
    ends = [b.one(ops.Reshape((1, 4)), [name]) for name in (wide, small)]
    y = b.one(ops.Concat(1), ends, name="join")
    for op in behind:
        y = b.one(op, [y])
    return b.build(outputs=[y])


def samples(narrow: float = NARROW) -> dict[str, Array]:
    rng = np.random.default_rng(0)
    reach = {"wide": WIDE, "small": narrow}
    return {n: rng.uniform(0, k, (8, 4)).astype(np.float32) for n, k in reach.items()}


def measured(graph: Graph, arrays: Mapping[str, Array]) -> Mapping[str, TensorStats]:
    data = load_dataset(arrays, {name: graph.tensors[name] for name in graph.inputs})
    return calibrate(graph, data, (), also=graph.tensors).stats


def settled(graph: Graph, arrays: Mapping[str, Array], caps: Capabilities) -> Settled:
    solved = constrain(graph, caps, W8A8)
    return settle(graph, caps, solved, measured(graph, arrays), "minmax")


def choices_of(graph: Graph, arrays: Mapping[str, Array], caps: Capabilities) -> Choices:
    return settled(graph, arrays, caps).constraints.choices


@pytest.mark.parametrize("behind", [(), (ops.Reshape((2, 4)),)], ids=["alone", "moved"])
def test_what_only_becomes_a_float_output_is_joined_in_float(behind: tuple[ops.Op, ...]) -> None:
    caps = capabilities(extra=(Capability("Relu", (KernelRow(FLOAT, FLOAT),), "tests"),))
    found = settled(joined(*behind), samples(), caps)
    choice = found.constraints.choices["join"]
    assert choice.runs_in_float
    assert choice.promoted is Code.JOIN_PROMOTED
    assert "would keep 1 step beside" in choice.reason
    assert not found.decisions
    kinds = [node.op.kind for node in found.constraints.qdq.graph.nodes]
    assert kinds[-1 - len(behind)] == "Concat"


def test_operands_of_one_range_share_a_scale() -> None:
    found = settled(joined(), samples(narrow=WIDE), capabilities())
    assert found.constraints.choices["join"].quantized
    assert not found.decisions


def test_steps_are_those_of_the_narrow_operand_over_the_range_of_all() -> None:
    graph = joined()
    arrays = samples(narrow=10.0)
    found = find_coarse(
        graph, constrain(graph, capabilities(), W8A8).choices, measured(graph, arrays)
    )
    worst = min(each.steps for each in found if each.node == "join")
    assert worst == pytest.approx(255 * arrays["small"].max() / arrays["wide"].max(), rel=1e-5)


def layer(graph_of: GraphBuilder, x: str) -> str:
    weight = graph_of.constant("w", np.eye(8, dtype=np.float32))
    return graph_of.one(ops.FullyConnected(), [x, weight], name="layer")


def test_in_the_middle_the_layer_that_reads_the_join_goes_along() -> None:
    b = GraphBuilder("middle")
    ends = [b.one(ops.Reshape((1, 4)), [b.input(n, TensorType((1, 4)))]) for n in ("wide", "small")]
    y = layer(b, b.one(ops.Concat(1), ends, name="join"))
    graph = b.build(outputs=[y])
    choices = choices_of(graph, samples(), capabilities())
    assert choices["join"].runs_in_float and choices["layer"].runs_in_float
    kept = choices_of(graph, samples(narrow=60.0), capabilities())
    assert kept["join"].quantized and kept["layer"].quantized


def scaled(factors: list[float], kind: ops.Op, *behind: ops.Op) -> tuple[Graph, dict[str, Array]]:
    """One input of which each channel has a factor of its own, and what follows."""
    b = GraphBuilder("scaled")
    x = b.one(ops.Reshape((1, 4)), [b.input("x", TensorType((1, 4)))])
    y = b.one(kind, [x, b.constant("k", np.array([factors], np.float32))], name="scale")
    for op in behind:
        y = b.one(op, [y])
    values = np.random.default_rng(0).uniform(0, 1, (8, 4)).astype(np.float32)
    return b.build(outputs=[y]), {"x": values}


MOVED = (ops.Reshape((2, 2)),)


@pytest.mark.parametrize("behind", [(), MOVED], ids=["alone", "moved"])
@pytest.mark.parametrize("kind", [ops.Mul(), ops.Div()], ids=["times", "by"])
def test_channels_that_a_factor_of_their_own_leaves_few_steps_are_scaled_in_float(
    kind: ops.Op, behind: tuple[ops.Op, ...]
) -> None:
    row = (KernelRow(INT8, INT8), KernelRow(FLOAT, FLOAT))
    caps = capabilities(extra=(Capability(kind.kind, row, "tests"),))
    choices = choices_of(*scaled([640, 640, 0, 1], kind, *behind), caps)
    assert choices["scale"].promoted is Code.JOIN_PROMOTED
    assert "1 step beside the largest channel of scale" in choices["scale"].reason
    assert choices_of(*scaled([12, 8, 8, 1], kind, *behind), caps)["scale"].quantized


def test_an_output_of_integers_whose_channels_have_such_factors_is_refused() -> None:
    row = Capability("Mul", (KernelRow(INT8, INT8),), "tests")
    caps = capabilities(floats=False, integer_io=True, extra=(row,))
    with pytest.raises(RefusedError, match=r"Mul scale.* 1 step of 255"):
        settled(*scaled([640, 640, 640, 1], ops.Mul()), caps)


def test_factors_of_channels_that_a_layer_reads_are_as_they_were_trained() -> None:
    b = GraphBuilder("inside")
    x = b.one(ops.Reshape((1, 4)), [b.input("x", TensorType((1, 4)))])
    factors = b.constant("k", np.array([[640, 640, 640, 1]], np.float32))
    graph = b.build(outputs=[layer_of_four(b, b.one(ops.Mul(), [x, factors], name="scale"))])
    values = np.random.default_rng(0).uniform(0, 1, (8, 4)).astype(np.float32)
    row = (KernelRow(INT8, INT8), KernelRow(FLOAT, FLOAT))
    caps = capabilities(extra=(Capability("Mul", row, "tests"),))
    assert choices_of(graph, {"x": values}, caps)["scale"].quantized


def integers_only() -> Capabilities:
    return capabilities(floats=False, integer_io=True)


def test_an_output_of_integers_that_loses_an_operand_is_refused_with_the_steps_left() -> None:
    with pytest.raises(RefusedError, match=r"Concat join.* 1 step of 255"):
        settled(joined(), samples(), integers_only())
    assert settled(joined(), samples(narrow=60.0), integers_only()).decisions == ()


HOSTED = KernelRow(FLOAT, FLOAT, unit="host")


def joins_on_the_host() -> Capabilities:
    rows = (KernelRow(INT8, SameAsInput(every=True)), HOSTED)
    moves = (KernelRow(INT8, SameAsInput()), HOSTED)
    kernels = (Capability("Concat", rows, "tests"), Capability("Reshape", moves, "tests"))
    layers = tuple(integers_only().of("FullyConnected"))
    return Capabilities((*kernels, *layers), integer_io=True)


def test_outputs_of_integers_are_joined_in_float_elsewhere_where_they_would_be_lost() -> None:
    found = settled(joined(ops.Reshape((2, 4))), samples(), joins_on_the_host())
    choice = found.constraints.choices["join"]
    assert choice.verdict is Verdict.HOST and choice.promoted is Code.JOIN_PROMOTED
    assert choice.reason.startswith("runs in float on the host, because ")
    assert "would keep 1 step beside all of join" in choice.reason
    kept = settled(joined(), samples(narrow=60.0), joins_on_the_host())
    assert kept.constraints.choices["join"].quantized


def test_joins_in_the_middle_stay_on_the_main_unit() -> None:
    b = GraphBuilder("middle")
    ends = [b.one(ops.Reshape((1, 4)), [b.input(n, TensorType((1, 4)))]) for n in ("wide", "small")]
    y = layer(b, b.one(ops.Concat(1), ends, name="join"))
    found = settled(b.build(outputs=[y]), samples(), joins_on_the_host())
    assert found.constraints.choices["join"].quantized
    assert [told.code for told in found.decisions] == [Code.FEW_STEPS]


def test_what_cannot_run_in_float_is_a_warning_with_the_steps_left() -> None:
    b = GraphBuilder("middle")
    ends = [b.one(ops.Reshape((1, 4)), [b.input(n, TensorType((1, 4)))]) for n in ("wide", "small")]
    y = layer(b, b.one(ops.Concat(1), ends, name="join"))
    (told,) = settled(b.build(outputs=[y]), samples(), integers_only()).decisions
    assert told.code is Code.FEW_STEPS and told.severity is Severity.WARNING
    assert "1 step of 255" in told.sentence
    assert told.subject in told.sentence


def test_other_readers_of_a_narrow_operand_keep_its_steps() -> None:
    b = GraphBuilder("shared")
    wide, small = (
        b.one(ops.Reshape((1, 4)), [b.input(n, TensorType((1, 4)))]) for n in ("wide", "small")
    )
    y = layer(b, b.one(ops.Concat(1), [wide, small], name="join"))
    weight = b.constant("v", np.eye(4, dtype=np.float32))
    z = b.one(ops.FullyConnected(), [small, weight], name="other")
    graph = b.build(outputs=[y, z])
    solved = settled(graph, samples(), integers_only()).constraints
    roots = {name: group for group in solved.groups for name in group}
    join, other = (
        next(n for n in solved.qdq.graph.nodes if n.name == x) for x in ("join", "other")
    )
    assert join.outputs[0] not in roots[other.inputs[0]]
    assert any(node.op.kind == "Requantize" for node in solved.qdq.graph.nodes)


def test_a_kernel_that_does_not_take_its_scales_runs_in_float_or_is_refused() -> None:
    def caps(*fallback: KernelRow) -> Capabilities:
        row = KernelRow(INT8, INT8, scales=ScaleLimit(operand=8.0))
        layers = Capability(
            "FullyConnected", (weighted(), KernelRow(FLOAT, FLOAT, WEIGHT, FLOAT)), "tests"
        )
        moves = Capability("Reshape", (KernelRow(INT8, SameAsInput()),), "tests")
        return Capabilities((Capability("Add", (row, *fallback), "tests"), layers, moves))

    b = GraphBuilder("difference")
    one, two = (b.input(name, TensorType((1, 4))) for name in ("one", "two"))
    y = b.one(ops.Add(), [one, two], name="sum")
    graph = b.build(outputs=[layer_of_four(b, y)])
    values = np.random.default_rng(0).uniform(-100, 100, (8, 4)).astype(np.float32)
    arrays = {"one": values, "two": (1 - values).astype(np.float32)}
    choices = choices_of(graph, arrays, caps(KernelRow(FLOAT, FLOAT)))
    assert choices["sum"].runs_in_float
    assert "allowed is less than 8" in choices["sum"].reason
    with pytest.raises(RefusedError, match="allowed is less than 8, and the target has no kernel"):
        settled(graph, arrays, caps())


def layer_of_four(b: GraphBuilder, x: str) -> str:
    weight = b.constant("w", np.eye(4, dtype=np.float32))
    return b.one(ops.FullyConnected(), [x, weight], name="layer")
