"""Reads back from OpenVINO what it made of every node of an artifact."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from qhal.plugin.backend import Artifact, PlacedNode, Placement
from qhal_backends.openvino.runner import compile_model, runtime_name

_RENAMED = re.compile(r"(_original|/Dequantization\w*|/WithoutBiases|__bias)$")
"""What the frontend, this backend and the low-precision transformations append to names."""

_NO_KERNEL = frozenset({"Input", "Output", "Const", "Parameter", "Result"})

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
    element type in which the kernel reads its activations.
    """
    graph = compile_model(artifact, device, 1).get_runtime_model()
    placed = tuple(node for layer in graph.get_ordered_ops() for node in _nodes(layer))
    return Placement(placed, f"executed graph of {runtime_name()} on {device}")


def _nodes(layer: Any) -> Iterator[PlacedNode]:
    info = {key: str(value.astype(str)) for key, value in _info(layer).items()}
    if info.get("layerType", "Const") in _NO_KERNEL:
        return
    kernel = f"{info['layerType']} {info.get('primitiveType', '')}".strip()
    precision = info.get("runtimePrecision", "")
    names = (_RENAMED.sub("", name) for name in info.get("originalLayersNames", "").split(","))
    for name in dict.fromkeys(filter(None, names)):
        yield PlacedNode(name, kernel, "", _TYPES.get(precision, precision))


def _info(layer: Any) -> dict[str, Any]:
    return dict(layer.get_rt_info().items())
