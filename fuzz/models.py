"""Small valid ONNX models, grown at random."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fuzz.case import Random, often, pick

OPSETS = (7, 9, 11, 12, 13, 13, 13, 15, 16, 17, 17, 18, 19, 20, 21, 22, 23)
UNARY = (
    *("Relu", "Sigmoid", "Tanh", "Abs", "Neg", "Exp", "Sqrt", "Erf", "Floor", "Ceil", "Softplus"),
    *("LeakyRelu", "Elu", "Selu", "HardSigmoid", "Softsign", "Sin", "Cos", "Reciprocal", "Sign"),
    *("HardSwish", "Gelu", "Mish", "Round", "ThresholdedRelu", "Celu", "Identity", "Log", "Atan"),
)
SINCE = {"HardSwish": 14, "Gelu": 20, "Mish": 18, "Round": 11, "Celu": 12, "Einsum": 12}
BINARY = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Pow")
REDUCE = ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceProd", "ReduceLogSumExp")


@dataclass
class Draft:
    """A model that grows.

    Attributes:
        random: the source of chance.
        opset: of the model.
        tensors: float tensors so far, with their shapes.
    """

    random: Random
    opset: int
    tensors: dict[str, tuple[int, ...]] = field(default_factory=dict)
    inputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def input(self, shape: tuple[int, ...]) -> str:
        """Add an input to the model."""
        name = f"x{len(self.inputs)}"
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        self.tensors[name] = shape
        return name

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """Add an initializer."""
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def weight(self, *shape: int) -> str:
        """Add an initializer of normally distributed numbers."""
        return self.constant(self.random.normal(size=shape) * 0.4)

    def ints(self, *values: int) -> str:
        """Add an initializer of indices or sizes."""
        return self.constant(values, np.int64)

    def node(self, kind: str, inputs: list[str], shape: tuple[int, ...], **attributes: Any) -> str:
        """Add a node with one output of that shape."""
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], f"n{len(self.nodes)}"))
        self.nodes[-1].attribute.extend(helper.make_attribute(k, v) for k, v in attributes.items())
        self.tensors[name] = shape
        return name

    def model(self) -> onnx.ModelProto:
        """Make the model: tensors that no node reads are its outputs."""
        used = {name for node in self.nodes for name in node.input}
        made = [node.output[0] for node in self.nodes]
        ends = [name for name in made if name not in used] or made[-1:]
        outputs = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, self.tensors[name])
            for name in ends
        ]
        graph = helper.make_graph(self.nodes, "g", self.inputs, outputs, self.constants)
        opset = helper.make_opsetid("", self.opset)
        return helper.make_model(graph, opset_imports=[opset], ir_version=9)


Shape = tuple[int, ...]
Grow = Callable[[Draft, str, Shape], object]


def grown(random: Random, nodes: int) -> onnx.ModelProto:
    """Grow a valid model of about so many nodes."""
    draft = Draft(random, pick(random, OPSETS))
    shape: Shape = pick(random, [(1, 3, 8, 8), (1, 4, 5, 6), (1, 8), (1, 4, 8), (2, 3, 4)])
    draft.input(shape)
    if often(random, 0.15):
        draft.input(shape)
    while len(draft.nodes) < nodes:
        name = pick(random, list(draft.tensors)[-3:])
        pick(random, STEPS)(draft, name, draft.tensors[name])
    return draft.model()


def _unary(d: Draft, x: str, shape: Shape) -> None:
    kind = pick(d.random, UNARY)
    d.node(kind if d.opset >= SINCE.get(kind, 1) else "Relu", [x], shape)


def _binary(d: Draft, x: str, shape: Shape) -> None:
    same = [n for n, s in d.tensors.items() if s == shape]
    weight = d.weight(*shape[-1:]) if often(d.random, 0.5) else pick(d.random, same)
    pair = [x, weight] if often(d.random, 0.7) else [weight, x]
    d.node(pick(d.random, BINARY), pair, shape)


def _conv(d: Draft, x: str, shape: Shape) -> None:
    if len(shape) not in (3, 4):
        return
    rank, channels = len(shape) - 2, shape[1]
    groups = channels if often(d.random, 0.3) else 1
    out = channels * 2 if groups > 1 else pick(d.random, [2, 4, 6])
    weights = [d.weight(out, channels // groups, *(3,) * rank)]
    if often(d.random, 0.5):
        weights.append(d.weight(out))
    result = (shape[0], out, *shape[2:])
    d.node("Conv", [x, *weights], result, pads=[1] * 2 * rank, group=groups)


def _transposed(d: Draft, x: str, shape: Shape) -> None:
    if len(shape) == 4:
        size = (shape[0], 2, shape[2] * 2, shape[3] * 2)
        weight = d.weight(shape[1], 2, 2, 2)
        d.node("ConvTranspose", [x, weight], size, strides=[2, 2], kernel_shape=[2, 2])


def _pool(d: Draft, x: str, shape: Shape) -> None:
    if len(shape) != 4 or min(shape[2:]) < 2:
        return
    kind = pick(d.random, ["MaxPool", "AveragePool", "LpPool"])
    size = (*shape[:2], shape[2] - 1, shape[3] - 1)
    d.node(kind, [x], size, kernel_shape=[2, 2], strides=[1, 1])


def _global(d: Draft, x: str, shape: Shape) -> None:
    if len(shape) > 2:
        kind = pick(d.random, ["GlobalAveragePool", "GlobalMaxPool"])
        d.node(kind, [x], (*shape[:2], *(1 for _ in shape[2:])))


def _gemm(d: Draft, x: str, shape: Shape) -> None:
    if len(shape) == 2:
        weight, bias = d.weight(4, shape[1]), d.weight(4)
        d.node("Gemm", [x, weight, bias], (shape[0], 4), transB=1, alpha=0.5)
    else:
        d.node("MatMul", [x, d.weight(shape[-1], 5)], (*shape[:-1], 5))


def _norm(d: Draft, x: str, shape: Shape) -> None:
    if len(shape) < 3:
        return
    c = shape[1]
    if often(d.random, 0.5):
        variance = d.constant(np.abs(d.random.normal(size=c)) + 0.1)
        d.node("BatchNormalization", [x, d.weight(c), d.weight(c), d.weight(c), variance], shape)
    elif often(d.random, 0.5) and d.opset >= 17:
        d.node("LayerNormalization", [x, d.weight(shape[-1]), d.weight(shape[-1])], shape, axis=-1)
    else:
        d.node("InstanceNormalization", [x, d.weight(c), d.weight(c)], shape)


def _softmax(d: Draft, x: str, shape: Shape) -> None:
    kind = pick(d.random, ["Softmax", "LogSoftmax", "Hardmax"])
    d.node(kind, [x], shape, axis=len(shape) - 1)


def _reshape(d: Draft, x: str, shape: Shape) -> None:
    size = int(np.prod(shape[1:]))
    if often(d.random, 0.5):
        d.node("Flatten", [x], (shape[0], size), axis=1)
    else:
        d.node("Reshape", [x, d.ints(shape[0], -1)], (shape[0], size))


def _transpose(d: Draft, x: str, shape: Shape) -> None:
    order = [0, *(1 + d.random.permutation(len(shape) - 1))]
    d.node("Transpose", [x], tuple(shape[i] for i in order), perm=[int(i) for i in order])


def _concat(d: Draft, x: str, shape: Shape) -> None:
    same = [n for n, s in d.tensors.items() if s == shape]
    d.node("Concat", [x, pick(d.random, same)], (shape[0], 2 * shape[1], *shape[2:]), axis=1)


def _slice(d: Draft, x: str, shape: Shape) -> None:
    if shape[-1] < 3:
        return
    last, size = len(shape) - 1, (*shape[:-1], shape[-1] - 2)
    if d.opset < 10:
        d.node("Slice", [x], size, starts=[1], ends=[shape[-1] - 1], axes=[last])
    else:
        d.node("Slice", [x, d.ints(1), d.ints(shape[-1] - 1), d.ints(last), d.ints(1)], size)


def _pad(d: Draft, x: str, shape: Shape) -> None:
    rank, mode = len(shape), pick(d.random, ["constant", "reflect", "edge"])
    if shape[-1] < 2:
        return
    pads, size = [0] * (2 * rank - 1) + [1], (*shape[:-1], shape[-1] + 1)
    if d.opset < 11:
        d.node("Pad", [x], size, pads=pads, mode=mode)
    else:
        d.node("Pad", [x, d.ints(*pads)], size, mode=mode)


def _gather(d: Draft, x: str, shape: Shape) -> None:
    d.node("Gather", [x, d.ints(0, shape[1] - 1)], (shape[0], 2, *shape[2:]), axis=1)


def _squeeze(d: Draft, x: str, shape: Shape) -> None:
    if d.opset < 13:
        made = d.node("Unsqueeze", [x], (1, *shape), axes=[0])
        d.node("Squeeze", [made], shape, axes=[0])
    else:
        made = d.node("Unsqueeze", [x, d.ints(0)], (1, *shape))
        d.node("Squeeze", [made, d.ints(0)], shape)


def _reduce(d: Draft, x: str, shape: Shape) -> None:
    kind, last = pick(d.random, REDUCE), len(shape) - 1
    size = (*shape[:-1], 1)
    if d.opset < 18:
        d.node(kind, [x], size, axes=[last], keepdims=1)
    else:
        d.node(kind, [x, d.ints(last)], size, keepdims=1)


def _clip(d: Draft, x: str, shape: Shape) -> None:
    if d.opset < 11:
        d.node("Clip", [x], shape, min=-0.5, max=1.0)
    else:
        d.node("Clip", [x, d.constant(-0.5), d.constant(1.0)], shape)


def _prelu(d: Draft, x: str, shape: Shape) -> None:
    d.node("PRelu", [x, d.weight(shape[1], *(1 for _ in shape[2:]))], shape)


def _resize(d: Draft, x: str, shape: Shape) -> None:
    if len(shape) == 4 and d.opset >= 11:
        size = (*shape[:2], 2 * shape[2], 2 * shape[3])
        mode = pick(d.random, ["nearest", "linear"])
        roi = d.constant(np.zeros(0))
        d.node("Resize", [x, roi, d.constant([1, 1, 2, 2])], size, mode=mode)


def _split(d: Draft, x: str, shape: Shape) -> None:
    if shape[1] % 2 or d.opset < 13 or d.opset >= 18:
        return
    half = (shape[0], shape[1] // 2, *shape[2:])
    first = d.node("Split", [x], half, axis=1)
    other = f"{first}b"
    d.nodes[-1].output.append(other)
    d.tensors[other] = half
    d.node("Mul", [first, other], half)


def _where(d: Draft, x: str, shape: Shape) -> None:
    if d.opset >= 9:
        d.node("Where", [d.constant(d.random.random(shape) < 0.5, np.bool_), x, x], shape)


def _expand(d: Draft, x: str, shape: Shape) -> None:
    if d.opset >= 8:
        d.node("Expand", [x, d.ints(*(1 for _ in shape))], shape)


def _tile(d: Draft, x: str, shape: Shape) -> None:
    d.node("Tile", [x, d.ints(*(1 for _ in shape[1:]), 2)], (*shape[:-1], 2 * shape[-1]))


def _depth(d: Draft, x: str, shape: Shape) -> None:
    if len(shape) == 4 and shape[2] % 2 == 0 and shape[3] % 2 == 0:
        size = (shape[0], 4 * shape[1], shape[2] // 2, shape[3] // 2)
        made = d.node("SpaceToDepth", [x], size, blocksize=2)
        d.node("DepthToSpace", [made], shape, blocksize=2)


def _einsum(d: Draft, x: str, shape: Shape) -> None:
    if d.opset >= 12:
        spelled = "abcdefgh"[: len(shape)]
        equation = f"{spelled},{spelled[-1]}z->{spelled[:-1]}z"
        weight = d.weight(shape[-1], 3)
        d.node("Einsum", [x, weight], (*shape[:-1], 3), equation=equation)


def _recurrent(d: Draft, x: str, shape: Shape) -> None:
    if len(shape) != 3:
        return
    kind = pick(d.random, ["LSTM", "GRU", "RNN"])
    gates, hidden = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind], 3
    w, r = d.weight(1, gates * hidden, shape[2]), d.weight(1, gates * hidden, hidden)
    d.node(kind, [x, w, r], (shape[0], 1, shape[1], hidden), hidden_size=hidden)


def _arguments(d: Draft, x: str, shape: Shape) -> None:
    made = d.node(
        pick(d.random, ["ArgMax", "ArgMin"]), [x], (*shape[:-1], 1), axis=len(shape) - 1, keepdims=1
    )
    d.tensors.pop(made)
    d.node("Cast", [made], (*shape[:-1], 1), to=1)


def _shape_of(d: Draft, x: str, shape: Shape) -> None:
    found = d.node("Shape", [x], (len(shape),))
    d.tensors.pop(found)
    d.node("Reshape", [x, found], shape)


STEPS: tuple[Grow, ...] = (
    *(_unary, _unary, _binary, _binary, _conv, _conv, _transposed, _pool, _global, _gemm, _norm),
    *(_softmax, _reshape, _transpose, _concat, _slice, _pad, _gather, _squeeze, _reduce, _clip),
    *(_prelu, _resize, _split, _where, _expand, _tile, _depth, _einsum, _recurrent, _arguments),
    _shape_of,
)
