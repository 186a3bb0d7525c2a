"""Every other form of an operator computes what the operator computes."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import numpy as np
import pytest

from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.dtypes import DType
from qhal.ir.graph import Array, Graph, TensorType
from qhal.legal.decompose import insert
from qhal.legal.forms.draft import Draft
from qhal.legal.forms.table import FORMS
from tests.core.ir_graphs import run

IMAGE = (2, 4, 6, 4)
_PLAIN = ops.Reduce("Mean", (2, 3)), ops.Reduce("Mean", (2, 3), False)


def array(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def positive(*shape: int) -> Array:
    return np.abs(array(*shape, seed=5)) + np.float32(0.5)


CASES: tuple[tuple[ops.Op, Sequence[Array]], ...] = (
    *((op, [3 * array(*IMAGE)]) for op in (
        ops.HardSwish(), ops.HardSigmoid(), ops.HardSigmoid(1 / 6, 0.5), ops.Silu(),
        ops.Gelu(), ops.Gelu(approximate=True), ops.Sigmoid(), ops.Tanh(), ops.Elu(0.7),
        ops.Unary("Softplus"), ops.Relu(), ops.Relu6(), ops.Clip(0, 6), ops.Clip(0, inf),
        ops.Clip(-1, 2), ops.Clip(-inf, 1.5), ops.Clip(-0.5, inf), ops.LeakyRelu(0.1),
        ops.LeakyRelu(2.0), ops.Unary("Neg"), ops.Unary("Abs"), ops.LogSoftmax(1),
        *_PLAIN, ops.Reduce("Sum", (1, 3)), ops.Reduce("Max", (2, 3)), ops.Reduce("Min", (0,)),
        ops.AveragePool((6, 4), (1, 1), (0, 0, 0, 0)),
        ops.AveragePool((3, 2), (2, 1), (1, 0, 1, 1), count_include_pad=True),
        ops.AveragePool((3, 3), (2, 2), (1, 1, 2, 0)),
        ops.AveragePool((3, 2), (1, 1), (0, 0, 1, 1)),
        ops.Split(1, (1, 3)), ops.Tile((1, 2, 1, 3)), ops.DepthToSpace(2, "DCR"),
        ops.DepthToSpace(2, "CRD"), ops.SpaceToDepth(2),
    )),
    *((ops.Unary(name), [positive(*IMAGE)]) for name in ("Rsqrt", "Sqrt", "Reciprocal")),
    *((op, [array(*IMAGE), array(4, 1, 1, seed=1)]) for op in (
        ops.Maximum(), ops.Minimum(), ops.Sub(), ops.PRelu(),
    )),
    *((op, [array(*IMAGE), np.array(0.3, np.float32)]) for op in (
        ops.Maximum(), ops.Minimum(), ops.PRelu(), ops.Sub(), ops.Div(),
    )),
    (ops.Div(), [array(*IMAGE), positive(4, 1, 1)]),
    *((ops.Pow(), [positive(*IMAGE), np.array(e, np.float32)]) for e in (2, 3, 0.5, -0.5, -1)),
    (ops.LayerNorm(2), [array(*IMAGE), array(6, 4, seed=1), array(6, 4, seed=2)]),
    (ops.InstanceNorm(), [array(*IMAGE), array(4, seed=1), array(4, seed=2)]),
    (ops.FullyConnected(), [array(2, 5), array(3, 5, seed=1), array(3, seed=2)]),
    (ops.FullyConnected(), [array(2, 5), array(3, 5, seed=1)]),
    (ops.MatMul(), [array(2, 3, 5), array(5, 4, seed=1)]),
    (ops.Concat(1), [array(2, i % 3 + 1, seed=i) for i in range(21)]),
    (
        ops.DepthwiseConv((1, 2), (1, 0, 1, 0), (1, 1), 2),
        [array(*IMAGE), array(8, 1, 3, 3, seed=1), array(8, seed=2)],
    ),
    *((op, [array(2, 4, 5, 3), array(4, 3, 3, 2, seed=1), array(3 * groups, seed=2)])
      for groups in (1, 2) for op in (
        ops.ConvTranspose((2, 1), (1, 0, 0, 1), (2, 3), (1, 0), groups),
        ops.ConvTranspose((1, 1), (3, 0, 3, 0), (1, 1), (0, 0), groups),
        ops.ConvTranspose((3, 2), (0, 1, 0, 0), (1, 1), (0, 1), groups),
    )),
    (ops.Mod(truncates=True), [3 * array(*IMAGE), array(4, 1, 1, seed=1)]),
    (ops.Gather(1), [array(*IMAGE), np.array([1, 2])]),
    (ops.Gather(1), [array(*IMAGE), np.array(3)]),
    (ops.Expand((3, 2, 5)), [array(2, 1)]),
    (ops.Unary("Sign"), [np.maximum(array(*IMAGE), 0)]),
    (ops.Unary("Sign"), [array(*IMAGE)]),
    *((op, [array(2, 1, 3, 1, 2), positive(4, 1, 3, 1)]) for op in (
        ops.Add(), ops.Mul(), ops.Sub(), ops.Div(), ops.Maximum(), ops.Compare("<"),
    )),
    (ops.Logical("And"), [np.greater(array(2, 1, 3), 0), np.greater(array(4, 1, seed=1), 0)]),
    (ops.Where(), [np.greater(array(2, 1, 3), 0), array(4, 1, seed=1), array(3, seed=2)]),
    (
        ops.ConvTranspose((2, 2), (1, 1, 1, 0), (1, 1), (0, 0)),
        [array(2, 4, 5, 3), array(4, 3, 1, 3, seed=1), array(3, seed=2)],
    ),
)  # fmt: skip


def single(
    op: ops.Op, operands: Sequence[Array], dynamic: int = 1
) -> tuple[Graph, dict[str, Array]]:
    """A graph of one node; the first ``dynamic`` operands are inputs, others constants."""
    builder = GraphBuilder("one")
    names, values = [], {}
    for i, value in enumerate(operands):
        if i < dynamic:
            dtype = TensorType(tuple(np.shape(value)), DType.of(value))
            names.append(builder.input(f"in{i}", dtype))
            values[f"in{i}"] = np.asarray(value)
        else:
            names.append(builder.constant(f"c{i}", value) if value is not None else "")
    outputs = builder.add(op, names, name="node")
    return builder.build(outputs=outputs), values


def rewritten(graph: Graph, form: object) -> Graph | None:
    """The graph with its node in another form; None if the form does not apply."""
    (node,) = graph.nodes
    builder = GraphBuilder(start=graph)
    draft = Draft(builder, node)
    results = form(draft)  # type: ignore[operator]
    if results is None:
        return None
    insert(builder, node, draft.finished(results))
    return builder.build()


@pytest.mark.parametrize(
    ("op", "operands"), CASES, ids=lambda v: str(v)[:60] if isinstance(v, ops.Op) else ""
)
def test_forms_compute_the_same(op: ops.Op, operands: Sequence[Array]) -> None:
    graph, values = single(op, operands)
    expected = run(graph, values)
    others = [g for form in FORMS[op.kind] if (g := rewritten(graph, form)) is not None]
    assert others, "no form applies"
    for other in others:
        assert other.outputs == graph.outputs
        found = run(other, values)
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=6e-4)


def test_every_form_is_tested() -> None:
    covered = {op.kind for op, _ in CASES} | {"Lstm", "Gru", "Rnn"}
    assert covered == set(FORMS)


# --- recurrent ----------------------------------------------------------------

RECURRENT = [
    (kind, direction, reset, candidate, steps, initial)
    for kind in ("Lstm", "Gru", "Rnn")
    for direction in ("forward", "reverse", "bidirectional")
    for reset in ((False, True) if kind == "Gru" else (False,))
    for candidate in (("Tanh",) if kind == "Lstm" else ("Tanh", "Relu"))
    for steps in (1, 3)
    for initial in ("absent", "constant", "zero", "dynamic")
]


def recurrent(
    kind: str, direction: str, reset: bool, candidate: str, steps: int, initial: str
) -> tuple[Graph, dict[str, Array]]:
    gates, states = {"Lstm": (4, 2), "Gru": (3, 1), "Rnn": (1, 1)}[kind]
    dirs, batch, features, hidden = 2 if direction == "bidirectional" else 1, 2, 5, 3
    made: dict[str, ops.Op] = {
        "Lstm": ops.Lstm(hidden, direction),
        "Gru": ops.Gru(hidden, direction, reset, candidate),
        "Rnn": ops.Rnn(hidden, direction, candidate),
    }
    op = made[kind]
    builder = GraphBuilder("recurrent")
    x = builder.input("x", TensorType((steps, batch, features)))
    values = {"x": array(steps, batch, features)}
    operands = [x]
    for i, shape in enumerate(
        [(gates * hidden, features), (gates * hidden, hidden), (2 * gates * hidden,)]
    ):
        operands.append(builder.constant(f"w{i}", array(dirs, *shape, seed=i + 1)))
    state = array(dirs, batch, hidden, seed=9)
    for i in range(states):
        name = ""
        if initial == "dynamic":
            name = builder.input(f"s{i}", TensorType(state.shape))
            values[name] = state
        elif initial != "absent":
            name = builder.constant(f"s{i}", state * (initial == "constant"))
        operands.append(name)
    return builder.build(outputs=builder.add(op, operands, name="rnn")), values


@pytest.mark.parametrize("case", RECURRENT, ids=str)
def test_unrolled_recurrence(case: tuple[str, str, bool, str, int, str]) -> None:
    graph, values = recurrent(*case)
    other = rewritten(graph, FORMS[case[0]][0])
    assert other is not None
    assert not {n.op.kind for n in other.nodes} & {"Lstm", "Gru", "Rnn"}
    expected, found = run(graph, values), run(other, values)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5)
