"""Collects the nodes and initializers of an ONNX model."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from qhal.errors import InternalError
from qhal.ir.dtypes import DType
from qhal.ir.graph import Array, TensorType

if TYPE_CHECKING:
    import onnx

BASE_OPSET = 13
"""The oldest operator set that is written: the first with per-axis QuantizeLinear."""

PRODUCER = "qhal"


class OnnxWriter:
    """A model under construction; nodes in the order of the calls.

    Initializers appear in the file in the order of their first use, and only if a node or an
    output uses them.

    Args:
        opset: version of ai.onnx that the nodes are written in.
        taken: names that fresh tensors must not get.
    """

    def __init__(self, opset: int, taken: Collection[str] = ()) -> None:
        self.opset = opset
        self._taken = set(taken)
        self._nodes: list[onnx.NodeProto] = []
        self._node_names: set[str] = set()
        self._values: dict[str, tuple[Array, DType]] = {}
        self._pool: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._domains: dict[str, int] = {}

    def fresh(self, hint: str) -> str:
        """Return an unused tensor name, ``hint`` itself if it is free."""
        name, count = hint, 1
        while name in self._taken:
            count += 1
            name = f"{hint}_{count}"
        self._taken.add(name)
        return name

    def initializer(self, name: str, value: Array, dtype: DType | None = None) -> None:
        """Set the value of constant ``name``; no copy is made before :meth:`model`."""
        self._values[name] = (value, dtype or DType.of(value))
        self._taken.add(name)

    def constant(self, hint: str, value: Array, dtype: DType | None = None) -> str:
        """Add a small constant with a fresh name; equal ones share one initializer."""
        dtype = dtype or DType.of(value)
        key = (dtype.value, value.shape, value.tobytes())
        if key not in self._pool:
            self._pool[key] = self.fresh(hint)
            self.initializer(self._pool[key], value, dtype)
        return self._pool[key]

    def ints(self, hint: str, values: Sequence[int]) -> str:
        """Add a constant int64 vector."""
        return self.constant(hint, np.asarray(values, np.int64))

    def node(
        self,
        op_type: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        *,
        name: str = "",
        domain: str = "",
        **attributes: Any,
    ) -> None:
        """Append a node; attributes that are None are left out."""
        from onnx import helper

        while inputs and not inputs[-1]:
            inputs = inputs[:-1]
        name = self._unique_node_name(name or outputs[0])
        node = helper.make_node(op_type, inputs, outputs, name=name, domain=domain)
        given = {key: value for key, value in attributes.items() if value is not None}
        node.attribute.extend(_attribute(key, value) for key, value in sorted(given.items()))
        self._nodes.append(node)
        if domain:
            self._domains.setdefault(domain, 1)

    def append(self, proto: onnx.NodeProto, version: int) -> None:
        """Append a finished node that is written in this version of its domain."""
        proto.name = self._unique_node_name(proto.name or proto.output[0])
        self._nodes.append(proto)
        if proto.domain not in ("", "ai.onnx"):
            known = self._domains.get(proto.domain, 1)
            self._domains[proto.domain] = max(known, version)

    def model(
        self, name: str, inputs: Mapping[str, TensorType], outputs: Mapping[str, TensorType]
    ) -> onnx.ModelProto:
        """Return the finished model, in the lowest IR version that its operator sets allow."""
        import onnx
        from onnx import helper

        imports = [helper.make_opsetid("", self.opset)]
        imports += [helper.make_opsetid(d, v) for d, v in sorted(self._domains.items())]
        model = onnx.ModelProto(
            ir_version=helper.find_min_ir_version_for(imports, ignore_unknown=True),
            producer_name=PRODUCER,
            opset_import=imports,
        )
        model.graph.name = name or "graph"
        model.graph.node.extend(self._nodes)
        model.graph.input.extend(value_info(n, t) for n, t in inputs.items())
        model.graph.output.extend(value_info(n, t) for n, t in outputs.items())
        for used in self._used_constants(outputs):
            _fill(model.graph.initializer.add(), used, *self._values[used])
        return model

    def _used_constants(self, outputs: Collection[str]) -> list[str]:
        names = [name for node in self._nodes for name in node.input]
        return [n for n in dict.fromkeys((*names, *outputs)) if n in self._values]

    def _unique_node_name(self, hint: str) -> str:
        name, count = hint, 1
        while name in self._node_names:
            count += 1
            name = f"{hint}_{count}"
        self._node_names.add(name)
        return name


def _attribute(name: str, value: Any) -> onnx.AttributeProto:
    """Make an attribute; an empty list does not show the type of its elements."""
    from onnx import AttributeProto, helper

    empty = isinstance(value, tuple | list) and not value
    return helper.make_attribute(name, value, attr_type=AttributeProto.INTS if empty else None)


def value_info(name: str, type_: TensorType) -> onnx.ValueInfoProto:
    """Declare an input or output."""
    from onnx import helper

    return helper.make_tensor_value_info(name, element_type(type_.dtype), type_.shape)


def element_type(dtype: DType) -> int:
    """Return the number that ``onnx.TensorProto`` has for an element type."""
    from onnx import TensorProto

    names = {DType.FLOAT32: "FLOAT", DType.FLOAT64: "DOUBLE"}
    name = names.get(dtype, dtype.value.upper())
    if name not in TensorProto.DataType.keys():  # noqa: SIM118 - no mapping
        raise InternalError(f"ONNX has no element type {dtype.value}.")
    return int(TensorProto.DataType.Value(name))


def _fill(proto: onnx.TensorProto, name: str, value: Array, dtype: DType) -> None:
    proto.name = name
    proto.data_type = element_type(dtype)
    proto.dims.extend(value.shape)
    if dtype is DType.BFLOAT16:  # held in the upper half of a float32
        value = (value.view(np.uint32) >> np.uint32(16)).astype(np.uint16)
    proto.raw_data = _packed(value, dtype.bits) if dtype.bits < 8 else _little_endian(value)


def _little_endian(value: Array) -> bytes:
    return value.astype(value.dtype.newbyteorder("<"), copy=False).tobytes()


def _packed(value: Array, bits: int) -> bytes:
    """Pack elements of 4 or 2 bits into bytes, the first one in the lowest bits."""
    per_byte = 8 // bits
    codes = value.astype(np.uint8).ravel() & np.uint8((1 << bits) - 1)
    rows = np.pad(codes, (0, -codes.size % per_byte)).reshape(-1, per_byte)
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    packed: Array = np.bitwise_or.reduce(rows << shifts, axis=1)
    return packed.tobytes()
