"""A plugin that takes the name of a built-in backend."""

from qhal.plugin.backend import Artifact, Backend
from qhal.plugin.hookspec import hookimpl
from qhal.plugin.info import BackendInfo
from qhal.quant.model import QuantModel
from qhal.targets.capability import Capabilities
from qhal.targets.profile import TargetProfile


class Other(Backend):
    info = BackendInfo("cpu")

    def capabilities(self, target: TargetProfile) -> Capabilities:
        return Capabilities(())

    def lower(self, model: QuantModel, target: TargetProfile) -> Artifact:
        return Artifact({"model.bin": b""}, "model.bin")


@hookimpl
def qhal_backends() -> list[Backend]:
    return [Other()]
