"""What a valid graph is. Every pass ends with :func:`verify`."""

from __future__ import annotations

from collections import Counter

from qhal.errors import InternalError
from qhal.ir import ops
from qhal.ir.graph import Array, Graph, Node, TensorType
from qhal.ir.shapes import infer, same_kind


def verify(graph: Graph) -> None:
    """Check the invariants of a graph.

    Nodes are in topological order; every tensor is assigned once and has a type; types
    agree with :func:`~qhal.ir.shapes.infer`; constants have the type that is declared.

    Raises:
        InternalError: an invariant does not hold; the message names the node or tensor.
    """
    _verify_names(graph)
    for name, value in graph.constants.items():
        _verify_constant(name, graph.tensors[name], value)
    defined = {*graph.inputs, *graph.constants}
    for node in graph.nodes:
        _verify_order(node, defined)
        _verify_types(graph, node)
        defined.update(filter(None, node.outputs))
    for name in graph.outputs:
        if name not in defined:
            raise _broken(f"no node produces output {name!r}")


def _broken(what: str) -> InternalError:
    return InternalError(
        f"The graph is not valid: {what}.",
        "This is a bug in qhal; please report it with the model.",
    )


def _verify_names(graph: Graph) -> None:
    """Check single assignment, unique node names, and a type for every name."""
    made = [name for node in graph.nodes for name in node.outputs if name]
    assigned = Counter([*dict.fromkeys(graph.inputs), *graph.constants, *made])
    for name, count in assigned.items():
        if count > 1:
            raise _broken(f"tensor {name!r} is assigned {count} times")
        if name not in graph.tensors:
            raise _broken(f"tensor {name!r} has no type")
    for name, count in Counter(node.name for node in graph.nodes).items():
        if count > 1:
            raise _broken(f"{count} nodes are called {name!r}")
    for name in graph.user_types:
        if name not in (*graph.inputs, *graph.outputs):
            raise _broken(f"{name!r}, which has another type there, is neither input nor output")
    for name, perm in graph.permutations.items():
        _verify_permutation(graph, name, perm)


def _verify_permutation(graph: Graph, name: str, perm: tuple[int, ...]) -> None:
    if name not in (*graph.inputs, *graph.outputs):
        raise _broken(f"permuted tensor {name!r} is neither input nor output")
    if sorted(perm) != list(range(len(graph.tensors[name].shape))):
        raise _broken(f"{perm} is not a permutation of {name!r}")


def _verify_constant(name: str, declared: TensorType, value: Array) -> None:
    if tuple(value.shape) != declared.shape or value.dtype != declared.dtype.numpy:
        raise _broken(f"constant {name!r} is {value.dtype}{value.shape}, declared {declared}")


def _verify_order(node: Node, defined: set[str]) -> None:
    for name in filter(None, node.inputs):
        if name not in defined:
            raise _broken(f"node {node.name!r} reads {name!r} before it is produced")


def _verify_types(graph: Graph, node: Node) -> None:
    if isinstance(node.op, ops.Opaque):
        return
    operands = [graph.tensors[name] if name else None for name in node.inputs]
    try:
        inferred = infer(node.op, operands)
    except ValueError as error:
        raise _broken(f"node {node.name!r} ({node.op.kind}): {error}") from error
    _verify_count(node, len(inferred))
    for name, wanted in zip(node.outputs, inferred, strict=False):
        if name and not _agree(graph.tensors[name], wanted):
            raise _broken(
                f"{name!r} is {graph.tensors[name]}, node {node.name!r} ({node.op.kind}) "
                f"produces {wanted}"
            )


def _verify_count(node: Node, count: int) -> None:
    """Check the number of outputs; recurrent operators may leave out their last ones."""
    least = 1 if node.op.traits.recurrent else count
    if not least <= len(node.outputs) <= count:
        raise _broken(f"node {node.name!r} ({node.op.kind}) has {len(node.outputs)} outputs")


def _agree(declared: TensorType, inferred: TensorType) -> bool:
    return declared.shape == inferred.shape and same_kind(declared.dtype, inferred.dtype)
