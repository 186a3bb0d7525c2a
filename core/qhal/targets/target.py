"""A target: a device, what it can execute, and the recipe to quantize with."""

from __future__ import annotations

from dataclasses import dataclass

from qhal.decisions import Decision
from qhal.targets.capability import Capabilities
from qhal.targets.policy import Policy
from qhal.targets.profile import TargetProfile
from qhal.targets.recipe import Recipe


@dataclass(frozen=True)
class Target:
    """What a model is made ready for.

    Attributes:
        profile: the device.
        caps: what it can execute.
        recipe: how to quantize for it.
        decisions: what is doubtful in the profile.
    """

    profile: TargetProfile
    caps: Capabilities
    recipe: Recipe
    decisions: tuple[Decision, ...] = ()

    @property
    def policy(self) -> Policy:
        """What gives each node the recipe whose rows it may take; the same one for all."""
        return self.recipe
