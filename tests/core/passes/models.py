"""Three small ONNX models as exporters write them, a target, and data.

Weights and data are multiples of powers of two, so that every sum is exact and the texts are the
same on every processor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from qhal.data import Dataset, load_dataset
from qhal.ir.dtypes import DType
from qhal.ir.graph import Graph
from qhal.ir.ops import Activation, Layout
from qhal.targets.capability import Capabilities, Capability, KernelRow
from qhal.targets.spec import FLOAT, Derived, PerAxis, QuantSpec, SameAsInput

SHAPE = (1, 3, 8, 8)

_INT8 = QuantSpec(DType.INT8)
_WEIGHT = QuantSpec(DType.INT8, PerAxis(), symmetric=True, narrow_range=True)
_WEIGHTED = KernelRow(_INT8, _INT8, _WEIGHT, Derived(), name="int8 per-axis")
_COMPUTED = KernelRow(_INT8, _INT8, name="int8")
_MOVED = KernelRow(_INT8, SameAsInput(), name="int8 moved")
_JOINED = KernelRow(_INT8, SameAsInput(every=True), name="int8 joined")
_FLOAT = KernelRow(FLOAT, FLOAT, name="float")
_FUSED = frozenset({Activation.RELU, Activation.RELU6})

CAPS = Capabilities(
    (
        *(Capability(op, (_WEIGHTED,), "a book") for op in ("Conv", "DepthwiseConv")),
        Capability("FullyConnected", (_WEIGHTED,), "a book"),
        *(Capability(op, (_COMPUTED,), "a book") for op in ("Add", "Mul", "Relu6", "ReduceMean")),
        *(Capability(op, (_MOVED,), "a book") for op in ("MaxPool", "Reshape", "Transpose")),
        Capability("Concat", (_JOINED, _FLOAT), "a book"),
        Capability("Softmax", (_FLOAT,), "another book"),
    ),
    layout=Layout.NHWC,
    fused=dict.fromkeys(("Conv", "DepthwiseConv", "FullyConnected", "Add"), _FUSED),
)
"""An invented NPU: int8 and NHWC, with a softmax in float and without HardSwish."""


def classifier() -> onnx.ModelProto:
    """Normalization of the input, a convolution, batch norm, ReLU, pooling, a layer, softmax."""
    nodes = [
        helper.make_node("Sub", ["image", "mean"], ["centered"], "sub"),
        helper.make_node("Div", ["centered", "std"], ["scaled"], "div"),
        helper.make_node("Conv", ["scaled", "w1"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", *_NORM], ["n"], "norm", epsilon=0.0),
        helper.make_node("Relu", ["n"], ["r"], "relu"),
        helper.make_node("MaxPool", ["r"], ["p"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "w2", "b2"], ["logits"], "dense", transB=1),
        helper.make_node("Softmax", ["logits"], ["scores"], "softmax"),
    ]
    constants = {
        "mean": np.array([0.5, 0.25, 0.125], np.float32).reshape(3, 1, 1),
        "std": np.array([0.5, 0.25, 0.5], np.float32).reshape(3, 1, 1),
        "w1": _weights(4, 3, 3, 3),
        "gamma": np.array([1, 2, 0.5, 1], np.float32),
        "beta": np.array([0.5, -0.5, 1, 0], np.float32),
        "average": np.array([0.25, 0, -0.25, 1], np.float32),
        "variance": np.array([1, 4, 0.25, 1], np.float32),
        "w2": _weights(5, 64),
        "b2": np.array([0, 0.5, -0.5, 1, -1], np.float32),
    }
    return _model("classifier", nodes, constants, "scores", (1, 5))


def depthwise() -> onnx.ModelProto:
    """A depthwise block with channels of different ranges, a residual, a mean, and hard-swish."""
    nodes = [
        helper.make_node("Conv", ["image", "w1"], ["c1"], "expand"),
        helper.make_node("Relu", ["c1"], ["r1"], "relu"),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], "depthwise", group=4, pads=[1, 1, 1, 1]),
        helper.make_node("Clip", ["c2", "zero", "six"], ["r2"], "clip"),
        helper.make_node("Conv", ["r2", "w3", "b3"], ["c3"], "project"),
        helper.make_node("Add", ["c3", "image"], ["sum"], "residual"),
        helper.make_node("GlobalAveragePool", ["sum"], ["pooled"], "mean"),
        helper.make_node("Add", ["pooled", "three"], ["moved"], "move"),
        helper.make_node("Clip", ["moved", "zero", "six"], ["gate"], "gate"),
        helper.make_node("Mul", ["pooled", "gate"], ["gated"], "multiply"),
        helper.make_node("Div", ["gated", "six"], ["swish"], "divide"),
    ]
    ranges = np.array([32, 4, 1, 0.25], np.float32).reshape(4, 1, 1, 1)
    constants: dict[str, np.ndarray] = {
        "w1": _weights(4, 3, 1, 1) * ranges,
        "w2": _weights(4, 1, 3, 3) / ranges,
        "w3": _weights(3, 4, 1, 1),
        "b3": np.array([0.5, -0.25, 0], np.float32),
        "three": np.array(3, np.float32),
        "zero": np.array(0, np.float32),
        "six": np.array(6, np.float32),
    }
    return _model("depthwise", nodes, constants, "swish", (1, 3, 1, 1))


def detector() -> onnx.ModelProto:
    """Padding in front of a convolution, there and back, and boxes and scores in one output."""
    pads = [0, 0, 1, 1, 0, 0, 1, 1]
    nodes = [
        helper.make_node("Pad", ["image", "pads"], ["padded"], "pad"),
        helper.make_node("Conv", ["padded", "w1"], ["c"], "conv"),
        helper.make_node("Transpose", ["c"], ["there"], "there", perm=[0, 2, 3, 1]),
        helper.make_node("Transpose", ["there"], ["back"], "back", perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["back", "w2"], ["boxes"], "boxes"),
        helper.make_node("Conv", ["back", "w3"], ["scores"], "scores"),
        helper.make_node("Concat", ["boxes", "scores"], ["found"], "join", axis=1),
    ]
    constants = {
        "pads": np.array(pads, np.int64),
        "w1": _weights(4, 3, 3, 3),
        "w2": _weights(4, 4, 1, 1) * np.float32(512),
        "w3": _weights(2, 4, 1, 1),
    }
    return _model("detector", nodes, constants, "found", (1, 6, 8, 8))


MODELS: Mapping[str, Callable[[], onnx.ModelProto]] = {
    "classifier": classifier,
    "depthwise": depthwise,
    "detector": detector,
}


def data_of(graph: Graph) -> Dataset:
    """Four images of multiples of 1/16 from -1 to 1."""
    steps = np.arange(4 * 3 * 8 * 8) * 37 % 33 - 16
    types = {name: graph.tensors[name] for name in graph.inputs}
    return load_dataset({"image": (steps / 16).astype(np.float32).reshape(4, *SHAPE)}, types)


_NORM = ("gamma", "beta", "average", "variance")


def _weights(*shape: int) -> np.ndarray:
    """Multiples of 1/8 from -1 to 1 in no order."""
    steps = np.arange(np.prod(shape)) * 23 % 17 - 8
    return (steps / 8).astype(np.float32).reshape(shape)


def _model(
    name: str,
    nodes: list[onnx.NodeProto],
    constants: Mapping[str, np.ndarray],
    output: str,
    shape: tuple[int, ...],
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(value, key) for key, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
