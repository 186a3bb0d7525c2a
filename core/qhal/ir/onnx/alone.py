"""A node by itself: as a model, in ONNX Runtime, on drawn numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import helper

from qhal.ir.dtypes import DType
from qhal.ir.graph import Array, TensorType

IR_VERSION = 8
"""Of models made here; any that all supported runtimes read will do."""

DRAWS = 2
_REACH = 2.0
"""Floats are drawn from minus this to this, integers from 0 and 1."""


def model_of(
    node: onnx.NodeProto,
    inputs: Mapping[str, TensorType],
    imports: Iterable[onnx.OperatorSetIdProto],
    ir_version: int = IR_VERSION,
) -> onnx.ModelProto:
    """Build a model of one node.

    Args:
        node: its operands are the inputs of the model, its results the outputs.
        inputs: type of every operand.
        imports: versions of operators.
        ir_version: of the model.
    """
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
    given = [_typed(name, inputs[name]) for name in dict.fromkeys(filter(None, node.input))]
    graph = helper.make_graph([node], "node", given, outputs)
    return helper.make_model(graph, opset_imports=list(imports), ir_version=ir_version)


def session_of(model: onnx.ModelProto, *, optimized: bool = True) -> Any:
    """Load a model of one node in ONNX Runtime, in one thread and without messages.

    Args:
        model: the model.
        optimized: False for the node as it is.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    content = model.SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def drawn(inputs: Mapping[str, TensorType]) -> Iterator[dict[str, Array]]:
    """Draw numbers for the inputs of a node, the same at every call."""
    for seed in range(DRAWS):
        rng = np.random.default_rng(seed)
        yield {name: _draw(rng, kind) for name, kind in inputs.items()}


def _draw(rng: np.random.Generator, kind: TensorType) -> Array:
    is_real = kind.dtype.is_float
    values = rng.uniform(-_REACH, _REACH, kind.shape) if is_real else rng.integers(0, 2, kind.shape)
    return np.asarray(values, kind.dtype.numpy)


def _typed(name: str, kind: TensorType) -> onnx.ValueInfoProto:
    dtype = helper.np_dtype_to_tensor_dtype(kind.dtype.numpy)
    return helper.make_tensor_value_info(name, dtype, kind.shape)


def type_of(value: Array) -> TensorType:
    """Return the type of an array, as it is."""
    return TensorType(tuple(value.shape), DType.of(value))
