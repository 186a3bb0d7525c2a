"""One operator between DequantizeLinear and QuantizeLinear, run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from qhal.ir.dtypes import DType
from qhal.ir.export import to_onnx
from qhal.ir.graph import Graph, Node, TensorType
from qhal.ir.ops import Op
from qhal.quant.model import QuantParams

Operand = tuple[np.ndarray, QuantParams | None]

OPSET = 21
"""The first version with 16-bit QuantizeLinear."""


def run(model: onnx.ModelProto, values: dict[str, np.ndarray], optimized: bool = True) -> list[Any]:
    """Outputs of a model, with all optimizations or with none."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = (
        levels.ORT_ENABLE_ALL if optimized else levels.ORT_DISABLE_ALL
    )
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    found: list[Any] = session.run(None, values)
    return found


def real(op: Op, operands: Sequence[np.ndarray], types: Sequence[TensorType]) -> list[Any]:
    """Float results of one operator; all operands are inputs."""
    names = tuple(f"x{i}" for i in range(len(operands)))
    return run(_model(op, operands, types, ()), dict(zip(names, operands, strict=True)))


def quantized(
    op: Op, operands: Sequence[Operand], output: QuantParams, constants: Sequence[int] = ()
) -> np.ndarray:
    """Integer result of one operator in QDQ form."""
    floats = [x.astype(np.float32) if p else x for x, p in operands]
    names = [f"x{i}" for i in range(len(operands))]
    model = _model(op, floats, [TensorType((), DType.FLOAT32)], ())
    graph = model.graph
    steps = []
    for i, (name, (x, params)) in enumerate(zip(names, operands, strict=True)):
        if params is None:
            continue
        stored = f"{name}_q"
        steps.append(_step("DequantizeLinear", stored, name, params, graph))
        kept = [v for v in graph.input if v.name != name]
        del graph.input[:]
        graph.input.extend(kept)
        if i in constants:
            graph.initializer.append(numpy_helper.from_array(x, stored))
        else:
            kind = helper.np_dtype_to_tensor_dtype(x.dtype)
            graph.input.append(helper.make_tensor_value_info(stored, kind, x.shape))
    nodes = [*steps, *graph.node, _step("QuantizeLinear", "y", "y_q", output, graph)]
    del graph.node[:], graph.output[:]
    graph.node.extend(nodes)
    kind = helper.np_dtype_to_tensor_dtype(output.dtype.numpy)
    graph.output.append(helper.make_tensor_value_info("y_q", kind, None))
    free = {
        (f"{name}_q" if params else name): x
        for i, (name, (x, params)) in enumerate(zip(names, operands, strict=True))
        if i not in constants
    }
    found: np.ndarray = run(model, free)[0]
    return found


def _step(
    kind: str, source: str, result: str, params: QuantParams, graph: onnx.GraphProto
) -> onnx.NodeProto:
    scale, zero = f"{result}_{source}_scale", f"{result}_{source}_zero"
    graph.initializer.append(numpy_helper.from_array(np.asarray(params.scale), scale))
    zero_point = np.asarray(params.zero_point).astype(params.dtype.numpy)
    graph.initializer.append(numpy_helper.from_array(zero_point, zero))
    axis: dict[str, Any] = {} if params.axis is None else {"axis": params.axis}
    return helper.make_node(kind, [source, scale, zero], [result], **axis)


def _model(
    op: Op, operands: Sequence[np.ndarray], types: Sequence[TensorType], constants: Sequence[int]
) -> onnx.ModelProto:
    names = tuple(f"x{i}" for i in range(len(operands)))
    outputs = tuple("y" if len(types) == 1 else f"y{i}" for i in range(len(types)))
    tensors = {n: TensorType(x.shape, DType.of(x)) for n, x in zip(names, operands, strict=True)}
    tensors.update(zip(outputs, types, strict=True))
    graph = Graph("one", names, outputs, (Node("node", op, names, outputs),), tensors)
    return to_onnx(graph, opset=OPSET)
