"""An invented NPU: int8 only, NHWC, convolutions up to 5 x 5."""

from io import BytesIO
from types import SimpleNamespace

import numpy as np

import qhal
from qhal.ir.dtypes import DType
from qhal.ir.ops import Activation, Layout
from qhal.ir.text import to_text
from qhal.quant.oracle import Oracle
from qhal.targets.capability import Capabilities, Capability, KernelRow
from qhal.targets.limit import Range, limit
from qhal.targets.spec import Derived, PerAxis, QuantSpec, SameAsInput

SOURCE = "data sheet of an NPU that does not exist, revision 1"
DATA = QuantSpec(DType.INT8)
WEIGHT = QuantSpec(DType.INT8, PerAxis(), symmetric=True, narrow_range=True)
WEIGHTED = KernelRow(DATA, DATA, WEIGHT, Derived(), name="int8 per-axis")
FUSED = frozenset({Activation.RELU, Activation.RELU6})


@limit(window=Range(1, 5))
def small_window(view, window):
    """Windows are at most {window.most} wide."""
    width = max(view.input(1).shape[1:3])
    return None if width in window else f"window is {width} wide, allowed {window}"


def kernel(op, row, *limits):
    return Capability(op, (row,), SOURCE, limits)


CAPABILITIES = Capabilities(
    (
        *(kernel(op, WEIGHTED, small_window) for op in ("Conv", "DepthwiseConv")),
        kernel("FullyConnected", WEIGHTED),
        *(kernel(op, KernelRow(DATA, DATA)) for op in ("Add", "Relu", "ReduceMean")),
        *(kernel(op, KernelRow(DATA, SameAsInput())) for op in ("MaxPool", "Reshape")),
    ),
    layout=Layout.NHWC,
    fused=dict.fromkeys(("Conv", "DepthwiseConv", "FullyConnected", "Add"), FUSED),
    integer_io=True,
)


class ExampleNpu(qhal.Backend):
    info = qhal.BackendInfo("example-npu")  # a real one states its SDK, too: packages=…

    def __init__(self):
        self.lowered = {}  # program -> model: the simulator knows the programs of this process

    def capabilities(self, target):
        return CAPABILITIES

    def lower(self, model, target):
        weights = BytesIO()
        np.savez(weights, **model.graph.constants)
        program = to_text(model.graph, model.params).encode()
        self.lowered[program] = model
        return qhal.Artifact({"model.npu": program, "weights.npz": weights.getvalue()}, "model.npu")

    def load(self, artifact, target, options):
        model = self.lowered.get(artifact.files["model.npu"])
        return SimpleNamespace(runtime="qhal's oracle", run=Oracle(model).run) if model else None


@qhal.hookimpl
def qhal_backends():
    return [ExampleNpu()]


@qhal.hookimpl
def qhal_targets():
    return [qhal.TargetProfile("example-npu", backend="example-npu", title="An NPU to learn from")]
