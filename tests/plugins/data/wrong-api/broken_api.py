"""A plugin for another version of the interface."""

from qhal.plugin.backend import Artifact, Backend
from qhal.plugin.hookspec import hookimpl
from qhal.plugin.info import BackendInfo
from qhal.targets.capability import Capabilities


class Future(Backend):
    info = BackendInfo("future", api_version=99)

    def capabilities(self, target):
        return Capabilities(())

    def lower(self, model, target):
        return Artifact({"model.bin": b""}, "model.bin")


@hookimpl
def qhal_backends():
    return [Future()]
