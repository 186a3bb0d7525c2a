"""A TFLite model in memory: what the writer serializes, free of FlatBuffer details."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from qhal.ir.dtypes import DType
from qhal.ir.graph import Array, TensorType
from qhal.quant.model import QuantParams

OptionValue = int | float | bool | DType | tuple[int, ...]


class FlatPadding(IntEnum):
    """``Padding`` of the TFLite schema."""

    SAME = 0
    VALID = 1


class FlatActivation(IntEnum):
    """``ActivationFunctionType`` of the TFLite schema, as far as qhal fuses it."""

    NONE = 0
    RELU = 1
    RELU6 = 3


@dataclass(frozen=True, eq=False)
class FlatTensor:
    """A tensor of the artifact.

    Attributes:
        name: unique; the graph's name where the graph has the tensor.
        type: shape and element type.
        params: quantization parameters, None for a plain tensor.
        value: content of a constant, None for an activation.
    """

    name: str
    type: TensorType
    params: QuantParams | None = None
    value: Array | None = None

    @property
    def per_axis(self) -> bool:
        """True if it has one scale per channel."""
        return self.params is not None and self.params.axis is not None


@dataclass(frozen=True)
class FlatOperator:
    """An operator of the artifact.

    Attributes:
        builtin: name of the builtin operator, such as ``CONV_2D``.
        version: its version.
        inputs: tensor names, "" where an optional one is absent.
        outputs: tensor names.
        options: fields of its options table that differ from the schema's defaults.
        node: name of the graph's node that it comes from.
    """

    builtin: str
    version: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    options: Mapping[str, OptionValue]
    node: str


@dataclass(frozen=True, eq=False)
class FlatModel:
    """A model with one subgraph; tensors are in the order of their first use."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tensors: Mapping[str, FlatTensor]
    operators: tuple[FlatOperator, ...]
