"""Promotion to float: choices that the neighbors of a node make better.

Each pass makes new choices from old ones. It only exchanges a kernel of integers for one in
float, where that gains accuracy or costs nothing, and only where the target has one.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from qhal.decisions import Code
from qhal.ir.graph import Graph, Node, NodeView
from qhal.ir.ops import AveragePool, Div, MatMul, Pow, Reduce, Role, Softmax
from qhal.quant.choice import Choice, Choices, SelectionTask, Verdict, fall_back, keep_weight
from qhal.targets.capability import Capabilities
from qhal.targets.recipe import Recipe
from qhal.targets.spec import FLOAT

_STEEP = frozenset({"Log", "Sqrt", "Rsqrt", "Reciprocal"})
_WIDE_SOFTMAX = 256


# --- data movement goes where its neighbors are --------------------------------


def promote_followers(task: SelectionTask, choices: Choices) -> Choices:
    """Promote data movement whose operands only nodes in float make."""
    graph, caps = task.graph, task.caps
    followed = dict(choices)
    for node in graph.nodes:
        choice = followed[node.name]
        if choice.moves and _all_float(graph, node, followed):
            view = NodeView(graph, node)
            followed[node.name] = _follow(view, caps, choice, "its input is float")
    return followed


def _float_arrivals(graph: Graph, choices: Choices) -> frozenset[str]:
    """Find the tensors that nodes give in float, or would if movement stayed in float."""
    arriving: set[str] = set()
    for node in graph.nodes:
        if _gives_float(graph, node, choices[node.name], arriving):
            arriving.update(node.outputs)
    return frozenset(arriving)


def promote_released(task: SelectionTask, choices: Choices) -> Choices:
    """Promote data movement where quantizing in front of it gains nothing.

    That is between the model's inputs and float nodes, and behind a kernel that gives float
    unless all readers want integers: rounding commutes with movement, so it may as well come
    first then. Rows of a constant table stay integers: the table takes a quarter of the memory.
    """
    graph, caps = task.graph, task.caps
    arriving = _float_arrivals(graph, choices)
    released = dict(choices)
    for node in reversed(graph.nodes):
        choice = released[node.name]
        why = _why_release(graph, node, released, arriving) if choice.moves else ""
        if why:
            released[node.name] = _follow(NodeView(graph, node), caps, choice, why)
    return released


def _why_release(graph: Graph, node: Node, choices: Choices, arriving: Collection[str]) -> str:
    """Say why a movement may stay in float; "" if it may not."""
    readers = [r for out in node.outputs for r in graph.consumers[out]]
    is_output = not readers or bool(set(node.outputs) & set(graph.outputs))
    names = graph.computed(node)
    in_float = [choices[reader.name].runs_in_float for reader in readers]
    if names and all(name in arriving for name in names):
        return "its input is float" if is_output or any(in_float) else ""
    from_inputs = bool(names) and all(name in graph.inputs for name in names)
    released = not is_output and from_inputs and all(in_float)
    return "only float nodes read its result" if released else ""


def _all_float(graph: Graph, node: Node, choices: Choices) -> bool:
    """Return True if every operand comes from a node that runs in float (an input is neutral)."""
    producers = [graph.producers.get(name) for name in graph.computed(node)]
    return bool(producers) and all(
        p is not None and choices[p.name].runs_in_float for p in producers
    )


def _gives_float(graph: Graph, node: Node, choice: Choice, arriving: Collection[str]) -> bool:
    """Return True if a node's results are float, or would be if movement stayed in float.

    Args:
        graph: the graph.
        node: the node.
        choice: its choice.
        arriving: results of earlier nodes for which this holds.
    """
    if choice.moves:
        names = graph.computed(node)
        return bool(names) and all(name in arriving for name in names)
    return choice.row is not None and choice.row.output == FLOAT


def _follow(view: NodeView, caps: Capabilities, choice: Choice, why: str) -> Choice:
    followed = fall_back(view, caps, why)
    return choice if followed.row is None else replace(followed, follows=True)


# --- operands that integers are too coarse for ----------------------------------


def promote_steep_operands(task: SelectionTask, choices: Choices) -> Choices:
    """Promote what only feeds a logarithm, root or quotient in float.

    Near zero these are steep and integers have one step: ``log(max(x, 1e-10))`` of a rounded
    ``max`` is the logarithm of zero. So is that of a spectrum whose bins share one scale: a product
    keeps its weight as integers, unless it is summed up in between, as for a norm. Tables, and
    products of two activations, stay as they are.
    """
    graph, caps = task.graph, task.caps
    promoted = dict(choices)
    leading: set[str] = set()
    summed: set[str] = set()
    for node in reversed(graph.nodes):
        view, choice = NodeView(graph, node), promoted[node.name]
        readers = [reader for out in node.outputs for reader in graph.consumers[out]]
        leads = not leading.isdisjoint(node.outputs)
        if choice.quantized and leads and all(promoted[r.name].runs_in_float for r in readers):
            is_summed = not summed.isdisjoint(node.outputs)
            choice = promoted[node.name] = _lead_in_float(view, caps, choice, summed=is_summed)
            if is_summed or isinstance(node.op, AveragePool | Reduce):
                summed.update(graph.computed(node))
        if choice.promoted is not None and Role.WEIGHT not in node.op.roles:
            leading.update(graph.computed(node))
        elif choice.runs_in_float:
            leading.update(_steep_operands(view))
    return promoted


def _steep_operands(view: NodeView) -> tuple[str, ...]:
    """Return the operands of which the node is steep near zero."""
    op, inputs = view.op, view.node.inputs
    if isinstance(op, Div):
        return inputs[1:]
    return inputs[:1] if isinstance(op, Pow) or op.kind in _STEEP else ()


def _lead_in_float(view: NodeView, caps: Capabilities, choice: Choice, *, summed: bool) -> Choice:
    why = "its result feeds a function that is steep near zero"
    if isinstance(view.op, MatMul) or not view.graph.computed(view.node):
        return choice
    if Role.WEIGHT not in view.op.roles:
        return promote(view, caps, choice, Code.STEEP_OPERAND, why)
    row = None if summed else keep_weight(view, caps, choice)
    if row is None:
        return choice
    reason = f"runs in float with its weight as integers, because {why}"
    return replace(choice, row=row, reason=reason, promoted=Code.STEEP_OPERAND)


# --- float outputs that 8 bits are too coarse for -------------------------------


def promote_outputs(task: SelectionTask, choices: Choices) -> Choices:
    """Promote a mean or wide softmax that only becomes a float output.

    The mean of n values of 8 bits has n times as many steps. Rounded to 8 bits again, the scores
    of a classifier tie where they did not; 16 bits hold it. The probabilities of more classes than
    8 bits have steps are mostly rounded to zero, and LiteRT's kernel of 16 bits takes none for
    less than exp(-10) times the largest, which adds up. The movement behind it goes along.
    Where a target's outputs are integers, nothing is changed.
    """
    if task.caps.integer_io:
        return choices
    graph, caps = task.graph, task.caps
    promoted = dict(choices)
    leaving = _leaving(graph, choices)
    finer: set[str] = set()
    why = "its result is an output and has finer steps than integers can hold"
    for node in graph.nodes:
        view, choice = NodeView(graph, node), promoted[node.name]
        moves = choice.moves and not finer.isdisjoint(node.inputs)
        too_fine = _is_too_fine(view, task.policy.recipe_for(view))
        if node.name in leaving and (moves or too_fine):
            promoted[node.name] = choice = promote(view, caps, choice, Code.OUTPUT_PROMOTED, why)
            finer.update(node.outputs if choice.promoted is not None else ())
    return promoted


def _leaving(graph: Graph, choices: Choices) -> frozenset[str]:
    """Find integer nodes whose result only moves to the model's outputs."""
    leaving: set[str] = set()
    moving: set[str] = set()
    for node in reversed(graph.nodes):
        choice = choices[node.name]
        readers = [reader.name for out in node.outputs for reader in graph.consumers[out]]
        read = readers or set(node.outputs) & set(graph.outputs)
        if not (choice.quantized and read and moving.issuperset(readers)):
            continue
        leaving.add(node.name)
        if choice.moves and len(graph.computed(node)) == 1:
            moving.add(node.name)
    return frozenset(leaving)


def _is_too_fine(view: NodeView, recipe: Recipe) -> bool:
    """Say whether the result of a node has finer steps than its integers.

    So does a softmax over as many values as 8 bits have steps, and a mean in 8 bits over more than
    one value.
    """
    op = view.op
    if isinstance(op, Softmax):
        return view.input().shape[op.axis] >= _WIDE_SOFTMAX
    if not recipe.narrow:
        return False
    if isinstance(op, Reduce):
        return op.function == "Mean" and view.output().elements < view.input().elements
    return isinstance(op, AveragePool) and max(op.kernel) > 1


def promote(
    view: NodeView,
    caps: Capabilities,
    choice: Choice,
    code: Code,
    why: str,
    *,
    elsewhere: bool = False,
) -> Choice:
    """Exchange a choice for one in float; keep it if there is no such kernel.

    Args:
        view: the node.
        caps: what the target has.
        choice: in integers.
        code: why it is exchanged.
        why: the same in words, with the values that decided.
        elsewhere: take a kernel of another unit, too, which is then no native choice.
    """
    found = fall_back(view, caps, why)
    if choice.row is None or found.row is None:
        return choice
    moved = found.row.unit != choice.row.unit
    if moved and not elsewhere:
        return choice
    if not moved:
        return replace(found, verdict=choice.verdict, promoted=code)
    reason = f"runs in float on the {found.row.unit}, because {why}"
    return replace(found, verdict=Verdict.HOST, reason=reason, promoted=code)
