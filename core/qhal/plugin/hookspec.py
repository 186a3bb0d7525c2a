"""The hooks, all on one page. Entry-point group ``qhal``; one module or object per entry point."""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from qhal.plugin.backend import Backend
from qhal.targets.profile import TargetProfile

hookspec = pluggy.HookspecMarker("qhal")
hookimpl = pluggy.HookimplMarker("qhal")


@hookspec
def qhal_backends() -> Iterable[Backend]:
    """Return the backends that this plugin adds.

    Called once per process; keep it cheap and import runtimes inside the backend's methods.

    Example::

        @qhal.hookimpl
        def qhal_backends():
            return [MyBackend()]
    """
    return ()


@hookspec
def qhal_targets() -> Iterable[TargetProfile]:
    """Return the devices that this plugin adds, served by any installed backend.

    Example::

        @qhal.hookimpl
        def qhal_targets():
            return [TargetProfile("my-npu", backend="my-backend", title="My NPU")]
    """
    return ()
