"""qhal: one float ONNX model in; a quantized artifact that fits your hardware out.

``qhal.deploy``, ``qhal.check`` and ``qhal.bench`` do the same as the commands; the other names
are what they return and raise, and what a plugin is made of. They are imported at first use, so
that ``import qhal`` loads no runtime.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qhal.bench_report import BenchReport as BenchReport
    from qhal.benching import bench as bench
    from qhal.check_report import CheckReport as CheckReport
    from qhal.checking import check as check
    from qhal.errors import QhalError as QhalError
    from qhal.fleet import Fleet as Fleet
    from qhal.fleet import deploy_all as deploy_all
    from qhal.line import deploy as deploy
    from qhal.plugin.backend import Artifact as Artifact
    from qhal.plugin.backend import Backend as Backend
    from qhal.plugin.hookspec import hookimpl as hookimpl
    from qhal.record import RunRecord as RunRecord
    from qhal.target.profile import TargetProfile as TargetProfile

__version__ = "0.1.0"

_HOMES = {
    "Artifact": "qhal.plugin.backend",
    "Backend": "qhal.plugin.backend",
    "BenchReport": "qhal.bench_report",
    "CheckReport": "qhal.check_report",
    "Fleet": "qhal.fleet",
    "QhalError": "qhal.errors",
    "RunRecord": "qhal.record",
    "TargetProfile": "qhal.target.profile",
    "bench": "qhal.benching",
    "check": "qhal.checking",
    "deploy": "qhal.line",
    "deploy_all": "qhal.fleet",
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
