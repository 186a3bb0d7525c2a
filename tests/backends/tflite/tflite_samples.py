"""Graphs of one node, and the straight line for them: every kernel row is tried with these."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from qhal.data import Dataset, load_dataset
from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.dtypes import DType
from qhal.ir.graph import Array, Graph, NodeView, TensorType
from qhal.ir.layout.laid_out import LaidOut, to_layout
from qhal.ir.ops import Op
from qhal.quant.assign import assign
from qhal.quant.calibrate import calibrate
from qhal.quant.constraints import constrain
from qhal.quant.model import QuantModel
from qhal.targets.capability import Capabilities, Capability, KernelRow
from qhal.targets.recipe import RECIPES, Recipe

F32, I32, I64, BOOL = DType.FLOAT32, DType.INT32, DType.INT64, DType.BOOL
Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Sample:
    """One node in NCHW.

    Attributes:
        op: the operator.
        inputs: operands that the model gets: shapes, or types.
        constants: further operands, in order, behind the inputs.
        low, high: range of the input values.
        label: tells samples of one operator apart.
    """

    op: Op
    inputs: tuple[Shape | TensorType, ...]
    constants: tuple[Array, ...] = ()
    low: float = -2.0
    high: float = 2.0
    label: str = ""
    first: tuple[Array, ...] = ()

    def __str__(self) -> str:
        return f"{self.op.kind}{'-' if self.label else ''}{self.label}"

    def graph(self) -> Graph:
        """The model."""
        builder = GraphBuilder(str(self))
        names = [builder.constant("first", value) for value in self.first]
        for index, given in enumerate(self.inputs):
            kind = given if isinstance(given, TensorType) else TensorType(given)
            names.append(builder.input(f"x:{index}", kind))
        names += [builder.constant(f"c{i}", value) for i, value in enumerate(self.constants)]
        made = builder.add(self.op, names, name="node")
        return builder.build(outputs=made)


def random_data(graph: Graph, low: float = -2.0, high: float = 2.0, count: int = 4) -> Dataset:
    """Uniform values for a graph's inputs; 0 and 1 where they are integers or booleans."""
    rng = np.random.default_rng(3)
    types = {name: graph.tensors[name] for name in graph.inputs}
    arrays: dict[str, Array] = {}
    for name, kind in types.items():
        shape = (count, *kind.shape)
        is_float = kind.dtype.is_float
        drawn = rng.uniform(low, high, shape) if is_float else rng.integers(0, 2, shape)
        arrays[name] = drawn.astype(kind.dtype.numpy)
    return load_dataset(arrays, types)


@dataclass(frozen=True, eq=False)
class Deployed:
    """A sample made ready for one kernel row."""

    graph: Graph
    laid: LaidOut
    model: QuantModel
    data: Dataset

    @property
    def float_model(self) -> QuantModel:
        """The same without quantization."""
        return QuantModel(self.laid.graph)

    def there(self, index: int = 0) -> dict[str, Array]:
        """Inputs of the model as the user gave it."""
        return self.data.sample(index)

    def here(self, index: int = 0) -> dict[str, Array]:
        """Float inputs in the layout of the artifact."""
        perms = self.laid.graph.permutations
        return {
            name: np.transpose(value, perms[name]) if name in perms else value
            for name, value in self.there(index).items()
        }


def recipe_of(row: KernelRow, weighted: bool) -> Recipe:
    """The recipe that a row belongs to; float32 if none."""
    found = [r for r in RECIPES if r.accepts(row, weighted) and (weighted or not r.is_float)]
    return found[0] if found else replace(RECIPES[-1], name="float32", weight=frozenset({F32}))


def lay_out(graph: Graph) -> LaidOut:
    """In the layout of the runtime; a lone Transpose is kept from becoming the order of inputs."""
    keep_io = any(isinstance(node.op, ops.Transpose) for node in graph.nodes)
    return to_layout(graph, ops.Layout.NHWC, keep_io)


def deploy(graph: Graph, caps: Capabilities, recipe: Recipe, data: Dataset) -> Deployed:
    """The straight line from a canonical graph to a quantized model."""
    laid = lay_out(graph)
    constraints = constrain(laid.graph, caps, recipe)
    found = calibrate(graph, data, constraints.to_observe, constraints.to_average)
    model = assign(constraints, found.stats, "minmax", laid.element_order).model
    return Deployed(graph, laid, model, data)


def deploy_row(
    sample: Sample, capability: Capability, row: KernelRow, caps: Capabilities
) -> Deployed:
    """Deploy a sample to a target that has this one row, and what the layout may add."""
    graph = sample.graph()
    only = replace(capability, rows=(row,))
    more = (*caps.of("Transpose"), *caps.of("Reshape"))
    integer = row.activation.quantized
    target = replace(caps, kernels=(only, *more), integer_io=integer)
    recipe = recipe_of(row, row.weight is not None)
    return deploy(graph, target, recipe, random_data(graph, sample.low, sample.high))


def is_plain(sample: Sample) -> bool:
    """True if nothing in a sample is float, so that nothing can be quantized."""
    kinds = [given.dtype for given in sample.inputs if isinstance(given, TensorType)]
    return len(kinds) == len(sample.inputs) and not sample.first and F32 not in kinds


def trials(caps: Capabilities) -> Iterator[tuple[Sample, Capability, KernelRow]]:
    """Every kernel row with every sample of its operator that meets the limits."""
    for capability in caps.kernels:
        for sample in (s for s in SAMPLES if s.op.kind == capability.op):
            for row in capability.rows:
                idle = is_plain(sample) and row.activation.quantized
                if not idle and broken_limit(sample, capability, row) is None:
                    yield sample, capability, row


def broken_limit(sample: Sample, capability: Capability, row: KernelRow) -> str | None:
    """The first limit that a sample breaks, in the layout of the target."""
    graph = lay_out(sample.graph()).graph
    node = next(n for n in graph.nodes if type(n.op) is type(sample.op))
    view = NodeView(graph, node)
    found = (limit.check(view) for limit in (*capability.limits, *row.limits))
    return next((text for text in found if text), None)


# --- the samples ----------------------------------------------------------------

_RNG = np.random.default_rng(7)


def _weights(*shape: int) -> Array:
    return _RNG.uniform(-1, 1, shape).astype(np.float32)


def _conv(label: str, spatial: Shape, kernel: Shape, **attributes: object) -> Sample:
    channels, outputs, groups = 8, 6, attributes.get("groups", 1)
    assert isinstance(groups, int)
    rank = len(spatial)
    given: Mapping[str, object] = {
        "strides": (1,) * rank,
        "pads": (0,) * 2 * rank,
        "dilations": (1,) * rank,
        **attributes,
    }
    op = ops.Conv(**given)  # type: ignore[arg-type]
    weight = _weights(outputs, channels // groups, *kernel)
    return Sample(op, ((1, channels, *spatial),), (weight, _weights(outputs)), label=label)


def _depthwise(label: str, spatial: Shape, kernel: Shape, **attributes: object) -> Sample:
    channels, rank = 5, len(spatial)
    given: Mapping[str, object] = {
        "strides": (1,) * rank,
        "pads": (0,) * 2 * rank,
        "dilations": (1,) * rank,
        **attributes,
    }
    op = ops.DepthwiseConv(**given)  # type: ignore[arg-type]
    outputs = channels * op.multiplier
    weight = _weights(outputs, 1, *kernel)
    return Sample(op, ((1, channels, *spatial),), (weight, _weights(outputs)), label=label)


def _transposed(label: str, spatial: Shape, kernel: Shape, **attributes: object) -> Sample:
    rank = len(spatial)
    given: Mapping[str, object] = {
        "strides": (2,) * rank,
        "pads": (0,) * 2 * rank,
        "dilations": (1,) * rank,
        "output_padding": (0,) * rank,
        **attributes,
    }
    op = ops.ConvTranspose(**given)  # type: ignore[arg-type]
    return Sample(op, ((1, 4, *spatial),), (_weights(4, 6, *kernel), _weights(6)), label=label)


def _resize(mode: str, coordinates: str, sizes: Shape, nearest: str = "floor") -> Sample:
    op = ops.Resize(mode, sizes, coordinates, nearest)
    label = f"{mode}-{coordinates}-{nearest}-{'x'.join(map(str, sizes))}"
    return Sample(op, ((1, 3, 6, 8),), label=label)


_RELU, _RELU6 = ops.Activation.RELU, ops.Activation.RELU6
_PLANE: Shape = (1, 4, 6, 7)

_CONVOLUTIONS = (
    _conv("valid", (7, 9), (3, 3)),
    _conv("same", (7, 9), (3, 3), pads=(1, 1, 1, 1), activation=_RELU),
    _conv("same-stride", (8, 8), (3, 3), strides=(2, 2), pads=(0, 0, 1, 1), activation=_RELU6),
    _conv("explicit", (8, 8), (3, 3), strides=(2, 2), pads=(1, 1, 1, 1)),
    _conv("asymmetric", (8, 8), (3, 2), pads=(2, 0, 1, 3)),
    _conv("loose-end", (8, 8), (1, 1), strides=(2, 2), pads=(0, 0, 0, 0)),
    _conv("dilated", (9, 9), (3, 3), dilations=(2, 2), pads=(2, 2, 2, 2)),
    _conv("grouped", (6, 6), (3, 3), groups=2),
    replace(_conv("no-bias", (5, 5), (1, 1)), constants=(_weights(6, 8, 1, 1),)),
    _depthwise("same", (7, 9), (3, 3), pads=(1, 1, 1, 1), activation=_RELU6),
    _depthwise("explicit", (8, 8), (3, 3), strides=(2, 2), pads=(1, 1, 1, 1)),
    _depthwise("multiplier", (6, 6), (3, 3), multiplier=3),
    _depthwise("dilated", (9, 9), (3, 3), dilations=(2, 2)),
    _transposed("valid", (5, 4), (2, 2)),
    _transposed("same", (5, 4), (4, 4), pads=(1, 1, 1, 1)),
    _transposed("crop", (5, 4), (3, 3), pads=(1, 1, 1, 1), output_padding=(1, 1)),
    _transposed("end-crop", (5, 4), (3, 3), pads=(0, 0, 1, 1)),
    _transposed("overlap", (5, 4), (3, 3), activation=_RELU),
    replace(_transposed("no-bias", (3, 3), (2, 2)), constants=(_weights(4, 6, 2, 2),)),
)

_PRODUCTS = (
    Sample(ops.FullyConnected(), ((2, 16),), (_weights(10, 16), _weights(10))),
    Sample(ops.FullyConnected(_RELU), ((2, 16),), (_weights(10, 16),), label="no-bias"),
    Sample(ops.FullyConnected(), ((2, 3, 16),), (_weights(10, 16), _weights(10)), label="rank3"),
    Sample(ops.FullyConnected(), ((16,),), (_weights(10, 16), _weights(10)), label="rank1"),
    Sample(ops.MatMul(), ((3, 4), (4, 5))),
    Sample(ops.MatMul(), ((2, 3, 4), (2, 4, 5)), label="batch"),
    Sample(ops.MatMul(), ((2, 3, 3, 4), (3, 4, 5)), label="broadcast"),
    Sample(ops.MatMul(), ((2, 1, 2, 3, 4), (2, 2, 1, 4, 5)), label="rank5"),
)


def _binary() -> Iterator[Sample]:
    for op in (ops.Add, ops.Sub, ops.Mul, ops.Maximum, ops.Minimum, ops.Compare):
        yield Sample(op(), (_PLANE, _PLANE))
        yield Sample(op(), (_PLANE, (1, 4, 1, 1)), label="broadcast")
        yield Sample(op(), ((3, 4),), (np.asarray(0.25, np.float32),), label="scalar")
        for kind in (I32, I64):
            both = (TensorType((2, 3), kind),) * 2
            yield Sample(op(), both, label=kind.value)
    for op in (ops.Add, ops.Sub, ops.Mul):
        yield Sample(op(_RELU), (_PLANE, _PLANE), label="relu")
        yield Sample(op(_RELU6), (_PLANE, (6, 1)), label="relu6")
    five: tuple[Shape, Shape] = ((2, 3, 4, 5, 6), (4, 1, 6))
    for op in (ops.Add, ops.Sub, ops.Maximum, ops.Minimum):
        yield Sample(op(), five, label="rank5")
    yield Sample(ops.Add(), ((2, 2, 3, 2, 5, 2), (3, 1, 1, 2)), label="rank6")
    yield Sample(ops.Mul(), (five[0], five[0]), label="rank5-same")
    yield Sample(ops.Mul(), ((1, 6, 3, 2, 2), (1, 6, 1, 2, 1)), label="rank5-mixed")
    yield Sample(ops.Mul(), five, label="rank5")
    yield Sample(ops.Sub(), ((2, 3, 4, 1, 5),), (_weights(3, 1, 2, 1),), label="rank5-constant")
    yield Sample(ops.Compare("<"), (five[0], five[0]), label="rank5-same")
    yield Sample(ops.Where(), (TensorType(five[0], BOOL), *five), label="rank5")
    for relation in ("<", "<=", ">", ">="):
        yield Sample(ops.Compare(relation), (_PLANE, _PLANE), label=relation)
    positive = {"low": 0.5, "high": 2.0}
    yield Sample(ops.Div(), (_PLANE, _PLANE), **positive)
    yield Sample(ops.Div(_RELU), (_PLANE, (1, 4, 1, 1)), label="broadcast", **positive)
    yield Sample(ops.Div(), five, label="rank5", **positive)
    yield Sample(ops.Pow(), (_PLANE, _PLANE), **positive)
    yield Sample(ops.Pow(), (five[0], five[0]), label="rank5-same", **positive)
    yield Sample(ops.Pow(), (_PLANE,), (np.asarray(2.0, np.float32),), label="scalar")
    flag = TensorType(_PLANE, BOOL)
    yield Sample(ops.Where(), (flag, _PLANE, _PLANE))
    yield Sample(ops.Where(), (TensorType((1, 1, 6, 7), BOOL), _PLANE, (1,)), label="broadcast")
    fill = (np.asarray(-1.0, np.float32),)
    yield Sample(ops.Where(), (flag, _PLANE), fill, label="fill")
    yield Sample(ops.Where(), (flag, *(TensorType(_PLANE, I64),) * 2), label="int64")


def _unary() -> Iterator[Sample]:
    plain = (ops.Relu(), ops.Relu6(), ops.LeakyRelu(0.1), ops.Elu(), ops.Sigmoid(), ops.Tanh())
    more = (ops.Gelu(), ops.Unary("Abs"), ops.Unary("Neg"), ops.Unary("Exp"))
    for op in (*plain, *more):
        yield Sample(op, (_PLANE,), low=-4, high=7)
    yield Sample(ops.Relu(), ((5,),), label="rank1")
    yield Sample(ops.Sigmoid(), ((2, 3, 4, 5, 6),), label="rank5")
    yield Sample(ops.LeakyRelu(0.2), ((2, 3, 4, 5, 6),), label="rank5")
    yield Sample(ops.Gelu(True), (_PLANE,), label="tanh")
    for function in ("Log", "Sqrt", "Rsqrt", "Reciprocal"):
        yield Sample(ops.Unary(function), (_PLANE,), low=0.5, high=3)
    for function in ("Sin", "Cos", "Floor", "Ceil", "Round", "Sign"):
        yield Sample(ops.Unary(function), (_PLANE,), low=-3, high=3)
    yield Sample(ops.Unary("Not"), (TensorType((2, 3), BOOL),))
    yield Sample(ops.PRelu(), (_PLANE,), (_weights(4, 1, 1),))
    yield Sample(ops.PRelu(), ((3, 8),), (_weights(8),), label="rank2")
    for low, high in ((-1.0, 1.0), (0.0, np.inf), (-np.inf, 1.5), (-np.inf, np.inf)):
        yield Sample(ops.Clip(low, high), (_PLANE,), label=f"{low}-{high}")
    for source, to in ((F32, I32), (I64, F32), (BOOL, F32), (I32, I64), (F32, BOOL), (F32, I64)):
        kind = TensorType((2, 3), source)
        yield Sample(ops.Cast(to), (kind,), label=f"{source.value}-{to.value}", low=-5, high=5)


def _normalisation() -> Iterator[Sample]:
    for op in (ops.Softmax, ops.LogSoftmax):
        yield Sample(op(1), ((2, 10),), low=-4, high=4)
        yield Sample(op(1), ((1, 5, 3, 4),), label="channels", low=-4, high=4)
        yield Sample(op(1), ((2, 6, 5),), label="middle", low=-4, high=4)
        yield Sample(op(3), ((1, 2, 3, 7),), label="last", low=-4, high=4)
        yield Sample(op(0), ((9,),), label="rank1", low=-4, high=4)
        yield Sample(op(1), ((2, 6, 1, 1),), label="points", low=-4, high=4)
    for shape in ((2, 3, 4, 5), (2, 3, 4, 5, 6)):
        yield Sample(ops.Softmax(len(shape) - 1), (shape,), label=f"rank{len(shape)}")
    for function in ("Mean", "Sum", "Max", "Min"):
        yield Sample(ops.Reduce(function, (2, 3), True), (_PLANE,))
        yield Sample(ops.Reduce(function, (2, 3), False), (_PLANE,), label="drop")
        yield Sample(ops.Reduce(function, (1,), False), (_PLANE,), label="channels")
        yield Sample(ops.Reduce(function, (2,), True), ((2, 3, 5),), label="rank3")
        yield Sample(ops.Reduce(function, (1, 3), True), ((2, 3, 4, 5, 2),), label="rank5")
    for kind in (F32, I32):
        yield Sample(ops.ArgMax(1), (TensorType((2, 9, 3), kind),), label=kind.value)
    yield Sample(ops.ArgMax(1, False), ((2, 9),), label="drop")
    scale, shift = (_weights(8), _weights(8))
    yield Sample(ops.LayerNorm(2), ((1, 5, 8),), (scale, shift))
    yield Sample(ops.LayerNorm(1), ((2, 8),), (scale,), label="no-bias")
    yield Sample(ops.InstanceNorm(), ((1, 8, 5, 6),), (scale, shift))


def _pooling() -> Iterator[Sample]:
    windows = (
        ("valid", (7, 9), (2, 2), (2, 2), (0, 0, 0, 0)),
        ("same", (7, 9), (3, 3), (1, 1), (1, 1, 1, 1)),
        ("same-stride", (8, 8), (3, 3), (2, 2), (0, 0, 1, 1)),
        ("explicit", (8, 8), (3, 3), (2, 2), (1, 1, 1, 1)),
        ("ceil", (6, 6), (3, 3), (2, 2), (0, 0, 1, 1)),
        ("global", (7, 9), (7, 9), (1, 1), (0, 0, 0, 0)),
    )
    for label, spatial, kernel, strides, pads in windows:
        yield Sample(ops.MaxPool(kernel, strides, pads), ((1, 4, *spatial),), label=label)
        for counts in (False, True):
            op = ops.AveragePool(kernel, strides, pads, counts)
            name = f"{label}-{'all' if counts else 'inside'}"
            yield Sample(op, ((1, 4, *spatial),), label=name)


def _resampling() -> Iterator[Sample]:
    for coordinates in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"):
        for sizes in ((12, 16), (3, 5), (9, 8), (1, 1)):
            yield _resize("linear", coordinates, sizes)
            yield _resize("nearest", coordinates, sizes)
    for nearest in ("ceil", "round_prefer_floor", "round_prefer_ceil"):
        for coordinates in ("half_pixel", "asymmetric", "align_corners"):
            yield _resize("nearest", coordinates, (10, 13), nearest)
    yield Sample(ops.Resize("linear", (5, 7)), ((1, 3, 1, 1),), label="point")
    for mode in ("DCR", "CRD"):
        yield Sample(ops.DepthToSpace(2, mode), ((1, 12, 3, 4),), label=mode)
    yield Sample(ops.SpaceToDepth(2), ((1, 3, 4, 6),))


def _movement() -> Iterator[Sample]:
    yield Sample(ops.Reshape((4, 6)), ((2, 3, 4),))
    yield Sample(ops.Reshape((1, 2, 2, 2, 3)), ((2, 3, 4),), label="rank5")
    for rank in range(2, 7):
        shape = tuple(range(2, 2 + rank))
        perm = (*range(1, rank), 0)
        yield Sample(ops.Transpose(perm), (shape,), label=f"rank{rank}")
    for kind in (I32, I64, BOOL):
        one = TensorType((2, 3, 4), kind)
        yield Sample(ops.Reshape((4, 6)), (one,), label=kind.value)
        yield Sample(ops.Transpose((2, 0, 1)), (one,), label=kind.value)
        yield Sample(ops.Concat(1), (one, one), label=kind.value)
        yield Sample(ops.Slice((0, 1, 0), (2, 2, 4), (1, 1, 1)), (one,), label=kind.value)
        yield Sample(
            ops.Slice((0, 0, 3), (2, 3, 2), (1, 1, -2)), (one,), label=f"step-{kind.value}"
        )
        yield Sample(ops.Expand((2, 2, 3, 4)), (one,), label=kind.value)
        yield Sample(ops.Tile((1, 2, 1)), (one,), label=kind.value)
        yield Sample(ops.Gather(1), (one,), (np.asarray([2, 0]),), label=kind.value)
    for kind in (I32, I64):
        one = TensorType((2, 3, 4), kind)
        yield Sample(ops.Split(2, (2, 2)), (one,), label=kind.value)
        yield Sample(ops.Split(2, (1, 3)), (one,), label=f"uneven-{kind.value}")
        yield Sample(ops.Pad((0, 0, 1, 0, 0, 1)), (one,), label=kind.value)
        yield Sample(ops.Pad((0, 0, 1, 0, 0, 1), "reflect"), (one,), label=f"reflect-{kind.value}")
    yield Sample(ops.Concat(1), (_PLANE, (1, 2, 6, 7)))
    yield Sample(ops.Concat(0), ((2, 2, 3, 4, 5), (1, 2, 3, 4, 5)), label="rank5")
    yield Sample(ops.Concat(1), ((2, 3),), (_weights(2, 2),), label="constant")
    yield Sample(ops.Split(1, (2, 2)), (_PLANE,))
    yield Sample(ops.Split(1, (1, 3)), (_PLANE,), label="uneven")
    yield Sample(ops.Slice((0, 1, 2, 0), (1, 2, 3, 7), (1, 1, 1, 1)), (_PLANE,))
    yield Sample(ops.Slice((0, 0, 1, 6), (1, 4, 3, 4), (1, 1, 2, -2)), (_PLANE,), label="steps")
    yield Sample(ops.Slice((0, 3, 0, 0), (1, 4, 6, 7), (1, -1, 1, 1)), (_PLANE,), label="reverse")
    yield Sample(ops.Slice((0, 1, 0, 0), (1, 2, 3, 7), (1, 2, 2, 1)), (_PLANE,), label="plane")
    full = Sample(ops.Slice((0,) * 5, (1, 2, 2, 3, 2), (1,) * 5), ((1, 2, 3, 4, 2),), label="rank5")
    yield full
    strided = ops.Slice((0,) * 5, (1, 2, 2, 2, 2), (1, 1, 1, 2, 1))
    yield replace(full, op=strided, label="rank5-steps")
    around = (0, 0, 1, 2, 0, 0, 2, 1)
    yield Sample(ops.Pad(around), (_PLANE,))
    yield Sample(ops.Pad(around, "constant", -1.5), (_PLANE,), label="value")
    yield Sample(ops.Pad(around, "reflect"), (_PLANE,), label="reflect")
    yield Sample(ops.Pad(around, "edge"), (_PLANE,), label="edge")
    yield Sample(ops.Pad((0, 1, 0, 1)), ((3, 4),), label="rank2")
    yield Sample(ops.Pad((0, 1, 0, 0, 2) * 2), ((2, 3, 4, 2, 2),), label="rank5")
    yield Sample(
        ops.Pad((0, 1, 0, 0, 2) * 2, "constant", 1.0), ((2, 3, 4, 2, 2),), label="rank5-value"
    )
    yield Sample(ops.Gather(1), (_PLANE,), (np.asarray([[0, 3], [-1, 1]]),))
    yield Sample(ops.Gather(1), (_PLANE,), (np.asarray(-2),), label="scalar")
    yield Sample(
        ops.Gather(0), (TensorType((3,), I64),), first=(_weights(5, 4),), label="embedding"
    )
    yield Sample(ops.Expand((2, 4, 6, 7)), ((1, 4, 1, 7),))
    yield Sample(ops.Expand((2, 3, 4, 2, 3)), ((4, 1, 3),), label="rank5")
    yield Sample(ops.Tile((1, 2, 1, 3)), (_PLANE,))
    yield Sample(ops.Tile((2, 1, 1, 1, 2)), ((1, 2, 3, 4, 2),), label="rank5")


SAMPLES: tuple[Sample, ...] = (
    *_CONVOLUTIONS,
    *_PRODUCTS,
    *_binary(),
    *_unary(),
    *_normalisation(),
    *_pooling(),
    *_resampling(),
    *_movement(),
)
