"""Capabilities x graph = constraints: what every tensor has to look like, and why."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from qhal.decisions import Decision
from qhal.errors import RefusedError
from qhal.ir.graph import Graph, Node
from qhal.ir.ops import Role
from qhal.quant.choice import Choice, Verdict
from qhal.quant.qdq_insertion import QdqGraph, insert_qdq
from qhal.quant.relations import relate
from qhal.quant.scores import AttentionScores
from qhal.quant.select import select
from qhal.targets.capability import Arithmetic, Capabilities
from qhal.targets.policy import Policy
from qhal.targets.spec import QuantSpec, SameAsInput


@dataclass(frozen=True, eq=False)
class Constraints:
    """The problem that assignment has to solve; nothing in it depends on data.

    Attributes:
        policy: by which the choices were made.
        arithmetic: how the target's integer kernels round.
        choices: node -> kernel row and reason.
        qdq: the graph with all inserted conversions and the form of every tensor.
        groups: tensors that share parameters.
        decisions: fallbacks and inserted conversions.
    """

    policy: Policy
    arithmetic: Arithmetic
    choices: Mapping[str, Choice]
    qdq: QdqGraph
    groups: tuple[tuple[str, ...], ...]
    decisions: tuple[Decision, ...]

    @property
    def to_observe(self) -> tuple[str, ...]:
        """Tensors of the float graph whose ranges are needed.

        Results of data movement lie within the range of what they move, so they are left out,
        unless part of that is a mask.
        """
        graph, scores = self.qdq.graph, AttentionScores.of(self.qdq.graph)
        moved = {
            out
            for node in graph.nodes
            if (choice := self.choices.get(node.name)) is not None
            and choice.row is not None
            and isinstance(choice.row.output, SameAsInput)
            and not any(scores.is_mask(name) for name in node.inputs)
            for out in node.outputs
        }
        names = (self.qdq.observed[n] for n in self.qdq.specs if n not in moved)
        return tuple(dict.fromkeys(names))

    @property
    def to_average(self) -> tuple[str, ...]:
        """Tensors of the float graph whose channel means bias correction needs."""
        names = (
            self.qdq.observed[node.inputs[0]]
            for node in self.qdq.graph.nodes
            if Role.WEIGHT in node.op.roles and self._has_coarse_weight(node)
        )
        return tuple(dict.fromkeys(names))

    def _has_coarse_weight(self, node: Node) -> bool:
        form = self.qdq.forms.get(node.inputs[1])
        return form is not None and isinstance(form.spec, QuantSpec) and form.spec.coarse


def refuse(choices: Mapping[str, Choice], graph: Graph, target: str = "") -> None:
    """Raise RefusedError if any node has no kernel; the message counts and quotes reasons.

    Args:
        choices: node -> kernel row or refusal.
        graph: whose nodes they are.
        target: name of the target, for the message; empty if it is unknown.
    """
    refused = [c for c in choices.values() if c.verdict is Verdict.REFUSED]
    if not refused:
        return
    kinds = {node.name: node.op.kind for node in graph.nodes}
    quoted = "\n".join(f"  {kinds[c.node]} {c.node}: {c.reason}." for c in refused[:10])
    more = f"\n  … and {len(refused) - 10} more" if len(refused) > 10 else ""
    subject = f"Target {target}" if target else "The target"
    raise RefusedError(
        f"{subject} cannot run {len(refused)} of {len(choices)} nodes:\n{quoted}{more}\n",
        f"`qhal check MODEL --target {target or 'TARGET'}` lists every node.",
    )


def constrain(
    graph: Graph,
    caps: Capabilities,
    policy: Policy,
    choices: Mapping[str, Choice] | None = None,
    apart: Collection[tuple[str, str]] = (),
) -> Constraints:
    """Turn capabilities into constraints on this graph.

    Args:
        graph: legal for the target and in its layout.
        caps: what the target has.
        policy: gives each node the recipe whose rows it may take.
        choices: the result of :func:`qhal.quant.select.select`, if there already is one.
        apart: pairs of a tensor and a node that reads it with another scale than other readers.

    Raises:
        RefusedError: a node has no kernel.
    """
    choices = select(graph, caps, policy) if choices is None else choices
    refuse(choices, graph)
    related = relate(insert_qdq(graph, choices, caps.integer_io), choices, apart)
    named = ((choices[node.name], node) for node in graph.nodes)
    reasons = tuple(d for choice, node in named if (d := choice.decision(node)) is not None)
    return Constraints(
        policy,
        caps.arithmetic,
        choices,
        related.qdq,
        related.groups,
        (*reasons, *related.qdq.decisions),
    )
