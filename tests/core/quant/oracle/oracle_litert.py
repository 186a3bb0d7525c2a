"""One-operator .tflite files, run on LiteRT's reference kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from qhal.ir.dtypes import DType
from qhal.ir.graph import Graph, Node, TensorType
from qhal.ir.ops import Op
from qhal.quant.arithmetic import bias_params
from qhal.quant.model import QuantModel, QuantParams
from qhal.quant.oracle import Oracle
from qhal.targets.capability import Arithmetic

schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
flatbuffers = pytest.importorskip("flatbuffers")

TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "int8": schema.TensorType.INT8,
    "uint8": schema.TensorType.UINT8,
    "int16": schema.TensorType.INT16,
    "int32": schema.TensorType.INT32,
    "int64": schema.TensorType.INT64,
    "bool": schema.TensorType.BOOL,
}


def _quantization(params: QuantParams | None) -> Any:
    if params is None:
        return None
    found = schema.QuantizationParametersT()
    found.scale = np.atleast_1d(params.scale).astype(np.float32)
    found.zeroPoint = np.atleast_1d(params.zero_point).astype(np.int64)
    found.quantizedDimension = params.axis or 0
    return found


class OneOp:
    """A file with one operator, under construction."""

    def __init__(self) -> None:
        self._tensors: list[Any] = []
        self._buffers = [schema.BufferT()]

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        dtype: str,
        params: QuantParams | None = None,
        data: np.ndarray | None = None,
    ) -> int:
        found = schema.TensorT()
        found.name, found.shape, found.type = name, list(shape), TYPES[dtype]
        found.quantization = _quantization(params)
        found.buffer = 0
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            found.buffer = len(self._buffers)
            self._buffers.append(buffer)
        self._tensors.append(found)
        return len(self._tensors) - 1

    def pack(
        self, builtin: str, options: Any, inputs: list[int], outputs: list[int], graph: list[int]
    ) -> bytes:
        operator = schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = 0, inputs, outputs
        if options is not None:
            kind = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            operator.builtinOptions = options
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, builtin)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = 1  # the kernels themselves do not look at it
        subgraph = schema.SubGraphT()
        subgraph.tensors, subgraph.operators = self._tensors, [operator]
        subgraph.inputs, subgraph.outputs = graph, outputs
        model = schema.ModelT()
        model.version, model.operatorCodes, model.subgraphs = 3, [code], [subgraph]
        model.buffers = self._buffers
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())


def run(
    content: bytes, values: Mapping[str, np.ndarray], optimized: bool = False
) -> list[np.ndarray]:
    """Outputs of a file on the reference kernels, or on the optimized ones without delegate."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolvers = OpResolverType
    resolver = resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES if optimized else resolvers.BUILTIN_REF
    interpreter = Interpreter(
        model_content=content, experimental_op_resolver_type=resolver, num_threads=1
    )
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], values[detail["name"]])
    interpreter.invoke()
    return [interpreter.get_tensor(d["index"]).copy() for d in interpreter.get_output_details()]


Operand = tuple[np.ndarray, QuantParams | None]
Result = tuple[tuple[int, ...], QuantParams | DType]
"""Shape and parameters, or the type of a result that has none."""


@dataclass(frozen=True)
class Case:
    """One operator with its operands.

    Attributes:
        op: the canonical operator.
        operands: values and parameters.
        output: shape and parameters of the result.
        constants: operands that are constants of the model.
    """

    op: Op
    operands: Sequence[Operand]
    output: Result
    constants: Sequence[int] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"x{i}" for i in range(len(self.operands)))

    @property
    def result_type(self) -> TensorType:
        shape, about = self.output
        return TensorType(shape, about if isinstance(about, DType) else about.dtype)

    @property
    def result_params(self) -> QuantParams | None:
        return None if isinstance(self.output[1], DType) else self.output[1]

    @property
    def values(self) -> dict[str, np.ndarray]:
        return {name: x for name, (x, _) in zip(self.names, self.operands, strict=True)}

    def oracle(self, arithmetic: Arithmetic = Arithmetic.FIXED_POINT) -> np.ndarray:
        """The oracle's result."""
        values = self.values
        fixed = {self.names[i]: values[self.names[i]] for i in self.constants}
        free = {name: x for name, x in values.items() if name not in fixed}
        model = QuantModel(self._graph(fixed), self._params(), {}, arithmetic)
        return Oracle(model).run(free)["y"]

    def _graph(self, fixed: Mapping[str, np.ndarray]) -> Graph:
        tensors = {
            name: TensorType(x.shape, params.dtype if params else DType.of(x))
            for name, (x, params) in zip(self.names, self.operands, strict=True)
        }
        tensors["y"] = self.result_type
        free = tuple(name for name in self.names if name not in fixed)
        node = Node("node", self.op, self.names, ("y",))
        return Graph("one", free, ("y",), (node,), tensors, fixed)

    def _params(self) -> dict[str, QuantParams]:
        every = {n: p for n, (_, p) in zip(self.names, self.operands, strict=True) if p}
        return every if self.result_params is None else {**every, "y": self.result_params}

    def litert(
        self,
        builtin: str,
        options: Any = None,
        extra: Sequence[np.ndarray] = (),
        order: Sequence[int] | None = None,
        optimized: bool = False,
    ) -> np.ndarray:
        """LiteRT's result.

        Args:
            builtin: its operator.
            options: of the operator.
            extra: constants that it takes after the operands.
            order: its order of operands and extras, where it differs.
            optimized: not the reference kernels.
        """
        file = OneOp()
        every = [
            file.tensor(name, x.shape, x.dtype.name, params, x if i in self.constants else None)
            for i, (name, (x, params)) in enumerate(zip(self.names, self.operands, strict=True))
        ]
        free = [index for i, index in enumerate(every) if i not in self.constants]
        every += [file.tensor(f"e{i}", e.shape, e.dtype.name, None, e) for i, e in enumerate(extra)]
        kind = self.result_type
        result = file.tensor("y", kind.shape, kind.dtype.value, self.result_params)
        ordered = every if order is None else [every[i] for i in order]
        content = file.pack(builtin, options, ordered, [result], free)
        return run(content, self.values, optimized)[0]


# --- making operands ------------------------------------------------------------


def per_tensor(dtype: DType, scale: float, zero_point: int = 0) -> QuantParams:
    """Parameters with one scale."""
    return QuantParams.per_tensor(dtype, scale, zero_point)


def per_axis(rng: np.random.Generator, count: int, axis: int) -> QuantParams:
    """Symmetric 8-bit parameters with one scale per channel."""
    scale = rng.uniform(0.001, 0.01, count).astype(np.float32)
    return QuantParams(DType.INT8, scale, np.zeros(count, np.int64), axis)


def integers(rng: np.random.Generator, shape: tuple[int, ...], dtype: DType) -> np.ndarray:
    """Any integers of a type."""
    return rng.integers(dtype.qmin, dtype.qmax + 1, shape).astype(dtype.numpy)


def weights(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Integers of the narrow 8-bit range."""
    return rng.integers(-127, 128, shape).astype(np.int8)


def biases(
    rng: np.random.Generator, source: QuantParams, weight: QuantParams, count: int
) -> tuple[np.ndarray, QuantParams]:
    """A bias for an input and a weight: 64 bits wide beside 16-bit inputs."""
    dtype = DType.INT64 if source.dtype is DType.INT16 else DType.INT32
    values = rng.integers(-3000, 3000, count).astype(dtype.numpy)
    return values, bias_params(source, weight, dtype)
