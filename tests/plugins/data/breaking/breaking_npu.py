"""A plugin that loads well and breaks when it is used; its targets are called by how."""

from dataclasses import replace
from math import nan

from qhal.errors import MissingDependencyError
from qhal.metric import Basis, Metric
from qhal.plugin.backend import Artifact
from qhal.plugin.hookspec import hookimpl
from qhal.plugin.info import BackendInfo
from qhal.plugin.machine_setup import Setup
from qhal.targets.limit import limit
from qhal.targets.profile import TargetProfile
from qhal_backends.cpu.plugin import CpuBackend

METHODS = ("readiness", "capabilities", "lower", "load", "placement", "examine")
WAYS = (
    *("limit", "native", "sentence", "answer", "artifact", "invariant", "import", "refusal"),
    *("run", "outputs"),
)


@limit()
def odd_limit(view):
    """Has a bug."""
    raise KeyError("in the limit")


@limit()
def odd_sentence(view):
    """Says True where all is well."""
    return True


def none_of_it(*_):
    raise KeyError("in the setup")


class Stumbling:
    """A runner that loads well and breaks when it runs, or gives nothing."""

    ways = ("breaking-run", "breaking-outputs")

    def __init__(self, runtime, way):
        self.runtime = runtime
        self.way = way

    def run(self, inputs):
        if self.way == "breaking-run":
            raise KeyError("in run")


class Breaking(CpuBackend):
    info = BackendInfo("breaking-npu", packages={"npu_sdk": "npu-sdk"})

    def readiness(self, target=None):
        if target is not None:
            self._break("readiness", target)
        return super().readiness(target)

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
            raise MissingDependencyError("The licence is missing.", "Buy one.")
        return super().lower(model, target)

    def load(self, artifact, target, options):
        self._break("load", target)
        runner = super().load(artifact, target, options)
        return Stumbling(runner.runtime, target.name) if target.name in Stumbling.ways else runner

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
