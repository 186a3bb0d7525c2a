"""What Vela demands of an operator that is to run on the NPU.

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
from qhal.ir.graph import NodeView
from qhal.targets.capability import Limit
from qhal_backends.tflite.flat import FlatPadding
from qhal_backends.tflite.padding import Axis, implicit_padding
from qhal_backends.tflite.resizing import ResizeMode, exact_mode, spatial_sizes
from qhal_backends.tflite.windows import convolution_axes, pool_axes

LARGEST_STRIDE = 3
LARGEST_FILTER = 65536
LARGEST_AXIS = 65536
LARGEST_KERNEL_HEIGHT = 256
LARGEST_SAME_KERNEL = 8
LARGEST_ARGMAX_DEPTH = 127
LARGEST_REDUCED_AXIS = 4096
LARGEST_INT8_MEAN = 16_777_216
LARGEST_INT16_MEAN = 65_536
LARGEST_TRANSPOSED_RANK = 8
U55_SCALES = (2, 4, 8)
U85_LARGEST_SCALE = 1024
U85_LARGEST_ALIGNED_SCALE = 2048


# --- convolutions -----------------------------------------------------------------


def filters_are_small(view: NodeView) -> str | None:
    """A filter has at most 65536 weights: their absolute values sum up to at most 127 * 65536."""
    weight = view.input(1)
    filters = view.output().shape[-1]
    size = weight.elements // filters
    if size <= LARGEST_FILTER:
        return None
    return f"a filter has {size} weights, allowed up to {LARGEST_FILTER}"


def u55_strides_of_conv(view: NodeView) -> str | None:
    """Strides are 1 to 3; more without dilation and with padding VALID."""
    op = view.op
    assert isinstance(op, ops.Conv)
    # Explicit padding becomes a PAD in front of a VALID convolution.
    is_valid = implicit_padding(convolution_axes(view)) is not FlatPadding.SAME
    if max(op.strides) <= LARGEST_STRIDE or (is_valid and max(op.dilations) == 1):
        return None
    return f"the strides are {op.strides}, allowed 1 to 3 with dilation or padding SAME"


def u55_strides_up_to_three(view: NodeView) -> str | None:
    """Strides are 1 to 3."""
    strides: tuple[int, ...] = getattr(view.op, "strides", ())
    if max(strides, default=1) <= LARGEST_STRIDE:
        return None
    return f"the strides are {strides}, allowed 1 to 3"


def u55_strides_of_transposed(view: NodeView) -> str | None:
    """Strides (height, width) are 1x1, 2x2, or 2 along the one of two dimensions that is not 1.

    Across a dimension in which both input and kernel have one element, the stride is 1.
    """
    op = view.op
    assert isinstance(op, ops.ConvTranspose)
    if op.strides in ((1, 1), (2, 2)):
        return None
    (height, width), (rows, columns) = view.input().shape[1:3], view.input(1).shape[1:3]
    if op.strides == (1, 2) and height == rows == 1:
        return None
    if op.strides == (2, 1) and width == columns == 1:
        return None
    return f"the strides are {op.strides}, allowed 1x1 and 2x2"


# --- pooling ----------------------------------------------------------------------


def _is_same(axes: list[Axis]) -> bool:
    return implicit_padding(axes) is FlatPadding.SAME


def kernel_is_small(view: NodeView) -> str | None:
    """A kernel has at most 65536 elements and at most 256 rows."""
    rows, columns = (axis.kernel for axis in pool_axes(view))
    if rows * columns <= LARGEST_FILTER and rows <= LARGEST_KERNEL_HEIGHT:
        return None
    return f"the kernel is {rows}x{columns}, allowed 65536 elements and 256 rows"


def same_kernel_is_small(view: NodeView) -> str | None:
    """With padding SAME a kernel is at most 8 by 8."""
    axes = pool_axes(view)
    kernel = tuple(axis.kernel for axis in axes)
    if not _is_same(axes) or max(kernel) <= LARGEST_SAME_KERNEL:
        return None
    return f"the kernel is {kernel} with padding SAME, allowed up to 8 by 8"


def u55_strides_of_pool(view: NodeView) -> str | None:
    """Strides are 1 to 3; more with padding VALID."""
    axes = pool_axes(view)
    strides = tuple(axis.stride for axis in axes)
    if max(strides) <= LARGEST_STRIDE or not _is_same(axes):
        return None
    return f"the strides are {strides} with padding SAME, allowed 1 to 3"


# --- reduction --------------------------------------------------------------------


def reduced_axes_are_short(view: NodeView) -> str | None:
    """A mean reduces at most 4096 elements along an axis."""
    longest = max(_reduced_sizes(view), default=1)
    if longest <= LARGEST_REDUCED_AXIS:
        return None
    return f"an axis of {longest} is reduced, allowed up to {LARGEST_REDUCED_AXIS}"


def reduces_at_most(largest: int) -> Limit:
    """A limit on the number of elements that a mean is taken of."""

    def limit(view: NodeView) -> str | None:
        count = prod(_reduced_sizes(view))
        return None if count <= largest else f"{count} elements are reduced, allowed {largest}"

    limit.__doc__ = f"A mean is taken of at most {largest} elements."
    return limit


def _reduced_sizes(view: NodeView) -> list[int]:
    op = view.op
    assert isinstance(op, ops.Reduce)
    return [view.input().shape[axis] for axis in op.axes]


def mean_has_one_batch(view: NodeView) -> str | None:
    """With 4 dimensions and more, the first one is 1."""
    shape = view.input().shape
    if len(shape) < 4 or shape[0] == 1:
        return None
    return f"the operand has the shape {shape}, allowed a first dimension of 1"


def mean_over_depth(view: NodeView) -> str | None:
    """The last axis is reduced only if one of height, width and depth is 1."""
    op = view.op
    assert isinstance(op, ops.Reduce)
    shape = view.input().shape
    three = (1, 1, *shape)[-3:]
    if len(shape) - 1 not in op.axes or 1 in three:
        return None
    return f"the depth of {shape} is reduced, allowed if height, width or depth is 1"


def u55_argmax_over_depth(view: NodeView) -> str | None:
    """The axis is the last one, of at most 127 elements, and is dropped."""
    op, shape = view.op, view.input().shape
    assert isinstance(op, ops.ArgMax)
    if op.axis != len(shape) - 1:
        return f"the axis is {op.axis} of {len(shape)}, allowed the last one"
    if shape[-1] > LARGEST_ARGMAX_DEPTH:
        return f"the axis has {shape[-1]} elements, allowed up to {LARGEST_ARGMAX_DEPTH}"
    return "the reduced axis is kept, allowed dropped ones" if op.keepdims else None


def softmax_rows(view: NodeView) -> str | None:
    """A softmax has at most 65536 rows."""
    rows = prod(view.input().shape[:-1])
    return None if rows <= LARGEST_AXIS else f"there are {rows} rows, allowed up to 65536"


# --- products of two activations --------------------------------------------------


def u55_product_axes(view: NodeView) -> str | None:
    """The depth of the result and the reduced axis are at most 65536."""
    for size in (view.output().shape[-1], view.input().shape[-1]):
        if size > LARGEST_AXIS:
            return f"an axis has {size} elements, allowed up to {LARGEST_AXIS}"
    return None


# --- resizing ---------------------------------------------------------------------


def u55_resizes_by_powers_of_two(view: NodeView) -> str | None:
    """Both sizes grow 2, 4 or 8 times (linear half_pixel: 2 times), or a single pixel is spread."""
    op, mode, sizes = view.op, exact_mode(view), spatial_sizes(view)
    assert isinstance(op, ops.Resize)
    if mode is None:
        return "the elements would be picked by GATHER, which the NPU lacks"
    if _is_trivial(sizes):
        return None
    scales = [_scale(mode, *size) for size in sizes]
    linear_half = op.mode == "linear" and mode.half_pixel_centers
    allowed = U55_SCALES[:1] if linear_half else U55_SCALES
    # A dimension of one element may stay as it is.
    growing = {s for s, (_, count) in zip(scales, sizes, strict=True) if (s, count) != (1, 1)}
    if len(growing) == 1 and growing <= set(allowed):
        return None
    return f"{_listed(sizes)} are scales of {_shown(scales)}, allowed {_shown(allowed)} for both"


def u85_resizes_in_bounds(view: NodeView) -> str | None:
    """Scales are at most 1024, with aligned corners 2048; linear ones are powers of two."""
    op, mode, sizes = view.op, exact_mode(view), spatial_sizes(view)
    assert isinstance(op, ops.Resize)
    if mode is None:
        return "the elements would be picked by GATHER, which picks along the first axis only"
    scales = [_scale(mode, *size) for size in sizes]
    largest = U85_LARGEST_ALIGNED_SCALE if mode.align_corners else U85_LARGEST_SCALE
    if max(scales) > largest:
        return f"{_listed(sizes)} are scales of {_shown(scales)}, allowed up to {largest}"
    if op.mode == "nearest" or _is_trivial(sizes) or all(map(_is_power_of_two, scales)):
        return None
    return f"{_listed(sizes)} are scales of {_shown(scales)}, allowed powers of two"


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


def steps_in_height_and_width(view: NodeView) -> str | None:
    """Steps are positive, and above 1 only along height and width, in front of the last axis."""
    op = view.op
    assert isinstance(op, ops.Slice)
    rank = len(op.steps)
    stepped = {axis - rank for axis, step in enumerate(op.steps) if step != 1}
    if not stepped or (min(op.steps) > 0 and stepped <= {-2, -3}):
        return None
    return f"the steps are {op.steps}, allowed 1 but along height and width"


def pads_with_a_constant(view: NodeView) -> str | None:
    """The padding is constant: that of other kinds is picked by GATHER."""
    op = view.op
    assert isinstance(op, ops.Pad)
    return None if op.mode == "constant" else f"the padding is {op.mode}, allowed constant"


def u55_transposes_small_planes(view: NodeView) -> str | None:
    """Of 3 axes each, and of more the product of all but any 2, is at most 65536."""
    op, shape = view.op, view.input().shape
    assert isinstance(op, ops.Transpose)
    if op.perm == tuple(range(len(op.perm))):
        return None
    axes = [size for size in shape if size != 1]
    groups = combinations(axes, max(1, len(axes) - 2))
    largest = max(map(prod, groups), default=1)
    if largest <= LARGEST_AXIS:
        return None
    return f"axes of {shape} have {largest} elements together, allowed up to {LARGEST_AXIS}"


def transposed_rank(view: NodeView) -> str | None:
    """A transposition has at most 8 dimensions."""
    rank = len(view.input().shape)
    if rank <= LARGEST_TRANSPOSED_RANK:
        return None
    return f"the rank is {rank}, allowed up to {LARGEST_TRANSPOSED_RANK}"


def u85_gathers_along_batch(view: NodeView) -> str | None:
    """Elements are picked along the first axis."""
    op = view.op
    assert isinstance(op, ops.Gather)
    return None if op.axis == 0 else f"the axis is {op.axis}, allowed the first one"
