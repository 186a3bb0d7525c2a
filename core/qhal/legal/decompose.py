"""Write operators that a target lacks as others that it has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

from qhal.decisions import Code, Decision
from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.graph import Graph, Node, NodeView
from qhal.legal.forms.draft import Draft, Fragment, Surroundings
from qhal.legal.forms.opaque.table import OPAQUE_FORMS
from qhal.legal.forms.table import FORMS
from qhal.targets.capability import Capabilities
from qhal.targets.limit import broken_by

_MAX_ROUNDS = 4


def decompose(graph: Graph, caps: Capabilities) -> tuple[Graph, tuple[Decision, ...]]:
    """Replace each node that ``caps`` lacks by a form of which it has every piece.

    A node without such a form stays as it is. What a form adds may break a rule of
    ``caps.native`` in turn, so it is gone through again.
    """
    decisions: tuple[Decision, ...] = ()
    for _ in range(_MAX_ROUNDS):
        graph, found = _round(graph, caps, _why_foreign)
        if not found:
            break
        decisions += found
    return graph, decisions


def open_opaque(graph: Graph, caps: Capabilities) -> tuple[Graph, tuple[Decision, ...]]:
    """Write opaque nodes that ``caps`` refuses as operators of qhal, where there is a form."""
    if not any(isinstance(node.op, ops.Opaque) for node in graph.nodes):
        return graph, ()
    return _round(graph, caps, _why_refused)


def _round(
    graph: Graph, caps: Capabilities, why_replace: Callable[[NodeView, Capabilities], str]
) -> tuple[Graph, tuple[Decision, ...]]:
    builder = GraphBuilder(start=graph)
    decisions = []
    for node in graph.nodes:
        why = why_replace(NodeView(graph, node), caps)
        fragment = _form(node, builder, caps, frozenset()) if why else None
        if fragment is None:
            builder.emit(node)
        else:
            insert(builder, node, fragment)
            decisions.append(_decision(graph, node, fragment, why))
    return (builder.build(), tuple(decisions)) if decisions else (graph, ())


def _why_foreign(view: NodeView, caps: Capabilities) -> str:
    """Say why a node cannot be left as it is; "" if it can."""
    if isinstance(view.op, ops.Opaque):
        return ""
    rule = caps.native.get(view.op.kind)
    if rule is not None:
        return broken_by(rule, view) or ""
    return "" if caps.has(view.op.kind) else f"the target has no {view.op.kind}"


def _why_refused(view: NodeView, caps: Capabilities) -> str:
    """Say why an opaque node is refused; "" if it is not."""
    if not isinstance(view.op, ops.Opaque):
        return ""
    return caps.refusal_of_opaque(view) or ""


def _is_native(node: Node, caps: Capabilities) -> bool:
    return isinstance(node.op, ops.Opaque) or caps.has(node.op.kind)


def _form(
    node: Node, scope: Surroundings, caps: Capabilities, above: frozenset[str]
) -> Fragment | None:
    """Find the first form that the target has, preferably one without further decomposition."""
    fragments = _drafts(node, scope)
    for fragment in fragments:
        if all(_is_native(inner, caps) for inner in fragment.nodes):
            return fragment
    for fragment in fragments:
        complete = _completed(fragment, scope, caps, above | {node.op.kind})
        if complete is not None:
            return complete
    return None


def _drafts(node: Node, scope: Surroundings) -> list[Fragment]:
    """Draft all forms that the node's attributes and constants allow."""
    found = []
    table = OPAQUE_FORMS if isinstance(node.op, ops.Opaque) else FORMS
    for form in table.get(node.op.kind, ()):
        draft = Draft(scope, node)
        results = form(draft)
        if results is not None:
            found.append(draft.finished(results))
    return found


def _completed(
    fragment: Fragment, scope: Surroundings, caps: Capabilities, above: frozenset[str]
) -> Fragment | None:
    """Decompose each piece that is lacking in turn; None if one cannot be."""
    inner = fragment.over(scope)
    parts = []
    for node in fragment.nodes:
        part: Fragment | None = Fragment((node,), {}, {})
        if not _is_native(node, caps):
            part = None if node.op.kind in above else _form(node, inner, caps, above)
        if part is None:
            return None
        parts.append(part)
    return fragment.of_parts(parts)


def insert(builder: GraphBuilder, node: Node, fragment: Fragment) -> None:
    """Emit a fragment in place of ``node``; names that are taken get a number."""
    outputs = {*filter(None, node.outputs)}
    names: dict[str, str] = {}
    for name, value in fragment.values.items():
        names[name] = builder.constant(name, value)
    for inner in fragment.nodes:
        for name in inner.outputs:
            names[name] = name if name in outputs else builder.fresh(name)
            builder.declare(names[name], fragment.types[name])
        builder.emit(_renamed(inner, names))


def _renamed(node: Node, names: Mapping[str, str]) -> Node:
    inputs, outputs = (
        tuple(names.get(name, name) for name in group) for group in (node.inputs, node.outputs)
    )
    return replace(node, inputs=inputs, outputs=outputs)


def _decision(graph: Graph, node: Node, fragment: Fragment, why: str) -> Decision:
    kind = node.op.kind
    if node.op.traits.recurrent:
        times = graph.tensors[node.inputs[0]].shape[0]
        plural = "s" if times > 1 else ""
        return Decision(
            Code.UNROLLED,
            f"{kind} {node.name!r} was unrolled for {times} time step{plural}; the artifact "
            f"accepts only sequences of this length.",
            node.name,
        )
    counts = Counter(inner.op.kind for inner in fragment.nodes)
    pieces = ", ".join(k if n == 1 else f"{n} {k}" for k, n in counts.items())
    return Decision(
        Code.DECOMPOSED,
        f"{kind} {node.name!r} was replaced by {pieces}: {why}.",
        node.name,
    )
