"""The first half of the line: import, legalize, lay out, select kernels; then equalize."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from qhal.decisions import Decision
from qhal.ir.importer import Imported
from qhal.ir.layout.laid_out import LaidOut, to_layout
from qhal.legal.legalize import Legalized, legalize
from qhal.quant.choice import Choice
from qhal.quant.equalize import Finding, equalize
from qhal.quant.model import QuantModel
from qhal.quant.select import select
from qhal.targets.capability import KernelRow
from qhal.targets.spec import PerAxis, PerTensor
from qhal.targets.target import Target


@dataclass(frozen=True, eq=False)
class Prepared:
    """A model made ready for a target, with a kernel (or a refusal) for every node.

    Attributes:
        target: what it is made ready for.
        imported: the user's model as a canonical graph.
        legal: the graph in operators that the target has, still in the model's layout.
        laid: the same in the target's layout.
        choices: node of ``laid.graph`` -> kernel row or refusal.
    """

    target: Target
    imported: Imported
    legal: Legalized
    laid: LaidOut
    choices: Mapping[str, Choice]

    @property
    def float_model(self) -> QuantModel:
        """The model in float, as the baseline of its target."""
        return QuantModel(self.laid.graph)

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """What was decided up to here."""
        made_by = (self.target, self.imported, self.legal, self.laid)
        return tuple(decision for made in made_by for decision in made.decisions)


def prepare(target: Target, imported: Imported, *, keep_layout: bool = False) -> Prepared:
    """Make an imported model ready for a target. Nothing is refused here, only recorded.

    Raises:
        PluginError: a limit of the target's capabilities broke.
    """
    legal = legalize(imported.graph, target.caps)
    laid = to_layout(legal.graph, target.caps.layout, keep_layout)
    choices = select(laid.graph, target.caps, target.recipe)
    return Prepared(target, imported, legal, laid, choices)


def equalized(
    ready: Prepared, findings: Sequence[Finding], *, keep_layout: bool = False
) -> Prepared:
    """The same model, that loses less when its activations have 8 bits.

    It is exact in float, but for what a ReLU6 cuts off far above all that was seen.

    Args:
        ready: a model made ready.
        findings: from :func:`qhal.quant.equalize.survey` of the imported model. What needs
            sigmoids and products of 8 bits is left out for a target that lacks them.
        keep_layout: as it was prepared.
    """
    target, imported = ready.target, ready.imported
    if not _scales_are_free(target):
        return ready
    gates = all(_has_kernel(target, kind) for kind in ("Mul", "Sigmoid"))
    found = equalize(imported.graph, findings, gates=gates)
    if not found.decisions:
        return ready
    decisions = (*imported.decisions, *found.decisions)
    imported = replace(imported, graph=found.graph, decisions=decisions)
    return prepare(target, imported, keep_layout=keep_layout)


def _scales_are_free(target: Target) -> bool:
    """True if weights have a scale per channel and what a depthwise kernel reads has only one."""
    rows = [row for kind in ("Conv", "DepthwiseConv") for row in _rows(target, kind)]
    return not any(
        row.activation.granularity != PerTensor()
        or row.weight is None
        or row.weight.granularity != PerAxis()
        for row in rows
    )


def _has_kernel(target: Target, kind: str) -> bool:
    """True if the target has a kernel of the recipe for an operator without weights."""
    return bool(_rows(target, kind))


def _rows(target: Target, kind: str) -> list[KernelRow]:
    rows = [row for capability in target.caps.of(kind) for row in capability.rows]
    weighted = any(row.weight is not None for row in rows)
    return [row for row in rows if target.recipe.accepts(row, weighted)]
