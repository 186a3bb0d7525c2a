"""Operators that pick or place elements: as Gather along one axis, over flat tensors."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np

from qhal.ir import ops
from qhal.ir.dtypes import DType
from qhal.ir.graph import Array
from qhal.ir.ops import Ints, Op
from qhal.legal.forms.draft import Draft
from qhal.legal.forms.functions import Results
from qhal.legal.forms.opaque.node import (
    Attributes,
    Integers,
    as_int64,
    fits,
    from_start,
    reshaped,
    sliced,
    strides_of,
)


def one_hot(d: Draft) -> Results:
    """Compare the indices with all numbers below the depth; what is outside matches none."""
    depth, values = d.scalar_input(1), d.constant_input(2)
    if depth is None or values is None:
        return None
    shape = d.shape(d.node.outputs[0])
    if not fits(int(depth)):
        return None
    axis = Attributes(d).axis("axis", -1, len(shape))
    indices = from_start(d, as_int64(d, d.input(0)), int(depth))
    opened = d("opened", ops.Reshape((*shape[:axis], 1, *shape[axis + 1 :])), indices)
    numbers = np.arange(int(depth)).reshape(-1, *(1,) * (len(shape) - axis - 1))
    hot = d("hot", ops.Compare("=="), opened, d.constant("numbers", numbers, DType.INT64))
    dtype = d.type(d.input(2)).dtype
    off, on = (d.constant(hint, v, dtype) for hint, v in zip(("off", "on"), values, strict=True))
    return (d("chosen", ops.Where(), hot, on, off),)


def reverse_sequence(d: Draft) -> Results:
    """Take each time step of each sequence from the place that its length gives."""
    shape, lengths = d.shape(d.input(0)), d.constant_input(1)
    if not fits(*shape[:2]):
        return None
    time = Attributes(d).integer("time_axis", 0)
    count = shape[time]
    steps = np.arange(count).reshape((-1, 1) if time == 0 else (1, -1))
    across = (1, -1) if time == 0 else (-1, 1)
    stride = shape[1] if time == 0 else 1
    offsets = np.arange(shape[1 - time]).reshape(across) * (1 if time == 0 else count)
    flat = reshaped(d, "flat", d.input(0), (shape[0] * shape[1], *shape[2:]))
    if lengths is not None:
        wide = lengths.astype(np.int64).reshape(across)
        rows = np.where(steps < wide, wide - 1 - steps, steps) * stride + offsets
        places = d.constant("places", rows.reshape(-1), DType.INT64)
    else:
        places = _reversed_places(d, steps, across, stride, offsets)
    return (d("shaped", ops.Reshape(shape), d("taken", ops.Gather(0), flat, places)),)


def _reversed_places(d: Draft, steps: Array, across: Ints, stride: int, offsets: Array) -> str:
    """Compute the same places from lengths that are computed."""
    count = d.shape(d.input(1))[0]
    wide = d("lengths", ops.Reshape((1, count) if across[0] == 1 else (count, 1)), d.input(1))
    step = d.constant("steps", steps, DType.INT64)
    inside = d("inside", ops.Compare("<"), step, wide)
    mirrored = d("mirrored", ops.Sub(), wide, d.constant("next", steps + 1, DType.INT64))
    source = d("source", ops.Where(), inside, mirrored, step)
    scaled = d("scaled", ops.Mul(), source, d.constant("stride", stride, DType.INT64))
    rows = d("rows", ops.Add(), scaled, d.constant("offsets", offsets, DType.INT64))
    return d("places", ops.Reshape((steps.size * count,)), rows)


def _inside(found: Array, sizes: int | Integers) -> Integers:
    """Count constant indices from the start of their dimension."""
    wide = found.astype(np.int64)
    return np.asarray(np.where(wide < 0, wide + sizes, wide))


# --- gathering ------------------------------------------------------------------


def gather_elements(d: Draft) -> Results:
    """Take from the flat tensor at ``index * stride + what the other dimensions add``."""
    shape, wanted = d.shape(d.input(0)), d.shape(d.input(1))
    if not fits(*wanted):
        return None
    axis = Attributes(d).axis("axis", 0, len(shape))
    stride, offsets = strides_of(shape)[axis], _other_offsets(shape, wanted, axis)
    flat = reshaped(d, "flat", d.input(0), (prod(shape),))
    found = d.constant_input(1)
    if found is not None:
        places = _inside(found, shape[axis]) * stride + offsets
        return (d("taken", ops.Gather(0), flat, d.constant("places", places, DType.INT64)),)
    indices = from_start(d, as_int64(d, d.input(1)), shape[axis])
    scaled = d("scaled", ops.Mul(), indices, d.constant("stride", stride, DType.INT64))
    added = d("places", ops.Add(), scaled, d.constant("offsets", offsets, DType.INT64))
    return (d("taken", ops.Gather(0), flat, added),)


def _other_offsets(shape: Ints, wanted: Ints, axis: int) -> Integers:
    """Return what the places in all dimensions but ``axis`` add to the one in a flat tensor."""
    offsets = np.zeros(wanted, np.int64)
    for i, stride in enumerate(strides_of(shape)):
        if i != axis:
            across = (-1, *(1,) * (len(wanted) - 1 - i))
            offsets += (np.arange(wanted[i]) * stride).reshape(across)
    return offsets


def gather_nd(d: Draft) -> Results:
    """Take from the tensor whose indexed dimensions are one, batch dimensions among them."""
    batch = Attributes(d).integer("batch_dims")
    shape, wanted = d.shape(d.input(0)), d.shape(d.input(1))
    if not fits(*wanted):
        return None
    depth, lead = batch + wanted[-1], wanted[:-1]
    strides = np.asarray(strides_of(shape[:depth]), np.int64)
    offsets = np.zeros(lead, np.int64)
    for i in range(batch):
        across = (-1, *(1,) * (len(lead) - 1 - i))
        offsets += (np.arange(lead[i]) * strides[i]).reshape(across)
    sizes = np.asarray(shape[batch:depth], np.int64)
    flat = reshaped(d, "flat", d.input(0), (prod(shape[:depth]), *shape[depth:]))
    found = d.constant_input(1)
    if found is not None:
        inside = _inside(found, sizes)
        places = d.constant("places", (inside * strides[batch:]).sum(-1) + offsets, DType.INT64)
        return (d("taken", ops.Gather(0), flat, places),)
    indices = from_start(d, as_int64(d, d.input(1)), sizes)
    scaled = d("scaled", ops.Mul(), indices, d.constant("strides", strides[batch:], DType.INT64))
    total = d("total", ops.Reduce("Sum", (len(wanted) - 1,), False), scaled)
    added = d("places", ops.Add(), total, d.constant("offsets", offsets, DType.INT64))
    return (d("taken", ops.Gather(0), flat, added),)


# --- scattering -----------------------------------------------------------------


_REDUCTIONS: Mapping[str, Op] = {
    "add": ops.Add(),
    "mul": ops.Mul(),
    "max": ops.Maximum(),
    "min": ops.Minimum(),
}
_MOST_ROUNDS = 16
"""Updates of one place that are applied one after the other."""


def scatter_elements(d: Draft) -> Results:
    """Write to the flat tensor at constant places."""
    shape, found = d.shape(d.input(0)), d.constant_input(1)
    if found is None or found.size == 0:
        return None
    if not fits(*shape) or not fits(*found.shape):
        return None
    axis = Attributes(d).axis("axis", 0, len(shape))
    rows = _inside(found, shape[axis]) * strides_of(shape)[axis]
    rows = rows + _other_offsets(shape, found.shape, axis)
    return _scattered(d, rows.reshape(-1), prod(shape), ())


def scatter_nd(d: Draft) -> Results:
    """Write to the tensor whose indexed dimensions are one, at constant places."""
    shape, found = d.shape(d.input(0)), d.constant_input(1)
    if found is None or found.size == 0:
        return None
    if not fits(*shape) or not fits(*found.shape):
        return None
    depth = found.shape[-1]
    inside = _inside(found, np.asarray(shape[:depth], np.int64))
    rows = (inside * np.asarray(strides_of(shape[:depth]))).sum(-1)
    return _scattered(d, rows.reshape(-1), prod(shape[:depth]), shape[depth:])


def _scattered(d: Draft, rows: Array, count: int, rest: Ints) -> Results:
    """Apply updates in rounds: in each of them, a place is written at most once."""
    reduction = _REDUCTIONS.get(Attributes(d).text("reduction", "none"))
    turns = _last(rows) if reduction is None else _turns(rows)
    if turns.max() >= _MOST_ROUNDS:
        return None
    shape = d.shape(d.input(0))
    x = reshaped(d, "flat", d.input(0), (count, *rest))
    updates = reshaped(d, "updates", d.input(2), (rows.size, *rest))
    for turn in range(int(turns.max()) + 1):
        sources = np.full(count, -1, np.int64)
        sources[rows[turns == turn]] = np.flatnonzero(turns == turn)
        places = d.constant("places", np.maximum(sources, 0), DType.INT64)
        spread = d("spread", ops.Gather(0), updates, places)
        made = spread if reduction is None else d("combined", reduction, x, spread)
        written = (sources >= 0).reshape(-1, *(1,) * len(rest))
        x = d("whole", ops.Where(), d.constant("written", written, DType.BOOL), made, x)
    return (reshaped(d, "shaped", x, shape),)


def _turns(rows: Array) -> Array:
    """Return which update of its place each one is."""
    seen: dict[int, int] = {}
    turns = []
    for row in rows.tolist():
        turns.append(seen.get(row, 0))
        seen[row] = turns[-1] + 1
    return np.asarray(turns)


def _last(rows: Array) -> Array:
    """Return 0 for the last update of each place, -1 for those that it hides."""
    turns = np.full(rows.size, -1)
    turns[list({row: i for i, row in enumerate(rows.tolist())}.values())] = 0
    return turns


# --- arguments of extremes ------------------------------------------------------


def last_arg_max(d: Draft) -> Results:
    """Find the first of the largest elements from the end."""
    return _last_arg(d, d.input(0))


def last_arg_min(d: Draft) -> Results:
    """Find the first of the largest elements from the end, in the opposite order.

    Of integers that is ``-1 - x``: the smallest one has no negative of its own type.
    """
    x, dtype = d.input(0), d.type(d.input(0)).dtype
    if dtype.is_float:
        return _last_arg(d, d("negated", ops.Unary("Neg"), x))
    if not dtype.is_integer or dtype.qmin == 0:
        return None
    return _last_arg(d, d("opposite", ops.Sub(), d.constant("minus_one", -1, dtype), x))


def _last_arg(d: Draft, x: str) -> Results:
    attributes, shape = Attributes(d), d.shape(x)
    if not attributes.integer("select_last_index"):
        return None
    axis = attributes.axis("axis", 0, len(shape))
    count = shape[axis]
    turned = sliced(d, "turned", x, axis, count - 1, count, -1)
    found = d("found", ops.ArgMax(axis, bool(attributes.integer("keepdims", 1))), turned)
    return (d("last", ops.Sub(), d.constant("end", count - 1, DType.INT64), found),)
