"""The backend for LiteRT (TensorFlow Lite)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from qhal.plugin.backend import Artifact, Backend, Placement
from qhal.plugin.hookspec import hookimpl
from qhal.plugin.info import BackendInfo
from qhal.targets.capability import Capabilities
from qhal.targets.profile import TargetProfile
from qhal_backends.tflite.family import MODEL, PACKAGES, HostedByLitert


class TfliteBackend(HostedByLitert):
    """Lowers to a ``.tflite`` file and runs it with LiteRT's interpreter."""

    info: ClassVar = BackendInfo("tflite", options=frozenset(), packages=PACKAGES)

    def capabilities(self, target: TargetProfile) -> Capabilities:
        """State what LiteRT executes on a CPU; the same for every device."""
        from qhal_backends.tflite.capabilities import capabilities

        return capabilities()

    def placement(self, artifact: Artifact, target: TargetProfile) -> Placement:
        """Find out which operators XNNPACK takes."""
        from qhal_backends.tflite.placement import read_placement

        return read_placement(artifact.files[MODEL])


@hookimpl
def qhal_backends() -> Iterable[Backend]:
    """Provide the backend ``tflite``."""
    return [TfliteBackend()]
