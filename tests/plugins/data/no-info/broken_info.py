"""A plugin whose backend does not say what it is called."""

from qhal.plugin.backend import Artifact, Backend
from qhal.plugin.hookspec import hookimpl
from qhal.targets.capability import Capabilities


class Nameless(Backend):
    def capabilities(self, target):
        return Capabilities(())

    def lower(self, model, target):
        return Artifact({"model.bin": b""}, "model.bin")


@hookimpl
def qhal_backends():
    return [Nameless()]
