"""Loops and scans: written out where the number of iterations is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from qhal.decisions import Code
from qhal.errors import ModelInvalidError, ModelShapeError
from qhal.ir.graph import Array
from qhal.ir.onnx import unroll
from tests.core.ir.importing import check_same, floats, imported, kinds, model, read

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
TRUE: Array = np.array(True)

Info = tuple[str, int, Sequence[int | None]]


def body(nodes: Sequence[onnx.NodeProto], inputs: Sequence[Info], outputs: Sequence[Info]) -> Any:
    taken, made = (
        [helper.make_tensor_value_info(*info) for info in side] for side in (inputs, outputs)
    )
    return helper.make_graph(list(nodes), "body", taken, made)


def loop(
    nodes: Sequence[onnx.NodeProto],
    carried: Sequence[tuple[Info, Info]],
    made: Sequence[Info] = (),
    *,
    operands: Sequence[str],
    outputs: Sequence[str],
    condition: str = "",
) -> onnx.NodeProto:
    """A Loop whose body hands each ``carried`` value on; it goes on as ``condition`` says."""
    first: list[Info] = [("i", INT64, ()), ("on", BOOL, ())]
    keep = [] if condition else [helper.make_node("Identity", ["on"], ["kept"])]
    inner = body(
        [*keep, *nodes],
        [*first, *(before for before, _ in carried)],
        [(condition or "kept", BOOL, ()), *(after for _, after in carried), *made],
    )
    return helper.make_node("Loop", operands, outputs, name="loop", body=inner)


STATE = (("s", FLOAT, (2, 3)), ("t", FLOAT, (2, 3)))
STEP = [helper.make_node("Tanh", ["s"], ["u"]), helper.make_node("Add", ["u", "x"], ["t"])]


def test_a_loop_with_a_constant_count_is_written_out(tmp_path: Path) -> None:
    """The body reads the model's input from outside, and hands a state on."""
    node = loop(STEP, [STATE], operands=["n", "c", "x"], outputs=["y"])
    proto = model([node], {"x": (2, 3)}, constants={"n": np.array(3), "c": TRUE})
    result = read(tmp_path, proto)
    assert kinds(result.graph) == ["Tanh", "Add"] * 3
    check_same(proto.SerializeToString(), result.graph)
    (decision,) = result.decisions
    assert decision.code is Code.UNROLLED
    assert decision.sentence == "Loop 'loop' was unrolled: its body runs 3 times."


def test_slices_of_all_iterations_are_joined(tmp_path: Path) -> None:
    """The number of the iteration is a constant in each: the slices differ."""
    nodes = [
        *STEP,
        helper.make_node("Cast", ["i"], ["f"], to=FLOAT),
        helper.make_node("Mul", ["t", "f"], ["row"]),
    ]
    made: list[Info] = [("row", FLOAT, (2, 3)), ("f", FLOAT, ())]
    node = loop(nodes, [STATE], made, operands=["n", "", "x"], outputs=["last", "y", "k"])
    proto = model([node], {"x": (2, 3)}, ["last", "y", "k"], constants={"n": np.array(4)})
    graph = imported(tmp_path, proto)
    assert graph.tensors["y"].shape == (4, 2, 3)


def test_a_condition_that_constants_decide_ends_a_loop(tmp_path: Path) -> None:
    nodes = [*STEP, helper.make_node("Less", ["i", "two"], ["go"])]
    node = loop(nodes, [STATE], operands=["", "c", "x"], outputs=["y"], condition="go")
    proto = model([node], {"x": (2, 3)}, constants={"c": TRUE, "two": np.array(2)})
    assert kinds(imported(tmp_path, proto)) == ["Tanh", "Add"] * 3


def test_states_may_swap_places_and_change_their_shape(tmp_path: Path) -> None:
    nodes = [helper.make_node("Concat", ["a", "b"], ["ab"], axis=0)]
    carried: list[tuple[Info, Info]] = [
        (("a", FLOAT, (None, 3)), ("b", FLOAT, (None, 3))),
        (("b", FLOAT, (None, 3)), ("ab", FLOAT, (None, 3))),
    ]
    node = loop(nodes, carried, operands=["n", "c", "x", "z"], outputs=["p", "y"])
    shapes = {"x": (1, 3), "z": (2, 3)}
    proto = model([node], shapes, ["p", "y"], constants={"n": np.array(4), "c": TRUE})
    graph = imported(tmp_path, proto)
    assert (graph.tensors["p"].shape, graph.tensors["y"].shape) == ((8, 3), (13, 3))


def test_an_if_within_a_loop_takes_the_branch_of_each_iteration(tmp_path: Path) -> None:
    branches = {}
    for op, name in (("Neg", "then_branch"), ("Exp", "else_branch")):
        info = helper.make_tensor_value_info(op, FLOAT, (2, 3))
        branches[name] = helper.make_graph([helper.make_node(op, ["s"], [op])], op, [], [info])
    nodes = [
        helper.make_node("Less", ["i", "one"], ["early"]),
        helper.make_node("If", ["early"], ["t"], **branches),
    ]
    node = loop(nodes, [STATE], operands=["n", "c", "x"], outputs=["y"])
    constants: dict[str, Array] = {"n": np.array(3), "c": TRUE, "one": np.array(1)}
    graph = imported(tmp_path, model([node], {"x": (2, 3)}, constants=constants))
    assert kinds(graph) == ["Neg", "Exp", "Exp"]


@pytest.mark.parametrize(("count", "kept"), [(0, True), (1, False)])
def test_a_loop_that_does_not_run_hands_its_operands_on(
    tmp_path: Path, count: int, kept: bool
) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["r"])]
    node = loop(STEP, [STATE], operands=["n", "c", "r"], outputs=["y"])
    constants: dict[str, Array] = {"n": np.array(count), "c": TRUE}
    graph = imported(tmp_path, model([*nodes, node], {"x": (2, 3)}, constants=constants))
    assert (kinds(graph) == ["Relu"]) == kept


LOOPS_ON_DATA: list[tuple[Mapping[str, Array], str]] = [
    ({"n": np.array(3)}, "it computes its number of iterations from the model's inputs"),
    ({"c": TRUE}, "whether it goes on depends on the model's inputs"),
]


@pytest.mark.parametrize(("given", "why"), LOOPS_ON_DATA)
def test_loops_on_data_are_refused(tmp_path: Path, given: Mapping[str, Array], why: str) -> None:
    node = loop(STEP, [STATE], operands=["n", "c", "x"], outputs=["y"])
    constants = {k: v for k, v in {"n": np.array(3), "c": TRUE}.items() if k not in given}
    proto = model([node], {"x": (2, 3), **given}, constants=constants)
    with pytest.raises(ModelInvalidError, match=f"Loop 'loop' .* reads 'x' from outside, .*{why}"):
        read(tmp_path, proto)


@pytest.mark.parametrize("count", [4, 5])
def test_a_loop_that_would_be_too_long_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(unroll, "MOST_NODES", 12)
    node = loop(STEP, [STATE], operands=["n", "c", "x"], outputs=["y"])
    constants: dict[str, Array] = {"n": np.array(count), "c": TRUE}
    proto = model([node], {"x": (2, 3)}, constants=constants)
    if count * 3 <= 12:
        assert kinds(imported(tmp_path, proto)) == ["Tanh", "Add"] * count
        return
    with pytest.raises(ModelInvalidError, match=r"unrolled into more than 12 nodes \(3 in each"):
        read(tmp_path, proto)


def nested(count: int) -> onnx.ModelProto:
    """A loop in a loop: the inner body runs ``count`` times ``count`` times."""
    step = [helper.make_node(*op) for op in (("Identity", ["j"], ["k"]), ("Sin", ["b"], ["bo"]))]
    inside: list[Info] = [("i2", INT64, ()), ("j", BOOL, ()), ("b", FLOAT, (2,))]
    made = body(step, inside, [("k", BOOL, ()), ("bo", FLOAT, (2,))])
    inner = helper.make_node("Loop", ["n", "", "a"], ["ao"], body=made)
    outer = loop(
        [inner],
        [(("a", FLOAT, (2,)), ("ao", FLOAT, (2,)))],
        operands=["n", "", "x"],
        outputs=["y"],
    )
    outer.name = "outer"
    return model([outer], {"x": (2,)}, constants={"n": np.array(count)})


def test_loops_in_loops_have_one_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unroll, "MOST_NODES", 24)  # 3 times 2 nodes, and 3 times 3 times 2
    assert kinds(imported(tmp_path, nested(3))) == ["Sin"] * 9
    with pytest.raises(ModelInvalidError, match=r"unrolled into more than 24 nodes"):
        read(tmp_path, nested(4))


def test_loops_one_after_the_other_have_one_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = [loop(STEP, [STATE], operands=["n", "c", "x"], outputs=[f"y{i}"]) for i in range(2)]
    nodes[1].name = "second"
    proto = model(nodes, {"x": (2, 3)}, ["y0", "y1"], constants={"n": np.array(2), "c": TRUE})
    monkeypatch.setattr(unroll, "MOST_NODES", 12)
    assert kinds(imported(tmp_path, proto)) == ["Tanh", "Add"] * 4
    monkeypatch.setattr(unroll, "MOST_NODES", 11)
    with pytest.raises(ModelInvalidError, match="more than 11 nodes"):
        read(tmp_path, proto)


def test_a_loop_of_nothing_ends(tmp_path: Path) -> None:
    """A body without nodes counts as one."""
    states: list[Info] = [("on", BOOL, ()), ("s", FLOAT, (2,))]
    inner = body([], [("i", INT64, ()), *states], states)
    node = helper.make_node("Loop", ["", "c", "x"], ["y"], body=inner)
    with pytest.raises(ModelShapeError, match=r"unrolled into more than 4,096 nodes \(1 in each"):
        read(tmp_path, model([node], {"x": (2,)}, constants={"c": TRUE}))


# --- Scan ---------------------------------------------------------------------------


SUM = [helper.make_node("Add", ["s", "row"], ["t"]), helper.make_node("Tanh", ["t"], ["out"])]


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_a_scan_is_written_out(tmp_path: Path, axis: int, backwards: bool) -> None:
    inner = body(
        SUM,
        [("s", FLOAT, (2,)), ("row", FLOAT, (2,))],
        [("t", FLOAT, (2,)), ("out", FLOAT, (2,))],
    )
    node = helper.make_node(
        "Scan",
        ["s0", "x"],
        ["last", "y"],
        name="scan",
        body=inner,
        num_scan_inputs=1,
        scan_input_axes=[axis],
        scan_input_directions=[int(backwards)],
        scan_output_axes=[axis],
        scan_output_directions=[int(not backwards)],
    )
    shape = (4, 2) if axis == 0 else (2, 4)
    proto = model([node], {"x": shape}, ["last", "y"], constants={"s0": floats(2)})
    graph = imported(tmp_path, proto)
    assert kinds(graph).count("Tanh") == 4
    assert graph.tensors["y"].shape == shape


def test_a_scan_over_constants(tmp_path: Path) -> None:
    """The slices of a constant are constants."""
    inner = body(SUM, [("s", FLOAT, (2,)), ("row", FLOAT, (2,))], [("t", FLOAT, (2,))])
    node = helper.make_node("Scan", ["x", "rows"], ["y"], body=inner, num_scan_inputs=1)
    graph = imported(tmp_path, model([node], {"x": (2,)}, constants={"rows": floats(3, 2)}))
    assert kinds(graph) == ["Add"]
