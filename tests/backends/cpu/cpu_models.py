"""Small quantized models with one operator, built by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.dtypes import DType
from qhal.ir.graph import Node, TensorType
from qhal.ir.shapes import infer
from qhal.quant.model import QuantModel, QuantParams
from qhal.targets.capability import Arithmetic

UINT8 = QuantParams.per_tensor(DType.UINT8, 0.0213, 121)
OTHER = QuantParams.per_tensor(DType.UINT8, 0.0431, 119)


@dataclass(frozen=True)
class Weight:
    """A weight with one scale per output channel, which is axis 0, in all integers of its type."""

    shape: tuple[int, ...]
    dtype: DType = DType.INT8


@dataclass(frozen=True)
class Bias:
    """An int32 bias."""

    size: int


@dataclass(frozen=True, eq=False)
class Stored:
    """A constant that is quantized per tensor (uint8) or an index."""

    value: np.ndarray


Operand = tuple[int, ...] | Weight | Bias | Stored


def quantized(
    op: ops.Op,
    operands: Sequence[Operand],
    result: QuantParams = OTHER,
    source: QuantParams = UINT8,
) -> QuantModel:
    """Float inputs, Quantize, the operator, Dequantize, float outputs.

    Args:
        op: the operator; its node is called ``node``.
        operands: shapes are inputs of parameters ``source``.
        result: parameters of all results.
        source: parameters of all inputs.
    """
    build = _Builder()
    names = [build.operand(i, operand, source) for i, operand in enumerate(operands)]
    builder, params = build.builder, build.params
    types = infer(op, [builder.type(name) for name in names])
    results = [builder.declare(f"y{i}q", _typed(t.shape, result)) for i, t in enumerate(types)]
    params.update(dict.fromkeys(results, result))
    builder.emit(Node("node", op, tuple(names), tuple(results)))
    outputs = [builder.declare(f"y{i}", TensorType(t.shape)) for i, t in enumerate(types)]
    for inner, output in zip(results, outputs, strict=True):
        builder.emit(Node(f"{output}/step", ops.Dequantize(), (inner,), (output,)))
    graph = builder.build(outputs=outputs)
    stored = {n: TensorType(graph.tensors[n].shape, params[n].dtype) for n in params}
    graph = replace(graph, tensors={**graph.tensors, **stored})
    return QuantModel(graph, params, arithmetic=Arithmetic.FLOAT)


class _Builder:
    def __init__(self) -> None:
        self.builder = GraphBuilder("g")
        self.params: dict[str, QuantParams] = {}
        self.scale = np.ones((), np.float32)
        self.random = np.random.default_rng(0)

    def operand(self, index: int, operand: Operand, source: QuantParams) -> str:
        if isinstance(operand, Weight):
            return self._weight(operand)
        if isinstance(operand, Bias):
            scale = (source.scale * self.scale).astype(np.float32)
            zero = np.zeros(operand.size, np.int64)
            params = QuantParams(DType.INT32, scale, zero, 0)
            return self._constant("b", self.random.integers(-900, 900, operand.size), params)
        if isinstance(operand, Stored):
            stored = operand.value.dtype == np.uint8
            return self._constant(f"c{index}", operand.value, source if stored else None)
        return self._input(f"x{index}", operand, source)

    def _weight(self, weight: Weight) -> str:
        self.scale = self.random.uniform(0.005, 0.02, weight.shape[0]).astype(np.float32)
        params = QuantParams(weight.dtype, self.scale, np.zeros(weight.shape[0], np.int64), 0)
        least = max(weight.dtype.qmin, -127)
        integers = self.random.integers(least, weight.dtype.qmax + 1, weight.shape)
        return self._constant("w", integers, params)

    def _constant(self, hint: str, value: np.ndarray, params: QuantParams | None) -> str:
        name = self.builder.constant(hint, value.astype(params.dtype.numpy) if params else value)
        if params is not None:
            self.params[name] = params
        return name

    def _input(self, name: str, shape: tuple[int, ...], params: QuantParams) -> str:
        self.builder.input(name, TensorType(shape))
        inner = self.builder.declare(f"{name}q", _typed(shape, params))
        self.builder.emit(Node(f"{inner}/step", ops.Quantize(), (name,), (inner,)))
        self.params[inner] = params
        return inner


def _typed(shape: tuple[int, ...], params: QuantParams) -> TensorType:
    return TensorType(shape, params.dtype)


def feeds(model: QuantModel, seed: int = 0) -> dict[str, np.ndarray]:
    """Random float inputs."""
    random = np.random.default_rng(seed)
    return {
        name: random.uniform(-2.5, 2.5, model.graph.tensors[name].shape).astype(np.float32)
        for name in model.graph.inputs
    }
