"""The types of what an operator makes that ONNX does not define: it is run once, by itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from qhal.errors import ModelInvalidError, text_of
from qhal.ir.dtypes import DType
from qhal.ir.graph import Array, TensorType
from qhal.ir.onnx.alone import DRAWS, drawn, session_of, type_of
from qhal.ir.onnx.call import ImportCall, Unsupported
from qhal.ir.onnx.single import node_model


def probed_types(call: ImportCall) -> list[TensorType | None]:
    """Run a node in ONNX Runtime and return the types of its outputs; None for absent ones.

    ONNX Runtime's own shape inference is asked first. What it leaves open is what the node makes
    of zeros and of drawn numbers of the operands' types, if that is the same each time.

    Raises:
        ModelInvalidError: ONNX Runtime has no such operator, or does not take the node.
        Unsupported: it does not run on drawn numbers, or its shapes depend on the operands.
    """
    session = _session(call)
    found = [_declared(output) for output in session.get_outputs()]
    if None in found:
        found = list(_measured(session))
    named = iter(found)
    return [next(named) if value.name else None for value in call.node.outputs]


def _with_constants(call: ImportCall) -> onnx.ModelProto:
    """Return a model of the node whose constant operands are constants."""
    model = node_model(call)
    values = {name: call.constant(i) for i, name in enumerate(model.graph.node[0].input) if name}
    fixed = {name: value for name, value in values.items() if value is not None}
    free = [info for info in model.graph.input if info.name not in fixed]
    del model.graph.input[:]
    model.graph.input.extend(free)
    model.graph.initializer.extend(numpy_helper.from_array(v, n) for n, v in fixed.items())
    return model


def _session(call: ImportCall) -> Any:
    model = _with_constants(call)
    try:
        return session_of(model)
    except Exception as error:
        kind = f"{call.node.domain}::{call.kind}".removeprefix("::")
        raise ModelInvalidError(
            f"Node {call.name!r} is a {kind}, which ONNX Runtime does not run: "
            f"{_first_line(error)}.",
            "qhal compares every artifact with the float model in ONNX Runtime: export the model "
            "without this operator, or cut it off (onnx.utils.extract_model).",
        ) from error


def _declared(output: Any) -> TensorType | None:
    """Return what ONNX Runtime knows of an output before it runs, if it is all.

    It gives no dimensions for a shape that it does not know, as for a number.
    """
    shape = output.shape
    if not shape or not all(isinstance(size, int) and size >= 0 for size in shape):
        return None
    return _in_graph(_stated(output))


def _measured(session: Any) -> tuple[TensorType, ...]:
    """Run the node on zeros and on drawn numbers, of which a kernel may refuse some."""
    found, reason = [], ""
    for feeds in _feeds(session):
        try:
            found.append(tuple(_in_graph(type_of(value)) for value in session.run(None, feeds)))
        except Exception as error:  # noqa: BLE001 - whatever it raises, it takes no such numbers
            reason = _first_line(error)
    if len(found) < DRAWS:
        raise Unsupported(f"ONNX Runtime does not run it on drawn numbers: {reason}")
    if len(set(found)) > 1:
        raise Unsupported("the shapes of its outputs depend on its operands' values")
    return found[0]


def _feeds(session: Any) -> Iterator[dict[str, Array]]:
    """Yield zeros, then drawn numbers."""
    inputs = {info.name: _stated(info) for info in session.get_inputs()}
    yield {name: np.zeros(kind.shape, kind.dtype.numpy) for name, kind in inputs.items()}
    yield from drawn(inputs)


def _stated(port: Any) -> TensorType:
    """Return the type of an input or output as ONNX Runtime states it."""
    spelled = port.type.removeprefix("tensor(").rstrip(")")
    dtype = DType({"float": "float32", "double": "float64"}.get(spelled, spelled))
    return TensorType(tuple(port.shape), dtype)


def _in_graph(kind: TensorType) -> TensorType:
    """Return the type that a tensor has in a graph: all floats are of 32 bits."""
    return replace(kind, dtype=DType.FLOAT32) if kind.dtype.is_float else kind


def _first_line(error: Exception) -> str:
    return text_of(error).splitlines()[0].rstrip(".")
