"""Constant operands of nodes that stay as they are: whether they are in range."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from qhal.ir.graph import Array
from qhal.ir.onnx.call import ImportCall, normal_axis


def check_constants(call: ImportCall) -> None:
    """Refuse constant indices, axes and lengths that no run could take.

    Raises:
        ValueError: one is out of range.
    """
    check = _CHECKS.get(call.kind) if call.node.domain == "" else None
    if check is not None:
        check(call)


def _along_an_axis(call: ImportCall) -> None:
    _within(call.constant(1), np.asarray(call.shape()[call.axis()]))


def _in_dimensions(call: ImportCall) -> None:
    batch, depth = call.integer("batch_dims", 0), call.shape(1)[-1]
    _within(call.constant(1), np.asarray(call.shape()[batch : batch + depth]))


def _within(indices: Array | None, sizes: Array) -> None:
    if indices is None:
        return
    outside = np.less(indices, np.negative(sizes)) | np.greater_equal(indices, sizes)
    if outside.any():
        raise ValueError(f"index {indices[outside].flat[0]} is out of range for {sizes.tolist()}")


def _axis_operand(index: int, call: ImportCall) -> None:
    found = call.constant(index)
    if found is not None and found.size:
        normal_axis(int(found.reshape(-1)[0]), call.rank())


def _lengths(call: ImportCall) -> None:
    found, steps = call.constant(1), call.shape()[call.integer("time_axis", 0)]
    if found is not None and (np.less(found, 0) | np.greater(found, steps)).any():
        raise ValueError(f"its lengths {found.reshape(-1).tolist()} do not fit {steps} steps")


def _recurrent_lengths(call: ImportCall) -> None:
    found, steps = call.constant(4), call.shape()[call.integer("layout", 0)]
    if found is not None and (np.less(found, 0) | np.greater(found, steps)).any():
        raise ValueError(f"its lengths {found.reshape(-1).tolist()} do not fit {steps} steps")


_CHECKS: Mapping[str, Callable[[ImportCall], None]] = {
    "GatherElements": _along_an_axis,
    "ScatterElements": _along_an_axis,
    "Scatter": _along_an_axis,
    "GatherND": _in_dimensions,
    "ScatterND": _in_dimensions,
    "CumSum": lambda call: _axis_operand(1, call),
    "DFT": lambda call: _axis_operand(2, call),
    "ReverseSequence": _lengths,
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _recurrent_lengths),
}
