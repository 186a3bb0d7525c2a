"""The scratch buffers that the kernels of TensorFlow Lite Micro ask for.

Source: the ``Prepare`` functions in ``tensorflow/lite/micro/kernels`` and its folder ``cmsis_nn``
(tflite-micro at 90b983c, 20 August 2026). Kernels that are not listed here ask for none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from qhal_backends.arm.cortexm import cmsis_nn
from qhal_backends.arm.cortexm.cmsis_nn import Layer, Window
from qhal_backends.arm.cortexm.cores import Kernels
from qhal_backends.arm.cortexm.graph import FileGraph, FileNode, Tensor

_Sizes = tuple[int, ...]
_PACKED = "int4"


def requests_of(graph: FileGraph, node: FileNode, kernels: Kernels) -> tuple[int, ...]:
    """List the sizes, in the order in which the kernel asks."""
    rule = _ALL.get(node.builtin)
    if rule is None and kernels is Kernels.REFERENCE:
        rule = _REFERENCE.get(node.builtin)
    if rule is None and kernels is not Kernels.REFERENCE:
        rule = _CMSIS_NN.get(node.builtin)
    return () if rule is None else rule(graph, node, kernels)


def _unpacked(graph: FileGraph, node: FileNode, kernels: Kernels) -> _Sizes:
    """Follow ``conv_common.cc`` and ``depthwise_conv_common.cc``: int4 weights become bytes."""
    weight = graph.tensors[node.inputs[1]]
    return (weight.elements,) if weight.dtype == _PACKED else ()


def _convolution(graph: FileGraph, node: FileNode, kernels: Kernels) -> _Sizes:
    """Follow ``cmsis_nn/conv.cc``."""
    image, weight, result = _of_layer(graph, node)
    layer = _layer(node, image, weight, result)
    if weight.dtype == _PACKED:
        return _asked(cmsis_nn.convolution_s4(layer, kernels))
    if image.dtype == "int8":
        return _asked(cmsis_nn.convolution_s8(layer, kernels))
    return _asked(cmsis_nn.convolution_s16(layer, kernels) if image.dtype == "int16" else 0)


def _depthwise(graph: FileGraph, node: FileNode, kernels: Kernels) -> _Sizes:
    """Follow ``cmsis_nn/depthwise_conv.cc``: int16 runs in the reference kernel."""
    image, weight, result = _of_layer(graph, node)
    if image.dtype != "int8":
        return ()
    count = cmsis_nn.depthwise_s4 if weight.dtype == _PACKED else cmsis_nn.depthwise_s8
    return _asked(count(_layer(node, image, weight, result), kernels))


def _average_pool(graph: FileGraph, node: FileNode, kernels: Kernels) -> _Sizes:
    """Follow ``cmsis_nn/pooling.cc``."""
    return _asked(cmsis_nn.average_pool(graph.tensors[node.inputs[0]].shape[-1], kernels))


def _batch_matmul(graph: FileGraph, node: FileNode, kernels: Kernels) -> _Sizes:
    """Follow ``cmsis_nn/batch_matmul.cc``."""
    if graph.tensors[node.inputs[0]].dtype != "int8":
        return ()
    # A shape is read from its end there, so that "c" is the number of columns.
    return _asked(cmsis_nn.product_s8(graph.tensors[node.outputs[0]].shape[-1], kernels))


def _fully_connected(graph: FileGraph, node: FileNode, kernels: Kernels) -> _Sizes:
    """Follow ``cmsis_nn/fully_connected.cc`` as it is without KERNELS_OPTIMIZED_FOR_SPEED."""
    weight, result = graph.tensors[node.inputs[1]], graph.tensors[node.outputs[0]]
    columns = result.shape[-1]
    if graph.tensors[node.inputs[0]].dtype != "int8":
        return ()
    if len(result.shape) <= 2 or weight.shape[-1] % 4:
        return _asked(cmsis_nn.product_s8(columns, kernels))
    as_convolution = Layer(Window(1, 1, 1), Window(1, 1, 1), weight.shape[-1], columns, columns)
    fake = 0 if weight.scales > 1 else 2 * 4 * columns
    return _asked(fake, cmsis_nn.pointwise_s8(as_convolution, kernels))


def _transposed(graph: FileGraph, node: FileNode, kernels: Kernels) -> _Sizes:
    """Follow ``transpose_conv.cc``, of both kinds. They ask for an empty buffer too."""
    result = graph.tensors[node.outputs[0]]
    if result.dtype == "int16":
        return (8 * result.elements,)
    if result.dtype != "int8":
        return ()
    if kernels is Kernels.REFERENCE:
        return (4 * result.elements,)
    weight, image = (graph.tensors[index] for index in node.inputs[1:3])
    return cmsis_nn.transposed_s8(_layer(node, image, weight, result), kernels)


def _sum(graph: FileGraph, node: FileNode, kernels: Kernels) -> _Sizes:
    """Follow ``PrepareMeanOrSumHelper`` in ``reduce_common.cc``."""
    result = graph.tensors[node.outputs[0]]
    sums = (4 * result.elements,) if result.dtype in ("int8", "int16") else ()
    return (*sums, *_extreme(graph, node, kernels))


def _extreme(graph: FileGraph, node: FileNode, kernels: Kernels) -> _Sizes:
    """Follow ``PrepareMinMaxHelper`` in ``reduce_common.cc``."""
    image, axes = (graph.tensors[index] for index in node.inputs[:2])
    return (4 * len(image.shape), 4 * axes.elements)


def _mirror_pad(graph: FileGraph, node: FileNode, kernels: Kernels) -> _Sizes:
    """Follow ``mirror_pad.cc``."""
    return (4 * len(graph.tensors[node.inputs[0]].shape),) * 2


_Rule = Callable[[FileGraph, FileNode, Kernels], _Sizes]

_ALL: Mapping[str, _Rule] = {
    "TRANSPOSE_CONV": _transposed,
    **dict.fromkeys(("MEAN", "SUM"), _sum),
    **dict.fromkeys(("REDUCE_MAX", "REDUCE_MIN"), _extreme),
    "MIRROR_PAD": _mirror_pad,
}
"""Builtin operators whose kernel asks for scratch memory in every build."""

_REFERENCE: Mapping[str, _Rule] = dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D"), _unpacked)
"""Builtin operators whose kernel does so without CMSIS-NN alone."""

_CMSIS_NN: Mapping[str, _Rule] = {
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _depthwise,
    "AVERAGE_POOL_2D": _average_pool,
    "BATCH_MATMUL": _batch_matmul,
    "FULLY_CONNECTED": _fully_connected,
}
"""Builtin operators whose kernel does so with CMSIS-NN alone."""


def _asked(*sizes: int) -> _Sizes:
    """Keep the sizes that are not 0: the other kernels ask for no empty buffer."""
    return tuple(size for size in sizes if size > 0)


def _of_layer(graph: FileGraph, node: FileNode) -> tuple[Tensor, Tensor, Tensor]:
    image, weight = (graph.tensors[index] for index in node.inputs[:2])
    return image, weight, graph.tensors[node.outputs[0]]


def _layer(node: FileNode, image: Tensor, weight: Tensor, result: Tensor) -> Layer:
    options = node.options
    strides = (options.strideH, options.strideW)
    dilations = (getattr(options, "dilationHFactor", 1), getattr(options, "dilationWFactor", 1))
    y, x = (
        _window(
            image.shape[axis],
            result.shape[axis],
            weight.shape[axis],
            strides[axis - 1],
            dilations[axis - 1],
        )
        for axis in (1, 2)
    )
    return Layer(y, x, image.shape[3], result.shape[3], weight.shape[3], image.shape[0])


def _window(size: int, out: int, kernel: int, stride: int, dilation: int) -> Window:
    """Pad as ``ComputePadding`` does (tensorflow/lite/kernels/padding.h); VALID lacks nothing."""
    missing = (out - 1) * stride + (kernel - 1) * dilation + 1 - size
    return Window(size, out, kernel, stride, dilation, max(missing, 0) // 2)
