"""An ONNX node with operands: one operator with one choice of attributes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from qhal.ir.graph import Array

Shape = tuple[int, ...]

DRAWS = 8
"""Samples of the data of a case."""

NEWEST = 23
"""The newest opset that every case is written in."""


@dataclass(frozen=True, eq=False)
class Fed:
    """An operand that is an input of the model, with the one value that it always has."""

    value: Array


Operand = Shape | Array | Fed | None
"""The shape of a float input, a constant, an input of another kind, or nothing."""


@dataclass(frozen=True, eq=False)
class Case:
    """A model of one node.

    Attributes:
        kind: the ONNX operator.
        operands: in order.
        attributes: of the node; a graph is a subgraph.
        since: the first opset in which the node is valid.
        until: the last one.
        results: names of results; empty for one that is not wanted.
        low: the least value of a float input.
        high: the largest value of a float input.
        label: distinguishes cases that differ in nothing printable.
        domain: of the operator.
    """

    kind: str
    operands: tuple[Operand, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    since: int = 13
    until: int = NEWEST
    results: tuple[str, ...] = ("y",)
    low: float = -2.0
    high: float = 2.0
    label: str = ""
    domain: str = ""

    def __str__(self) -> str:
        """Return the operator with its attributes and operands."""
        given = [f"{name}={_text(value)}" for name, value in self.attributes.items()]
        shapes = [_text(operand) for operand in self.operands]
        return " ".join(filter(None, [self.kind, *given, *shapes, self.label]))

    def opsets(self) -> tuple[int, ...]:
        """The opsets in which the operator means something of its own, from old to new."""
        versions = {
            schema.since_version
            for schema in onnx.defs.get_all_schemas_with_history()
            if (schema.name, schema.domain) == (self.kind, self.domain)
        }
        least = max([v for v in versions if v <= self.since], default=self.since)
        found = {max(v, self.since) for v in versions if least <= v <= self.until}
        return tuple(sorted(found or {self.until}))

    def model(self, opset: int | None = None, prefix: str = "") -> onnx.ModelProto:
        """The model; names begin with a prefix."""
        return join({prefix: self}, opset or self.until)

    def data(self) -> dict[str, Array]:
        """Samples of all inputs, the same at every call."""
        rng, drawn = np.random.default_rng(5), dict[str, Array]()
        for index, operand in enumerate(self.operands):
            if isinstance(operand, tuple):
                values = rng.uniform(self.low, self.high, (DRAWS, *operand))
                drawn[f"x{index}"] = values.astype(np.float32)
            elif isinstance(operand, Fed):
                drawn[f"x{index}"] = np.stack([operand.value] * DRAWS)
        return drawn

    def parts(self, prefix: str) -> tuple[onnx.NodeProto, list[Any], list[onnx.TensorProto]]:
        """The node, its inputs and its constants."""
        names, inputs, constants = list[str](), list[Any](), list[onnx.TensorProto]()
        for index, operand in enumerate(self.operands):
            name = "" if operand is None else f"{prefix}x{index}"
            names.append(name)
            if isinstance(operand, np.ndarray):
                constants.append(numpy_helper.from_array(operand, name))
            elif operand is not None:
                inputs.append(_info(name, operand))
        outputs = [f"{prefix}{name}" if name else "" for name in self.results]
        node = helper.make_node(
            self.kind, names, outputs, f"{prefix}node", domain=self.domain, **self.attributes
        )
        return node, inputs, constants


def join(cases: Mapping[str, Case], opset: int) -> onnx.ModelProto:
    """One model of many cases; the names of each begin with its key."""
    parts = [case.parts(prefix) for prefix, case in cases.items()]
    outputs = [name for node, _, _ in parts for name in node.output if name]
    graph = helper.make_graph(
        [node for node, _, _ in parts],
        "cases",
        [value for _, inputs, _ in parts for value in inputs],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [value for _, _, constants in parts for value in constants],
    )
    domains = {case.domain: 1 for case in cases.values() if case.domain}
    imports = [helper.make_opsetid(name, version) for name, version in domains.items()]
    imports.append(helper.make_opsetid("", opset))
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def _info(name: str, operand: Shape | Fed) -> onnx.ValueInfoProto:
    if isinstance(operand, Fed):
        kind = helper.np_dtype_to_tensor_dtype(operand.value.dtype)
        return helper.make_tensor_value_info(name, kind, operand.value.shape)
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, operand)


def _text(value: Any) -> str:
    if isinstance(value, Fed):
        return f"fed{_text(value.value)}"
    if isinstance(value, onnx.GraphProto):
        return "graph"
    if isinstance(value, np.ndarray):
        small = value.size <= 8 and value.dtype.kind in "iub"
        return f"{value.tolist()}" if small else f"const{value.shape}"
    if isinstance(value, (list, tuple)):
        return f"({','.join(map(_text, value))})"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


RNG = np.random.default_rng(17)


def floats(*shape: int) -> Array:
    """Draw float32 numbers between -1 and 1."""
    return RNG.uniform(-1, 1, shape).astype(np.float32)


def i64(*values: int) -> Array:
    """A vector of int64."""
    return np.array(values, np.int64)


def f32(*values: float) -> Array:
    """A vector of float32."""
    return np.array(values, np.float32)


def scalar(value: float | int, kind: type[np.generic] = np.float32) -> Array:
    """A constant of no dimensions."""
    return np.asarray(value, kind)
