"""Arm's Cortex-A cores: what distinguishes them for a runtime and for an emulator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qhal.errors import CatalogError
from qhal.targets.profile import TargetProfile

CORE = "core"
"""Option of a profile that names its core."""

_ARMV8 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"
_ARMV8_2 = f"{_ARMV8} atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp"


@dataclass(frozen=True)
class Core:
    """A core.

    Attributes:
        name: what QEMU's ``-cpu`` takes.
        part: primary part number (``MIDR_EL1[15:4]``, the "CPU part" of ``/proc/cpuinfo``), from
            the core's Technical Reference Manual.
        features: the "Features" of ``/proc/cpuinfo`` on Linux.
    """

    name: str
    part: int
    features: str

    @property
    def has_dot_product(self) -> bool:
        """True if it has SDOT and UDOT: four products of bytes per 32-bit lane."""
        return "asimddp" in self.features.split()

    @property
    def byte_product(self) -> str:
        """The instructions that XNNPACK multiplies int8 with on this core.

        Source: XNNPACK, src/configs/gemm-config.c, which asks for ``use_arm_neon_dot``.
        """
        return "SDOT" if self.has_dot_product else "SMULL and SMLAL"


CORES: Mapping[str, Core] = {
    core.name: core
    for core in (
        Core("cortex-a53", 0xD03, _ARMV8),
        Core("cortex-a72", 0xD08, _ARMV8),
        Core("cortex-a76", 0xD0B, _ARMV8_2),
    )
}


def core_of(target: TargetProfile) -> Core:
    """Return the core of a target.

    Raises:
        CatalogError: the profile names none, or one that is not known.
    """
    name = target.options.get(CORE, "")
    if name not in CORES:
        raise CatalogError(
            f"{target.origin or 'the catalog'}: targets.{target.name}.options.{CORE} is "
            f"{name!r}; allowed: {', '.join(CORES)}.",
            'Set it, or inherit it from another target, as with extends = "cortex-a72".',
        )
    return CORES[name]
