"""A plugin that loads well and breaks when it is used; its targets are called by how."""

from dataclasses import replace
from importlib import import_module
from math import nan
from typing import Any, NoReturn

from qhal.errors import MissingDependencyError
from qhal.ir.graph import NodeView
from qhal.metric import Basis, Metric
from qhal.plugin.backend import Artifact, Backend, RunOptions
from qhal.plugin.hookspec import hookimpl
from qhal.plugin.info import BackendInfo
from qhal.plugin.machine_setup import Setup
from qhal.plugin.readiness import Readiness
from qhal.quant.model import QuantModel
from qhal.targets.capability import Capabilities
from qhal.targets.limit import limit
from qhal.targets.profile import TargetProfile
from qhal_backends.cpu.plugin import CpuBackend

METHODS = ("readiness", "capabilities", "lower", "load", "placement", "examine")
WAYS = (
    *("limit", "native", "sentence", "answer", "artifact", "invariant", "import", "refusal"),
    *("run", "outputs"),
)


@limit()
def odd_limit(view: NodeView) -> None:
    """Has a bug."""
    raise KeyError("in the limit")


@limit()
def odd_sentence(view: NodeView) -> Any:
    """Says True where all is well."""
    return True


def none_of_it(*_: object) -> NoReturn:
    raise KeyError("in the setup")


class Stumbling:
    """A runner that loads well and breaks when it runs, or gives nothing."""

    ways = ("breaking-run", "breaking-outputs")

    def __init__(self, runtime: str, way: str) -> None:
        self.runtime = runtime
        self.way = way

    def run(self, inputs: object) -> Any:
        if self.way == "breaking-run":
            raise KeyError("in run")


class Breaking(CpuBackend):
    info = BackendInfo("breaking-npu", packages={"npu_sdk": "npu-sdk"})

    def readiness(self, target: TargetProfile | None = None) -> Readiness:
        if target is not None:
            self._break("readiness", target)
        return super().readiness(target)

    def capabilities(self, target: TargetProfile) -> Capabilities:
        self._break("capabilities", target)
        found = super().capabilities(target)
        rules = {"breaking-limit": odd_limit, "breaking-sentence": odd_sentence}
        limits = tuple(filter(None, [rules.get(target.name)]))
        kernels = tuple(replace(c, limits=limits) for c in found.kernels)
        native = {"Conv": odd_limit} if target.name == "breaking-native" else {}
        return replace(found, kernels=kernels, native=native)

    def lower(self, model: QuantModel, target: TargetProfile) -> Any:
        self._break("lower", target)
        way = target.name.removeprefix("breaking-")
        if way == "answer":
            return None
        if way == "artifact":
            return Artifact({"record.json": b""}, "record.json")
        if way == "invariant":
            Metric(nan, "us", Basis.COUNTED)
        if way == "import":
            import_module("npu_sdk")
        if way == "refusal":
            raise MissingDependencyError("The license is missing.", "Buy one.")
        return super().lower(model, target)

    def load(self, artifact: Artifact, target: TargetProfile, options: RunOptions) -> Any:
        self._break("load", target)
        runner = super().load(artifact, target, options)
        return Stumbling(runner.runtime, target.name) if target.name in Stumbling.ways else runner

    def placement(self, artifact: Artifact, target: TargetProfile) -> Any:
        self._break("placement", target)

    def examine(self, quantized: object, baseline: object, target: TargetProfile) -> Any:
        self._break("examine", target)

    def setups(self) -> tuple[Setup, ...]:
        return (Setup("breaking", "what breaks", none_of_it, none_of_it),)

    def _break(self, method: str, target: TargetProfile) -> None:
        if target.name == f"breaking-{method}":
            raise KeyError(f"in {method}")


@hookimpl
def qhal_backends() -> list[Backend]:
    return [Breaking()]


@hookimpl
def qhal_targets() -> list[TargetProfile]:
    names = [f"breaking-{how}" for how in (*METHODS, *WAYS)]
    return [TargetProfile(name, "breaking-npu", "An NPU") for name in names]
