"""What ``qhal check`` answers: per node, whether the target runs it, by which kernel, why not."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from qhal.codec import Json, encode
from qhal.decisions import Code, Decision
from qhal.ir.graph import Graph
from qhal.quant.choice import Choice, Verdict


@dataclass(frozen=True)
class CheckRow:
    """One node.

    Attributes:
        node: name in the legalized graph.
        op: canonical operator.
        verdict: native, fallback, host or refused.
        kernel: the kernel row; empty if refused.
        unit: where it runs; empty for the target's main unit.
        reason: why it is not native; empty if it is.
        source: where the fact about the kernel comes from.
    """

    node: str
    op: str
    verdict: Verdict
    kernel: str = ""
    unit: str = ""
    reason: str = ""
    source: str = ""


@dataclass(frozen=True)
class CheckGroup:
    """Nodes of one operator with the same verdict, kernel and reason."""

    op: str
    verdict: Verdict
    kernel: str
    unit: str
    reason: str
    count: int


@dataclass(frozen=True)
class CheckReport:
    """The answer for one model, target and recipe.

    Attributes:
        model: file name of the model.
        target: name of the target.
        recipe: name of the recipe.
        rows: one per node, in the graph's order.
        decisions: of import, legalization, layout and constraints, and what the backend foresees.
    """

    model: str
    target: str
    recipe: str
    rows: tuple[CheckRow, ...]
    decisions: tuple[Decision, ...] = ()

    @cached_property
    def counts(self) -> Mapping[Verdict, int]:
        """Nodes per verdict; every verdict that a node of a model can have is there."""
        found = Counter(row.verdict for row in self.rows)
        return {verdict: found[verdict] for verdict in Verdict if verdict in _ORDER}

    @cached_property
    def groups(self) -> tuple[CheckGroup, ...]:
        """The rows, merged; worst verdict first, then by number of nodes."""
        reasons = zip(self.rows, _shown_reasons(self.rows), strict=True)
        keys = Counter((r.op, r.verdict, r.kernel, r.unit, reason) for r, reason in reasons)
        groups = [CheckGroup(*key, count=count) for key, count in keys.items()]
        return tuple(sorted(groups, key=_gravity))

    @cached_property
    def objections(self) -> tuple[str, ...]:
        """Why the target refuses the model although it has kernels for its nodes."""
        return tuple(d.sentence for d in self.decisions if d.code is Code.UNFIT)

    @property
    def ok(self) -> bool:
        """True if the target runs every node somewhere and does not refuse the whole model."""
        return not self.counts[Verdict.REFUSED] and not self.objections

    def to_json(self) -> dict[str, Json]:
        """Make a JSON object, the derived parts included."""
        return {
            "model": self.model,
            "target": self.target,
            "recipe": self.recipe,
            "ok": self.ok,
            "counts": {verdict.value: count for verdict, count in self.counts.items()},
            "groups": encode(self.groups),
            "nodes": encode(self.rows),
            "decisions": encode(self.decisions),
        }


def check_report(
    model: str,
    target: str,
    recipe: str,
    graph: Graph,
    choices: Mapping[str, Choice],
    decisions: tuple[Decision, ...] = (),
) -> CheckReport:
    """Make the report for the choices that the solver made for a graph's nodes."""
    rows = tuple(_row(node.op.kind, choices[node.name]) for node in graph.nodes)
    return CheckReport(model, target, recipe, rows, decisions)


def _row(kind: str, choice: Choice) -> CheckRow:
    kernel, unit = (str(choice.row), choice.row.unit) if choice.row else ("", "")
    return CheckRow(choice.node, kind, choice.verdict, kernel, unit, choice.reason, choice.source)


def _shown_reasons(rows: Sequence[CheckRow]) -> list[str]:
    """Write "the node" for a node's own name where that makes reasons of several nodes one.

    A reason that only one node has, or several word for word, stays as it is: a name such as "a"
    may also be a word of the sentence.
    """
    generic = [_without_name(row) for row in rows]
    told: dict[tuple[str, str], set[str]] = {}
    for row, reason in zip(rows, generic, strict=True):
        told.setdefault((row.op, reason), set()).add(row.reason)
    return [
        reason if len(told[row.op, reason]) > 1 else row.reason
        for row, reason in zip(rows, generic, strict=True)
    ]


def _without_name(row: CheckRow) -> str:
    """Write "the node" where the node's name stands as a word of its own."""
    name = rf"(?<![\w.:/-]){re.escape(row.node)}(?![\w/-]|[.:]\w)"
    return re.sub(name, "the node", row.reason) if row.node else row.reason


_ORDER = (Verdict.REFUSED, Verdict.FALLBACK, Verdict.HOST, Verdict.NATIVE)


def _gravity(group: CheckGroup) -> tuple[int, int, str]:
    return _ORDER.index(group.verdict), -group.count, group.op
