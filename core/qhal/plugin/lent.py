"""What a backend is handed to read: arrays that it cannot write to, and what tells if it did.

The oracle reads the very arrays that a backend lowers. Were they edited on the way, an artifact
with wrong weights would be compared with the same wrong weights, and found identical.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TypeVar
from zlib import crc32

import numpy as np

from qhal.ir.graph import Array, Arrays
from qhal.quant.model import QuantModel, QuantParams

T = TypeVar("T")


def read_only(array: Array) -> Array:
    """Return a view of an array that nothing can be assigned to."""
    view = array.view()
    view.flags.writeable = False
    return view


def frozen(values: Mapping[str, T]) -> Mapping[str, T]:
    """Return a copy of a mapping that cannot be changed."""
    return MappingProxyType(dict(values))


def lend(model: QuantModel) -> QuantModel:
    """Return the same model for others to read; no array is copied."""
    graph = model.graph
    constants = {name: read_only(array) for name, array in graph.constants.items()}
    lent = replace(
        graph,
        tensors=frozen(graph.tensors),
        constants=frozen(constants),
        permutations=frozen(graph.permutations),
        user_types=frozen(graph.user_types),
    )
    params = {name: _lend_params(value) for name, value in model.params.items()}
    return replace(model, graph=lent, params=frozen(params), kernels=frozen(model.kernels))


def _lend_params(params: QuantParams) -> QuantParams:
    scale, zero_point = np.asarray(params.scale).view(), np.asarray(params.zero_point).view()
    scale.flags.writeable = zero_point.flags.writeable = False
    return replace(params, scale=scale, zero_point=zero_point)


@dataclass(frozen=True)
class Seal:
    """What arrays were at a moment.

    Attributes:
        sums: what each is called in messages -> a checksum of its content.
    """

    sums: Mapping[str, int]

    @staticmethod
    def of_arrays(arrays: Arrays, what: str = "the input") -> Seal:
        """Take the checksums of arrays.

        Args:
            arrays: name -> array.
            what: such arrays are called in messages.
        """
        return Seal({f"{what} {name}": _checksum(array) for name, array in arrays.items()})

    @staticmethod
    def of_model(model: QuantModel) -> Seal:
        """Take the checksums of a model's constants and quantization parameters."""
        constants = Seal.of_arrays(model.graph.constants, "the constant")
        scales = {name: params.scale for name, params in model.params.items()}
        zeros = {name: params.zero_point for name, params in model.params.items()}
        return Seal(
            {
                **constants.sums,
                **Seal.of_arrays(scales, "the scale of").sums,
                **Seal.of_arrays(zeros, "the zero point of").sums,
            }
        )

    def broken_by(self, now: Seal) -> str:
        """Say which array is another one now; "" if all are the same."""
        changed = [name for name, found in self.sums.items() if now.sums.get(name) != found]
        return changed[0] if changed else ""


def _checksum(array: Array) -> int:
    content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return crc32(content.data)
