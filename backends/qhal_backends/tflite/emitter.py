"""Collect the tensors and operators of the artifact while nodes are lowered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from qhal.decisions import Code, Decision
from qhal.ir.dtypes import DType
from qhal.ir.graph import Array, Node, NodeView, TensorType
from qhal.quant.arithmetic import quantize
from qhal.quant.model import QuantModel, QuantParams
from qhal.quant.scores import AttentionScores
from qhal_backends.tflite.flat import FlatModel, FlatOperator, FlatTensor, OptionValue
from qhal_backends.tflite.versions import Use, lowest_version


@dataclass(frozen=True)
class Flavor:
    """What differs between the runtimes and compilers that read the file.

    Attributes:
        upsample_points_by_tile: write the resizing of an image of one pixel as TILE.
        groups_apart: write a grouped convolution as one convolution per group.
        uneven_parts_by_slices: write a split into uneven parts as one slice for each.
        steps_by_pooling: write a slice with steps in height and width as a pooling of 1x1.
        expand_by_broadcasting: write the repetition of single elements as BROADCAST_TO always.
        for_xnnpack: prefer operators that XNNPACK runs to those whose 8-bit kernels are scalar.
    """

    upsample_points_by_tile: bool = False
    groups_apart: bool = False
    uneven_parts_by_slices: bool = False
    steps_by_pooling: bool = False
    expand_by_broadcasting: bool = False
    for_xnnpack: bool = False


LITERT = Flavor(for_xnnpack=True)


class Emitter:
    """A mutable artifact in the making.

    Args:
        model: what is lowered.
        flavor: for which runtime.
    """

    def __init__(self, model: QuantModel, flavor: Flavor = LITERT) -> None:
        self.model = model
        self.flavor = flavor
        self.decisions: list[Decision] = []
        self._tensors: dict[str, FlatTensor] = {}
        self._operators: list[FlatOperator] = []
        self._shared: dict[tuple[object, ...], str] = {}
        self._node = ""
        for name in model.graph.inputs:
            self.tensor(name)

    def begin(self, node: Node) -> NodeView:
        """Start lowering a node; what is emitted from here on belongs to it."""
        self._node = node.name
        return NodeView(self.model.graph, node)

    def finish(self) -> FlatModel:
        """Return the artifact."""
        graph = self.model.graph
        for name in graph.outputs:
            self.tensor(name)
        operators = tuple(self._operators)
        return FlatModel(graph.name, graph.inputs, graph.outputs, self._tensors, operators)

    # --- tensors ---

    def tensor(self, name: str) -> FlatTensor:
        """Find a tensor of the artifact; a tensor of the graph is entered at its first use."""
        if name not in self._tensors:
            graph = self.model.graph
            params, value = self.model.params.get(name), graph.constants.get(name)
            self._tensors[name] = FlatTensor(name, graph.tensors[name], params, value)
        return self._tensors[name]

    def state(self, name: str, params: QuantParams) -> None:
        """State the parameters of a tensor whose integers stand for themselves."""
        self._tensors[name] = replace(self.tensor(name), params=params)

    def make(self, hint: str, type: TensorType, params: QuantParams | None = None) -> str:
        """Make a new activation."""
        return self._enter(FlatTensor(self._fresh(hint), type, params))

    def like(self, name: str, hint: str, shape: Sequence[int]) -> str:
        """Make an activation of another shape with the type and parameters of ``name``."""
        model = self.tensor(name)
        return self.make(hint, TensorType(tuple(shape), model.type.dtype), model.params)

    def constant(self, hint: str, value: Array, params: QuantParams | None = None) -> str:
        """Make a constant; unquantized ones with equal content are one tensor."""
        kind = TensorType(tuple(value.shape), DType.of(value))
        key = (kind, value.tobytes())
        if params is None and key in self._shared:
            return self._shared[key]
        name = self._enter(FlatTensor(self._fresh(hint), kind, params, value))
        if params is None:
            self._shared[key] = name
        return name

    def part(self, name: str, channels: slice) -> str:
        """Cut some output channels, along axis 0, out of a constant weight or bias."""
        whole = self.tensor(name)
        assert whole.value is not None
        params = whole.params
        if params is not None and params.axis == 0:
            scale, zero_point = params.scale[channels], params.zero_point[channels]
            params = replace(params, scale=scale, zero_point=zero_point)
        hint = f"{name}/{channels.start}-{channels.stop}"
        return self.constant(hint, whole.value[channels], params)

    def scalar(self, hint: str, real: float, like: str) -> str:
        """Make a scalar constant with the element type and the parameters of ``like``."""
        source = self.tensor(like)
        value = np.asarray(real, np.float32)
        stored = value if source.params is None else quantize(value, source.params)
        return self.constant(hint, stored.astype(source.type.dtype.numpy), source.params)

    def integers(self, hint: str, values: Sequence[int] | Sequence[Sequence[int]] | int) -> str:
        """Make an int32 constant: axes, shapes, pads."""
        return self.constant(hint, np.asarray(values, np.int32))

    def floating(self, name: str) -> str:
        """Make an operand of a float kernel: stored half or integer constants get a DEQUANTIZE."""
        tensor = self.tensor(name)
        stored = tensor.type.dtype is DType.FLOAT16 or tensor.params is not None
        if tensor.value is None or not stored:
            return name
        key = ("float", name)
        if key not in self._shared:
            kind = replace(tensor.type, dtype=DType.FLOAT32)
            self._shared[key] = self.make(f"{name}__float", kind)
            self.emit("DEQUANTIZE", [name], [self._shared[key]])
        return self._shared[key]

    def masks_far_below(self, name: str, params: QuantParams) -> bool:
        """Return True if a mask in floats may wrap around when it is quantized.

        LiteRT's QUANTIZE (kernels/internal/reference/quantize.h) makes an int32 of the number of
        steps, and then adds the zero point: what is 2**31 steps or more below zero becomes the
        largest integer where the zero point is negative. XNNPACK's kernel saturates.

        Args:
            name: of the tensor that is quantized.
            params: of the result.
        """
        if self.tensor(name).params is not None or (params.zero_point >= 0).all():
            return False
        return any(self._is_far_below(n, params) for n in self._scores.origins(name))

    @cached_property
    def _scores(self) -> AttentionScores:
        return AttentionScores.of(self.model.graph)

    def _is_far_below(self, name: str, params: QuantParams) -> bool:
        value = self.model.graph.constants.get(name)
        if value is None:
            return self.tensor(name).type.dtype is DType.FLOAT32
        return bool(value.size) and float(value.min()) <= -(2.0**31) * float(params.scale.min())

    def _enter(self, tensor: FlatTensor) -> str:
        self._tensors[tensor.name] = tensor
        return tensor.name

    def _fresh(self, hint: str) -> str:
        name, count = hint, 2
        while name in self._tensors or name in self.model.graph.tensors:
            name, count = f"{hint}_{count}", count + 1
        return name

    # --- operators and decisions ---

    def emit(
        self, builtin: str, inputs: Sequence[str], outputs: Sequence[str], **options: OptionValue
    ) -> None:
        """Append an operator at its lowest version.

        Args:
            builtin: name of the builtin operator.
            inputs: tensor names, "" where an optional one is absent.
            outputs: tensor names.
            options: fields of its options table, by their names in the schema's object API.
        """
        operands = [self.tensor(name) if name else None for name in inputs]
        results = [self.tensor(name) for name in outputs]
        version = lowest_version(builtin, Use(operands, results[0], options))
        made = FlatOperator(builtin, version, tuple(inputs), tuple(outputs), options, self._node)
        self._operators.append(made)

    def decide(self, code: Code, sentence: str) -> None:
        """Record a decision about the node that is being lowered."""
        self.decisions.append(Decision(code, sentence, self._node))
