"""Small and random canonical graphs, and a way to run two graphs on the same values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

import numpy as np

from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.graph import Array, Graph, TensorType
from qhal.quant.model import QuantModel
from qhal.quant.oracle import Oracle

SHAPE = (1, 4, 6, 6)


def floats(random: Random, *shape: int) -> np.ndarray:
    generator = np.random.default_rng(random.randrange(1 << 30))
    return generator.normal(size=shape).astype(np.float32)


def chain(*steps: ops.Op) -> Graph:
    b = GraphBuilder("chain")
    name = b.input("x", TensorType(SHAPE))
    for i, op in enumerate(steps):
        last = {"output": "y"} if i == len(steps) - 1 else {}
        extra = []
        if isinstance(op, ops.Conv):
            extra = [b.constant("w", np.ones((2, b.type(name).shape[1], 3, 3), np.float32))]
        name = b.one(op, [name, *extra], **last)
    return b.build(outputs=[name])


def kinds(graph: Graph) -> list[str]:
    return [node.op.kind for node in graph.nodes]


class RandomGraph:
    """Grows a graph step by step from tensors that it made before."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.builder = GraphBuilder("random")
        n, c, h, w = 1, random.choice((1, 3, 4)), random.choice((4, 6)), random.choice((4, 5))
        self.tensors = [self.builder.input("x", TensorType((n, c, h, w)))]

    def grow(self, steps: int) -> Graph:
        for _ in range(steps):
            name = self.random.choice(self.tensors[-3:])
            made = self.random.choice(_STEPS)(self, name)
            self.tensors.extend(made)
        consumed = {i for node in self.builder.nodes for i in node.inputs}
        outputs = [t for t in self.tensors[1:] if t not in consumed] or self.tensors[-1:]
        return self.builder.build(outputs=outputs)

    def shape(self, name: str) -> tuple[int, ...]:
        return self.builder.type(name).shape

    def constant(self, *shape: int) -> str:
        return self.builder.constant("c", floats(self.random, *shape))

    def one(self, op: ops.Op, *inputs: str) -> list[str]:
        return [self.builder.one(op, inputs)]


def _conv(g: RandomGraph, x: str) -> list[str]:
    shape = g.shape(x)
    if len(shape) not in (3, 4):
        return []
    rank = len(shape) - 2
    ones = (1,) * rank
    out = g.random.choice((2, 4, 8))
    weight = g.constant(out, shape[1], *(3,) * rank)
    bias = g.constant(out) if g.random.random() < 0.5 else ""
    return g.one(ops.Conv(ones, ones * 2, ones), x, weight, bias)


def _depthwise(g: RandomGraph, x: str) -> list[str]:
    shape = g.shape(x)
    if len(shape) != 4:
        return []
    m = g.random.choice((1, 2))
    weight = g.constant(shape[1] * m, 1, 3, 3)
    return g.one(ops.DepthwiseConv((1, 1), (1, 1, 1, 1), (1, 1), m), x, weight)


def _conv_transpose(g: RandomGraph, x: str) -> list[str]:
    shape = g.shape(x)
    if len(shape) != 4 or max(shape) > 12:
        return []
    groups = 2 if shape[1] % 2 == 0 and g.random.random() < 0.3 else 1
    op = ops.ConvTranspose((2, 2), (0, 0, 0, 0), (1, 1), (0, 0), groups)
    return g.one(op, x, g.constant(shape[1], 2, 2, 2), g.constant(2 * groups))


def _pool(g: RandomGraph, x: str) -> list[str]:
    shape = g.shape(x)
    if len(shape) != 4 or min(shape[2:]) < 2:
        return []
    kind = g.random.choice((ops.MaxPool, ops.AveragePool))
    return g.one(kind((2, 2), (1, 1), (0, 0, 1, 1)), x)


def _blocks(g: RandomGraph, x: str) -> list[str]:
    shape = g.shape(x)
    if len(shape) == 4 and shape[1] % 4 == 0:
        return g.one(ops.DepthToSpace(2, g.random.choice(("DCR", "CRD"))), x)
    if len(shape) == 4 and shape[2] % 2 == 0 and shape[3] % 2 == 0:
        return g.one(ops.SpaceToDepth(2), x)
    return []


_UNARY = (
    *(ops.Relu(), ops.Relu(), ops.Relu6(), ops.Sigmoid(), ops.Tanh(), ops.Clip(-1, 1)),
    *(ops.HardSwish(), ops.HardSigmoid(), ops.Silu(), ops.Gelu(), ops.LeakyRelu(0.1)),
    *(ops.Elu(), ops.Unary("Abs"), ops.Unary("Neg"), ops.Unary("Softplus")),
)


def _unary(g: RandomGraph, x: str) -> list[str]:
    return g.one(g.random.choice(_UNARY), x)


def _binary(g: RandomGraph, x: str) -> list[str]:
    shape = g.shape(x)
    op = g.random.choice((ops.Add(), ops.Sub(), ops.Mul(), ops.Maximum()))
    partners = [t for t in g.tensors if t != x and _fits(g.shape(t), shape)]
    if partners and g.random.random() < 0.7:
        return g.one(op, x, g.random.choice(partners))
    kept = tuple(s if g.random.random() < 0.5 else 1 for s in shape)
    other = g.constant(*kept[g.random.randrange(len(kept) + 1) :])
    return g.one(op, *g.random.sample((x, other), 2))


def _fits(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(a, b) == b
    except ValueError:
        return False


def _prelu(g: RandomGraph, x: str) -> list[str]:
    shape = g.shape(x)
    slope = (shape[1], *(1,) * (len(shape) - 2)) if len(shape) > 1 else shape
    return g.one(ops.PRelu(), x, g.constant(*slope))


def _axis(g: RandomGraph, x: str) -> int:
    return g.random.randrange(len(g.shape(x)))


def _softmax(g: RandomGraph, x: str) -> list[str]:
    return g.one(ops.Softmax(_axis(g, x)), x)


def _reduce(g: RandomGraph, x: str) -> list[str]:
    rank = len(g.shape(x))
    axes = tuple(sorted(g.random.sample(range(rank), g.random.randrange(1, rank + 1))))
    keep = g.random.random() < 0.5 or rank - len(axes) < 2
    return g.one(ops.Reduce(g.random.choice(("Mean", "Max", "Sum")), axes, keep), x)


def _concat(g: RandomGraph, x: str) -> list[str]:
    axis, shape = _axis(g, x), g.shape(x)
    same = [t for t in g.tensors if _alike(g.shape(t), shape, axis)]
    other = g.random.choice(same) if same and g.random.random() < 0.7 else g.constant(*shape)
    if shape[axis] > 64:
        return []
    return g.one(ops.Concat(axis), *g.random.sample((x, other), 2))


def _alike(a: tuple[int, ...], b: tuple[int, ...], axis: int) -> bool:
    return (*a[:axis], *a[axis + 1 :]) == (*b[:axis], *b[axis + 1 :]) and len(a) == len(b)


def _split(g: RandomGraph, x: str) -> list[str]:
    axis = _axis(g, x)
    size = g.shape(x)[axis]
    if size < 2:
        return []
    return list(g.builder.add(ops.Split(axis, (1, size - 1)), [x]))


def _slice(g: RandomGraph, x: str) -> list[str]:
    shape = g.shape(x)
    starts = tuple(g.random.randrange(max(1, s // 2)) for s in shape)
    steps = tuple(g.random.choice((1, 2)) for _ in shape)
    sizes = tuple((s - a + t - 1) // t for s, a, t in zip(shape, starts, steps, strict=True))
    return g.one(ops.Slice(starts, sizes, steps), x)


def _pad(g: RandomGraph, x: str) -> list[str]:
    shape = g.shape(x)
    if max(shape) > 64:
        return []
    return g.one(ops.Pad(tuple(g.random.randrange(2) for _ in shape * 2)), x)


def _tile(g: RandomGraph, x: str) -> list[str]:
    shape = g.shape(x)
    if np.prod(shape) > 2000:
        return []
    return g.one(ops.Tile(tuple(g.random.choice((1, 1, 2)) for _ in shape)), x)


def _gather(g: RandomGraph, x: str) -> list[str]:
    axis, shape = _axis(g, x), g.shape(x)
    if len(shape) > 4:
        return []
    dims = g.random.choice(((2,), (1, 2))) if len(shape) < 3 else g.random.choice(((2,), (1,)))
    values = np.zeros(dims, np.int64) + shape[axis] - 1
    return g.one(ops.Gather(axis), x, g.builder.constant("indices", values))


def _expand(g: RandomGraph, x: str) -> list[str]:
    shape = g.shape(x)
    grown = tuple(3 if s == 1 else s for s in shape)
    extra = (2,) if len(shape) < 4 and g.random.random() < 0.3 else ()
    return g.one(ops.Expand((*extra, *grown)), x) if np.prod(grown) < 5000 else []


def _transpose(g: RandomGraph, x: str) -> list[str]:
    rank = len(g.shape(x))
    return g.one(ops.Transpose(tuple(g.random.sample(range(rank), rank))), x)


def _reshape(g: RandomGraph, x: str) -> list[str]:
    shape = g.shape(x)
    total = int(np.prod(shape))
    target: list[int] = []
    for _ in range(g.random.randrange(1, 4)):
        divisors = [d for d in range(1, 13) if total % d == 0]
        target.append(g.random.choice(divisors))
        total //= target[-1]
    at = g.random.randrange(len(target) + 1)
    return g.one(ops.Reshape((*target[:at], total, *target[at:])), x)


def _merge(g: RandomGraph, x: str) -> list[str]:
    """Merge or split neighboring dimensions, as heads and Flattens do."""
    shape = g.shape(x)
    if len(shape) < 3:
        return []
    at = g.random.randrange(len(shape) - 1)
    return g.one(ops.Reshape((*shape[:at], shape[at] * shape[at + 1], *shape[at + 2 :])), x)


def _channel_shuffle(g: RandomGraph, x: str) -> list[str]:
    shape = g.shape(x)
    if len(shape) != 4 or shape[1] % 2 or shape[1] < 4:
        return []
    opened = g.builder.one(ops.Reshape((shape[0], 2, shape[1] // 2, *shape[2:])), [x])
    moved = g.builder.one(ops.Transpose((0, 2, 1, 3, 4)), [opened])
    return g.one(ops.Reshape(shape), moved)


def _flatten(g: RandomGraph, x: str) -> list[str]:
    """A Flatten, sometimes an activation, and a fully-connected layer."""
    shape = g.shape(x)
    total = int(np.prod(shape[1:]))
    flat = g.builder.one(ops.Reshape((shape[0], total)), [x])
    if g.random.random() < 0.5:
        flat = g.builder.one(ops.Add(), [flat, g.constant(total)])
    fc = g.builder.one(ops.FullyConnected(), [flat, g.constant(24, total), g.constant(24)])
    return [fc, g.builder.one(ops.Reshape((shape[0], 4, 2, 3)), [fc])]


def _fully_connected(g: RandomGraph, x: str) -> list[str]:
    return g.one(ops.FullyConnected(), x, g.constant(6, g.shape(x)[-1]))


def _matmul(g: RandomGraph, x: str) -> list[str]:
    shape = g.shape(x)
    if len(shape) < 2:
        return []
    swapped = (*range(len(shape) - 2), len(shape) - 1, len(shape) - 2)
    return g.one(ops.MatMul(), x, g.builder.one(ops.Transpose(swapped), [x]))


def _layer_norm(g: RandomGraph, x: str) -> list[str]:
    axis, shape = _axis(g, x), g.shape(x)
    return g.one(ops.LayerNorm(axis), x, g.constant(*shape[axis:]), g.constant(*shape[axis:]))


def _instance_norm(g: RandomGraph, x: str) -> list[str]:
    shape = g.shape(x)
    if len(shape) < 3:
        return []
    return g.one(ops.InstanceNorm(), x, g.constant(shape[1]), g.constant(shape[1]))


def _resize(g: RandomGraph, x: str) -> list[str]:
    shape = g.shape(x)
    if len(shape) != 4 or max(shape) > 12:
        return []
    return g.one(ops.Resize("nearest", (shape[2] * 2, shape[3]), "asymmetric", "floor"), x)


_STEPS: tuple[Callable[[RandomGraph, str], list[str]], ...] = (
    *(_conv, _conv, _depthwise, _conv_transpose, _pool, _blocks, _unary, _binary, _binary),
    *(_prelu, _softmax, _reduce, _concat, _split, _slice, _pad, _tile, _gather, _expand),
    *(
        _transpose,
        _transpose,
        _reshape,
        _merge,
        _channel_shuffle,
        _flatten,
        _fully_connected,
        _matmul,
    ),
    *(_layer_norm, _instance_norm, _resize),
)


def run(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, np.ndarray]:
    """Float values of the outputs."""
    return Oracle(QuantModel(graph)).run(inputs)


def run_permuted(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, np.ndarray]:
    """The same for a graph with permuted inputs and outputs, in the order of the model."""
    here = {
        name: np.transpose(value, graph.permutations.get(name, range(value.ndim))).copy()
        for name, value in inputs.items()
    }
    outputs = run(graph, here)
    return {
        name: np.transpose(value, np.argsort(graph.permutations[name]))
        if name in graph.permutations
        else value
        for name, value in outputs.items()
    }
