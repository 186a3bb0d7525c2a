"""Clip, HardSigmoid, HardSwish, SiLU and GELU in the forms that exporters write."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, pi, sqrt

from qhal.ir import ops
from qhal.ir.graph import Node
from qhal.ir.ops import Op
from qhal.ir.recognize.rewrite import Matcher, Replacement, Rules, near

# --- clipping -------------------------------------------------------------------


def _bounds(op: Op) -> tuple[float, float] | None:
    """Return the bounds of an operator that clips."""
    if isinstance(op, ops.Clip):
        return op.low, op.high
    return {ops.Relu: (0.0, inf), ops.Relu6: (0.0, 6.0)}.get(type(op))


def _clip_op(low: float, high: float) -> Op:
    known: dict[tuple[float, float], Op] = {(0.0, inf): ops.Relu(), (0.0, 6.0): ops.Relu6()}
    return known.get((low, high)) or ops.Clip(low, high)


def _bound_by_constant(graph: Matcher, node: Node) -> Replacement | None:
    """Match ``max(x, c)`` or ``min(x, c)``."""
    parts = graph.split_scalar(node)
    if parts is None:
        return None
    x, value = parts
    bounds = (value, inf) if isinstance(node.op, ops.Maximum) else (-inf, value)
    return Replacement(_clip_op(*bounds), (x,), ())


def _clip_twice(graph: Matcher, node: Node) -> Replacement | None:
    before = graph.maker(node.inputs[0])
    outer, inner = _bounds(node.op), _bounds(before.op) if before else None
    if before is None or outer is None or inner is None:
        return None
    low = min(max(inner[0], outer[0]), outer[1])
    high = max(min(inner[1], outer[1]), outer[0])
    return Replacement(_clip_op(low, high), before.inputs, (before,))


# --- products -------------------------------------------------------------------


@dataclass(frozen=True)
class _Product:
    """A tree of multiplications, flattened: ``constant * factor * factor …``."""

    constant: float
    factors: tuple[str, ...]
    covered: tuple[Node, ...]


def _product(graph: Matcher, node: Node) -> _Product:
    """Split a product into factors; an inner product that others read is one factor."""
    constant = 1.0
    factors: list[str] = []
    covered: list[Node] = []
    for name in node.inputs:
        value, inner = graph.scalar(name), graph.maker(name, ops.Mul)
        if value is not None:
            constant *= value
        elif inner is not None and graph.uses(name) == 1:
            below = _product(graph, inner)
            constant *= below.constant
            factors += below.factors
            covered += [inner, *below.covered]
        else:
            factors.append(name)
    return _Product(constant, tuple(factors), tuple(covered))


def _gated(graph: Matcher, node: Node) -> Replacement | None:
    """Match ``c * x * g(x)``: HardSwish, SiLU or GELU, by what ``g`` and ``c`` are."""
    product = _product(graph, node)
    if len(product.factors) != 2:
        return None
    for x, gate in (product.factors, product.factors[::-1]):
        for recognized in (_silu, _hard_swish, _gelu_erf, _gelu_tanh):
            found = recognized(graph, x, gate, product.constant)
            if found is not None:
                op, inside = found
                return Replacement(op, (x,), (*product.covered, *inside))
    return None


_Gate = tuple[Op, tuple[Node, ...]]


def _silu(graph: Matcher, x: str, gate: str, constant: float) -> _Gate | None:
    """Match ``x * sigmoid(x)``."""
    sigmoid = graph.maker(gate, ops.Sigmoid)
    if sigmoid is None or sigmoid.inputs[0] != x or constant != 1.0:
        return None
    return ops.Silu(), (sigmoid,)


def _hard_swish(graph: Matcher, x: str, gate: str, constant: float) -> _Gate | None:
    """Match ``x * clip(x + 3, 0, 6) / 6``, or with a HardSigmoid of slope 1/6."""
    maker = graph.maker(gate)
    if maker is None:
        return None
    if isinstance(maker.op, ops.HardSigmoid):
        usual = near(maker.op.alpha, 1 / 6) and maker.op.beta == 0.5 and constant == 1.0
        return (ops.HardSwish(), (maker,)) if usual and maker.inputs[0] == x else None
    shifted = _sum_with(graph, maker.inputs[0], 3.0) if isinstance(maker.op, ops.Relu6) else None
    if shifted is None or shifted[0] != x or not near(constant, 1 / 6):
        return None
    return ops.HardSwish(), (maker, shifted[1])


def _sum_with(graph: Matcher, name: str, wanted: float) -> tuple[str, Node] | None:
    """Find the other operand of ``t + wanted``, with the node."""
    node = graph.maker(name, ops.Add)
    parts = graph.split_scalar(node) if node else None
    if node is None or parts is None or not near(parts[1], wanted):
        return None
    return parts[0], node


def _scaled(graph: Matcher, name: str, wanted: float) -> tuple[str, tuple[Node, ...]] | None:
    """Find ``t`` of ``t * wanted``, with the nodes."""
    node = graph.maker(name, ops.Mul)
    if node is None:
        return None
    product = _product(graph, node)
    if len(product.factors) != 1 or not near(product.constant, wanted):
        return None
    return product.factors[0], (node, *product.covered)


def _gelu_erf(graph: Matcher, x: str, gate: str, constant: float) -> _Gate | None:
    """Match ``0.5 * x * (1 + erf(x / sqrt(2)))``."""
    one_plus = _sum_with(graph, gate, 1.0) if near(constant, 0.5) else None
    erf = graph.maker(one_plus[0], ops.Unary) if one_plus else None
    if one_plus is None or erf is None or erf.op != ops.Unary("Erf"):
        return None
    inner = _scaled(graph, erf.inputs[0], sqrt(0.5))
    if inner is None or inner[0] != x:
        return None
    return ops.Gelu(), (one_plus[1], erf, *inner[1])


def _gelu_tanh(graph: Matcher, x: str, gate: str, constant: float) -> _Gate | None:
    """Match ``0.5 * x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))``."""
    one_plus = _sum_with(graph, gate, 1.0) if near(constant, 0.5) else None
    tanh = graph.maker(one_plus[0], ops.Tanh) if one_plus else None
    inner = _scaled(graph, tanh.inputs[0], sqrt(2 / pi)) if tanh else None
    if one_plus is None or tanh is None or inner is None:
        return None
    total = graph.maker(inner[0], ops.Add)
    if total is None or x not in total.inputs:
        return None
    cube = total.inputs[1] if total.inputs[0] == x else total.inputs[0]
    root = graph.maker(cube, ops.Mul)
    product = _product(graph, root) if root else None
    if root is None or product is None or product.factors != (x, x, x):
        return None
    if not near(product.constant, 0.044715):
        return None
    return ops.Gelu(True), (one_plus[1], tanh, *inner[1], total, root, *product.covered)


def _hard_sigmoid(graph: Matcher, node: Node) -> Replacement | None:
    """Match ``clip(x + 3, 0, 6) / 6``."""
    parts = graph.split_scalar(node)
    clip = graph.maker(parts[0], ops.Relu6) if parts else None
    shifted = _sum_with(graph, clip.inputs[0], 3.0) if clip else None
    if parts is None or clip is None or shifted is None or not near(parts[1], 1 / 6):
        return None
    return Replacement(ops.HardSigmoid(1 / 6, 0.5), (shifted[0],), (clip, shifted[1]))


ACTIVATION_RULES: Rules = {
    ops.Maximum: (_bound_by_constant,),
    ops.Minimum: (_bound_by_constant,),
    ops.Relu: (_clip_twice,),
    ops.Relu6: (_clip_twice,),
    ops.Clip: (_clip_twice,),
    ops.Mul: (_gated, _hard_sigmoid),
}
