"""Reads back from OpenVINO what it made of every node of an artifact."""

from __future__ import annotations

import re
from collections.abc import Mapping

from qhal.plugin.backend import Artifact, PlacedNode, Placement
from qhal_backends.openvino.runner import compile_model, runtime_name

_HELPER = re.compile(r"(_original|/Dequantization\w*|/WithoutBiases|__bias)$")
"""What the frontend, this backend and the low-precision transformations append to the name of a
node for the parts of it."""

_NO_KERNEL = frozenset({"Input", "Output", "Const", "Parameter", "Result"})

_PRODUCTS = frozenset({"Convolution", "Deconvolution", "FullyConnected", "MatMul", "RNNSeq"})
"""Kernels that multiply. A node of which they compute a part is theirs, wherever its other parts
went: scales and bias of a fully-connected layer may be in the kernel behind it."""

_GENERATED = "Subgraph"
"""Code that OpenVINO generates for a run of nodes, products included. The one type that it states
is that of what it reads first; nobody can tell in which types it computes."""

_TYPES = {
    **{
        f"{sign}{bits}": f"{name}{bits}"
        for sign, name in (("i", "int"), ("u", "uint"))
        for bits in (4, 8, 16, 32, 64)
    },
    **{"f16": "float16", "f32": "float32", "f64": "float64", "bf16": "bfloat16"},
    "boolean": "bool",
}
"""OpenVINO's name of an element type -> qhal's."""


def read_placement(artifact: Artifact, device: str) -> Placement:
    """The kernels that OpenVINO executes, in order.

    A kernel computes several nodes: each of them is listed with it. ``executed_dtype`` is the
    element type in which the kernel reads its activations; empty for generated code.
    """
    graph = compile_model(artifact, device, 1).get_runtime_model()
    found: dict[str, PlacedNode] = {}
    for layer in graph.get_ordered_ops():
        info = {key: str(value.astype(str)) for key, value in layer.get_rt_info().items()}
        if info.get("layerType", "Const") not in _NO_KERNEL:
            _add(found, info)
    return Placement(tuple(found.values()), f"executed graph of {runtime_name()} on {device}")


def _add(found: dict[str, PlacedNode], info: Mapping[str, str]) -> None:
    """Enter the nodes of one layer, but those that have a better one already."""
    kind = info["layerType"]
    precision = "" if kind == _GENERATED else info.get("runtimePrecision", "")
    kernel = f"{kind} {info.get('primitiveType', '')}".strip()
    for original in info.get("originalLayersNames", "").split(","):
        name = _HELPER.sub("", original)
        if name and (name not in found or kind in _PRODUCTS):
            found[name] = PlacedNode(name, kernel, "", _TYPES.get(precision, precision))
