"""Loops whose number of iterations is known: their bodies are written out that many times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from qhal.ir import ops
from qhal.ir.onnx.call import ImportCall, Unsupported, normal_axis
from qhal.ir.ops import Ints

MOST_NODES = 4096
"""Of the user's, that all loops of a model may become together."""

_KINDS = frozenset({"Loop", "Scan"})

Walk = Callable[[ir.Graph], None]
"""Reads all nodes of a graph into the scope."""

_FIRST_SCAN = 9
"""Before this opset, Scan had a batch dimension."""


@dataclass(frozen=True)
class Unrolled:
    """A loop that was written out.

    Attributes:
        count: how often its body runs.
        outputs: the tensors that it makes.
    """

    count: int
    outputs: tuple[str, ...]


@dataclass
class _Unrolling:
    """One loop while it is written out.

    Attributes:
        call: the loop.
        body: what each iteration runs.
        walk: reads the body.
        count: iterations that were written out.
    """

    call: ImportCall
    body: ir.Graph
    walk: Walk
    count: int = field(default=0)

    def iterate(self, operands: Sequence[ir.Value]) -> list[ir.Value]:
        """Write out one iteration; return what the body makes.

        Raises:
            Unsupported: the loops of the model become too long.
        """
        nodes = max(1, _count(self.body))
        self.count += 1
        self.call.scope.unrolled += nodes
        if self.call.scope.unrolled > MOST_NODES:
            raise Unsupported(
                f"it would be unrolled into more than {MOST_NODES:,} nodes ({nodes} in each "
                "iteration)"
            )
        held = [_hold(self.call, operand) for operand in operands]
        _forget(self.call, self.body)
        for value, operand in zip(self.body.inputs, held, strict=True):
            _bind(self.call, value, operand)
        self.walk(self.body)
        return [_hold(self.call, value) for value in self.body.outputs]


def _count(body: ir.Graph) -> int:
    """Count the nodes of a body; those of a loop within count when that is written out."""
    count = 0
    for node in body:
        inner = () if node.op_type in _KINDS else node.attributes.values()
        count += 1 + sum(_count(a.as_graph()) for a in inner if a.type is ir.AttributeType.GRAPH)
    return count


def unrolled_loop(call: ImportCall, walk: Walk) -> Unrolled:
    """Write out a Loop whose number of iterations does not depend on the model's inputs.

    Its operands are the largest number of iterations, a condition, and the values that each
    iteration hands to the next. The body makes the condition, these values, and a slice of each
    further output.

    Raises:
        Unsupported: how often it runs depends on the inputs, or it is too long.
    """
    most, condition = _most(call), _truth(call, call.value(1) if call.has(1) else None)
    loop = _Unrolling(call, _body(call), walk)
    carried = [call.value(index) for index in range(2, len(call.node.inputs))]
    slices: list[list[ir.Value]] = []
    while condition and (most is None or loop.count < most):
        number = _constant(call, np.asarray(loop.count, np.int64))
        flag = _constant(call, np.asarray(True))
        going, *made = loop.iterate([number, flag, *carried])
        condition = _truth(call, going)
        carried = made[: len(carried)]
        slices.append(made[len(carried) :])
    if not slices and len(call.node.outputs) > len(carried):
        raise Unsupported("it runs no iteration")
    stacked = [_joined(call, parts, 0) for parts in zip(*slices, strict=True)]
    return Unrolled(loop.count, tuple(call.scope.tensor(v) for v in (*carried, *stacked)))


def unrolled_scan(call: ImportCall, walk: Walk) -> Unrolled:
    """Write out a Scan: an iteration for each slice of its last operands.

    Raises:
        Unsupported: it is too long, or has the batch dimension of opset 8.
    """
    if call.opset < _FIRST_SCAN:
        raise Unsupported(f"it is that of opset {call.opset}")
    body, scanned = _body(call), call.integer("num_scan_inputs", 0)
    states = len(call.node.inputs) - scanned
    carried = [call.value(index) for index in range(states)]
    axes = [_axis(call, "scan_input_axes", i, call.rank(states + i)) for i in range(scanned)]
    length = call.shape(states)[axes[0]]
    loop, slices = _Unrolling(call, body, walk), []
    for step in range(length):
        picks = [
            _picked(call, states + i, axis, _place(call, "scan_input_directions", i, step, length))
            for i, axis in enumerate(axes)
        ]
        made = loop.iterate([*carried, *picks])
        carried = made[:states]
        slices.append(made[states:])
    if not slices:
        raise Unsupported("it runs no iteration")
    stacked = [_scan_output(call, i, parts) for i, parts in enumerate(zip(*slices, strict=True))]
    return Unrolled(loop.count, tuple(call.scope.tensor(v) for v in (*carried, *stacked)))


# --- how often --------------------------------------------------------------------


def _most(call: ImportCall) -> int | None:
    return int(call.need(0, "number of iterations").reshape(())) if call.has(0) else None


def _truth(call: ImportCall, condition: ir.Value | None) -> bool:
    """Return whether another iteration runs."""
    if condition is None:
        return True
    found = call.scope.constant(condition)
    if found is None:
        raise Unsupported("whether it goes on depends on the model's inputs")
    return bool(found.reshape(()))


def _body(call: ImportCall) -> ir.Graph:
    attribute = call.attribute("body")
    if attribute is None:
        raise ValueError("its body is missing")
    return attribute.as_graph()


def _axis(call: ImportCall, name: str, index: int, rank: int) -> int:
    found = call.ints(name) or ()
    return normal_axis(found[index], rank) if index < len(found) else 0


def _place(call: ImportCall, name: str, index: int, step: int, length: int) -> int:
    """Return which slice is the ``step``-th: the directions say 1 where it counts from the end."""
    directions = call.ints(name) or ()
    return length - 1 - step if index < len(directions) and directions[index] else step


# --- values -----------------------------------------------------------------------


def _constant(call: ImportCall, array: np.ndarray) -> ir.Value:
    value = ir.Value(name=f"{call.name}/constant")
    call.scope.set_constant(value, array)
    return value


def _hold(call: ImportCall, value: ir.Value) -> ir.Value:
    """Keep what a value is now under a value of its own: the next iteration binds it anew."""
    held = ir.Value(name=value.name)
    _bind(call, held, value)
    return held


def _bind(call: ImportCall, value: ir.Value, source: ir.Value) -> None:
    """Let a value be what another one is."""
    constant = call.scope.constant(source)
    if constant is not None:
        call.scope.set_constant(value, constant)
    else:
        call.scope.set_tensor(value, call.scope.tensor(source))


def _forget(call: ImportCall, body: ir.Graph) -> None:
    """Forget what the values of a body, and of graphs within, were in the iteration before."""
    for node in body.all_nodes():
        inner = [a.as_graph() for a in node.attributes.values() if a.type is ir.AttributeType.GRAPH]
        for value in (*node.outputs, *(v for graph in inner for v in graph.inputs)):
            call.scope.forget(value)
    for value in body.inputs:
        call.scope.forget(value)


def _made(call: ImportCall, name: str) -> ir.Value:
    value = ir.Value(name=name)
    call.scope.set_tensor(value, name)
    return value


# --- slices -----------------------------------------------------------------------


def _picked(call: ImportCall, index: int, axis: int, place: int) -> ir.Value:
    """Take one slice of an operand, without the axis."""
    constant, shape = call.constant(index), call.shape(index)
    if constant is not None:
        return _constant(call, np.take(constant, place, axis))
    starts = tuple(place if i == axis else 0 for i in range(len(shape)))
    sizes = tuple(1 if i == axis else size for i, size in enumerate(shape))
    cut = call.inner(ops.Slice(starts, sizes, (1,) * len(shape)), call.tensor(index))
    return _made(call, call.inner(ops.Reshape(_without(shape, axis)), cut))


def _scan_output(call: ImportCall, index: int, parts: Sequence[ir.Value]) -> ir.Value:
    rank = len(call.scope.type(parts[0]).shape) + 1
    axis = _axis(call, "scan_output_axes", index, rank)
    directions = call.ints("scan_output_directions") or ()
    backwards = index < len(directions) and directions[index]
    return _joined(call, parts[::-1] if backwards else parts, axis)


def _joined(call: ImportCall, parts: Sequence[ir.Value], axis: int) -> ir.Value:
    """Stack slices along a new axis."""
    constants = [call.scope.constant(part) for part in parts]
    known = [value for value in constants if value is not None]
    if len(known) == len(parts):
        return _constant(call, np.stack(known, axis))
    shape = call.scope.type(parts[0]).shape
    whole = (*shape[:axis], 1, *shape[axis:])
    names = [call.inner(ops.Reshape(whole), call.scope.tensor(part)) for part in parts]
    return _made(call, call.inner(ops.Concat(axis), *names) if len(names) > 1 else names[0])


def _without(shape: Ints, axis: int) -> Ints:
    return shape[:axis] + shape[axis + 1 :]
