"""The backends for Arm's devices, one for each way to get a model onto them."""

from __future__ import annotations

from collections.abc import Iterable

from qhal.plugin.backend import Backend
from qhal.plugin.hookspec import hookimpl
from qhal_backends.arm.cortexa import CortexABackend
from qhal_backends.arm.cortexm.backend import CortexMBackend
from qhal_backends.arm.ethosu.backend import EthosUBackend


@hookimpl
def qhal_backends() -> Iterable[Backend]:
    """Provide the backends ``ethos-u``, ``cortex-m`` and ``cortex-a``."""
    return [EthosUBackend(), CortexMBackend(), CortexABackend()]
