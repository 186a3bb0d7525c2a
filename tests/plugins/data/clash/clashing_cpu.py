"""A plugin that takes the name of a built-in backend."""

from qhal.plugin.backend import Artifact, Backend
from qhal.plugin.hookspec import hookimpl
from qhal.plugin.info import BackendInfo
from qhal.targets.capability import Capabilities


class Other(Backend):
    info = BackendInfo("cpu")

    def capabilities(self, target):
        return Capabilities(())

    def lower(self, model, target):
        return Artifact({"model.bin": b""}, "model.bin")


@hookimpl
def qhal_backends():
    return [Other()]
