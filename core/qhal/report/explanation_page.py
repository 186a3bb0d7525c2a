"""The page of ``qhal explain``: one node or tensor, and everything about it."""

from __future__ import annotations

from collections.abc import Iterable

from qhal.report.page import Page, Section, Table
from qhal.results.explanation import Explanation
from qhal.results.plan import NodePlan, TensorPlan


def explanation_page(found: Explanation) -> Page:
    """Lay out what a record says about a node or tensor."""
    sections = (
        *(Section(f"Node {node.name}", table=_node_table(node)) for node in found.nodes),
        Section("Tensors", table=_tensor_table(found.tensors)),
        Section("Decisions", items=tuple(f"{d.code.id}: {d.sentence}" for d in found.decisions)),
    )
    return Page(found.name, _headline(found), sections)


def _headline(found: Explanation) -> str:
    tensor = next((t for t in found.tensors if t.name == found.name), None)
    if tensor is not None:
        return _tensor_sentence(tensor, found.nodes)
    if len(found.nodes) == 1:
        return _node_sentence(found.nodes[0])
    return f"{len(found.nodes)} nodes of the artifact come from {found.name}."


def _tensor_sentence(tensor: TensorPlan, nodes: tuple[NodePlan, ...]) -> str:
    kind = "Constant" if tensor.constant else "Activation"
    made = [node.name for node in nodes if tensor.name in node.outputs]
    read = [node.name for node in nodes if tensor.name in node.inputs]
    parts = [f"{kind} {_type(tensor)}"]
    parts.extend([f"produced by {made[0]}"] if made else [])
    parts.extend([f"read by {', '.join(read)}"] if read else [])
    return f"{', '.join(parts)}."


def _type(tensor: TensorPlan) -> str:
    return f"{tensor.dtype}[{'x'.join(map(str, tensor.shape))}]"


def _node_sentence(node: NodePlan) -> str:
    planned = f", planned in {node.declared.dtype}" if node.declared.dtype else ""
    what = f"{node.op}, {node.verdict.value}{planned}"
    return f"{what}: {node.reason}." if node.reason else f"{what}."


def _node_table(node: NodePlan) -> Table:
    rows = (
        ("operator", node.op),
        ("comes from", ", ".join(node.origin)),
        ("verdict", node.verdict.value),
        ("reason", node.reason),
        ("kernel", node.declared.kernel or ""),
        ("source", node.source),
        ("planned for", node.declared.unit or "the target's main unit"),
        ("placed on", "" if node.runs is None else node.runs.unit or ""),
        ("runs as", "" if node.runs is None else node.runs.as_what),
        ("cost", "" if node.cost is None else str(node.cost)),
        ("status", node.status.value),
        ("inputs", ", ".join(filter(None, node.inputs))),
        ("outputs", ", ".join(node.outputs)),
    )
    return Table(("", ""), tuple(row for row in rows if row[1]))


def _tensor_table(tensors: Iterable[TensorPlan]) -> Table:
    rows = tuple(
        (
            tensor.name,
            "constant" if tensor.constant else "activation",
            _type(tensor),
            _scale_words(tensor),
            _several(tensor.zero_point),
            " to ".join(f"{x:.6g}" for x in tensor.range),
        )
        for tensor in tensors
    )
    return Table(("tensor", "kind", "type", "scale", "zero point", "range"), rows)


def _scale_words(tensor: TensorPlan) -> str:
    if tensor.derived_from:
        return f"scale of {' x scale of '.join(tensor.derived_from)}"
    text = _several(tensor.scale)
    return f"{text} along axis {tensor.axis}" if tensor.axis is not None else text


def _several(values: tuple[float, ...] | tuple[int, ...]) -> str:
    """Write one value, or how many there are and their bounds."""
    if len(values) < 2:
        return "".join(f"{value:.6g}" for value in values)
    return f"{len(values)} values, {min(values):.6g} to {max(values):.6g}"
