"""One-operator .tflite files, run on LiteRT's reference kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from qhal.ir.graph import Graph, Node, TensorType
from qhal.ir.ops import Op
from qhal.quant.model import QuantModel, QuantParams
from qhal.quant.oracle import Oracle
from qhal.target.capability import Arithmetic

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


def run(content: bytes, values: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Outputs of a file on the reference kernels."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType  # noqa: PLC0415

    interpreter = Interpreter(
        model_content=content,
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
        num_threads=1,
    )
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], values[detail["name"]])
    interpreter.invoke()
    return [interpreter.get_tensor(d["index"]).copy() for d in interpreter.get_output_details()]


def compare(
    op: Op,
    builtin: str,
    options: Any,
    operands: Sequence[tuple[np.ndarray, QuantParams | None]],
    output: tuple[tuple[int, ...], QuantParams | None],
    *,
    constants: Sequence[int] = (),
    extra: Sequence[np.ndarray] = (),
    order: Sequence[int] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Results of the oracle and of LiteRT for one operator.

    Args:
        op: the canonical operator.
        builtin: LiteRT's operator, with its ``options``.
        operands: values and parameters.
        output: shape and parameters of the result.
        constants: operands that are constants of the model.
        extra: int32 constants that LiteRT takes after the operands.
        order: LiteRT's order of operands and extras, where it differs.
    """
    file = OneOp()
    names = [f"x{i}" for i in range(len(operands))]
    indices = [
        file.tensor(name, x.shape, x.dtype.name, params, x if i in constants else None)
        for i, (name, (x, params)) in enumerate(zip(names, operands, strict=True))
    ]
    extras = [file.tensor(f"e{i}", e.shape, e.dtype.name, None, e) for i, e in enumerate(extra)]
    shape, params = output
    dtype = params.dtype.value if params else "float32"
    result = file.tensor("y", shape, dtype, params)
    every = [*indices, *extras]
    ordered = every if order is None else [every[i] if i >= 0 else -1 for i in order]
    free = [index for i, index in enumerate(indices) if i not in constants]
    content = file.pack(builtin, options, ordered, [result], free)
    values = {name: x for name, (x, _) in zip(names, operands, strict=True)}
    (theirs,) = run(content, values)
    ours = oracle(op, operands, output, constants=constants)
    return ours, theirs


def oracle(
    op: Op,
    operands: Sequence[tuple[np.ndarray, QuantParams | None]],
    output: tuple[tuple[int, ...], QuantParams | None],
    *,
    constants: Sequence[int] = (),
    arithmetic: Arithmetic = Arithmetic.FIXED_POINT,
) -> np.ndarray:
    """The oracle's result for one operator."""
    model, values = one_node(op, operands, output, constants=constants, arithmetic=arithmetic)
    return Oracle(model).run(values)["y"]


def one_node(
    op: Op,
    operands: Sequence[tuple[np.ndarray, QuantParams | None]],
    output: tuple[tuple[int, ...], QuantParams | None],
    *,
    constants: Sequence[int] = (),
    arithmetic: Arithmetic = Arithmetic.FIXED_POINT,
) -> tuple[QuantModel, dict[str, np.ndarray]]:
    """A model of one node and the values of its inputs."""
    from qhal.ir.dtypes import DType  # noqa: PLC0415

    names = tuple(f"x{i}" for i in range(len(operands)))
    shape, params = output
    tensors = {
        name: TensorType(x.shape, p.dtype if p else DType.of(x))
        for name, (x, p) in zip(names, operands, strict=True)
    }
    tensors["y"] = TensorType(shape, params.dtype if params else DType.FLOAT32)
    every = {name: p for name, (_, p) in zip(names, operands, strict=True) if p}
    if params:
        every["y"] = params
    values = {name: x for name, (x, _) in zip(names, operands, strict=True)}
    fixed = {names[i]: values[names[i]] for i in constants}
    free = tuple(name for name in names if name not in fixed)
    node = Node("node", op, names, ("y",))
    graph = Graph("one", free, ("y",), (node,), tensors, fixed)
    return QuantModel(graph, every, {}, arithmetic), {name: values[name] for name in free}
