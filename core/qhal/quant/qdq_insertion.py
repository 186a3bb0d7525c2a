"""Q/DQ insertion: put conversions between tensors of different types, so that each has one type.

Conversions are Quantize, Dequantize and Requantize nodes.

After this pass a node reads its operands in exactly the type that its kernel row wants, the
graph's outputs have the user's names, and every constant has one form (which
:mod:`qhal.quant.assign` then computes).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from qhal.decisions import Code, Decision
from qhal.ir.dtypes import DType
from qhal.ir.graph import Array, Graph, Node, TensorType
from qhal.ir.ops import (
    Conv,
    ConvTranspose,
    DepthwiseConv,
    Dequantize,
    FullyConnected,
    Op,
    Quantize,
    Requantize,
    Role,
)
from qhal.quant.choice import Choice
from qhal.quant.weight_rows import output_axis, stacked_groups
from qhal.targets.capability import KernelRow
from qhal.targets.spec import FLOAT, Derived, FixedQParams, PerTensor, QuantSpec, SameAsInput


@dataclass(frozen=True)
class ConstantForm:
    """How a constant has to be stored.

    Attributes:
        source: name of the float constant.
        role: activation, weight or bias.
        spec: the stored form.
        node: the node that reads it (for a bias: the node whose scales it is derived from).
    """

    source: str
    role: Role
    spec: QuantSpec | Derived
    node: str


@dataclass(frozen=True, eq=False)
class QdqGraph:
    """A graph in which every activation has its final type.

    Attributes:
        graph: with the inserted conversions; constants still hold their float values.
        specs: quantized activation -> what it may look like.
        observed: quantized activation -> the tensor of the float graph whose values it has.
        forms: constant -> its stored form.
        decisions: one for each inserted conversion.
    """

    graph: Graph
    specs: Mapping[str, QuantSpec | FixedQParams]
    observed: Mapping[str, str]
    forms: Mapping[str, ConstantForm]
    decisions: tuple[Decision, ...]


def insert_qdq(graph: Graph, choices: Mapping[str, Choice], integer_io: bool) -> QdqGraph:
    """Type every tensor and insert Quantize, Dequantize and Requantize where types meet."""
    return _Inserter(graph, choices, integer_io).run()


@dataclass
class _Inserter:
    graph: Graph
    choices: Mapping[str, Choice]
    integer_io: bool
    nodes: list[Node] = field(default_factory=list)
    tensors: dict[str, TensorType] = field(default_factory=dict)
    constants: dict[str, Array] = field(default_factory=dict)
    specs: dict[str, QuantSpec | FixedQParams] = field(default_factory=dict)
    observed: dict[str, str] = field(default_factory=dict)
    forms: dict[str, ConstantForm] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)
    here: dict[str, str] = field(default_factory=dict)
    """Tensor of the given graph -> the tensor that holds it in its producer's type."""
    conversions: dict[tuple[str, DType], str] = field(default_factory=dict)
    placed: dict[tuple[str, ConstantForm | None], str] = field(default_factory=dict)

    def run(self) -> QdqGraph:
        for name in self.graph.inputs:
            self._define(name, name, self._input_spec(name))
        for node in self.graph.nodes:
            self._add(node)
        for name in self.graph.outputs:
            self._finish_output(name)
        graph = self.graph.with_nodes(self.nodes, self.tensors, self.constants)
        specs = {name: spec for name, spec in self.specs.items() if spec.quantized}
        return QdqGraph(graph, specs, self.observed, self.forms, tuple(self.decisions))

    # --- definitions ---

    def _input_spec(self, name: str) -> QuantSpec:
        wanted = [self._row(node).activation for node in self.graph.consumers[name]]
        quantized = [spec for spec in wanted if spec.quantized]
        return quantized[0] if self.integer_io and quantized else FLOAT

    def _row(self, node: Node) -> KernelRow:
        row = self.choices[node.name].row
        assert row is not None, f"{node.name} was refused"
        return row

    def _define(self, source: str, name: str, spec: QuantSpec | FixedQParams) -> None:
        """Enter a tensor; a tensor of indices or booleans keeps its type."""
        kind = self.graph.tensors[source]
        if kind.dtype.is_float:
            self.specs[name] = spec
            self.observed[name] = source
            if spec.quantized:
                kind = replace(kind, dtype=spec.dtype)
        self.tensors[name] = kind
        self.here[source] = name

    def _add(self, node: Node) -> None:
        row = self._row(node)
        inputs = tuple(self._operand(node, row, i) for i in range(len(node.inputs)))
        if _wants_bias(node, row):
            inputs = (*inputs[:2], self._zero_bias(node, row))
        spec = row.activation if isinstance(row.output, SameAsInput) else row.output
        outputs = tuple(self._output_name(name, spec) for name in node.outputs)
        for source, name in zip(node.outputs, outputs, strict=True):
            self._define(source, name, spec)
        self.nodes.append(replace(node, inputs=inputs, outputs=outputs))

    def _output_name(self, name: str, spec: QuantSpec | FixedQParams) -> str:
        """Keep the user's name of an output for the float tensor after the last conversion."""
        is_output = name in self.graph.outputs and self.graph.tensors[name].dtype.is_float
        if is_output and spec.quantized and not self.integer_io:
            return self._fresh(f"{name}__quantized")
        return name

    def _fresh(self, hint: str) -> str:
        name, count = hint, 2
        while name in self.tensors or name in self.graph.tensors:
            name, count = f"{hint}_{count}", count + 1
        return name

    # --- operands ---

    def _operand(self, node: Node, row: KernelRow, index: int) -> str:
        name = node.inputs[index]
        if not name:
            return ""
        if name in self.graph.constants:
            return self._constant(name, _form(name, node, row, index, self.graph))
        role = node.op.role(index)
        if role is not Role.ACTIVATION or not self.graph.tensors[name].dtype.is_float:
            return self.here[name]
        return self._converted(name, self._coarsest(name, _held(row.activation)), node)

    def _coarsest(self, source: str, spec: QuantSpec) -> QuantSpec:
        """Return ``spec``, but with one scale if any reader of the same type wants one scale."""
        wanted = (self._row(reader).activation for reader in self.graph.consumers[source])
        shared = [other for other in wanted if other.dtype is spec.dtype]
        single = any(other.granularity == PerTensor() for other in shared)
        return replace(spec, granularity=PerTensor()) if single else spec

    def _converted(self, source: str, spec: QuantSpec, reader: Node) -> str:
        """Return the tensor that holds ``source`` in the wanted type; convert it at first need."""
        have = self.here[source]
        if self.tensors[have].dtype is spec.dtype:
            return have
        key = (source, spec.dtype)
        if key not in self.conversions:
            self.conversions[key] = self._convert(source, spec, f"{reader.op.kind} {reader.name}")
        return self.conversions[key]

    def _convert(self, source: str, spec: QuantSpec, reader: str, name: str = "") -> str:
        """Append a conversion of ``source`` and return the name of its result."""
        have = self.here[source]
        came_from = self.tensors[have].dtype
        op, suffix = _conversion(came_from, spec)
        name = name or self._fresh(f"{source}__{suffix}")
        self._define(source, name, spec)
        self.here[source] = have
        self.nodes.append(Node(f"{name}/step", op, (have,), (name,)))
        change = f"{came_from.value} to {spec.dtype.value}"
        sentence = f"Inserted {op.kind} of {source} ({change}) for {reader}."
        self.decisions.append(Decision(Code.BOUNDARY, sentence, source))
        return name

    def _constant(self, source: str, form: ConstantForm | None) -> str:
        """Copy a constant once per form and reader; the first copy keeps the name."""
        key = (source, form)
        if key not in self.placed:
            taken = source in self.tensors
            name = self._fresh(f"{source}__{len(self.placed)}") if taken else source
            self.placed[key] = name
            self.tensors[name] = self.graph.tensors[source]
            self.constants[name] = self.graph.constants[source]
            if form is not None:
                self.forms[name] = form
        return self.placed[key]

    def _zero_bias(self, node: Node, row: KernelRow) -> str:
        """Add a bias of zeros, so that bias correction has where to put its result."""
        name = self._fresh(f"{node.name}__bias")
        weight = self.graph.constants[node.inputs[1]]
        count = weight.shape[output_axis(node.op)] * stacked_groups(node.op)
        self.tensors[name] = TensorType((count,))
        self.constants[name] = np.zeros(count, np.float32)
        assert row.bias is not None
        self.forms[name] = ConstantForm(name, Role.BIAS, row.bias, node.name)
        return name

    def _finish_output(self, name: str) -> None:
        if name in self.graph.constants:
            self._constant(name, None)
        elif self.here[name] != name:
            self._convert(name, FLOAT, "the model's output", name)


def _wants_bias(node: Node, row: KernelRow) -> bool:
    """Return True for an integer layer that may have a bias and has none."""
    layer = isinstance(node.op, Conv | DepthwiseConv | ConvTranspose | FullyConnected)
    absent = len(node.inputs) < 3 or not node.inputs[2]
    return layer and absent and isinstance(row.bias, Derived) and row.activation.quantized


def _conversion(have: DType, want: QuantSpec) -> tuple[Op, str]:
    if have.is_float:
        return Quantize(), "quantized"
    if not want.quantized:
        return Dequantize(), "float"
    return Requantize(), want.dtype.value


def _form(name: str, node: Node, row: KernelRow, index: int, graph: Graph) -> ConstantForm | None:
    """Return the form in which a node reads a constant; None if it stays as it is."""
    if not graph.tensors[name].dtype.is_float:
        return None
    role = node.op.role(index)
    specs = {Role.ACTIVATION: _held(row.activation), Role.WEIGHT: row.weight, Role.BIAS: row.bias}
    spec = specs.get(role)
    if spec is None or spec == FLOAT:
        return None
    return ConstantForm(name, role, spec, node.name)


def _held(spec: QuantSpec) -> QuantSpec:
    """Return the form of a tensor that a kernel reads as ``spec``.

    A tensor in float is float32; a kernel that computes in fewer bits rounds as it reads.
    """
    return spec if spec.quantized else FLOAT
