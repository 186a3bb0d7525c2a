"""What Vela requires of an operator that is to run on the NPU.

Source: Vela 5.2, ``vela --supported-ops-report``, tables "Ethos-U55 and Ethos-U65 TFLite" and
"Ethos-U85 TFLite". A rule that is not named after a generation holds for all of them. Each
limit's docstring is the rule; it returns None, or a sentence with the offending value.
tests/backends/arm compares the verdicts with what Vela does: where the report says "less than"
(reduced axis, rows of a softmax), Vela takes the bound itself too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from math import prod

from qhal.ir import ops
from qhal.ir.dtypes import DType
from qhal.ir.graph import NodeView
from qhal.targets.limit import Limit, OneOf, Range, limit
from qhal_backends.tflite.flat import FlatPadding
from qhal_backends.tflite.padding import Axis, implicit_padding
from qhal_backends.tflite.resizing import ResizeMode, exact_mode, spatial_sizes
from qhal_backends.tflite.transposed import forward_axes, window_of
from qhal_backends.tflite.windows import convolution_axes, pool_axes

LARGEST_INT8_MEAN = 16_777_216
LARGEST_INT16_MEAN = 65_536
_UP_TO_THREE = Range(1, 3)
_UP_TO_65536 = Range(most=65_536)


# --- every operator ---------------------------------------------------------------

_TAKING_NUMBERS = (ops.Add, ops.Sub, ops.Mul, ops.Maximum, ops.Minimum, ops.Reduce, ops.ArgMax)


@limit()
def tensors_have_dimensions(view: NodeView) -> str | None:
    """Results have dimensions, and so have operands, other than those of arithmetic with two."""
    takes = isinstance(view.op, _TAKING_NUMBERS)
    computed = () if takes else (n for n in view.node.inputs if n not in view.graph.constants)
    for name in (*filter(None, computed), *view.node.outputs):
        if not view.graph.tensors[name].shape:
            return f"{name} has no dimensions"
    return None


@limit()
def no_booleans(view: NodeView) -> str | None:
    """Nothing is boolean: Vela gives up on the whole model for Ethos-U55 and Ethos-U65."""
    for name in (*filter(None, view.node.inputs), *view.node.outputs):
        if view.graph.tensors[name].dtype is DType.BOOL:
            return f"{name} is {DType.BOOL.value}, with which Vela fails"
    return None


# --- convolutions -----------------------------------------------------------------


@limit(weights=_UP_TO_65536)
def filters_are_small(view: NodeView, weights: Range) -> str | None:
    """A filter has at most {weights.most} weights: the sum of their absolute values may be at most
    127 * {weights.most}.
    """
    weight = view.input(1)
    filters = view.output().shape[-1]
    size = weight.elements // filters
    if size in weights:
        return None
    return f"a filter has {size} weights; allowed: {weights}"


@limit(strides=_UP_TO_THREE)
def u55_strides_of_conv(view: NodeView, strides: Range) -> str | None:
    """Strides are {strides}; larger ones need padding VALID and no dilation."""
    op = view.op
    assert isinstance(op, ops.Conv)
    # Explicit padding becomes a PAD in front of a VALID convolution.
    is_valid = implicit_padding(convolution_axes(view)) is not FlatPadding.SAME
    if max(op.strides) in strides or (is_valid and max(op.dilations) == 1):
        return None
    return f"the strides are {op.strides}, with dilation or padding SAME; allowed: {strides}"


@limit(strides=_UP_TO_THREE)
def u55_strides_up_to_three(view: NodeView, strides: Range) -> str | None:
    """Strides are {strides}."""
    found: tuple[int, ...] = getattr(view.op, "strides", ())
    if max(found, default=1) in strides:
        return None
    return f"the strides are {found}; allowed: {strides}"


@limit(strides=OneOf(((1, 1), (2, 2))))
def u55_strides_of_transposed(view: NodeView, strides: OneOf) -> str | None:
    """Strides (height, width) are {strides.either}. They may also be 1x2 if input and kernel
    have one row, and 2x1 if input and kernel have one column.
    """
    op = view.op
    assert isinstance(op, ops.ConvTranspose)
    if op.strides in strides:
        return None
    (height, width), (rows, columns) = view.input().shape[1:3], view.input(1).shape[1:3]
    if op.strides == (1, 2) and height == rows == 1:
        return None
    if op.strides == (2, 1) and width == columns == 1:
        return None
    return f"the strides are {op.strides}; allowed: {strides.either}"


@limit()
def u55_makes_all_windows(view: NodeView) -> str | None:
    """A transposed convolution makes its input's size times the stride. Without padding it makes
    more: the difference between kernel and stride, if the kernel is larger.
    """
    return _odd_sizes(forward_axes(view, slice(1, -1)))


@limit()
def u55_is_native_transposed(view: NodeView) -> str | None:
    """All dilations are 1, and sizes with strides of the NPU are those that it makes."""
    op = view.op
    assert isinstance(op, ops.ConvTranspose)
    if max(op.dilations) > 1:
        return f"the dilations are {op.dilations}; allowed: 1"
    if max(op.strides) > 2:
        return None
    return _odd_sizes(forward_axes(view, slice(2, None)))


def _odd_sizes(axes: list[Axis]) -> str | None:
    """Name the size that Vela refuses; None if there is none."""
    window = window_of(axes)
    more = 0 if window.padding is FlatPadding.SAME else 1
    for axis, size in zip(axes, window.sizes, strict=True):
        made = axis.windows * axis.stride + more * max(axis.kernel - axis.stride, 0)
        if size != made:
            return (
                f"a transposed convolution of {axis.windows} elements makes {size}; with stride "
                f"{axis.stride} and kernel {axis.kernel}, the NPU makes {made}"
            )
    return None


# --- pooling ----------------------------------------------------------------------


def _is_same(axes: list[Axis]) -> bool:
    return implicit_padding(axes) is FlatPadding.SAME


@limit(elements=Range(most=65_536), rows=Range(most=256))
def kernel_is_small(view: NodeView, elements: Range, rows: Range) -> str | None:
    """A kernel has at most {elements.most} elements and at most {rows.most} rows."""
    height, width = (axis.kernel for axis in pool_axes(view))
    if height * width in elements and height in rows:
        return None
    return f"the kernel is {height}x{width}; allowed: {elements} elements and {rows} rows"


@limit(kernel=Range(1, 8))
def same_kernel_is_small(view: NodeView, kernel: Range) -> str | None:
    """With padding SAME, a kernel is at most {kernel.most} by {kernel.most}."""
    axes = pool_axes(view)
    sizes = tuple(axis.kernel for axis in axes)
    if not _is_same(axes) or max(sizes) in kernel:
        return None
    return f"the kernel is {sizes} with padding SAME; allowed: up to {kernel.most} by {kernel.most}"


@limit(strides=_UP_TO_THREE)
def u55_strides_of_pool(view: NodeView, strides: Range) -> str | None:
    """Strides are {strides}; larger ones need padding VALID."""
    axes = pool_axes(view)
    found = tuple(axis.stride for axis in axes)
    if max(found) in strides or not _is_same(axes):
        return None
    return f"the strides are {found} with padding SAME; allowed: {strides}"


# --- reduction --------------------------------------------------------------------


@limit(elements=Range(most=4096))
def reduced_axes_are_short(view: NodeView, elements: Range) -> str | None:
    """A mean reduces at most {elements.most} elements along an axis."""
    longest = max(_reduced_sizes(view), default=1)
    if longest in elements:
        return None
    return f"an axis of {longest} elements is reduced; allowed: {elements}"


def reduces_at_most(largest: int) -> Limit:
    """Limit the number of elements over which a mean is taken."""
    return limit(elements=Range(most=largest))(_mean_is_small)


def _mean_is_small(view: NodeView, elements: Range) -> str | None:
    """A mean is taken over at most {elements.most} elements."""
    count = prod(_reduced_sizes(view))
    return None if count in elements else f"{count} elements are reduced; allowed: {elements}"


def _reduced_sizes(view: NodeView) -> list[int]:
    op = view.op
    assert isinstance(op, ops.Reduce)
    return [view.input().shape[axis] for axis in op.axes]


@limit(batch=1, rank=Range(least=4))
def mean_has_one_batch(view: NodeView, batch: int, rank: Range) -> str | None:
    """If the operand has {rank} dimensions, the first one is {batch}."""
    shape = view.input().shape
    if len(shape) not in rank or shape[0] == batch:
        return None
    return f"the operand has the shape {shape}; allowed: {batch} as first dimension"


@limit(size=1)
def mean_over_depth(view: NodeView, size: int) -> str | None:
    """The last axis is reduced only if one of height, width and depth is {size}."""
    op = view.op
    assert isinstance(op, ops.Reduce)
    shape = view.input().shape
    three = (1, 1, *shape)[-3:]
    if len(shape) - 1 not in op.axes or size in three:
        return None
    return f"the depth of {shape} is reduced; allowed only if height, width or depth is {size}"


@limit(elements=Range(most=127), batch=1, rank=Range(least=4))
def u55_argmax_over_depth(view: NodeView, elements: Range, batch: int, rank: Range) -> str | None:
    """The last axis, of at most {elements.most} elements, is reduced and dropped.

    If the operand has {rank} dimensions, the first one is {batch}.
    """
    op, shape = view.op, view.input().shape
    assert isinstance(op, ops.ArgMax)
    if op.axis != len(shape) - 1:
        return f"the axis is {op.axis}; allowed: {len(shape) - 1}, the last one"
    if shape[-1] not in elements:
        return f"the axis has {shape[-1]} elements; allowed: {elements}"
    if len(shape) in rank and shape[0] != batch:
        return f"the operand has the shape {shape}; allowed: {batch} as first dimension"
    return "the reduced axis is kept, but must be dropped" if op.keepdims else None


def breaks_vela_for_u55(view: NodeView) -> bool:
    """Return True for an ArgMax that Vela does not leave on the CPU, and cannot compile.

    It would, but for the several batches, run on the NPU; of the others Vela compiles the rest.
    """
    op, shape = view.op, view.input().shape
    if not isinstance(op, ops.ArgMax) or len(shape) < 4 or shape[0] == 1:
        return False
    return op.axis == len(shape) - 1 and shape[-1] <= 127


@limit(rows=_UP_TO_65536)
def softmax_rows(view: NodeView, rows: Range) -> str | None:
    """A softmax has at most {rows.most} rows."""
    count = prod(view.input().shape[:-1])
    return None if count in rows else f"there are {count} rows; allowed: {rows}"


# --- products of two activations --------------------------------------------------


@limit(elements=_UP_TO_65536)
def u55_product_axes(view: NodeView, elements: Range) -> str | None:
    """The last axis of the result and the reduced axis have at most {elements.most} elements."""
    for size in (view.output().shape[-1], view.input().shape[-1]):
        if size not in elements:
            return f"an axis has {size} elements; allowed: {elements}"
    return None


# --- resizing ---------------------------------------------------------------------


@limit(scales=OneOf((2, 4, 8)), half_pixel=OneOf((2,)))
def u55_resizes_by_powers_of_two(view: NodeView, scales: OneOf, half_pixel: OneOf) -> str | None:
    """Height and width grow by the same factor: {scales.either}, in linear mode with half-pixel
    centers only {half_pixel}. A single pixel may be repeated to any size.
    """
    op, mode, sizes = view.op, exact_mode(view), spatial_sizes(view)
    assert isinstance(op, ops.Resize)
    if mode is None:
        return "TFLite has no such resize mode, so it would need GATHER, which the NPU lacks"
    if _is_trivial(sizes):
        return None
    found = [_scale(mode, *size) for size in sizes]
    linear_half = op.mode == "linear" and mode.half_pixel_centers
    allowed = half_pixel if linear_half else scales
    # A dimension of one element may stay as it is.
    growing = {s for s, (_, count) in zip(found, sizes, strict=True) if (s, count) != (1, 1)}
    if len(growing) == 1 and all(scale in allowed for scale in growing):
        return None
    return f"the scales are {_shown(found)} ({_listed(sizes)}); allowed: {allowed} for both"


@limit(scale=Range(most=1024), aligned=Range(most=2048))
def u85_resizes_in_bounds(view: NodeView, scale: Range, aligned: Range) -> str | None:
    """Height and width grow at most {scale.most} times, with aligned corners {aligned.most} times,
    and in linear mode by powers of two.
    """
    op, mode, sizes = view.op, exact_mode(view), spatial_sizes(view)
    assert isinstance(op, ops.Resize)
    if mode is None:
        return "TFLite has no such resize mode, and GATHER picks only along the first axis"
    scales = [_scale(mode, *size) for size in sizes]
    allowed = aligned if mode.align_corners else scale
    if max(scales) not in allowed:
        return f"the scales are {_shown(scales)} ({_listed(sizes)}); allowed: {allowed}"
    if op.mode == "nearest" or _is_trivial(sizes) or all(map(_is_power_of_two, scales)):
        return None
    return f"the scales are {_shown(scales)} ({_listed(sizes)}); allowed: powers of two"


def _is_trivial(sizes: Sequence[tuple[int, int]]) -> bool:
    return all(size == 1 for size, _ in sizes) or all(size == count for size, count in sizes)


def _scale(mode: ResizeMode, size: int, count: int) -> float:
    if mode.align_corners and size > 1 and count > 1:
        return (count - 1) / (size - 1)
    return count / size


def _is_power_of_two(scale: float) -> bool:
    whole = int(scale)
    return scale == whole and whole > 0 and whole & (whole - 1) == 0


def _listed(sizes: Sequence[tuple[int, int]]) -> str:
    return " and ".join(f"{size} to {count}" for size, count in sizes)


def _shown(scales: Iterable[float]) -> str:
    return ", ".join(f"{scale:g}" for scale in scales)


# --- data movement ----------------------------------------------------------------


@limit(strides=1)
def strides_in_height_and_width(view: NodeView, strides: int) -> str | None:
    """Strides are positive, and differ from {strides} only along height and width, the axes before
    the last.
    """
    op = view.op
    assert isinstance(op, ops.Slice)
    rank = len(op.steps)
    stepped = {axis - rank for axis, step in enumerate(op.steps) if step != strides}
    if not stepped or (min(op.steps) > 0 and stepped <= {-2, -3}):
        return None
    return (
        f"the strides are {op.steps}; only those along height and width may differ from {strides}"
    )


@limit(mode=OneOf(("constant",)))
def pads_with_a_constant(view: NodeView, mode: OneOf) -> str | None:
    """The padding is {mode}: other modes need GATHER, which the NPU lacks."""
    op = view.op
    assert isinstance(op, ops.Pad)
    return None if op.mode in mode else f"the padding mode is {op.mode}; allowed: {mode}"


@limit(elements=_UP_TO_65536, alone=Range(most=3))
def u55_transposes_small_planes(view: NodeView, elements: Range, alone: Range) -> str | None:
    """Axes of size 1 do not count. Each of {alone} axes has at most {elements.most} elements; of
    n > {alone.most} axes, the product of any n - 2 sizes is at most {elements.most}.
    """
    op, shape = view.op, view.input().shape
    assert isinstance(op, ops.Transpose)
    if op.perm == tuple(range(len(op.perm))):
        return None
    axes = [size for size in shape if size != 1]
    together = 1 if len(axes) in alone else len(axes) - 2
    largest = max(map(prod, combinations(axes, together)), default=1)
    if largest in elements:
        return None
    return f"some axes of {shape} have {largest} elements together; allowed: {elements}"


@limit(rank=Range(most=8))
def transposed_rank(view: NodeView, rank: Range) -> str | None:
    """A transposed tensor has at most {rank.most} dimensions."""
    found = len(view.input().shape)
    if found in rank:
        return None
    return f"the rank is {found}; allowed: {rank}"


@limit(axis=0)
def u85_gathers_along_batch(view: NodeView, axis: int) -> str | None:
    """Elements are picked along axis {axis}."""
    op = view.op
    assert isinstance(op, ops.Gather)
    return None if op.axis == axis else f"the axis is {op.axis}; allowed: {axis}"
