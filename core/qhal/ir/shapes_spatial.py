"""Shape rules of the operators that know channels and spatial dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from qhal.ir import ops
from qhal.ir.graph import TensorType
from qhal.ir.ops import Ints, Layout

OperandTypes = Sequence[TensorType | None]
ResultTypes = tuple[TensorType, ...]
Pool = ops.MaxPool | ops.AveragePool


def operand(inputs: OperandTypes, index: int, what: str = "operand") -> TensorType:
    """Return operand ``index``; raise ValueError if it is absent."""
    found = inputs[index] if index < len(inputs) else None
    if found is None:
        raise ValueError(f"{what} {index} is absent")
    return found


def optional(inputs: OperandTypes, index: int) -> TensorType | None:
    """Return operand ``index`` or None."""
    return inputs[index] if index < len(inputs) else None


def split_dims(x: TensorType, layout: Layout) -> tuple[int, int, Ints]:
    """Split an activation's shape into batch, channels and spatial dimensions."""
    if len(x.shape) < 3:
        raise ValueError(f"a spatial operator needs at least rank 3, the operand is {x}")
    if layout is Layout.NCHW:
        return x.shape[0], x.shape[1], x.shape[2:]
    return x.shape[0], x.shape[-1], x.shape[1:-1]


def join_dims(batch: int, channels: int, spatial: Ints, layout: Layout) -> Ints:
    """Return the shape of an activation; the inverse of :func:`split_dims`."""
    if layout is Layout.NCHW:
        return (batch, channels, *spatial)
    return (batch, *spatial, channels)


def _expect_rank(name: str, values: Ints, rank: int) -> None:
    if len(values) != rank:
        raise ValueError(f"{name} {values} has {len(values)} entries, expected {rank}")


def _expect_shape(what: str, found: Ints, wanted: Ints) -> None:
    if found != wanted:
        raise ValueError(f"{what} has shape {found}, expected {wanted}")


def _positive(spatial: Ints) -> Ints:
    if any(size < 1 for size in spatial):
        raise ValueError(f"the output would have the spatial shape {spatial}")
    return spatial


def window_sizes(spatial: Ints, kernel: Ints, strides: Ints, pads: Ints, dilations: Ints) -> Ints:
    """Count the windows that fit into each padded spatial dimension (ONNX, floor)."""
    rank = len(spatial)
    for name, values in (("kernel", kernel), ("strides", strides), ("dilations", dilations)):
        _expect_rank(name, values, rank)
    _expect_rank("pads", pads, 2 * rank)
    return _positive(
        tuple(
            (spatial[i] + pads[i] + pads[rank + i] - dilations[i] * (kernel[i] - 1) - 1)
            // strides[i]
            + 1
            for i in range(rank)
        )
    )


def kernel_dims(weight: Ints, layout: Layout) -> Ints:
    """Return the spatial dimensions of the weight of a convolution."""
    return weight[2:] if layout is Layout.NCHW else weight[1:-1]


def _check_bias(inputs: OperandTypes, channels: int) -> None:
    bias = optional(inputs, 2)
    if bias is not None:
        _expect_shape("the bias", bias.shape, (channels,))


def conv(op: ops.Conv, inputs: OperandTypes) -> ResultTypes:
    """Infer the result of a convolution."""
    x, weight = operand(inputs, 0), operand(inputs, 1, "weight")
    batch, channels, spatial = split_dims(x, op.layout)
    kernel = kernel_dims(weight.shape, op.layout)
    outputs = weight.shape[0]
    if channels % op.groups or outputs % op.groups:
        raise ValueError(
            f"{channels} -> {outputs} channels cannot be divided into {op.groups} groups"
        )
    wanted = join_dims(outputs, channels // op.groups, kernel, op.layout)
    _expect_shape("the weight", weight.shape, wanted)
    _check_bias(inputs, outputs)
    sizes = window_sizes(spatial, kernel, op.strides, op.pads, op.dilations)
    return (replace(x, shape=join_dims(batch, outputs, sizes, op.layout)),)


def depthwise_conv(op: ops.DepthwiseConv, inputs: OperandTypes) -> ResultTypes:
    """Infer the result of a depthwise convolution."""
    x, weight = operand(inputs, 0), operand(inputs, 1, "weight")
    batch, channels, spatial = split_dims(x, op.layout)
    kernel = kernel_dims(weight.shape, op.layout)
    outputs = channels * op.multiplier
    nchw = op.layout is Layout.NCHW
    wanted = (outputs, 1, *kernel) if nchw else (1, *kernel, outputs)
    _expect_shape("the weight", weight.shape, wanted)
    _check_bias(inputs, outputs)
    sizes = window_sizes(spatial, kernel, op.strides, op.pads, op.dilations)
    return (replace(x, shape=join_dims(batch, outputs, sizes, op.layout)),)


def conv_transpose(op: ops.ConvTranspose, inputs: OperandTypes) -> ResultTypes:
    """Infer the result of a transposed convolution."""
    x, weight = operand(inputs, 0), operand(inputs, 1, "weight")
    batch, channels, spatial = split_dims(x, op.layout)
    kernel = kernel_dims(weight.shape, op.layout)
    if op.layout is Layout.NCHW:
        outputs = weight.shape[1] * op.groups
        wanted: Ints = (channels, weight.shape[1], *kernel)
    else:
        outputs = weight.shape[0]
        wanted = (outputs, *kernel, channels)
    _expect_shape("the weight", weight.shape, wanted)
    _check_bias(inputs, outputs)
    sizes = _transposed_sizes(op, spatial, kernel)
    return (replace(x, shape=join_dims(batch, outputs, sizes, op.layout)),)


def _transposed_sizes(op: ops.ConvTranspose, spatial: Ints, kernel: Ints) -> Ints:
    rank = len(spatial)
    for name in ("strides", "dilations", "output_padding"):
        _expect_rank(name, getattr(op, name), rank)
    _expect_rank("pads", op.pads, 2 * rank)
    return _positive(
        tuple(
            op.strides[i] * (spatial[i] - 1)
            + op.output_padding[i]
            + op.dilations[i] * (kernel[i] - 1)
            + 1
            - op.pads[i]
            - op.pads[rank + i]
            for i in range(rank)
        )
    )


def pool(op: Pool, inputs: OperandTypes) -> ResultTypes:
    """Infer the result of a pooling."""
    x = operand(inputs, 0)
    batch, channels, spatial = split_dims(x, op.layout)
    ones = (1,) * len(spatial)
    sizes = window_sizes(spatial, op.kernel, op.strides, op.pads, ones)
    return (replace(x, shape=join_dims(batch, channels, sizes, op.layout)),)


def resize(op: ops.Resize, inputs: OperandTypes) -> ResultTypes:
    """Infer the result of a resampling."""
    x = operand(inputs, 0)
    batch, channels, spatial = split_dims(x, op.layout)
    _expect_rank("sizes", op.sizes, len(spatial))
    return (replace(x, shape=join_dims(batch, channels, _positive(op.sizes), op.layout)),)


def depth_to_space(op: ops.DepthToSpace, inputs: OperandTypes) -> ResultTypes:
    """Infer the result of moving channels to space."""
    x = operand(inputs, 0)
    batch, channels, spatial = split_dims(x, op.layout)
    area = op.block ** len(spatial)
    if channels % area:
        raise ValueError(f"{channels} channels cannot be divided into blocks of {area}")
    sizes = tuple(size * op.block for size in spatial)
    return (replace(x, shape=join_dims(batch, channels // area, sizes, op.layout)),)


def space_to_depth(op: ops.SpaceToDepth, inputs: OperandTypes) -> ResultTypes:
    """Infer the result of moving space to channels."""
    x = operand(inputs, 0)
    batch, channels, spatial = split_dims(x, op.layout)
    if any(size % op.block for size in spatial):
        raise ValueError(f"the spatial shape {spatial} cannot be divided into blocks of {op.block}")
    sizes = tuple(size // op.block for size in spatial)
    area = op.block ** len(spatial)
    return (replace(x, shape=join_dims(batch, channels * area, sizes, op.layout)),)


def instance_norm(op: ops.InstanceNorm, inputs: OperandTypes) -> ResultTypes:
    """Infer the result of an instance normalization."""
    x = operand(inputs, 0)
    _, channels, _ = split_dims(x, op.layout)
    for index, what in ((1, "the scale"), (2, "the bias")):
        _expect_shape(what, operand(inputs, index).shape, (channels,))
    return (x,)
