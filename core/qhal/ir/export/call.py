"""One canonical node on its way to ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qhal.ir.dtypes import DType
from qhal.ir.export.writer import OnnxWriter
from qhal.ir.graph import NodeView
from qhal.ir.ops import Activation


@dataclass(frozen=True)
class ExportCall:
    """One node to write.

    Attributes:
        writer: takes the ONNX nodes.
        view: the canonical node; its types say shapes.
        inputs: names of the operands to read, as many as the node has.
        outputs: names of the results to make.
        dtype: element type of the operands; that of the node's first operand if None.
    """

    writer: OnnxWriter
    view: NodeView
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    dtype: DType | None = None

    @property
    def x(self) -> str:
        """The first operand."""
        return self.inputs[0]

    @property
    def y(self) -> str:
        """The first result."""
        return self.outputs[0]

    def write(
        self,
        op_type: str,
        inputs: Sequence[str] | None = None,
        outputs: Sequence[str] | None = None,
        **attributes: Any,
    ) -> None:
        """Append the ONNX node that has the canonical node's name."""
        self.writer.node(
            op_type,
            self.inputs if inputs is None else inputs,
            self.outputs if outputs is None else outputs,
            name=self.view.node.name,
            **attributes,
        )

    def inner(self, op_type: str, inputs: Sequence[str], hint: str, **attributes: Any) -> str:
        """Append a helper node and return its result, which is called ``<result>__<hint>``."""
        name = self.writer.fresh(f"{self.y}__{hint}")
        self.writer.node(op_type, inputs, (name,), **attributes)
        return name

    def scalar(self, value: float) -> str:
        """Add a constant scalar of the operands' type."""
        dtype = self.dtype or self.view.input().dtype
        return self.writer.constant(f"const_{value:g}", np.asarray(value, dtype.numpy))

    def activated(
        self,
        activation: Activation,
        op_type: str,
        inputs: Sequence[str] | None = None,
        **attributes: Any,
    ) -> None:
        """Append the node and, behind it, the activation that is fused into it."""
        if activation is Activation.NONE:
            self.write(op_type, inputs, **attributes)
            return
        before = self.writer.fresh(f"{self.y}__pre")
        self.write(op_type, inputs, (before,), **attributes)
        self.activate(activation, before)

    def activate(self, activation: Activation, before: str) -> None:
        """Append an activation from tensor ``before`` to the result."""
        name = f"{self.view.node.name}__{activation.value}"
        if activation is Activation.RELU:
            self.writer.node("Relu", (before,), (self.y,), name=name)
        else:
            bounds = (self.scalar(0.0), self.scalar(6.0))
            self.writer.node("Clip", (before, *bounds), (self.y,), name=name)
