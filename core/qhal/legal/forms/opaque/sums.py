"""Running sums."""

from __future__ import annotations

import numpy as np

from qhal.ir import ops
from qhal.legal.forms.draft import Draft
from qhal.legal.forms.functions import Results
from qhal.legal.forms.opaque.node import Attributes, sliced, times_matrix

_LONGEST_PRODUCT = 512
"""Elements up to which a running sum is a product; the matrix then has a megabyte."""


def cum_sum_by_product(d: Draft) -> Results:
    """Multiply by a triangle of ones."""
    axis = d.scalar_input(1)
    shape = d.shape(d.input(0))
    if axis is None or not d.type(d.input(0)).dtype.is_float:
        return None
    count = shape[int(axis)]
    if count > _LONGEST_PRODUCT:
        return None
    attributes = Attributes(d)
    triangle = np.tri(count, count, -attributes.integer("exclusive"))
    matrix = triangle.T if attributes.integer("reverse") else triangle
    return (times_matrix(d, "sums", d.input(0), int(axis) % len(shape), matrix),)


def cum_sum_by_adding(d: Draft) -> Results:
    """Add the tensor moved by one, the sums of two moved by two, and so on."""
    found = d.scalar_input(1)
    if found is None:
        return None
    attributes, x = Attributes(d), d.input(0)
    axis, back = int(found) % len(d.shape(x)), bool(attributes.integer("reverse"))
    count, reach = d.shape(x)[axis], 1
    if attributes.integer("exclusive"):
        x = _moved(d, x, axis, 1, back)
    while reach < count:
        x = d("sums", ops.Add(), x, _moved(d, x, axis, reach, back))
        reach *= 2
    return None if x == d.input(0) else (x,)


def _moved(d: Draft, x: str, axis: int, by: int, back: bool) -> str:
    """Move elements up (or down) the axis; zeros follow."""
    shape = d.shape(x)
    gap = tuple(by if i == axis else size for i, size in enumerate(shape))
    zeros = d.constant("zeros", np.zeros(gap), d.type(x).dtype)
    if by == shape[axis]:
        return d("moved", ops.Reshape(shape), zeros)
    kept = sliced(d, "kept", x, axis, by if back else 0, shape[axis] - by)
    return d("moved", ops.Concat(axis), *((kept, zeros) if back else (zeros, kept)))
