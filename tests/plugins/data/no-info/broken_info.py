"""A plugin whose backend does not say what it is called."""

from qhal.plugin.backend import Artifact, Backend
from qhal.plugin.hookspec import hookimpl
from qhal.quant.model import QuantModel
from qhal.targets.capability import Capabilities
from qhal.targets.profile import TargetProfile


class Nameless(Backend):
    def capabilities(self, target: TargetProfile) -> Capabilities:
        return Capabilities(())

    def lower(self, model: QuantModel, target: TargetProfile) -> Artifact:
        return Artifact({"model.bin": b""}, "model.bin")


@hookimpl
def qhal_backends() -> list[Backend]:
    return [Nameless()]
