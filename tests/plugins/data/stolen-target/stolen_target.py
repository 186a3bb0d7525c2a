"""A plugin that redefines a device of the catalog."""

from qhal.plugin.hookspec import hookimpl
from qhal.targets.profile import TargetProfile


@hookimpl
def qhal_targets() -> list[TargetProfile]:
    return [TargetProfile("edgetpu", backend="sound-npu", title="Not the Edge TPU")]
