"""Functions of a model, written out where they are called."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import onnx
import onnx_ir as ir
from onnx import inliner
from onnx_ir.passes.common import InlinePass

MOST_NODES = 1 << 14
"""Nodes that functions may come to: some that call each other come to millions."""

_Name = tuple[str, str, str]


def inlined(proto: onnx.ModelProto, model: ir.Model) -> ir.Model:
    """Return a model without functions.

    Args:
        proto: the model as it is stored; calls are given the default values of the function's
            attributes, of which onnx's inliner does not know.
        model: the same.

    Raises:
        ValueError: the functions call each other in a circle, or come to very many nodes.
        Exception: whatever else is wrong with a function.
    """
    _check_calls(model)
    _fill_in_defaults(proto)
    found = ir.from_proto(inliner.inline_local_functions(proto))
    if found.functions:  # for another opset than the model's: this says so
        InlinePass()(found)
    return found


def _check_calls(model: ir.Model) -> None:
    """Refuse functions whose calls of each other never end, come to very many nodes, or misfit."""
    sizes: dict[ir.OperatorIdentifier, float] = {}

    def size(nodes: Iterable[ir.Node]) -> float:
        return sum(called(node) for node in nodes)

    def called(node: ir.Node) -> float:
        function = model.functions.get(name := node.op_identifier())
        if function is None:
            return 1
        _check_arity(node, function)
        if name not in sizes:
            sizes[name] = math.inf  # until it is known: whoever asks meanwhile is in a circle
            sizes[name] = size(function.all_nodes())
        return sizes[name]

    count = size(model.graph.all_nodes())
    if count == math.inf:
        raise ValueError("its functions call each other in a circle")
    if count - sum(1 for _ in model.graph.all_nodes()) > MOST_NODES:
        raise ValueError(
            f"it comes to {count:,} nodes where its functions are called, and the limit is "
            f"{MOST_NODES:,} more; inline them before, with onnx.inliner.inline_local_functions"
        )


def _check_arity(node: ir.Node, function: ir.Function) -> None:
    """Refuse a call with more inputs or outputs than the function has."""
    for what, given, most in (
        ("inputs", node.inputs, function.inputs),
        ("outputs", node.outputs, function.outputs),
    ):
        if len(given) > len(most):
            raise ValueError(
                f"a call of the function {node.op_type!r} has {len(given)} {what}, and the "
                f"function {len(most)}"
            )


def _fill_in_defaults(proto: onnx.ModelProto) -> None:
    defaults = {_name_of(function): function.attribute_proto for function in proto.functions}
    bodies = (function.node for function in proto.functions)
    for node in _all_nodes(proto.graph.node, *bodies):
        given = {attribute.name for attribute in node.attribute}
        known = defaults.get((node.domain, node.op_type, node.overload), ())
        node.attribute.extend([default for default in known if default.name not in given])


def _name_of(function: onnx.FunctionProto) -> _Name:
    return function.domain, function.name, function.overload


def _all_nodes(*bodies: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Visit nodes, and those of the graphs in their attributes."""
    for body in bodies:
        for node in body:
            yield node
            for attribute in node.attribute:
                graphs = [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]
                yield from _all_nodes(*(graph.node for graph in graphs))
