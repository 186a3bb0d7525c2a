"""Refuse outputs that are NaN or Inf where the float model's are finite, and say why."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from qhal.errors import VerificationError
from qhal.ir.dtypes import DType
from qhal.ir.graph import Array, Arrays
from qhal.quant.model import QuantModel

_OVERFLOW = "Values beyond 65504 overflow in fp16: use another recipe."
_ROUNDED = "A value that is rounded to 0 before a logarithm, a root or a quotient gives that."


def check_finite(
    model: QuantModel, expected: Arrays, found: Arrays, begins: Callable[[], str]
) -> None:
    """Check all outputs of one sample.

    Args:
        model: what was lowered.
        expected: the float model's.
        found: the artifact's.
        begins: finds out at which node it begins, as a sentence; "" if nobody knows.

    Raises:
        VerificationError: naming the output.
    """
    for name, reference in expected.items():
        count = _strays(reference, found[name])
        if count:
            hint = _OVERFLOW if _has_halves(model) else _ROUNDED
            raise VerificationError(
                f"{count} of {reference.size} elements of output {name} are NaN or Inf where the "
                "float model's are finite.",
                " ".join(filter(None, (begins(), hint))),
            )


def _strays(reference: Array, found: Array) -> int:
    floats = reference.dtype.kind == found.dtype.kind == "f" and reference.shape == found.shape
    return int(np.count_nonzero(np.isfinite(reference) & ~np.isfinite(found))) if floats else 0


def _has_halves(model: QuantModel) -> bool:
    rows = model.kernels.values()
    return any(row.activation.dtype is DType.FLOAT16 for row in rows) or any(
        tensor.dtype is DType.FLOAT16 for tensor in model.graph.tensors.values()
    )
