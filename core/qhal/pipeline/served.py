"""A target with the backend that serves it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qhal.artifact.ports import Adapter
from qhal.artifact.runnable import Subject
from qhal.decisions import Code, Decision
from qhal.errors import MissingDependencyError, RefusedError
from qhal.ir.importer import Imported
from qhal.pipeline.prepare import Prepared, prepare
from qhal.plugin.backend import Backend
from qhal.plugin.calls import call, check_unchanged, naming
from qhal.plugin.discovery import Provider
from qhal.plugin.lent import Seal
from qhal.plugin.provided import Provided
from qhal.plugin.registry import Registry, given_or_installed
from qhal.quant.constraints import refuse
from qhal.quant.model import QuantModel
from qhal.system.trail import Kind, doing
from qhal.targets.profile import TargetProfile
from qhal.targets.recipe import FLOAT32, find_recipe
from qhal.targets.target import Target


@dataclass(frozen=True)
class Served:
    """A target and its backend.

    Attributes:
        backend: who serves the target.
        target: a value that knows no backend.
        provider: the plugin that provides the backend; None if no plugin does.
    """

    backend: Backend
    target: Target
    provider: Provider | None = None

    @property
    def provided(self) -> Provided:
        """The backend, as the core calls it."""
        return Provided(self.backend, self.provider)

    def check_can_lower(self) -> None:
        """Raise MissingDependencyError if the backend lacks a package that lowering needs."""
        profile = self.target.profile
        lack = call(self.provided, Backend.readiness, profile).lower
        if lack is not None:
            message = f"Artifacts for {profile.name} cannot be written here."
            raise MissingDependencyError(message, str(lack))

    def prepare(self, imported: Imported, *, keep_layout: bool = False) -> Prepared:
        """Make an imported model ready for the target. Nothing is refused here, only recorded.

        Args:
            imported: the user's model.
            keep_layout: keep the model's order of dimensions at inputs and outputs.

        Raises:
            PluginError: a limit of the backend's capabilities broke.
        """
        with naming(self.provided, "capabilities"):
            return prepare(self.target, imported, keep_layout=keep_layout)

    def foresee(self, ready: Prepared) -> tuple[Decision, ...]:
        """Ask the backend what it knows of a model before there are data.

        Raises:
            PluginError: the backend broke.
        """
        rows = {name: choice.row for name, choice in ready.choices.items() if choice.row}
        planned = QuantModel(ready.laid.graph, kernels=rows, recipe=self.target.policy.name)
        return call(self.provided, Backend.foresee, planned, self.target.profile)

    def refuse(self, ready: Prepared) -> None:
        """Refuse what ``qhal check`` does not accept, before data are read.

        Raises:
            RefusedError: a node has no kernel, or the backend foresees that it refuses the whole.
            PluginError: the backend broke.
        """
        name = self.target.profile.name
        refuse(ready.choices, ready.laid.graph, name)
        objections = [d.sentence for d in self.foresee(ready) if d.code is Code.UNFIT]
        if objections:
            raise RefusedError(f"Target {name} refuses the model: {' '.join(objections)}")

    def lower(self, model: QuantModel) -> Subject:
        """Write the target's form of a quantized (or plain float) model.

        Raises:
            PluginError: the backend broke, or changed the model.
        """
        profile, seal = self.target.profile, Seal.of_model(model)
        with doing(Kind.BACKEND, f"the {self.provided.name} wrote the artifact"):
            artifact = call(self.provided, Backend.lower, model, profile)
        check_unchanged(self.provided, "lower", seal, Seal.of_model(model))
        adapter = Adapter.of_model(model)
        return Subject(
            artifact, self.backend, profile, adapter, model, seal=seal, provider=self.provider
        )


def find_target(
    name: str,
    recipe: str,
    targets_file: str | Path | None = None,
    *,
    registry: Registry | None = None,
) -> Served:
    """Look up a target and check that it has the recipe.

    Args:
        name: of the target.
        recipe: name of the recipe.
        targets_file: see :func:`qhal.plugin.registry.given_or_installed`.
        registry: backends and targets; None for those that are installed here.

    Raises:
        UnknownTargetError: no plugin has it.
        UnknownRecipeError: there is no such recipe, or the target has no kernels for it.
    """
    known = given_or_installed(registry, targets_file)
    backend, profile = known.resolve(name)
    provided = known.provided(profile.backend)
    caps = call(provided, Backend.capabilities, profile)
    policy = find_recipe(recipe, caps, profile.name)
    target = Target(profile, caps, policy, known.doubts(profile))
    return Served(backend, target, provided.provider)


def serve_float(provided: Provided, profile: TargetProfile) -> Served:
    """Ask a backend what a device can execute, for a model that stays in float."""
    caps = call(provided, Backend.capabilities, profile)
    return Served(provided.backend, Target(profile, caps, FLOAT32), provided.provider)
