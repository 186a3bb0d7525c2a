"""A plugin that loads well and breaks when it is used; its targets are called by how."""

from dataclasses import replace
from math import nan
from typing import ClassVar

from qhal.errors import MissingDependencyError
from qhal.metric import Basis, Metric
from qhal.plugin.backend import Artifact
from qhal.plugin.hookspec import hookimpl
from qhal.plugin.setup import Setup
from qhal.targets.profile import TargetProfile
from qhal_backends.cpu.plugin import CpuBackend

METHODS = ("unavailable_on", "capabilities", "lower", "load", "placement", "examine")
WAYS = ("limit", "native", "sentence", "answer", "artifact", "invariant", "import", "refusal")


def odd_limit(view):
    """Has a bug."""
    raise KeyError("in the limit")


def odd_sentence(view):
    """Says True where all is well."""
    return True


def none_of_it(*_):
    raise KeyError("in the setup")


class Breaking(CpuBackend):
    name = "breaking-npu"
    packages: ClassVar = {"npu_sdk": "npu-sdk"}

    def unavailable_on(self, target):
        return self._break("unavailable_on", target)

    def capabilities(self, target):
        self._break("capabilities", target)
        found = super().capabilities(target)
        rules = {"breaking-limit": odd_limit, "breaking-sentence": odd_sentence}
        limits = tuple(filter(None, [rules.get(target.name)]))
        kernels = tuple(replace(c, limits=limits) for c in found.kernels)
        native = {"Conv": odd_limit} if target.name == "breaking-native" else {}
        return replace(found, kernels=kernels, native=native)

    def lower(self, model, target):
        self._break("lower", target)
        way = target.name.removeprefix("breaking-")
        if way == "answer":
            return None
        if way == "artifact":
            return Artifact({"record.json": b""}, "record.json")
        if way == "invariant":
            Metric(nan, "us", Basis.COUNTED)
        if way == "import":
            import npu_sdk  # noqa: F401
        if way == "refusal":
            raise MissingDependencyError("The license is missing.", "Buy one.")
        return super().lower(model, target)

    def load(self, artifact, target, options):
        self._break("load", target)
        return super().load(artifact, target, options)

    def placement(self, artifact, target):
        self._break("placement", target)

    def examine(self, quantized, baseline, target):
        self._break("examine", target)

    def setups(self):
        return (Setup("breaking", "what breaks", none_of_it, none_of_it),)

    def _break(self, method, target):
        if target.name == f"breaking-{method}":
            raise KeyError(f"in {method}")


@hookimpl
def qhal_backends():
    return [Breaking()]


@hookimpl
def qhal_targets():
    names = [f"breaking-{how}" for how in (*METHODS, *WAYS)]
    return [TargetProfile(name, "breaking-npu", "An NPU") for name in names]
