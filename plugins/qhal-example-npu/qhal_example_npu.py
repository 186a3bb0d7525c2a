"""An invented NPU: int8 only, NHWC, convolutions up to 5 x 5."""

from io import BytesIO
from types import SimpleNamespace
from typing import Any

import numpy as np

from qhal import Artifact, Backend, BackendInfo, TargetProfile, hookimpl
from qhal.ir.dtypes import DType
from qhal.ir.graph import NodeView
from qhal.ir.ops import Activation, Layout
from qhal.ir.text import to_text
from qhal.plugin.backend import Runner, RunOptions
from qhal.quant.model import QuantModel
from qhal.quant.oracle import Oracle
from qhal.targets.capability import Capabilities, Capability, KernelRow
from qhal.targets.limit import Range, limit
from qhal.targets.spec import Derived, PerAxis, QuantSpec, SameAsInput

SOURCE = "data sheet of an NPU that does not exist, revision 1"
DATA = QuantSpec(DType.INT8)
WEIGHT = QuantSpec(DType.INT8, PerAxis(), symmetric=True, narrow_range=True)
WEIGHTED = KernelRow(DATA, DATA, WEIGHT, Derived(), name="int8 per-axis")
PLAIN, MOVED = KernelRow(DATA, DATA), KernelRow(DATA, SameAsInput())
FUSED = ("Conv", "DepthwiseConv", "FullyConnected", "Add")


@limit(window=Range(1, 5))
def small_window(view: NodeView, window: Range) -> str | None:
    """Windows are at most {window.most} wide."""
    width = max(view.input(1).shape[1:3])
    return None if width in window else f"window is {width} wide; allowed: {window}"


CAPABILITIES = Capabilities(
    (
        *(Capability(op, (WEIGHTED,), SOURCE, (small_window,)) for op in ("Conv", "DepthwiseConv")),
        Capability("FullyConnected", (WEIGHTED,), SOURCE),
        *(Capability(op, (PLAIN,), SOURCE) for op in ("Add", "Relu", "ReduceMean")),
        *(Capability(op, (MOVED,), SOURCE) for op in ("MaxPool", "Reshape")),
    ),
    layout=Layout.NHWC,
    fused=dict.fromkeys(FUSED, frozenset({Activation.RELU, Activation.RELU6})),
    integer_io=True,
)


class ExampleNpu(Backend):
    info = BackendInfo("example-npu")  # a real one states its SDK, too: packages=…

    def __init__(self) -> None:
        self.lowered: dict[bytes, QuantModel] = {}  # the simulator knows what this process lowered

    def capabilities(self, target: TargetProfile) -> Capabilities:
        return CAPABILITIES

    def lower(self, model: QuantModel, target: TargetProfile) -> Artifact:
        weights = BytesIO()
        np.savez(weights, **dict[str, Any](model.graph.constants))
        self.lowered[program := to_text(model.graph, model.params).encode()] = model
        return Artifact({"model.npu": program, "weights.npz": weights.getvalue()}, "model.npu")

    def load(self, artifact: Artifact, target: TargetProfile, options: RunOptions) -> Runner | None:
        model = self.lowered.get(artifact.files["model.npu"])
        return SimpleNamespace(runtime="qhal's oracle", run=Oracle(model).run) if model else None


@hookimpl
def qhal_backends() -> list[Backend]:
    return [ExampleNpu()]


@hookimpl
def qhal_targets() -> list[TargetProfile]:
    return [TargetProfile("example-npu", backend="example-npu", title="An NPU to learn from")]
