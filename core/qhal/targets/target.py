"""A target: a device, what it can execute, and how to quantize for it."""

from __future__ import annotations

from dataclasses import dataclass

from qhal.decisions import Decision
from qhal.targets.capability import Capabilities
from qhal.targets.policy import Policy
from qhal.targets.profile import TargetProfile


@dataclass(frozen=True)
class Target:
    """What a model is made ready for.

    Attributes:
        profile: the device.
        caps: what it can execute.
        policy: gives each node the recipe whose kernel rows it may take; a
            :class:`~qhal.targets.recipe.Recipe` gives itself to all of them.
        decisions: what is doubtful in the profile.
    """

    profile: TargetProfile
    caps: Capabilities
    policy: Policy
    decisions: tuple[Decision, ...] = ()
