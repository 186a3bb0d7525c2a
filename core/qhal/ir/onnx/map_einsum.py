"""Einsum of one or two operands, as transposes, reshapes and one matrix product."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from string import ascii_letters

import numpy as np

from qhal.ir import ops
from qhal.ir.onnx.call import ImportCall, Mapper, Unsupported
from qhal.ir.ops import Ints, Op


@dataclass(frozen=True)
class _Term:
    """An operand: its tensor and the letter of each dimension."""

    name: str
    letters: str
    sizes: Mapping[str, int]

    def shape(self, letters: Sequence[str]) -> Ints:
        """Return the sizes of some letters."""
        return tuple(self.sizes[letter] for letter in letters)


def einsum(call: ImportCall) -> str:
    """Write products over two operands as MatMul, or as FullyConnected with a constant."""
    operands, output = _equation(call)
    sizes = _sizes(call, operands)
    terms = [
        _summed(call, _Term(call.tensor(i), letters, sizes), "".join(operands) + output, i)
        for i, letters in enumerate(operands)
    ]
    if len(terms) == 1:
        made, letters = terms[0].name, terms[0].letters
        return _finish(call, made, [_transpose(letters, output)])
    if len(terms) > 2:
        raise Unsupported(f"it has {len(terms)} operands")
    if call.constant(0) is not None:
        terms.reverse()
    return _product(call, terms[0], terms[1], output)


def _equation(call: ImportCall) -> tuple[list[str], str]:
    """Split the equation into the letters of each operand and of the result."""
    equation = call.text("equation", "").replace(" ", "")
    left, arrow, output = equation.partition("->")
    operands = left.split(",")
    if "..." in equation:
        operands, output, arrow = _spelled_out(call, operands, output, arrow)
        left = ",".join(operands)
    if any(len(set(letters)) != len(letters) for letters in operands):
        raise Unsupported(f"its equation {equation!r} takes a diagonal")
    if not arrow:
        output = "".join(sorted(c for c in set(left) - {","} if left.count(c) == 1))
    return operands, output


def _spelled_out(
    call: ImportCall, operands: list[str], output: str, arrow: str
) -> tuple[list[str], str, str]:
    """Write letters for each ellipsis; the last ones where operands have fewer dimensions."""
    free = [c for c in ascii_letters if c not in "".join(operands)]
    ranks = [call.rank(i) - len(letters.replace("...", "")) for i, letters in enumerate(operands)]
    covered = [rank for rank, letters in zip(ranks, operands, strict=True) if "..." in letters]
    most = max(covered, default=0)
    if min(covered, default=0) < 0 or most > len(free):
        raise ValueError("its equation does not fit the dimensions of its operands")
    spelled = free[:most]
    named = [
        letters.replace("...", "".join(spelled[most - rank :]) if rank else "")
        for rank, letters in zip(ranks, operands, strict=True)
    ]
    if not arrow:
        whole = ",".join(operands).replace("...", "")
        alone = sorted(c for c in set(whole) - {","} if whole.count(c) == 1)
        return named, "".join([*spelled, *alone]), "->"
    return named, output.replace("...", "".join(spelled)), arrow


def _sizes(call: ImportCall, operands: Sequence[str]) -> Mapping[str, int]:
    sizes: dict[str, int] = {}
    for i, letters in enumerate(operands):
        for letter, size in zip(letters, call.shape(i), strict=True):
            if sizes.setdefault(letter, size) != size:
                raise Unsupported(f"it broadcasts the dimension {letter!r}")
    return sizes


def _summed(call: ImportCall, term: _Term, everywhere: str, index: int) -> _Term:
    """Sum the operand over the dimensions that nothing else mentions."""
    alone = [i for i, letter in enumerate(term.letters) if everywhere.count(letter) == 1]
    if not alone:
        return term
    name = call.inner(ops.Reduce("Sum", tuple(alone), keepdims=False), term.name)
    letters = "".join(c for i, c in enumerate(term.letters) if i not in alone)
    return _Term(name, letters, term.sizes)


def _product(call: ImportCall, a: _Term, b: _Term, output: str) -> str:
    shared = [c for c in a.letters if c in b.letters]
    batch = [c for c in shared if c in output]
    inner = [c for c in shared if c not in output]
    left = [c for c in a.letters if c not in shared]
    right = [c for c in b.letters if c not in shared]
    outer, depth = a.shape(batch), prod(a.shape(inner))
    rows = (*outer, prod(a.shape(left)), depth)
    x = _moved(call, a.name, [_transpose(a.letters, [*batch, *left, *inner]), ops.Reshape(rows)])
    weight = call.scope.builder.value(b.name)
    if weight is not None and not batch:
        order = [b.letters.index(c) for c in (*right, *inner)]
        matrix = np.transpose(weight, order).reshape(-1, depth)
        product = call.inner(ops.FullyConnected(), x, call.scope.share(b.name, matrix))
    else:
        columns = (*outer, depth, prod(b.shape(right)))
        order_b = _transpose(b.letters, [*batch, *inner, *right])
        y = _moved(call, b.name, [order_b, ops.Reshape(columns)])
        product = call.inner(ops.MatMul(), x, y)
    letters = [*batch, *left, *right]
    return _finish(call, product, [ops.Reshape(a.shape(letters)), _transpose(letters, output)])


def _transpose(letters: Sequence[str], wanted: Sequence[str]) -> Op:
    return ops.Transpose(tuple(list(letters).index(c) for c in wanted))


def _needed(call: ImportCall, name: str, moves: Sequence[Op]) -> list[Op]:
    """Return the moves that do something."""
    shape = call.scope.builder.type(name).shape
    kept: list[Op] = []
    for move in moves:
        if isinstance(move, ops.Transpose):
            idle = move.perm == tuple(sorted(move.perm))
            shape = tuple(shape[i] for i in move.perm)
        else:
            assert isinstance(move, ops.Reshape)
            idle, shape = move.shape == shape, move.shape
        kept += [] if idle else [move]
    return kept


def _moved(call: ImportCall, name: str, moves: Sequence[Op]) -> str:
    for move in _needed(call, name, moves):
        name = call.inner(move, name)
    return name


def _finish(call: ImportCall, name: str, moves: Sequence[Op]) -> str:
    """Emit the last moves; the last one that does something gives the node's output."""
    needed = _needed(call, name, moves)
    if not needed:
        return name
    return call.result(needed[-1], _moved(call, name, needed[:-1]))


EINSUM: Mapping[str, Mapper] = {"Einsum": einsum}
