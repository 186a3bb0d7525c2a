"""Static types for the graph inputs: every free dimension gets a size, or the user is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from qhal.decisions import Code, Decision
from qhal.errors import ModelInvalidError, ModelShapeError
from qhal.ir.dtypes import DType
from qhal.ir.graph import Shapes, TensorType
from qhal.words import as_option

Dim = int | str
"""A size, or the name of a free dimension."""


@dataclass(frozen=True)
class BoundInputs:
    """The inputs with static types.

    Attributes:
        types: input -> type, in the model's order.
        sizes: name of a free dimension -> the size that it was given.
        decisions: what was bound.
    """

    types: Mapping[str, TensorType]
    sizes: Mapping[str, int]
    decisions: tuple[Decision, ...]


@dataclass
class _Binder:
    """What is known of free dimensions so far."""

    sizes: dict[str, int] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)

    def size(self, dim: Dim) -> int | None:
        """Return the size of a dimension; None while it is free."""
        return dim if isinstance(dim, int) else self.sizes.get(dim)

    def bind_shape(self, name: str, dims: Sequence[Dim], shape: Sequence[int]) -> None:
        """Bind the dimensions of an input to the sizes that the user gave."""
        if len(shape) != len(dims) or any(size < 1 for size in shape):
            raise ModelShapeError(
                f"--shape {name}={_join(shape)} does not fit: input {name!r} is {_text(dims)}.",
                f"Give {len(dims)} positive sizes.",
            )
        for axis, (dim, size) in enumerate(zip(dims, shape, strict=True)):
            known = self.size(dim)
            if known not in (None, size):
                raise ModelShapeError(
                    f"Axis {axis} of input {name!r} ({_text(dims)}) is {known}, not {size}.",
                    "Give sizes that fit the model and each other.",
                )
            if isinstance(dim, str):
                self.sizes[dim] = size
        if any(isinstance(dim, str) for dim in dims):
            sentence = f"The shape of input {name!r} ({_text(dims)}) was set to {_join(shape)}."
            self.decisions.append(Decision(Code.SHAPE_BOUND, sentence, name))

    def bind_batch(self, name: str, dims: Sequence[Dim]) -> None:
        """Bind a free leading dimension to 1."""
        if dims and isinstance(dims[0], str) and dims[0] not in self.sizes:
            self.sizes[dims[0]] = 1
            sentence = f"The free leading dimension of input {name!r} ({_text(dims)}) was set to 1."
            self.decisions.append(Decision(Code.BATCH_BOUND, sentence, name))

    def resolve(self, name: str, dims: Sequence[Dim]) -> tuple[int, ...]:
        """Return the static shape of an input."""
        shape = [self.size(dim) for dim in dims]
        free = [axis for axis, size in enumerate(shape) if size is None]
        if free:
            example = _join(
                [dims[axis] if size is None else size for axis, size in enumerate(shape)]
            )
            raise ModelShapeError(
                f"Input {name!r} ({_text(dims)}) has free dimensions: "
                f"{', '.join(f'axis {axis} ({_text([dims[axis]])})' for axis in free)}.",
                f"Set them with {_option(name, example)} (replace names with numbers).",
            )
        return tuple(size for size in shape if size is not None)


def bind_inputs(inputs: Sequence[ir.Value], shapes: Shapes) -> BoundInputs:
    """Give every dimension of every input a size.

    Args:
        inputs: the graph inputs that are not initialized.
        shapes: what the user wants, by input name.

    Raises:
        ModelShapeError: a name, rank or size does not fit, or a dimension stays free.
        ModelInvalidError: an input is not a tensor of numbers.
    """
    dims = {str(value.name): _dims(value, shapes) for value in inputs}
    for name in shapes.keys() - dims.keys():
        raise ModelShapeError(
            f"The model has no input {name!r}.", f"Its inputs are {', '.join(map(repr, dims))}."
        )
    binder = _Binder()
    for name, shape in shapes.items():
        binder.bind_shape(name, dims[name], shape)
    for name, sizes in dims.items():
        binder.bind_batch(name, sizes)
    types = {}
    for value in inputs:
        name = str(value.name)
        types[name] = TensorType(binder.resolve(name, dims[name]), _input_type(value, binder))
    return BoundInputs(types, binder.sizes, tuple(binder.decisions))


def _dims(value: ir.Value, shapes: Shapes) -> tuple[Dim, ...]:
    """Return sizes and names; a dimension without either gets a name of its own."""
    name = str(value.name)
    if not isinstance(value.type, ir.TensorType):
        raise ModelInvalidError(
            f"Input {name!r} is not a tensor.", "qhal takes models whose inputs are tensors."
        )
    if value.shape is None:
        if name not in shapes:
            raise ModelShapeError(
                f"Input {name!r} has no shape.",
                f"Give one with {_option(name, '1,3,224,224')}.",
            )
        return tuple(f"?{axis}@{name}" for axis in range(len(shapes[name])))
    return tuple(
        dim
        if isinstance(dim, int) and dim > 0
        else str(getattr(dim, "value", None) or f"?{axis}@{name}")
        for axis, dim in enumerate(value.shape)
    )


def _option(name: str, shape: str) -> str:
    """Write the option that sets a shape, quoted for a shell."""
    return as_option("--shape", f"{name}={shape}")


def _input_type(value: ir.Value, binder: _Binder) -> DType:
    """Return the element type of an input; record a float type that becomes float32."""
    found = element_type(value.dtype, str(value.name))
    if found.is_float and found is not DType.FLOAT32:
        sentence = f"Input {value.name!r} was converted from {found.value} to float32."
        binder.decisions.append(Decision(Code.FLOAT_CONVERTED, sentence, str(value.name)))
        return DType.FLOAT32
    return found


def element_type(dtype: ir.DataType | None, name: str) -> DType:
    """Translate an ONNX element type to qhal's.

    Raises:
        ModelInvalidError: it is a string, complex or 8-bit float type.
    """
    spelled = (dtype or ir.DataType.UNDEFINED).name.lower()
    known = {"float": "float32", "double": "float64"}.get(spelled, spelled)
    try:
        return DType(known)
    except ValueError:
        raise ModelInvalidError(
            f"Tensor {name!r} has the type {spelled}, which no target supports.",
            "Remove that part of the model.",
        ) from None


def _text(dims: Sequence[Dim]) -> str:
    return "x".join(str(dim).partition("@")[0] for dim in dims)


def _join(shape: Sequence[Dim]) -> str:
    return ",".join(str(dim).partition("@")[0] for dim in shape)
