"""Operators that move elements around."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np
import onnx_ir as ir

from qhal.ir import ops
from qhal.ir.dtypes import DType
from qhal.ir.graph import TensorType
from qhal.ir.onnx.bind import element_type
from qhal.ir.onnx.call import ImportCall, Mapper, Unsupported, normal_axes, normal_axis
from qhal.ir.onnx.fold import check_size
from qhal.ir.onnx.map_elementwise import cast
from qhal.ir.ops import Ints

# --- shapes ---------------------------------------------------------------------


def _reshaped(call: ImportCall, shape: Ints) -> str:
    if shape == call.shape():
        return call.tensor(0)
    return call.result(ops.Reshape(shape), call.tensor(0))


def _reshape(call: ImportCall) -> str:
    """Resolve 0 as a copy of a dimension (without ``allowzero``) and -1 as what is left."""
    old, wanted = call.shape(), call.ints("shape", operand=1)
    if wanted is None:
        raise ValueError("its shape is missing")
    copies = not call.flag("allowzero")
    shape = [old[i] if size == 0 and copies else size for i, size in enumerate(wanted)]
    if -1 in shape:
        known = prod(size for size in shape if size != -1)
        shape[shape.index(-1)] = prod(old) // known if known else 0
    return _reshaped(call, tuple(shape))


def _flatten(call: ImportCall) -> str:
    shape, axis = call.shape(), call.integer("axis", 1)
    axis = axis + len(shape) if axis < 0 else axis
    return _reshaped(call, (prod(shape[:axis]), prod(shape[axis:])))


def _squeeze(call: ImportCall) -> str:
    shape, axes = call.shape(), call.ints("axes", operand=1)
    if axes is None:
        return _reshaped(call, tuple(size for size in shape if size != 1))
    gone = normal_axes(axes, len(shape))
    if any(shape[axis] != 1 for axis in gone):
        raise ValueError(f"axes {axes} of {shape} are not all 1")
    return _reshaped(call, tuple(size for i, size in enumerate(shape) if i not in gone))


def _unsqueeze(call: ImportCall) -> str:
    axes = call.ints("axes", operand=1) or ()
    rank = call.rank() + len(axes)
    new, old = normal_axes(axes, rank), iter(call.shape())
    if len(set(new)) < len(axes):
        raise ValueError(f"axes {axes} repeat one")
    return _reshaped(call, tuple(1 if i in new else next(old) for i in range(rank)))


def _transpose(call: ImportCall) -> str:
    rank = call.rank()
    perm = call.ints("perm") or tuple(reversed(range(rank)))
    if perm == tuple(range(rank)):
        return call.tensor(0)
    return call.result(ops.Transpose(perm), call.tensor(0))


def _expand(call: ImportCall) -> str:
    wanted = call.need(1, "shape").reshape(-1).tolist()
    shape = tuple(np.broadcast_shapes(call.shape(), tuple(wanted)))
    if shape == call.shape():
        return call.tensor(0)
    return call.result(ops.Expand(shape), call.tensor(0))


def _tile(call: ImportCall) -> str:
    repeats = tuple(int(r) for r in call.need(1, "repeats").reshape(-1))
    if all(r == 1 for r in repeats):
        return call.tensor(0)
    return call.result(ops.Tile(repeats), call.tensor(0))


# --- joining and cutting --------------------------------------------------------


def _concat(call: ImportCall) -> str:
    axis = call.axis()
    parts = [call.tensor(i) for i in range(len(call.node.inputs)) if 0 not in call.shape(i)]
    if len(parts) == 1:
        return parts[0]
    return call.result(ops.Concat(axis), *parts)


def _split(call: ImportCall) -> tuple[str, ...]:
    axis, count = call.axis(), len(call.node.outputs)
    sizes = call.ints("split", operand=1) or _equal_parts(call.shape()[axis], count)
    filled = [index for index, size in enumerate(sizes) if size]
    if len(filled) == len(sizes) > 1:
        return call.results(ops.Split(axis, sizes), (call.tensor(0),), len(sizes))
    return _split_filled(call, axis, sizes, filled)


def _split_filled(
    call: ImportCall, axis: int, sizes: Ints, filled: Sequence[int]
) -> tuple[str, ...]:
    """Split into the parts that have elements; the others are constants."""
    made = (call.tensor(0),)[: len(filled)]
    if len(filled) > 1:
        names = [call.output_name(index) for index in filled]
        op = ops.Split(axis, tuple(sizes[index] for index in filled))
        made = call.named(op, made, names)
    found = dict(zip(filled, made, strict=True))
    return tuple(found.get(i) or _empty(call, axis) for i in range(len(sizes)))


def _empty(call: ImportCall, axis: int) -> str:
    shape = tuple(0 if i == axis else size for i, size in enumerate(call.shape()))
    return call.const("empty", np.zeros(shape, call.type().dtype.numpy))


def _equal_parts(size: int, count: int) -> Ints:
    """Split into equal parts; the last one is smaller where they do not divide (opset 18)."""
    part = -(-size // count)
    return (*(part,) * (count - 1), size - part * (count - 1))


def _slice(call: ImportCall) -> str:
    """Read bounds from attributes before opset 10, from operands since."""
    shape = call.shape()
    starts, ends = call.ints("starts", operand=1), call.ints("ends", operand=2)
    if starts is None or ends is None:
        raise ValueError("its starts or ends are missing")
    axes = call.ints("axes", operand=3) or tuple(range(len(starts)))
    steps = call.ints("steps", operand=4) or (1,) * len(starts)
    ranges = [range(size) for size in shape]
    normal = [normal_axis(axis, len(shape)) for axis in axes]
    for axis, start, end, step in zip(normal, starts, ends, steps, strict=True):
        ranges[axis] = range(*slice(start, end, step).indices(shape[axis]))
    return _sliced(call, ranges)


def _sliced(call: ImportCall, ranges: Sequence[range]) -> str:
    """Take the elements at ``ranges``; nothing at all is a constant."""
    sizes = tuple(map(len, ranges))
    if sizes == call.shape() and all(r.step == 1 for r in ranges):
        return call.tensor(0)
    if 0 in sizes:
        return call.const("empty", np.zeros(sizes, call.type().dtype.numpy))
    return call.result(_slice_op(ranges), call.tensor(0))


def _slice_op(ranges: Sequence[range]) -> ops.Slice:
    return ops.Slice(
        tuple(r.start for r in ranges), tuple(map(len, ranges)), tuple(r.step for r in ranges)
    )


def _pad(call: ImportCall) -> str:
    """Read pads from an attribute before opset 11, from an operand since, with axes since 18."""
    shape, mode = call.shape(), call.text("mode", "constant")
    if mode not in ("constant", "reflect", "edge"):
        raise Unsupported(f"its mode is {mode}")
    pads = _whole_pads(call, len(shape))
    if not any(pads):
        return call.tensor(0)
    value = call.number("value", 0.0)
    if call.has(2):
        value = float(call.need(2, "value").reshape(()))
    if min(pads) >= 0:
        return call.result(ops.Pad(pads, mode, value), call.tensor(0))
    return _cut_and_pad(call, pads, mode, value)


def _whole_pads(call: ImportCall, rank: int) -> Ints:
    """Return begins and ends of all dimensions."""
    pads = call.ints("pads", operand=1) or ()
    found = call.ints("axes", operand=3)
    axes = range(rank) if found is None else [normal_axis(a, rank) for a in found]
    if len(pads) != 2 * len(axes):
        raise ValueError(f"pads {pads} do not fit {len(axes)} dimensions")
    whole = [0] * (2 * rank)
    for i, axis in enumerate(axes):
        whole[axis], whole[rank + axis] = pads[i], pads[len(axes) + i]
    return tuple(whole)


def _cut_and_pad(call: ImportCall, pads: Ints, mode: str, value: float) -> str:
    """Cut where pads are negative, pad elsewhere."""
    shape, rank = call.shape(), call.rank()
    cuts = [max(-pads[i], 0) + max(-pads[rank + i], 0) for i in range(rank)]
    if any(cut > size for cut, size in zip(cuts, shape, strict=True)):
        raise ValueError(f"pads {pads} cut off more than {shape} has")
    kept = [range(max(-pads[i], 0), size - max(-pads[rank + i], 0)) for i, size in enumerate(shape)]
    rest = tuple(max(p, 0) for p in pads)
    if not any(rest):
        return call.result(_slice_op(kept), call.tensor(0))
    return call.result(ops.Pad(rest, mode, value), call.inner(_slice_op(kept), call.tensor(0)))


# --- gathering ------------------------------------------------------------------


def _gather(call: ImportCall) -> str:
    """Write evenly spaced constant indices as a slice."""
    axis, shape = call.axis(), call.shape()
    constant = call.constant(1)
    if constant is None:
        return call.result(ops.Gather(axis), call.tensor(0), _as_int64(call))
    indices = constant.astype(np.int64)
    positive = np.where(indices < 0, indices + shape[axis], indices)
    walk = _even(positive.reshape(-1).tolist())
    if walk is None or call.constant(0) is not None or 0 in shape:
        return call.result(ops.Gather(axis), call.tensor(0), call.const("indices", positive))
    ranges = [range(size) for size in shape]
    ranges[axis] = walk
    if positive.ndim == 1:
        return _sliced(call, ranges)
    cut = call.tensor(0)
    if tuple(map(len, ranges)) != shape or walk.step != 1:
        cut = call.inner(_slice_op(ranges), cut)
    final = (*shape[:axis], *positive.shape, *shape[axis + 1 :])
    return call.result(ops.Reshape(final), cut)


def _as_int64(call: ImportCall) -> str:
    name = call.tensor(1)
    if call.type(1).dtype is DType.INT64:
        return name
    return call.inner(ops.Cast(DType.INT64), name)


def _even(indices: Sequence[int]) -> range | None:
    """Return the arithmetic progression that the indices are, if they are one."""
    if not indices:
        return None
    step = indices[1] - indices[0] if len(indices) > 1 else 1
    if step == 0:
        return None
    walk = range(indices[0], indices[0] + step * len(indices), step)
    return walk if list(walk) == list(indices) else None


def _compress(call: ImportCall) -> str:
    """Take what a constant condition selects."""
    chosen = np.flatnonzero(call.need(1, "condition"))
    x, axis = call.tensor(0), call.integer("axis", 0)
    if call.attribute("axis") is None:
        x = call.inner(ops.Reshape((prod(call.shape()),)), x)
    else:
        axis = normal_axis(axis, call.rank())
    size = call.scope.builder.type(x).shape[axis]
    if chosen.size and chosen[-1] >= size:
        raise ValueError(f"its condition selects element {chosen[-1]} of {size}")
    return call.result(ops.Gather(axis), x, call.const("chosen", chosen))


def _trilu(call: ImportCall) -> str:
    """Keep a triangle: select with a constant mask."""
    offset = int(call.need(1, "diagonal").reshape(())) if call.has(1) else 0
    rows, columns = call.shape()[-2:]
    check_size(call, TensorType((rows, columns), DType.BOOL))
    mask = np.tri(rows, columns, offset - call.flag("upper", True), dtype=np.bool_)
    if call.flag("upper", True):
        mask = ~mask
    zero = call.const("zero", np.zeros((), call.type().dtype.numpy))
    return call.result(ops.Where(), call.const("mask", mask), call.tensor(0), zero)


def _cast(call: ImportCall) -> str:
    to = ir.DataType(call.integer("to", 0))
    return cast(call, element_type(to, str(call.node.outputs[0].name)))


MOVEMENT: Mapping[str, Mapper] = {
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": _transpose,
    "Expand": _expand,
    "Tile": _tile,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "Pad": _pad,
    "Gather": _gather,
    "Compress": _compress,
    "Trilu": _trilu,
    "Cast": _cast,
}
