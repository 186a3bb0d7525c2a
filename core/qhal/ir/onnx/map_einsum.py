"""Einsum as transposes, reshapes and matrix products of two operands after the other."""

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
    whole = [
        _diagonal(call, _Term(call.tensor(i), letters, sizes)) for i, letters in enumerate(operands)
    ]
    everywhere = "".join([term.letters for term in whole]) + output
    terms = [_summed(call, term, everywhere) for term in whole]
    if len(terms) > 1 and call.constant(0) is not None:
        terms[:2] = terms[1::-1]
    made, moves = terms[0], list[Op]()
    for i, term in enumerate(terms[1:], 2):
        before = _Term(_moved(call, made.name, moves), made.letters, sizes)
        later = "".join(other.letters for other in terms[i:])
        made = _product(call, before, term, later + output)
        moves = [ops.Reshape(made.shape(made.letters))]
    return _finish(call, made.name, [*moves, _transpose(made.letters, output)])


def _equation(call: ImportCall) -> tuple[list[str], str]:
    """Split the equation into the letters of each operand and of the result."""
    equation = call.text("equation", "").replace(" ", "")
    left, arrow, output = equation.partition("->")
    operands = left.split(",")
    if "..." in equation:
        operands, output, arrow = _spelled_out(call, operands, output, arrow)
        left = ",".join(operands)
    if not arrow:
        output = "".join(sorted(c for c in set(left) - {","} if left.count(c) == 1))
    if len(set(output)) != len(output):
        raise Unsupported(f"its equation {equation!r} fills a diagonal")
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


def _diagonal(call: ImportCall, term: _Term) -> _Term:
    """Take the elements where two dimensions of one letter have the same index.

    They are evenly spaced where the two dimensions are one.
    """
    letters = term.letters
    twice = next((c for c in letters if letters.count(c) > 1), None)
    if twice is None:
        return term
    a, b = [i for i, c in enumerate(letters) if c == twice][:2]
    others = [i for i in range(len(letters)) if i not in (a, b)]
    size, rest = term.sizes[twice], term.shape([letters[i] for i in others])
    flat: list[Op] = [ops.Transpose((a, b, *others)), ops.Reshape((size * size, *rest))]
    cut = ops.Slice((0,) * (1 + len(rest)), (size, *rest), (size + 1, *(1,) * len(rest)))
    name = call.inner(cut, _moved(call, term.name, flat))
    left = twice + "".join(letters[i] for i in others)
    return _diagonal(call, _Term(name, left, term.sizes))


def _summed(call: ImportCall, term: _Term, everywhere: str) -> _Term:
    """Sum the operand over the dimensions that nothing else mentions."""
    alone = [i for i, letter in enumerate(term.letters) if everywhere.count(letter) == 1]
    if not alone:
        return term
    name = call.inner(ops.Reduce("Sum", tuple(alone), keepdims=False), term.name)
    letters = "".join(c for i, c in enumerate(term.letters) if i not in alone)
    return _Term(name, letters, term.sizes)


def _product(call: ImportCall, a: _Term, b: _Term, kept: str) -> _Term:
    """Multiply two operands, and sum over what nothing later mentions; to be reshaped."""
    shared = [c for c in a.letters if c in b.letters]
    batch = [c for c in shared if c in kept]
    inner = [c for c in shared if c not in kept]
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
    return _Term(product, "".join([*batch, *left, *right]), a.sizes)


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
