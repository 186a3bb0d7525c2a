"""The first half of the line: import, legalize, lay out, select kernels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from qhal.decisions import Code, Decision
from qhal.ir.importer import Imported
from qhal.ir.layout.laid_out import LaidOut, to_layout
from qhal.ir.ops import Opaque
from qhal.legal.indices import narrow_indices
from qhal.legal.legalize import Legalized, legalize
from qhal.quant.choice import Choice
from qhal.quant.model import QuantModel
from qhal.quant.select import select
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
        keep_layout: True if inputs and outputs keep the model's order of dimensions.
    """

    target: Target
    imported: Imported
    legal: Legalized
    laid: LaidOut
    choices: Mapping[str, Choice]
    keep_layout: bool = False

    @property
    def float_model(self) -> QuantModel:
        """The model in float, as the baseline of its target."""
        return QuantModel(self.laid.graph)

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """What was decided up to here."""
        made_by = (self.target, self.imported, self.legal, self.laid)
        made = (decision for part in made_by for decision in part.decisions)
        return tuple(d for d in made if d.code is not Code.OPAQUE or d.subject in self._kept)

    @cached_property
    def _kept(self) -> frozenset[str]:
        """Nodes of the user's model that stay as they are."""
        nodes = (node for node in self.laid.graph.nodes if isinstance(node.op, Opaque))
        return frozenset(name for node in nodes for name in node.origin)


def prepare(target: Target, imported: Imported, *, keep_layout: bool = False) -> Prepared:
    """Make an imported model ready for a target. Nothing is refused here, only recorded.

    Raises:
        PluginError: a limit of the target's capabilities broke.
    """
    legal = legalize(imported.graph, target.caps)
    laid = to_layout(legal.graph, target.caps.layout, keep_layout)
    narrowed = narrow_indices(laid.graph, target.caps.indices)
    decisions = (*laid.decisions, *narrowed.decisions)
    laid = replace(laid, graph=narrowed.graph, decisions=decisions)
    choices = select(laid.graph, target.caps, target.policy)
    return Prepared(target, imported, legal, laid, choices, keep_layout)
