"""GatherND and ScatterND: as Gather along one axis, which the indexed dimensions become."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np

from qhal.ir import ops
from qhal.ir.dtypes import DType
from qhal.ir.graph import Array
from qhal.ir.onnx.call import ImportCall, Mapper, Unsupported
from qhal.ir.ops import Ints


def _gather_nd(call: ImportCall) -> str:
    """Emit ``take(x as rows, indices as row numbers)``."""
    if call.integer("batch_dims", 0):
        raise Unsupported("it has batch dimensions")
    shape, depth = call.shape(), call.shape(1)[-1]
    found = call.constant(1)
    if found is None:
        rows = _computed_rows(call, shape[:depth])
    else:
        rows = call.const("rows", _rows(found, shape[:depth]))
    flat = _reshaped(call, call.tensor(0), (prod(shape[:depth]), *shape[depth:]))
    return call.result(ops.Gather(0), flat, rows)


def _scatter_nd(call: ImportCall) -> str:
    """Emit ``x, or the update where there is one``: of several the last."""
    if call.text("reduction", "none") != "none":
        raise Unsupported("it reduces what it writes to one place")
    shape, depth = call.shape(), call.shape(1)[-1]
    inner, rest = shape[:depth], shape[depth:]
    rows = _rows(call.need(1, "indices"), inner).reshape(-1)
    if not rows.size:
        return call.tensor(0)
    sources = np.full(prod(inner), -1, np.int64)
    sources[rows] = np.arange(rows.size)
    written = (sources >= 0).reshape(*inner, *(1,) * len(rest))
    updates = _reshaped(call, call.tensor(2), (rows.size, *rest))
    spread = call.inner(ops.Gather(0), updates, call.const("rows", np.maximum(sources, 0)))
    whole = _reshaped(call, spread, shape)
    return call.result(ops.Where(), call.const("written", written), whole, call.tensor(0))


def _rows(indices: Array, inner: Ints) -> Array:
    """Return the numbers of the places that indices name in the dimensions ``inner``.

    Raises:
        ValueError: an index is out of range.
    """
    wide = indices.astype(np.int64)
    sizes = np.asarray(inner, np.int64)
    if ((wide < -sizes) | (wide >= sizes)).any():
        raise ValueError(f"an index is outside of {inner}")
    return np.asarray((np.where(wide < 0, wide + sizes, wide) * _strides(inner)).sum(-1))


def _strides(inner: Ints) -> Array:
    return np.asarray([prod(inner[i + 1 :]) for i in range(len(inner))], np.int64)


def _computed_rows(call: ImportCall, inner: Ints) -> str:
    """Emit the same for indices that are computed."""
    indices = call.tensor(1)
    if call.type(1).dtype is not DType.INT64:
        indices = call.inner(ops.Cast(DType.INT64), indices)
    zero = call.const("zero", np.asarray(0, np.int64))
    below = call.inner(ops.Compare("<"), indices, zero)
    raised = call.inner(ops.Add(), indices, call.const("sizes", np.asarray(inner, np.int64)))
    placed = call.inner(ops.Where(), below, raised, indices)
    if len(inner) == 1:
        return call.inner(ops.Reshape(call.shape(1)[:-1]), placed)
    scaled = call.inner(ops.Mul(), placed, call.const("strides", _strides(inner)))
    return call.inner(ops.Reduce("Sum", (len(call.shape(1)) - 1,), keepdims=False), scaled)


def _reshaped(call: ImportCall, name: str, shape: Ints) -> str:
    if call.scope.builder.type(name).shape == shape:
        return name
    return call.inner(ops.Reshape(shape), name)


GATHER_ND: Mapping[str, Mapper] = {"GatherND": _gather_nd, "ScatterND": _scatter_nd}
