"""Constants: what an operator makes of constant operands, and facts about static types."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from qhal.errors import ModelInvalidError
from qhal.ir.dtypes import DType
from qhal.ir.graph import Array, TensorType
from qhal.ir.onnx.alone import session_of
from qhal.ir.onnx.bind import element_type
from qhal.ir.onnx.call import ImportCall
from qhal.ir.onnx.single import infer_types, node_model, node_proto
from qhal.ir.onnx.weights import as_float32, check_finite
from qhal.system.trail import Kind, doing

LARGEST_FOLDED_BYTES = 256 << 20
"""A computed constant larger than this is refused; no export computes such weights."""

LARGEST_FILLED_BYTES = 2 << 30
"""A constant of one repeated value takes no memory here; ONNX files end at this size."""

_GROWING = (
    *("Expand", "Tile", "Range", "OneHot", "EyeLike"),
    *("Pad", "Resize", "Upsample"),
)
"""Operators whose result can be larger than all that they read."""

_RANDOM = (
    *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
    *("Multinomial", "Bernoulli"),
)


def fold(call: ImportCall) -> tuple[Array, ...] | None:
    """Compute the results of a node as constants; None if they are not.

    Raises:
        ModelInvalidError: a result would be absurdly large.
    """
    direct = _FACTS.get(call.kind) if call.node.domain == "" else None
    if direct is not None:
        return direct(call)
    if call.kind in _RANDOM or _has_graphs(call.node):
        return None
    operands = [call.constant(i) if call.has(i) else None for i in range(len(call.node.inputs))]
    if any(value is None and call.has(i) for i, value in enumerate(operands)):
        return None
    if call.kind in _GROWING:
        _check_size(call)
    return _evaluate(call, operands)


def _has_graphs(node: ir.Node) -> bool:
    kinds = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    return any(attribute.type in kinds for attribute in node.attributes.values())


def _check_size(call: ImportCall) -> None:
    for found in infer_types(call):
        if found is not None:
            _limit(call, found, LARGEST_FOLDED_BYTES)


def check_size(call: ImportCall, made: TensorType) -> None:
    """Refuse a constant that would be absurdly large, before it is made.

    Raises:
        ModelInvalidError: naming the node.
    """
    _limit(call, made, LARGEST_FOLDED_BYTES)


def _limit(call: ImportCall, found: TensorType, largest: int) -> None:
    size = found.elements * found.dtype.bits // 8
    if size > largest:
        raise ModelInvalidError(
            f"Node {call.name!r} ({call.kind}) computes the constant {found} of {size:,} bytes, "
            f"more than {largest:,}."
        )


def _evaluate(call: ImportCall, operands: Sequence[Array | None]) -> tuple[Array, ...] | None:
    """Run the node; None where neither evaluator can."""
    names = [v.name if v is not None else "" for v in call.node.inputs]
    feeds = {str(n): v for n, v in zip(names, operands, strict=True) if v is not None}
    for run in (_run_reference, _run_onnxruntime):
        try:
            with doing(Kind.MODEL, f"the constant node {call.name!r} ({call.kind}) was computed"):
                made = run(call, feeds)
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - whatever it cannot do stays a node of the graph
            continue
        if all(isinstance(result, np.ndarray | np.generic) for result in made.values()):
            results = (made.get(str(value.name), np.zeros(0)) for value in call.node.outputs)
            return tuple(np.asarray(result) for result in results)
    return None


def _run_reference(call: ImportCall, feeds: Mapping[str, Array]) -> Mapping[str, Any]:
    """Run ONNX's own evaluator: fast, but it lacks older versions of some operators."""
    from onnx.reference import ReferenceEvaluator

    node = node_proto(call)
    graph = onnx.GraphProto(
        node=[node],
        input=[onnx.ValueInfoProto(name=name) for name in feeds],
        output=[onnx.ValueInfoProto(name=name) for name in node.output if name],
    )
    runner = ReferenceEvaluator(graph, opsets={"": 1, **call.scope.opsets})
    return dict(zip(runner.output_names, runner.run(None, dict(feeds)), strict=True))


def _run_onnxruntime(call: ImportCall, feeds: Mapping[str, Array]) -> Mapping[str, Any]:
    """Run onnxruntime: all versions, but a session for every node."""
    session = session_of(node_model(call))
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


# --- facts about static types ---------------------------------------------------


def _shape(call: ImportCall) -> tuple[Array, ...]:
    end = call.attribute("end")
    part = call.shape()[call.integer("start", 0) : None if end is None else end.as_int()]
    return (np.asarray(part, np.int64),)


def _size(call: ImportCall) -> tuple[Array, ...]:
    return (np.asarray(call.type().elements, np.int64),)


def _constant(call: ImportCall) -> tuple[Array, ...]:
    for name, attribute in call.node.attributes.items():
        if name == "value":
            value = as_float32(call.scope.weights.read(attribute.as_tensor()))
            check_finite(call.name, value)
            return (value,)
        if name in ("value_float", "value_floats"):
            return (np.asarray(attribute.value, np.float32),)
        if name in ("value_int", "value_ints"):
            return (np.asarray(attribute.value, np.int64),)
    raise ModelInvalidError(
        f"The constant {call.name!r} is sparse or holds strings.",
        "qhal takes dense numeric constants.",
    )


def _constant_of_shape(call: ImportCall) -> tuple[Array, ...] | None:
    """Repeat one value without taking memory."""
    wanted = call.constant(0)
    if wanted is None:
        return None
    attribute = call.attribute("value")
    value: Array = np.zeros(1, np.float32)
    if attribute is not None:
        value = as_float32(call.scope.weights.read(attribute.as_tensor()))
    shape = tuple(int(size) for size in wanted.reshape(-1))
    if min(shape, default=0) < 0:
        raise ValueError(f"its shape is {shape}")
    _limit(call, TensorType(shape, DType.of(value)), LARGEST_FILLED_BYTES)
    return (np.broadcast_to(value.reshape(()), shape),)


def _eye_like(call: ImportCall) -> tuple[Array, ...]:
    """Put ones on a diagonal; only the shape of the operand counts."""
    stated = call.attribute("dtype")
    dtype = call.type().dtype
    if stated is not None:
        dtype = element_type(ir.DataType(stated.as_int()), call.name)
    found = TensorType(call.shape(), DType.FLOAT32 if dtype.is_float else dtype)
    _limit(call, found, LARGEST_FOLDED_BYTES)
    rows, columns = found.shape
    return (np.eye(rows, columns, call.integer("k", 0), dtype=found.dtype.numpy),)


_FACTS: Mapping[str, Callable[[ImportCall], tuple[Array, ...] | None]] = {
    "Shape": _shape,
    "Size": _size,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "EyeLike": _eye_like,
}
