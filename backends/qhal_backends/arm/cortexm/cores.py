"""Arm's Cortex-M cores: which of CMSIS-NN's kernels run on them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from qhal.errors import CatalogError
from qhal.targets.profile import TargetProfile

CORE = "core"
"""Option of a profile that names its core."""


class Kernels(Enum):
    """Kernels of one build of TensorFlow Lite Micro; the value is what notes call it."""

    REFERENCE = "reference kernels"
    DSP = "CMSIS-NN for cores with DSP instructions"
    HELIUM = "CMSIS-NN for cores with Helium"


CORES: Mapping[str, Kernels] = {
    **dict.fromkeys(("cortex-m4", "cortex-m7", "cortex-m33"), Kernels.DSP),
    **dict.fromkeys(("cortex-m52", "cortex-m55", "cortex-m85"), Kernels.HELIUM),
}
"""Core -> its kernels, by the instructions that Arm's Technical Reference Manuals list.

DSP instructions are optional in a Cortex-M33, and Helium in an M52 and M55. Without DSP
instructions, CMSIS-NN's kernels need at most as much.
"""


def kernels_of(target: TargetProfile) -> tuple[Kernels, ...]:
    """Return the kernels that a target may run: both kinds if it does not name its core.

    Raises:
        CatalogError: the profile names a core that is not known.
    """
    if CORE not in target.options:
        return (Kernels.DSP, Kernels.HELIUM)
    name = target.options[CORE]
    if name not in CORES:
        raise CatalogError(
            f"{target.origin or 'the catalog'}: targets.{target.name}.options.{CORE} is "
            f"{name!r}, allowed {', '.join(CORES)}.",
            "Set one with the same instructions, or leave it out: the larger arena is stated then.",
        )
    return (CORES[name],)
