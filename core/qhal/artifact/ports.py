"""Between the user's arrays and an artifact's: order of dimensions and quantized I/O.

An artifact may want another order of dimensions than the user's model, and integers. Whoever
runs it has to convert; its ports state how, and this is that conversion.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qhal.errors import DataValueError
from qhal.ir.dtypes import DType
from qhal.ir.graph import Array, Arrays
from qhal.plugin.lent import read_only
from qhal.quant.arithmetic import dequantize, quantize
from qhal.quant.model import QuantModel, QuantParams


@dataclass(frozen=True)
class Port:
    """An input or output: the user's model and the artifact side by side.

    Attributes:
        name: in the user's model.
        shape: in the user's model.
        dtype: in the user's model.
        artifact_name: what the artifact's runtime calls it.
        artifact_shape: shape in the artifact.
        artifact_dtype: element type in the artifact.
        permutation: empty, or p with ``artifact = numpy.transpose(model, p)``.
        scale: of an integer input or output: ``real = scale * (q - zero_point)``.
        zero_point: see ``scale``.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    artifact_name: str
    artifact_shape: tuple[int, ...]
    artifact_dtype: str
    permutation: tuple[int, ...] = ()
    scale: float | None = None
    zero_point: int | None = None

    def __post_init__(self) -> None:
        """Refuse ports that cannot be converted.

        Raises:
            ValueError: an element type is unknown, or the shapes do not agree.
        """
        for dtype in (self.dtype, self.artifact_dtype):
            DType(dtype)
        axes = list(range(len(self.shape)))
        order = self.permutation or axes
        if sorted(order) != axes or self.artifact_shape != tuple(self.shape[i] for i in order):
            raise ValueError(
                f"{self.name} has shape {list(self.shape)}, but the artifact has "
                f"{list(self.artifact_shape)} in the order {list(order)}"
            )

    @property
    def params(self) -> QuantParams | None:
        """The parameters of the artifact's integers; None where it has the user's own numbers."""
        if self.scale is None:
            return None
        return QuantParams.per_tensor(DType(self.artifact_dtype), self.scale, self.zero_point or 0)

    def to_artifact(self, array: Array) -> Array:
        """Convert a user's array to the artifact's order of dimensions and element type.

        The result cannot be written to: it may be the user's array itself.
        """
        params = self.params
        if self.permutation:
            array = np.transpose(array, self.permutation)
        if params is not None:
            array = quantize(array, params)
        elif self.dtype != self.artifact_dtype:
            self._check_range(array)
        return read_only(np.asarray(array, DType(self.artifact_dtype).numpy, order="C"))

    def to_user(self, array: Array) -> Array:
        """Convert an artifact's array to the user's order of dimensions, dequantized."""
        params = self.params
        if params is not None:
            array = dequantize(array, params)
        elif self.dtype != self.artifact_dtype:
            array = array.astype(DType(self.dtype).numpy)
        if self.permutation:
            array = np.transpose(array, np.argsort(self.permutation))
        return array

    def _check_range(self, array: Array) -> None:
        """Refuse integers that the artifact's type cannot hold.

        Raises:
            DataValueError: there is one.
        """
        taken = DType(self.artifact_dtype)
        low, high = taken.qmin, taken.qmax
        values = np.asarray(array, DType(self.dtype).numpy).astype(np.int64)
        outside = values[(values < low) | (values > high)]
        if outside.size:
            raise DataValueError(
                f"Input {self.name} holds {outside.flat[0]}, but the artifact takes it as "
                f"{taken.value}, from {low} to {high}.",
                "Use data whose indices fit.",
            )


@dataclass(frozen=True)
class Adapter:
    """Converts a user's inputs to an artifact's, and its outputs back.

    Attributes:
        inputs: in the order of the model.
        outputs: in the order of the model.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    @staticmethod
    def of_model(model: QuantModel) -> Adapter:
        """Make the adapter of a lowered model, which states permutations and parameters."""
        graph = model.graph
        inputs, outputs = (
            tuple(_port(model, name) for name in names) for names in (graph.inputs, graph.outputs)
        )
        return Adapter(inputs, outputs)

    def to_artifact(self, inputs: Arrays) -> dict[str, Array]:
        """Convert the user's arrays to the artifact's order of dimensions and element types."""
        return {port.name: port.to_artifact(inputs[port.name]) for port in self.inputs}

    def to_user(self, outputs: Arrays) -> dict[str, Array]:
        """Convert the artifact's outputs to the user's order of dimensions, dequantized."""
        return {port.name: port.to_user(outputs[port.name]) for port in self.outputs}


def _port(model: QuantModel, name: str) -> Port:
    """Describe one input or output; an integer with parameters is float32 for the user."""
    ours, params = model.graph.tensors[name], model.params.get(name)
    theirs = model.graph.user_types.get(name, ours.dtype)
    permutation = tuple(model.graph.permutations.get(name, ()))
    return Port(
        name,
        tuple(ours.shape[i] for i in np.argsort(permutation)) if permutation else ours.shape,
        theirs.value if params is None else DType.FLOAT32.value,
        name,
        ours.shape,
        ours.dtype.value,
        permutation,
        None if params is None else float(str(params.scale)),
        None if params is None else int(params.zero_point),
    )
