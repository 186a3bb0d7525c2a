"""Read back from OpenVINO what it made of every node of an artifact."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from qhal.plugin.backend import Artifact, PlacedNode, Placement
from qhal.targets.where import Where, WhereBasis
from qhal_backends.openvino.runner import compile_model, runtime_name

if TYPE_CHECKING:
    import openvino

_HELPER = re.compile(r"(_original|/Dequantization\w*|/WithoutBiases|__bias)$")
"""What the frontend, this backend and the low-precision transformations append to the name of a
node for the parts of it."""

_NO_KERNEL = frozenset({"Input", "Output", "Const", "Parameter", "Result"})

_PRODUCTS = frozenset({"Convolution", "Deconvolution", "FullyConnected", "MatMul", "RNNSeq"})
"""Kernels that multiply. They own every node of which they compute a part, wherever its other
parts went: scales and bias of a fully-connected layer may be in the kernel behind it."""

_GENERATED = "Subgraph"
"""Code that OpenVINO generates for a run of nodes, products included. The only type that it states
is that of its first operand, not one in which it computes."""

_DEQUANTIZED = "/DequantizationMultiply"
"""What the low-precision transformations append to the name of a product for the scales that they
move behind it. Where it is present, the operands of the product are the integers themselves."""

_TYPES = {
    **{
        f"{sign}{bits}": f"{name}{bits}"
        for sign, name in (("i", "int"), ("u", "uint"))
        for bits in (4, 8, 16, 32, 64)
    },
    "nf4": "nf4",
    **{"f16": "float16", "f32": "float32", "f64": "float64", "bf16": "bfloat16"},
    "boolean": "bool",
}
"""OpenVINO's name of an element type -> qhal's."""


def read_placement(artifact: Artifact, device: str) -> Placement:
    """List the kernels that OpenVINO executes, in order.

    A kernel computes several nodes: each of them is listed with it. Its ``dtype`` is the
    element type in which the kernel reads its activations. In generated code only products have
    one, and only if their scales stand behind them.
    """
    products = _matrix_products(artifact.files[artifact.main])
    graph = compile_model(artifact, device, 1).get_runtime_model()
    found: dict[str, PlacedNode] = {}
    for layer in graph.get_ordered_ops():
        info = _info(layer)
        if info.get("layerType", "Const") not in _NO_KERNEL:
            generated = products if info["layerType"] == _GENERATED else frozenset()
            _add(found, info, _read_type(layer, info), generated, device)
    source = f"executed graph of {runtime_name()} on {device}"
    return Placement(tuple(found.values()), source)


def _matrix_products(xml: bytes) -> frozenset[str]:
    """Find the matrix products of a stored model, which generated code may contain."""
    layers = ElementTree.fromstring(xml).iter("layer")
    return frozenset(layer.attrib["name"] for layer in layers if layer.get("type") == "MatMul")


def _info(layer: openvino.Node) -> dict[str, str]:
    return {key: str(value.astype(str)) for key, value in layer.get_rt_info().items()}


def _read_type(layer: openvino.Node, info: Mapping[str, str]) -> str:
    """Return OpenVINO's name of the type in which a kernel reads its activations."""
    if info["layerType"] == _GENERATED:
        return ""
    if info["layerType"] not in _PRODUCTS:
        return info.get("runtimePrecision", "")
    # The type that a product states itself is that of its weights, where they stay packed.
    return str(layer.input_value(0).get_element_type().get_type_name())


def _add(
    found: dict[str, PlacedNode],
    info: Mapping[str, str],
    read: str,
    generated: frozenset[str],
    unit: str,
) -> None:
    """Enter the nodes of one layer, except those that have a better entry already.

    Args:
        found: what is entered so far.
        info: what OpenVINO states about the layer.
        read: OpenVINO's name of its type; empty if it states none.
        generated: products that generated code may contain; empty for another layer.
        unit: the device.
    """
    kind, stated = info["layerType"], info.get("runtimePrecision", "")
    kernel = f"{kind} {info.get('primitiveType', '')}".strip()
    if kind in _PRODUCTS and stated != read:
        kernel = f"{kernel} x {_TYPES.get(stated, stated)}"
    originals = info.get("originalLayersNames", "").split(",")
    for original in originals:
        name = _HELPER.sub("", original)
        if name and (name not in found or kind in _PRODUCTS):
            on_integers = name in generated and f"{name}{_DEQUANTIZED}" in originals
            dtype = "int8" if on_integers else _TYPES.get(read, read)
            found[name] = PlacedNode(name, Where(unit, kernel, dtype or None, WhereBasis.READ))
