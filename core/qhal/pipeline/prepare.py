"""The first half of the line: import, legalize, lay out, select kernels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qhal.artifact.ports import Adapter
from qhal.artifact.runnable import Subject
from qhal.decisions import Decision
from qhal.errors import MissingDependencyError
from qhal.ir.importer import Imported, import_model
from qhal.ir.layout.laid_out import LaidOut, to_layout
from qhal.legal.legalize import Legalized, legalize
from qhal.plugin.backend import Backend
from qhal.plugin.calls import call, naming
from qhal.plugin.registry import registry
from qhal.quant.choice import Choice
from qhal.quant.constraints import find_recipe
from qhal.quant.model import QuantModel
from qhal.quant.select import select
from qhal.targets.capability import Capabilities
from qhal.targets.policy import Policy
from qhal.targets.profile import TargetProfile
from qhal.targets.recipe import Recipe

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Target:
    """A device, the backend that serves it, what it can execute, and the recipe.

    Attributes:
        profile: the device.
        backend: who serves it.
        caps: what it can execute.
        recipe: how to quantize for it.
        decisions: what is doubtful in the profile.
    """

    profile: TargetProfile
    backend: Backend
    caps: Capabilities
    recipe: Recipe
    decisions: tuple[Decision, ...] = ()

    @property
    def policy(self) -> Policy:
        """What gives each node the recipe whose rows it may take; the same one for all."""
        return self.recipe

    def check_can_lower(self) -> None:
        """Raise MissingDependencyError if the backend lacks a package that lowering needs."""
        lack = call(self.backend, Backend.readiness, self.profile).lower
        if lack is not None:
            message = f"Target {self.profile.name} cannot be lowered here."
            raise MissingDependencyError(message, str(lack))

    def lower(self, model: QuantModel) -> Subject:
        """Write the target's form of a quantized (or plain float) model."""
        artifact = call(self.backend, Backend.lower, model, self.profile)
        return Subject(artifact, self.backend, self.profile, Adapter.of_model(model), model)


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


def find_target(name: str, recipe: str, targets_file: str | Path | None = None) -> Target:
    """Look up a target and check that it has the recipe.

    Raises:
        UnknownTargetError: no plugin has it.
        UnknownRecipeError: there is no such recipe, or the target has no kernels for it.
    """
    known = registry(targets_file)
    backend, profile = known.resolve(name)
    caps = call(backend, Backend.capabilities, profile)
    doubts = known.doubts(profile)
    return Target(profile, backend, caps, find_recipe(recipe, caps, name), doubts)


def prepare(target: Target, imported: Imported, *, keep_layout: bool = False) -> Prepared:
    """Make an imported model ready for a target. Nothing is refused here, only recorded.

    Raises:
        PluginError: a limit of the target's capabilities broke.
    """
    with naming(target.backend, "capabilities"):
        legal = legalize(imported.graph, target.caps)
        laid = to_layout(legal.graph, target.caps.layout, keep_layout)
        choices = select(laid.graph, target.caps, target.policy)
    return Prepared(target, imported, legal, laid, choices)


def read_model(model: str | Path, shapes: Shapes | None = None) -> Imported:
    """Import a model file; see :func:`qhal.ir.importer.import_model`."""
    return import_model(Path(model), shapes or {})
