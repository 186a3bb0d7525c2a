"""Read back from ONNX Runtime what it made of every node of an artifact."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from qhal.plugin.backend import Artifact, PlacedNode, Placement
from qhal.system.scratch import scratch
from qhal.targets.where import Where, WhereBasis
from qhal_backends.cpu.runner import PROVIDERS, runtime_name, session_options

if TYPE_CHECKING:
    import onnx

_RENAMED = re.compile(r"(_token_\d+|_nchwc|_fused.*)$")
"""What ONNX Runtime appends to the name of a node that it moves to another layout or fuses."""

_INTEGER_KERNELS = ("QLinear", "QGemm")
"""Kernels that have operands of other types, such as scales, in front of the integers."""


def read_placement(artifact: Artifact) -> Placement:
    """List the kernels in the graph that ONNX Runtime executes, in order.

    Its ``dtype`` is the element type of the activations that a kernel reads; for
    MatMulNBits it is int8, because it quantizes float activations itself.
    """
    import onnx

    original = onnx.load_model_from_string(artifact.files[artifact.main])
    optimized = _optimized(artifact)
    types = _Types(original, optimized)
    placed = tuple(
        PlacedNode(
            _RENAMED.sub("", node.name),
            Where("", node.op_type, types.executed(node), WhereBasis.READ),
        )
        for node in optimized.graph.node
    )
    return Placement(placed, f"optimized graph of {runtime_name()}")


def _optimized(artifact: Artifact) -> onnx.ModelProto:
    """Let ONNX Runtime write the graph that it executes.

    Raises:
        OSError: there is no room for it.
    """
    import onnx
    import onnxruntime

    content = artifact.files[artifact.main]
    with scratch() as folder:
        path = folder / "optimized.onnx"
        try:
            onnxruntime.InferenceSession(
                content, sess_options=session_options(1, path), providers=list(PROVIDERS)
            )
            return onnx.load(path)
        except Exception:  # of a full disk it says "Protobuf serialization failed", or nothing
            (folder / "again").write_bytes(bytes(2 * len(content)))  # says so itself
            raise


class _Types:
    """Element types of the tensors of an optimized graph, which does not state them.

    Args:
        original: the artifact; tensors that survive keep their names and types.
        optimized: the graph to type.
    """

    def __init__(self, original: onnx.ModelProto, optimized: onnx.ModelProto) -> None:
        self._numbers: dict[str, int] = dict(_declared(original))
        self._numbers.update((t.name, t.data_type) for t in optimized.graph.initializer)
        for node in optimized.graph.node:
            found = self._first(node.input)
            for output in node.output:
                self._numbers.setdefault(output, found)

    def _first(self, names: Iterable[str]) -> int:
        return next((self._numbers[n] for n in names if n in self._numbers), 0)

    def executed(self, node: onnx.NodeProto) -> str | None:
        """Return the type of the activations that a kernel reads; None if it is unknown."""
        from onnx import TensorProto

        if node.op_type == "MatMulNBits":
            return "int8" if _attribute(node, "accuracy_level") == 4 else "float32"
        names: Iterable[str] = node.input or node.output
        if node.op_type.startswith(_INTEGER_KERNELS):
            bytes_ = (TensorProto.UINT8, TensorProto.INT8)
            names = [name for name in names if self._numbers.get(name) in bytes_]
        number = self._first(names)
        name = str(TensorProto.DataType.Name(number)).lower()
        if number == TensorProto.UNDEFINED:
            return None
        return {"float": "float32", "double": "float64"}.get(name, name)


def _declared(model: onnx.ModelProto) -> Iterator[tuple[str, int]]:
    from onnx import shape_inference

    graph = shape_inference.infer_shapes(model).graph
    for value in (*graph.input, *graph.value_info, *graph.output):
        yield value.name, value.type.tensor_type.elem_type


def _attribute(node: onnx.NodeProto, name: str) -> int:
    return next((int(a.i) for a in node.attribute if a.name == name), 0)
