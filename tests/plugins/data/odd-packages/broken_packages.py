"""A plugin whose backend lists its packages without saying what they are called."""

from qhal.plugin.backend import Artifact, Backend
from qhal.plugin.hookspec import hookimpl
from qhal.plugin.info import BackendInfo
from qhal.targets.capability import Capabilities


class Odd(Backend):
    info = BackendInfo("odd-packages", packages=("npu_sdk",))

    def capabilities(self, target):
        return Capabilities(())

    def lower(self, model, target):
        return Artifact({"model.bin": b""}, "model.bin")


@hookimpl
def qhal_backends():
    return [Odd()]
