"""Fourier transforms as products with constant matrices."""

from __future__ import annotations

from math import pi, prod

import numpy as np

from qhal.ir import ops
from qhal.ir.graph import Array
from qhal.legal.forms.draft import Draft
from qhal.legal.forms.functions import Results
from qhal.legal.forms.opaque.node import Attributes, fits, reshaped, sliced

_LONGEST = 4096
"""Elements of a signal up to which its transform is a product."""


def _matrix(count: int, kept: int, wanted: int, parts: int, sign: int) -> Array:
    """Return what maps real or complex samples (kept*parts) to complex ones (wanted*2)."""
    angle = sign * 2 * pi * np.outer(np.arange(wanted), np.arange(kept)) / count
    real, imaginary = np.cos(angle), np.sin(angle)
    by_part = [[real, imaginary], [-imaginary, real]][:parts]
    whole = np.stack([np.stack(part, 1) for part in by_part], -1)
    return np.asarray(whole.reshape(wanted * 2, kept * parts))


def dft(d: Draft) -> Results:
    """Multiply by the matrix of the transform, real and imaginary parts side by side."""
    attributes, x = Attributes(d), d.input(0)
    shape, result = d.shape(x), d.shape(d.node.outputs[0])
    lengths, axes = d.scalar_input(1), d.scalar_input(2)
    if (d.input(1) and lengths is None) or (d.input(2) and axes is None):
        return None
    rank = len(shape)
    stated = attributes.integer("axis", 1) if attributes.has("axis") or _is_old(d) else -2
    axis = (stated if axes is None else int(axes)) % rank
    count = shape[axis] if lengths is None else int(lengths)
    inverse = attributes.integer("inverse")
    if max(count, shape[axis]) > _LONGEST or (inverse and attributes.integer("onesided")):
        return None
    kept = min(count, shape[axis])
    if not fits(result[axis] * 2, kept * shape[-1]):
        return None
    matrix = _matrix(count, kept, result[axis], shape[-1], 1 if inverse else -1)
    if inverse:
        matrix = np.divide(matrix, count)
    if kept < shape[axis]:
        x = sliced(d, "kept", x, axis, 0, kept)
    perm = (*(i for i in range(rank - 1) if i != axis), axis, rank - 1)
    moved = x if perm == tuple(range(rank)) else d("moved", ops.Transpose(perm), x)
    outer = tuple(shape[i] for i in perm[:-2])
    rows = d("rows", ops.Reshape((prod(outer), kept * shape[-1])), moved)
    product = d("product", ops.FullyConnected(), rows, d.constant("matrix", matrix))
    opened = d("opened", ops.Reshape((*outer, result[axis], 2)), product)
    back = tuple(int(i) for i in np.argsort(perm))
    return (
        opened if back == perm == tuple(range(rank)) else d("back", ops.Transpose(back), opened),
    )


def _is_old(d: Draft) -> bool:
    assert isinstance(d.node.op, ops.Opaque)
    return d.node.op.opset < 20


def stft(d: Draft) -> Results:
    """Convolve a real signal with the rows of the matrix, each times the window."""
    step, window = d.scalar_input(1), d.constant_input(2)
    stated = d.scalar_input(3)
    batch, length = d.shape(d.input(0))[:2]
    if step is None or prod(d.shape(d.input(0))) != batch * length:
        return None
    if (d.input(2) and window is None) or (d.input(3) and stated is None):
        return None
    if stated is not None:
        size = int(stated)
    elif window is not None:
        size = len(window)
    else:
        return None
    _, frames, bins, _ = d.shape(d.node.outputs[0])
    if size > _LONGEST or not fits(bins * 2, size) or (window is not None and len(window) != size):
        return None
    matrix = _matrix(size, size, bins, 1, -1)
    if window is not None:
        matrix = np.multiply(matrix, window)
    signal = reshaped(d, "signal", d.input(0), (batch, 1, 1, length))
    kernel = d.constant("kernel", matrix.reshape(bins * 2, 1, 1, size))
    conv = ops.Conv((1, int(step)), (0, 0, 0, 0), (1, 1))
    made = d("frames", conv, signal, kernel)
    opened = d("opened", ops.Reshape((batch, bins * 2, frames)), made)
    turned = d("turned", ops.Transpose((0, 2, 1)), opened)
    return (d("complex", ops.Reshape((batch, frames, bins, 2)), turned),)
