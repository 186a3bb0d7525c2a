"""Policies: which recipe each node of a model is quantized by."""

from __future__ import annotations

from typing import Protocol

from qhal.ir.graph import NodeView
from qhal.targets.recipe import Recipe


class Policy(Protocol):
    """Gives every node the recipe whose kernel rows it may take.

    A :class:`~qhal.targets.recipe.Recipe` is the constant policy: it gives itself to every node.
    """

    @property
    def name(self) -> str:
        """What records and reports call it."""
        ...

    def recipe_for(self, view: NodeView) -> Recipe:
        """Give the recipe of one node.

        The same node may be asked about in the user's graph, in the legal one and in the target's
        layout; nodes that replace others have their ``origin``.
        """
        ...
