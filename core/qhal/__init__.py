"""qhal: one float ONNX model in; a quantized artifact that fits your hardware out.

``qhal.deploy``, ``qhal.check`` and ``qhal.bench`` do the same as the commands; the other names
are what they return and raise, and what a plugin is made of. They are imported at first use, so
that ``import qhal`` loads no runtime.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from qhal.version import __version__

if TYPE_CHECKING:
    from qhal.errors import QhalError as QhalError
    from qhal.pipeline.bench import bench as bench
    from qhal.pipeline.check import check as check
    from qhal.pipeline.deploy import deploy as deploy
    from qhal.pipeline.deploy_all import deploy_all as deploy_all
    from qhal.plugin.backend import Artifact as Artifact
    from qhal.plugin.backend import Backend as Backend
    from qhal.plugin.hookspec import hookimpl as hookimpl
    from qhal.plugin.info import BackendInfo as BackendInfo
    from qhal.results.bench import BenchReport as BenchReport
    from qhal.results.check import CheckReport as CheckReport
    from qhal.results.fleet import Fleet as Fleet
    from qhal.results.record import RunRecord as RunRecord
    from qhal.targets.profile import TargetProfile as TargetProfile

_HOMES = {
    "Artifact": "qhal.plugin.backend",
    "Backend": "qhal.plugin.backend",
    "BackendInfo": "qhal.plugin.info",
    "BenchReport": "qhal.results.bench",
    "CheckReport": "qhal.results.check",
    "Fleet": "qhal.results.fleet",
    "QhalError": "qhal.errors",
    "RunRecord": "qhal.results.record",
    "TargetProfile": "qhal.targets.profile",
    "bench": "qhal.pipeline.bench",
    "check": "qhal.pipeline.check",
    "deploy": "qhal.pipeline.deploy",
    "deploy_all": "qhal.pipeline.deploy_all",
    "hookimpl": "qhal.plugin.hookspec",
}

__all__ = [*_HOMES, "__version__"]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    """Import a public name from where it lives."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
