"""A plugin with nothing wrong, except that it talks."""

from qhal.plugin.backend import Artifact, Backend
from qhal.plugin.hookspec import hookimpl
from qhal.plugin.info import BackendInfo
from qhal.quant.model import QuantModel
from qhal.targets.capability import Capabilities
from qhal.targets.profile import TargetProfile

print("hello from a plugin")  # noqa: T201


class Sound(Backend):
    info = BackendInfo("sound-npu")

    def capabilities(self, target: TargetProfile) -> Capabilities:
        return Capabilities(())

    def lower(self, model: QuantModel, target: TargetProfile) -> Artifact:
        return Artifact({"model.bin": b""}, "model.bin")


@hookimpl
def qhal_backends() -> list[Backend]:
    return [Sound()]


@hookimpl
def qhal_targets() -> list[TargetProfile]:
    return [TargetProfile("sound-npu", backend="sound-npu", title="A sound NPU")]
