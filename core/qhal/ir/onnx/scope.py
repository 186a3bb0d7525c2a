"""What is known of every ONNX value while a model is read: its constant, or its tensor."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from qhal.errors import ModelInvalidError
from qhal.ir.build import GraphBuilder
from qhal.ir.dtypes import DType
from qhal.ir.graph import Array, TensorType
from qhal.ir.onnx.weights import WeightFiles, as_float32, check_finite

_SAMPLED_ELEMENTS = 64


class Scope:
    """Connects ONNX values with constants and with tensors of the graph that is built.

    Args:
        builder: the graph that is built.
        weights: where initializers are read from.
        opsets: domain -> version of its operators.
        sizes: sizes of named dimensions, for operators whose result shape only the model states.
        reserved: names that tensors of the user's model have; fresh tensors avoid them.

    Attributes:
        unrolled: nodes of the user's that loops have become so far.
    """

    def __init__(
        self,
        builder: GraphBuilder,
        weights: WeightFiles,
        opsets: Mapping[str, int],
        sizes: Mapping[str, int],
        reserved: frozenset[str],
    ) -> None:
        self.builder = builder
        self.weights = weights
        self.opsets = opsets
        self.sizes = sizes
        self.unrolled = 0
        self._reserved = reserved
        self._taken: set[str] = set()
        self._numbers: dict[str, int] = {}
        self._values: dict[ir.Value, Array] = {}
        self._tensors: dict[ir.Value, str] = {}
        self._shared: dict[object, list[str]] = {}

    # --- what is known ----------------------------------------------------------

    def set_constant(self, value: ir.Value, array: Array) -> None:
        """Record that a value is a constant."""
        self._values[value] = as_float32(array)

    def set_tensor(self, value: ir.Value, name: str) -> None:
        """Record which tensor of the graph a value is; a constant stays a constant."""
        constant = self.builder.value(name)
        if constant is not None:
            self._values[value] = constant
        self._tensors[value] = name

    def forget(self, value: ir.Value) -> None:
        """Forget what a value is: the next iteration of a loop makes it anew."""
        self._values.pop(value, None)
        self._tensors.pop(value, None)

    def constant(self, value: ir.Value) -> Array | None:
        """Return the value of a constant; None for what depends on the inputs.

        Raises:
            ModelWeightsError: it holds NaN or Inf.
        """
        if value not in self._values and value.const_value is not None:
            array = as_float32(self.weights.read(value.const_value))
            check_finite(str(value.name), array)
            self._values[value] = array
        return self._values.get(value)

    def known(self, value: ir.Value) -> bool:
        """Return True if the value has been computed (or is a constant)."""
        return value in self._tensors or self.constant(value) is not None

    def tensor(self, value: ir.Value) -> str:
        """Return the tensor of the graph; a constant becomes one when it is first used.

        Raises:
            ModelInvalidError: nothing makes the value.
        """
        if value in self._tensors:
            return self._tensors[value]
        array = self.constant(value)
        if array is None:
            raise ModelInvalidError(f"Tensor {value.name!r} is used, but no node produces it.")
        self._tensors[value] = self.share(str(value.name), array)
        return self._tensors[value]

    def type(self, value: ir.Value) -> TensorType:
        """Return the static type of a value."""
        array = None if value in self._tensors else self.constant(value)
        if array is None:
            return self.builder.type(self.tensor(value))
        return TensorType(tuple(array.shape), DType.of(array))

    # --- what is made -----------------------------------------------------------

    def name_of(self, value: ir.Value) -> str:
        """Return a name for a value's tensor: the user's, unless an inlined body took it before."""
        name = str(value.name)
        if name in self._taken:
            return self.fresh(name)
        self._taken.add(name)
        return name

    def fresh(self, hint: str) -> str:
        """Return a name that neither the graph nor the user's model has."""
        count = self._numbers.get(hint, 0)
        name = f"{hint}_{count}" if count else hint
        while name in self._reserved or name in self._taken or self.builder.fresh(name) != name:
            count += 1
            name = f"{hint}_{count}"
        self._numbers[hint] = count
        self._taken.add(name)
        return name

    def share(self, hint: str, array: Array) -> str:
        """Add a constant to the graph; equal ones are one.

        Raises:
            ModelWeightsError: it holds NaN.
            ModelInvalidError: no tensor of the graph can have its element type.
        """
        array = _storable(hint, np.asarray(as_float32(array)))
        check_finite(hint, array, allow_infinite=True)
        candidates = self._shared.setdefault(_fingerprint(array), [])
        for name in candidates:
            known = self.builder.value(name)
            if known is not None and np.array_equal(known, array):
                return name
        free = hint not in self._taken and self.builder.value(hint) is None
        name = self.builder.constant(hint if free else self.fresh(hint), array)
        self._taken.add(name)
        candidates.append(name)
        return name


def _fingerprint(array: Array) -> object:
    """Return a cheap key that equal arrays share: type, shape and some elements."""
    count = min(array.size, _SAMPLED_ELEMENTS)
    where = np.linspace(0, max(array.size - 1, 0), count, dtype=np.intp)
    return array.dtype.str, array.shape, array.flat[where].tobytes()


def _storable(name: str, array: Array) -> Array:
    """Store integers of 2 and 4 bits in 8; keep other types as they are, if the graph has them."""
    held = {
        **{"int2": np.int8, "int4": np.int8},
        **{"uint2": np.uint8, "uint4": np.uint8},
    }.get(array.dtype.name)
    if held is not None:
        return array.astype(held)
    try:
        DType.of(array)
    except ValueError:
        raise ModelInvalidError(
            f"Tensor {name!r} has the type {array.dtype}, which no target supports."
        ) from None
    return array
