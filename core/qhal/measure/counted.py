"""What can be counted in a lowered model: bytes, operations, bits."""

from __future__ import annotations

from qhal.ir.cost import macs, size_bytes
from qhal.ir.dtypes import DType
from qhal.ir.graph import NodeView, TensorType
from qhal.ir.ops import Role
from qhal.metric import Basis, Metric
from qhal.plugin.backend import Artifact
from qhal.quant.model import QuantModel
from qhal.results.plan import declared_type


def sizes(artifact: Artifact, baseline: Artifact | None, model_bytes: int) -> dict[str, Metric]:
    """Return the file sizes of artifact, float artifact and user's model, and their ratio."""
    found = {"size_artifact": _bytes(artifact.size_bytes), "size_model": _bytes(model_bytes)}
    if baseline is not None and artifact.size_bytes:
        ratio = baseline.size_bytes / artifact.size_bytes
        found["size_float_artifact"] = _bytes(baseline.size_bytes)
        note = "float artifact over quantized artifact"
        found["size_ratio"] = Metric(ratio, "ratio", Basis.COUNTED, note=note)
    return found


def bits(model: QuantModel) -> dict[str, Metric]:
    """Count the bits that are stored and the bits that are computed in, which often differ."""
    found = {}
    elements, stored = _stored_bits(model)
    if elements:
        note = f"{elements:,} weights"
        value = stored / elements
        found["stored_bits_per_weight"] = Metric(value, "bits", Basis.COUNTED, note=note)
    per_type = macs_per_type(model)
    total = sum(per_type.values())
    found["macs"] = Metric(total, "count", Basis.COUNTED, note="multiply-accumulates per inference")
    if total:
        value = sum(kind.bits * count for kind, count in per_type.items()) / total
        note = ", ".join(f"{100 * n / total:.1f} % {k.value}" for k, n in sorted_items(per_type))
        found["compute_bits"] = Metric(
            value, "bits", Basis.COUNTED, note=f"of activations, per multiply-accumulate: {note}"
        )
    return found


def macs_per_type(model: QuantModel) -> dict[DType, int]:
    """Count multiply-accumulates by the element type of their activations."""
    found: dict[DType, int] = {}
    for node in model.graph.nodes:
        count = macs(NodeView(model.graph, node))
        if count:
            kind = declared_type(model, node)
            found[kind] = found.get(kind, 0) + count
    return found


def sorted_items(per_type: dict[DType, int]) -> list[tuple[DType, int]]:
    """Sort by count, the largest first."""
    return sorted(per_type.items(), key=lambda item: (-item[1], item[0].value))


def constant_bytes(model: QuantModel, unit: str | None = None) -> int:
    """Count the bytes of all constants, each once; with ``unit``, of the nodes that run there."""
    names = {
        name
        for node in model.graph.nodes
        if unit is None or model.unit_of(node) == unit
        for name in node.inputs
        if name in model.graph.constants
    }
    return sum(_stored_size(model, name) for name in names)


def planned_weight_bytes(model: QuantModel) -> int:
    """Count the weight bytes of a model without parameters, in the types of its kernel rows.

    Scales, biases and whatever else a file holds come on top.
    """
    bits: dict[str, int] = {}
    for node in model.graph.nodes:
        row = model.kernels.get(node.name)
        for index, name in enumerate(node.inputs):
            if name in model.graph.constants and node.op.role(index) is Role.WEIGHT:
                type = model.graph.tensors[name]
                stored = type.dtype if row is None or row.weight is None else row.weight.dtype
                bits[name] = type.elements * stored.bits
    return sum((count + 7) // 8 for count in bits.values())


def _stored_bits(model: QuantModel) -> tuple[int, int]:
    """Count the elements of all weights, and the bits that they take."""
    names = {
        name
        for node in model.graph.nodes
        for index, name in enumerate(node.inputs)
        if name in model.graph.constants and node.op.role(index) is Role.WEIGHT
    }
    elements = sum(model.graph.tensors[name].elements for name in names)
    return elements, sum(
        model.graph.tensors[n].elements * _stored_type(model, n).bits for n in names
    )


def _stored_type(model: QuantModel, name: str) -> DType:
    """Return the element type in the file; NumPy holds fewer than 8 bits in 8."""
    params = model.params.get(name)
    return model.graph.tensors[name].dtype if params is None else params.dtype


def _stored_size(model: QuantModel, name: str) -> int:
    return size_bytes(TensorType(model.graph.tensors[name].shape, _stored_type(model, name)))


def _bytes(count: int) -> Metric:
    return Metric(count, "bytes", Basis.COUNTED)
