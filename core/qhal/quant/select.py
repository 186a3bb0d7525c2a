"""Pick one kernel row for every node, or say why there is none.

Fail closed: a node takes a row only if a row exists for its operator and every limit of the
capability and of the row is met. Rows of the recipe come first; a float row is a recorded
fallback; without either the node is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from qhal.decisions import Code, Decision, Severity
from qhal.ir.graph import Graph, Node, NodeView
from qhal.ir.ops import AveragePool, Div, MatMul, Opaque, Pow, Reduce, Role, Softmax
from qhal.quant.recipe import Recipe
from qhal.quant.saturation import constant_within
from qhal.quant.spec import FLOAT, SameAsInput
from qhal.target.capability import Capabilities, KernelRow, Limit

_WIDE_SOFTMAX = 256


class Verdict(Enum):
    """What became of a node."""

    NATIVE = "native"
    FALLBACK = "fallback"
    HOST = "host"
    REFUSED = "refused"


@dataclass(frozen=True)
class Choice:
    """The kernel row of one node.

    Attributes:
        node: the node's name.
        verdict: native, fallback (float), host (another unit) or refused.
        row: the row, None if refused.
        source: where the fact about the row comes from.
        reason: why it is not native; empty if it is.
        follows: True for data movement that stays in float only because its input is float.
        refines: the code of the reason why it runs in float although the recipe has a kernel:
            8 bits would be too coarse. None if it does not.
    """

    node: str
    verdict: Verdict
    row: KernelRow | None
    source: str = ""
    reason: str = ""
    follows: bool = False
    refines: Code | None = None

    @property
    def quantized(self) -> bool:
        """True if the node's activations are integers."""
        return self.row is not None and self.row.activation.quantized

    def decision(self, node: Node) -> Decision | None:
        """What the record says of the choice; None for a native one."""
        code, severity = {
            Verdict.NATIVE: (None, Severity.INFO),
            Verdict.FALLBACK: (Code.FLOAT_FALLBACK, Severity.WARNING),
            Verdict.HOST: (Code.UNIT_FALLBACK, Severity.WARNING),
            Verdict.REFUSED: (Code.REFUSED, Severity.REFUSAL),
        }[self.verdict]
        if self.follows:
            code, severity = Code.FOLLOWED_FLOAT, Severity.INFO
        if self.refines is not None:
            code, severity = self.refines, Severity.INFO
        if code is None:
            return None
        return Decision(code, f"{node.op.kind} {node.name}: {self.reason}.", node.name, severity)


def select(graph: Graph, caps: Capabilities, recipe: Recipe) -> Mapping[str, Choice]:
    """A choice for every node, by name, in the graph's order."""
    choices: dict[str, Choice] = {}
    arriving: set[str] = set()
    for node in graph.nodes:
        choice = _choose(NodeView(graph, node), caps, recipe)
        if _is_movement(choice) and _all_float(graph, node, choices):
            choice = _follow(NodeView(graph, node), caps, choice, "its input is float")
        choices[node.name] = choice
        if _gives_float(graph, node, choice, arriving):
            arriving.update(node.outputs)
    _refine_steep_operands(graph, caps, choices)
    _release_movement(graph, caps, choices, arriving)
    if not caps.integer_io:
        _refine_outputs(graph, caps, recipe, choices)
    return choices


def _choose(view: NodeView, caps: Capabilities, recipe: Recipe) -> Choice:
    name = view.node.name
    if isinstance(view.op, Opaque):
        return _choose_opaque(name, view.op, caps, recipe)
    if not _touches_float(view):
        return _without_floats(view, caps)
    reasons: list[str] = []
    weighted = Role.WEIGHT in view.op.roles
    for row, source, limits in _rows(view.op.kind, caps):
        if not recipe.accepts(row, weighted):
            continue
        broken = _first_broken(view, row, limits)
        if broken is None:
            return _accept(name, row, source, reasons)
        reasons.append(broken)
    return _fall_back(view, caps, _join(reasons) or _no_row(view, caps, recipe))


def _rows(kind: str, caps: Capabilities) -> Iterator[tuple[KernelRow, str, tuple[Limit, ...]]]:
    for capability in caps.of(kind):
        for row in capability.rows:
            yield row, capability.source, (*capability.limits, *row.limits)


def _accept(name: str, row: KernelRow, source: str, reasons: list[str]) -> Choice:
    if not row.unit:
        return Choice(name, Verdict.NATIVE, row, source)
    why = _join(reasons) or "the main unit has no kernel for it"
    return Choice(name, Verdict.HOST, row, source, f"runs on the {row.unit}, because {why}")


def _join(reasons: list[str]) -> str:
    return "; ".join(dict.fromkeys(reasons))


def _no_row(view: NodeView, caps: Capabilities, recipe: Recipe) -> str:
    if not caps.has(view.op.kind):
        return f"the target has no kernel for {view.op.kind}"
    return f"the target has no {recipe.name} kernel for {view.op.kind}"


def _first_broken(view: NodeView, row: KernelRow, limits: tuple[Limit, ...]) -> str | None:
    for index, name in enumerate(view.node.inputs):
        role = view.op.role(index)
        if name and role in (Role.WEIGHT, Role.BIAS) and not view.is_constant(index):
            return f"operand {name} is the {role.value} and not a constant"
        if row.activation.quantized and role is Role.ACTIVATION and not _is_finite(view, index):
            return f"operand {name} holds Inf or NaN, for which there is no integer"
    return next((text for limit in limits if (text := limit(view)) is not None), None)


def _is_finite(view: NodeView, index: int) -> bool:
    """False for a constant with Inf or NaN."""
    if not view.is_constant(index):
        return True
    value = constant_within(view.graph, view.node.inputs[index])
    return value.dtype.kind != "f" or bool(np.isfinite(value).all())


def _fall_back(view: NodeView, caps: Capabilities, reason: str) -> Choice:
    name, reasons = view.node.name, [reason]
    for row, source, limits in _rows(view.op.kind, caps):
        if not _is_float_row(row):
            continue
        broken = _first_broken(view, row, limits)
        if broken is None:
            return Choice(name, Verdict.FALLBACK, row, source, f"runs in float, because {reason}")
        reasons.append(f"in float, {broken}")
    return Choice(name, Verdict.REFUSED, None, "", _join(reasons))


def _is_float_row(row: KernelRow) -> bool:
    weight_is_float = row.weight is None or row.weight == FLOAT
    return row.activation == FLOAT and weight_is_float


def _choose_opaque(name: str, op: Opaque, caps: Capabilities, recipe: Recipe) -> Choice:
    if caps.opaque is not None:
        return Choice(name, Verdict.REFUSED, None, "", f"{caps.opaque}: {op.reason}")
    row = KernelRow(FLOAT, FLOAT, name="float")
    verdict = Verdict.NATIVE if recipe.is_float else Verdict.FALLBACK
    return Choice(name, verdict, row, "", f"runs in float as it is, because {op.reason}")


def _touches_float(view: NodeView) -> bool:
    names = (*filter(None, view.node.inputs), *view.node.outputs)
    return any(view.graph.tensors[name].dtype.is_float for name in names)


def _without_floats(view: NodeView, caps: Capabilities) -> Choice:
    """A node on indices or booleans: nothing to quantize, but the runtime must have it."""
    choice = _fall_back(view, caps, f"it works on {view.input().dtype.value}")
    if choice.row is None:
        return choice
    return replace(choice, verdict=Verdict.NATIVE, reason="")


# --- data movement goes where its neighbours are -------------------------------


def _is_movement(choice: Choice) -> bool:
    return (
        choice.quantized and choice.row is not None and isinstance(choice.row.output, SameAsInput)
    )


def _activations(graph: Graph, node: Node) -> list[str]:
    return [
        name
        for index, name in enumerate(node.inputs)
        if name and node.op.role(index) is Role.ACTIVATION and name not in graph.constants
    ]


def _all_float(graph: Graph, node: Node, choices: Mapping[str, Choice]) -> bool:
    """True if every operand comes from a node that runs in float (an input is neutral)."""
    producers = [graph.producers.get(name) for name in _activations(graph, node)]
    return bool(producers) and all(p is not None and _is_float(p, choices) for p in producers)


def _is_float(node: Node, choices: Mapping[str, Choice]) -> bool:
    choice = choices[node.name]
    return choice.row is not None and not choice.row.activation.quantized


def _gives_float(graph: Graph, node: Node, choice: Choice, arriving: Collection[str]) -> bool:
    """True if a node's results are float, or would be if movement stayed in float.

    Args:
        graph: the graph.
        node: the node.
        choice: its choice.
        arriving: results of earlier nodes for which this holds.
    """
    if _is_movement(choice):
        names = _activations(graph, node)
        return bool(names) and all(name in arriving for name in names)
    return choice.row is not None and choice.row.output == FLOAT


def _follow(view: NodeView, caps: Capabilities, choice: Choice, why: str) -> Choice:
    followed = _fall_back(view, caps, why)
    return choice if followed.row is None else replace(followed, follows=True)


def _release_movement(
    graph: Graph, caps: Capabilities, choices: dict[str, Choice], arriving: Collection[str]
) -> None:
    """Movement stays in float where quantizing in front of it gains nothing.

    That is between the model's inputs and float nodes, and behind a kernel that gives float
    unless all readers want integers: rounding commutes with movement, so it may as well come
    first then. Rows of a constant table stay integers: the table takes a quarter of the memory.
    """
    for node in reversed(graph.nodes):
        choice = choices[node.name]
        if not _is_movement(choice):
            continue
        readers = [r for out in node.outputs for r in graph.consumers[out]]
        is_output = not readers or bool(set(node.outputs) & set(graph.outputs))
        names = _activations(graph, node)
        if names and all(name in arriving for name in names):
            why = "its input is float"
            released = is_output or any(_is_float(reader, choices) for reader in readers)
        else:
            why = "only float nodes read its result"
            from_inputs = bool(names) and all(name in graph.inputs for name in names)
            only_float = all(_is_float(reader, choices) for reader in readers)
            released = not is_output and from_inputs and only_float
        if released:
            choices[node.name] = _follow(NodeView(graph, node), caps, choice, why)


# --- operands that integers are too coarse for ----------------------------------

_STEEP = frozenset({"Log", "Sqrt", "Rsqrt", "Reciprocal"})


def _refine_steep_operands(graph: Graph, caps: Capabilities, choices: dict[str, Choice]) -> None:
    """What only leads to the operand of a logarithm, root or quotient in float is in float too.

    Near zero these are steep and integers have one step: ``log(max(x, 1e-10))`` of a rounded
    ``max`` is the logarithm of zero. Products and tables stay as they are.
    """
    leading: set[str] = set()
    for node in reversed(graph.nodes):
        view, choice = NodeView(graph, node), choices[node.name]
        readers = [reader for out in node.outputs for reader in graph.consumers[out]]
        leads = not leading.isdisjoint(node.outputs)
        if choice.quantized and leads and all(_is_float(r, choices) for r in readers):
            choice = choices[node.name] = _lead_in_float(view, caps, choice)
        if choice.refines is not None:
            leading.update(_activations(graph, node))
        elif _is_float(node, choices):
            leading.update(_steep_operands(view))


def _steep_operands(view: NodeView) -> tuple[str, ...]:
    """Operands of which the node is steep near zero."""
    op, inputs = view.op, view.node.inputs
    if isinstance(op, Div):
        return inputs[1:]
    return inputs[:1] if isinstance(op, Pow) or op.kind in _STEEP else ()


def _lead_in_float(view: NodeView, caps: Capabilities, choice: Choice) -> Choice:
    is_product = Role.WEIGHT in view.op.roles or isinstance(view.op, MatMul)
    if is_product or not _activations(view.graph, view.node):
        return choice
    why = "its result is the operand of a function that is steep near zero"
    return _refined(view, caps, choice, Code.STEEP_OPERAND, why)


# --- float outputs that 8 bits are too coarse for -------------------------------


def _refine_outputs(
    graph: Graph, caps: Capabilities, recipe: Recipe, choices: dict[str, Choice]
) -> None:
    """A mean or wide softmax that only becomes a float output is taken in float.

    The mean of n values of 8 bits has n times as many steps. Rounded to 8 bits again, the scores
    of a classifier tie where they did not; 16 bits hold it. The probabilities of more classes than
    8 bits have steps are mostly rounded to zero, and LiteRT's kernel of 16 bits takes none for
    less than exp(-10) times the largest, which adds up. The movement behind it goes along.
    """
    leaving = _leaving(graph, choices)
    refined: set[str] = set()
    why = "its result has finer steps than the integers and is an output"
    for node in graph.nodes:
        view, choice = NodeView(graph, node), choices[node.name]
        moves = _is_movement(choice) and not refined.isdisjoint(node.inputs)
        if node.name in leaving and (moves or _is_too_fine(view, recipe)):
            choices[node.name] = choice = _refined(view, caps, choice, Code.OUTPUT_REFINED, why)
            refined.update(node.outputs if choice.refines is not None else ())


def _leaving(graph: Graph, choices: Mapping[str, Choice]) -> frozenset[str]:
    """Integer nodes whose result is moved to the model's outputs and read by nothing else."""
    leaving: set[str] = set()
    moving: set[str] = set()
    for node in reversed(graph.nodes):
        choice = choices[node.name]
        readers = [reader.name for out in node.outputs for reader in graph.consumers[out]]
        read = readers or set(node.outputs) & set(graph.outputs)
        if not (choice.quantized and read and moving.issuperset(readers)):
            continue
        leaving.add(node.name)
        if _is_movement(choice) and len(_activations(graph, node)) == 1:
            moving.add(node.name)
    return frozenset(leaving)


def _is_too_fine(view: NodeView, recipe: Recipe) -> bool:
    """True for a softmax over as many values as 8 bits have steps, or a mean in 8 bits over more
    than one."""
    op = view.op
    if isinstance(op, Softmax):
        return view.input().shape[op.axis] >= _WIDE_SOFTMAX
    if not recipe.narrow:
        return False
    if isinstance(op, Reduce):
        return op.function == "Mean" and view.output().elements < view.input().elements
    return isinstance(op, AveragePool) and max(op.kernel) > 1


def _refined(view: NodeView, caps: Capabilities, choice: Choice, code: Code, why: str) -> Choice:
    """In float on the same unit, if there is such a kernel; as the recipe wants otherwise."""
    found = _fall_back(view, caps, why)
    if choice.row is None or found.row is None or found.row.unit != choice.row.unit:
        return choice
    return replace(found, verdict=choice.verdict, refines=code)
