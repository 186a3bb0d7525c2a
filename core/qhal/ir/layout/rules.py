"""What each operator wants of the order of its operands, and the order of what it makes.

All orders are relative to the canonical NCHW graph. A rule is a pure function from a
:class:`Site` to a :class:`NodeLayout`; :mod:`qhal.ir.layout.laid_out` moves the data that it
asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from math import prod
from typing import Any

from qhal.ir import ops
from qhal.ir.layout.order import Factors, Order, channels_last, identity, reshaped, walk
from qhal.ir.ops import Ints, Layout, Op


@dataclass(frozen=True)
class Operand:
    """An operand as a rule sees it.

    Attributes:
        shape: canonical shape; None if the operand is absent.
        orders: in which orders it exists already, the first one made first; none for a
            constant, which can have any order at no cost.
    """

    shape: Ints | None
    orders: tuple[Order, ...] = ()

    def cost(self, order: Order) -> int:
        """Return the number of elements to move so that the operand has this order."""
        if self.shape is None or not self.orders:
            return 0
        wanted = walk(order, self.shape)
        free = any(walk(have, self.shape) == wanted for have in self.orders)
        return 0 if free else prod(self.shape)


@dataclass(frozen=True)
class Site:
    """A node with what is known when its turn comes.

    Attributes:
        op: the canonical operator.
        operands: in order.
        results: canonical shapes of the results.
        preferred: the order that most consumers of each result prefer, if any.
        absorbed: for each result, the axes whose shuffle all consumers absorb in weights.
    """

    op: Op
    operands: tuple[Operand, ...]
    results: tuple[Ints, ...]
    preferred: tuple[Order | None, ...]
    absorbed: tuple[frozenset[int], ...]

    @property
    def shape(self) -> Ints:
        """Canonical shape of operand 0."""
        shape = self.operands[0].shape
        assert shape is not None, "operand 0 is never absent"
        return shape


@dataclass(frozen=True)
class Want:
    """An operand in some order, after its canonical shape became ``view`` (if not None)."""

    order: Order
    view: Ints | None = None


@dataclass(frozen=True)
class NodeLayout:
    """What is decided for a node.

    Attributes:
        op: the operator for the stored order; None if the result is its operand, relabeled.
        wants: what each operand must be; None for an absent one.
        results: the orders of the results.
    """

    op: Op | None
    wants: tuple[Want | None, ...]
    results: tuple[Order, ...]


Rule = Callable[[Site], NodeLayout]
Adapt = Callable[[Order], Order]


def lay_out(site: Site) -> NodeLayout:
    """Choose the layout of a node by the rule for its operator."""
    rule = rule_of(type(site.op))
    assert rule is not None, f"{site.op.kind} has no layout rule"
    return rule(site)


def rule_of(operator: type[Op]) -> Rule | None:
    """Return the layout rule of an operator; element-wise ones share one."""
    return _RULES.get(operator, _elementwise if operator.traits.elementwise else None)


def crd_shuffle(channels: int, block: int) -> Factors:
    """Return the walk over ``channels = c * block**2`` that turns CRD order of blocks into DCR."""
    area = block * block
    return ((area, 1), (channels // area, area)) if channels > area > 1 else ()


# --- shared by many rules -----------------------------------------------------


def _canonical(site: Site) -> NodeLayout:
    """Put every operand and result in canonical order."""
    wants = tuple(
        None if operand.shape is None else Want(identity(len(operand.shape)))
        for operand in site.operands
    )
    return NodeLayout(site.op, wants, tuple(identity(len(shape)) for shape in site.results))


def _same(order: Order) -> Order:
    return order


def _best(site: Site, adapt: Adapt = _same, result: Adapt = _same) -> Order:
    """Choose the order of least cost for a node whose operands share one with the result.

    Candidates are the orders that operands have, the one that consumers prefer (without shuffles,
    which only weights can make), and the canonical one, in this order of preference where
    costs are equal.
    """
    rank = max(len(o.shape) for o in site.operands if o.shape is not None)
    have = [
        order
        for operand in site.operands
        if operand.shape is not None and len(operand.shape) == rank
        for order in operand.orders
    ]
    preferred = site.preferred[0]
    fitting = [preferred.plain()] if preferred is not None and len(preferred.perm) == rank else []
    candidates = dict.fromkeys(map(adapt, [*have, *fitting, identity(rank)]))
    return min(candidates, key=lambda order: _price(site, order, result(order)))


def _price(site: Site, order: Order, made: Order) -> int:
    """Count the elements moved for the operands, and for consumers that prefer another order."""
    preferred, shape = site.preferred[0], site.results[0]
    later = preferred is not None and walk(preferred, shape) != walk(made, shape)
    now = 0
    for operand in site.operands:
        if operand.shape is not None and operand.orders:
            want = aligned(order, operand.shape)
            now += operand.cost(want.order) if want.view is None else 0
    return now + later * prod(shape)


def aligned(order: Order, shape: Ints) -> Want:
    """Return what an operand of this shape must be to broadcast with operands in ``order``."""
    rank, missing = len(order.perm), len(order.perm) - len(shape)
    if prod(shape) == 1:
        return Want(identity(len(shape)))
    if any(axis >= missing for axis in order.perm[:missing]):
        return Want(_on(order, (1,) * missing + shape), (1,) * missing + shape)
    perm = tuple(axis - missing for axis in order.perm[missing:])
    kept = tuple((axis - missing, f) for axis, f in order.shuffles if axis >= missing)
    return Want(_on(Order(perm, kept), shape)) if missing else Want(_on(order, shape[-rank:]))


def _on(order: Order, shape: Ints) -> Order:
    """Return an order without shuffles of axes that are 1 here and broadcast."""
    return order.plain([axis for axis, _ in order.shuffles if shape[axis] == 1])


def _want_all(site: Site, order: Order) -> tuple[Want | None, ...]:
    return tuple(
        None if operand.shape is None else aligned(order, operand.shape)
        for operand in site.operands
    )


def _axis_last(order: Order, axis: int) -> Order:
    return Order((*(a for a in order.perm if a != axis), axis), order.shuffles)


def _without_axes(order: Order, axes: Sequence[int]) -> Order:
    """Return the order of what is left when axes are removed."""
    kept = [axis for axis in range(len(order.perm)) if axis not in axes]
    renumbered = {axis: i for i, axis in enumerate(kept)}
    perm = tuple(renumbered[axis] for axis in order.perm if axis in renumbered)
    return Order(perm, tuple((renumbered[a], f) for a, f in order.shuffles if a in renumbered))


# --- element-wise -------------------------------------------------------------


def _elementwise(site: Site) -> NodeLayout:
    order = _best(site)
    return NodeLayout(site.op, _want_all(site, order), (order,))


def _expand(site: Site) -> NodeLayout:
    op: Any = site.op
    order = _best(site)
    if len(order.perm) < len(op.shape):
        order = site.preferred[0] or identity(len(op.shape))
    order = order.plain()
    return NodeLayout(ops.Expand(order.pick(op.shape)), _want_all(site, order), (order,))


# --- spatial ------------------------------------------------------------------


def _spatial(site: Site) -> NodeLayout:
    op: Any = site.op
    order = channels_last(len(site.shape))
    wants = [Want(order), *(Want(identity(1)) for _ in site.operands[1:])]
    return NodeLayout(replace(op, layout=Layout.NHWC), tuple(wants), (order,))


def _conv(site: Site) -> NodeLayout:
    """Store weights (O, I, *k) as (O, *k, I); a preferred shuffle of channels goes into them."""
    op: Any = site.op
    order = channels_last(len(site.shape))
    preferred = site.preferred[0]
    shuffle = preferred.shuffle(1) if preferred is not None and op.groups == 1 else ()
    weight = channels_last(len(site.shape)).shuffled(0, shuffle)
    wants = _weighted(site, order, weight, identity(1).shuffled(0, shuffle))
    return NodeLayout(replace(op, layout=Layout.NHWC), wants, (order.shuffled(1, shuffle),))


def _depthwise(site: Site) -> NodeLayout:
    """Store weights (C*m, 1, *k) as (1, *k, C*m)."""
    op: Any = site.op
    rank = len(site.shape)
    order, weight = channels_last(rank), Order((1, *range(2, rank), 0))
    return NodeLayout(
        replace(op, layout=Layout.NHWC), _weighted(site, order, weight, identity(1)), (order,)
    )


def _conv_transpose(site: Site) -> NodeLayout:
    """Store weights (I, O, *k) as (O, *k, I); groups have no channels-last form."""
    op: Any = site.op
    rank = len(site.shape)
    if op.groups != 1:
        return _canonical(site)
    order, weight = channels_last(rank), Order((1, *range(2, rank), 0))
    return NodeLayout(
        replace(op, layout=Layout.NHWC), _weighted(site, order, weight, identity(1)), (order,)
    )


def _weighted(site: Site, x: Order, weight: Order, bias: Order) -> tuple[Want | None, ...]:
    wants = (Want(x), Want(weight), Want(bias))
    return tuple(
        None if operand.shape is None else want
        for operand, want in zip(site.operands, wants, strict=False)
    )


def _depth_to_space(site: Site) -> NodeLayout:
    """Use DCR, which channels-last targets have; CRD is DCR of shuffled channels."""
    op: Any = site.op
    order = channels_last(len(site.shape))
    shuffle = crd_shuffle(site.shape[1], op.block) if op.mode == "CRD" else ()
    new = ops.DepthToSpace(op.block, "DCR", Layout.NHWC)
    return NodeLayout(new, (Want(order.shuffled(1, shuffle)),), (order,))


# --- products -----------------------------------------------------------------


def _fully_connected(site: Site) -> NodeLayout:
    """Sum over the last axis; its shuffle goes into the columns of the weight.

    A shuffle that consumers prefer for the result goes into the rows and the bias.
    """
    last = len(site.shape) - 1
    preferred = site.preferred[0]
    made = preferred.shuffle(last) if preferred is not None else ()

    def result(order: Order) -> Order:
        return order.shuffled(last, made)

    order = _best(site_of_first(site), lambda o: _axis_last(o, last), result)
    weight = Order((0, 1)).shuffled(0, made).shuffled(1, order.shuffle(last))
    wants = _weighted(site, order, weight, identity(1).shuffled(0, made))
    return NodeLayout(site.op, wants, (result(order),))


def site_of_first(site: Site) -> Site:
    """Return the site as if operand 0 were the only one."""
    return replace(site, operands=site.operands[:1])


def _layer_norm(site: Site) -> NodeLayout:
    """Keep the normalized axes last, in their natural order."""
    op: Any = site.op
    inner = range(op.axis, len(site.shape))

    def adapt(order: Order) -> Order:
        perm = (*(a for a in order.perm if a not in inner), *inner)
        return Order(perm, order.shuffles).plain(inner)

    order = _best(site_of_first(site), adapt)
    rest = [None if o.shape is None else Want(identity(len(o.shape))) for o in site.operands[1:]]
    return NodeLayout(op, (Want(order), *rest), (order,))


# --- along axes ---------------------------------------------------------------


def _softmax(site: Site) -> NodeLayout:
    """Put the axis last: channels-last runtimes have no other softmax."""
    op: Any = site.op
    order = _best(site, lambda o: _axis_last(o, op.axis))
    return NodeLayout(replace(op, axis=len(site.shape) - 1), (Want(order),), (order,))


def _reduce(site: Site) -> NodeLayout:
    op: Any = site.op

    def result(order: Order) -> Order:
        return order.plain(op.axes) if op.keepdims else _without_axes(order, op.axes)

    order = _best_projected(site, op.axes, op.keepdims, _same, result)
    axes = tuple(sorted(order.position(axis) for axis in op.axes))
    return NodeLayout(replace(op, axes=axes), (Want(order),), (result(order),))


def _arg_max(site: Site) -> NodeLayout:
    op: Any = site.op

    def result(order: Order) -> Order:
        return order if op.keepdims else _without_axes(order, (op.axis,))

    order = _best_projected(site, (op.axis,), op.keepdims, lambda o: o.plain((op.axis,)), result)
    return NodeLayout(replace(op, axis=order.position(op.axis)), (Want(order),), (result(order),))


def _top_k(site: Site) -> NodeLayout:
    """Put the axis last: channels-last runtimes sort along no other."""
    op: Any = site.op
    order = _best(site, lambda o: _axis_last(o, op.axis).plain((op.axis,)))
    return NodeLayout(replace(op, axis=len(site.shape) - 1), (Want(order),), (order, order))


def _best_projected(site: Site, axes: Ints, keepdims: bool, adapt: Adapt, result: Adapt) -> Order:
    """Call :func:`_best` where the result has fewer axes: its order is none of the operand."""
    if keepdims:
        return _best(site, adapt, result)
    rank = len(site.shape)
    candidates = dict.fromkeys(map(adapt, (*site.operands[0].orders, identity(rank))))
    return min(candidates, key=lambda order: _price(site, order, result(order)))


def _concat(site: Site) -> NodeLayout:
    op: Any = site.op
    order = _best(site, lambda o: o.plain((op.axis,)))
    return NodeLayout(ops.Concat(order.position(op.axis)), _want_all(site, order), (order,))


def _split(site: Site) -> NodeLayout:
    op: Any = site.op
    order = _best(site, lambda o: o.plain((op.axis,)))
    results = (order,) * len(site.results)
    return NodeLayout(replace(op, axis=order.position(op.axis)), (Want(order),), results)


def _changed_axes(before: Ints, after: Ints) -> list[int]:
    return [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]


def _slice(site: Site) -> NodeLayout:
    op: Any = site.op
    cut = _changed_axes(site.shape, op.sizes) + [i for i, s in enumerate(op.steps) if s != 1]
    order = _best(site, lambda o: o.plain(cut))
    new = ops.Slice(order.pick(op.starts), order.pick(op.sizes), order.pick(op.steps))
    return NodeLayout(new, (Want(order),), (order,))


def _pad(site: Site) -> NodeLayout:
    op: Any = site.op
    rank = len(site.shape)
    begins, ends = op.pads[:rank], op.pads[rank:]
    padded = [axis for axis in range(rank) if begins[axis] or ends[axis]]
    order = _best(site, lambda o: o.plain(padded))
    pads = (*order.pick(begins), *order.pick(ends))
    return NodeLayout(replace(op, pads=pads), (Want(order),), (order,))


def _tile(site: Site) -> NodeLayout:
    op: Any = site.op
    tiled = [axis for axis, count in enumerate(op.repeats) if count > 1]
    order = _best(site, lambda o: o.plain(tiled))
    return NodeLayout(ops.Tile(order.pick(op.repeats)), (Want(order),), (order,))


def _gather(site: Site) -> NodeLayout:
    """Put the dimensions of the indices where the gathered one was."""
    op: Any = site.op
    indices = site.operands[1].shape or ()
    have = [order.plain() for order in site.operands[0].orders]
    order = have[0] if have else identity(len(site.shape))
    places = [len(indices) if axis == op.axis else 1 for axis in range(len(site.shape))]
    starts = [0, *accumulate(places)]
    perm = tuple(starts[a] + i for a in order.perm for i in range(places[a]))
    wants = (Want(order), Want(identity(len(indices))))
    return NodeLayout(ops.Gather(order.position(op.axis)), wants, (Order(perm),))


# --- pure data movement -------------------------------------------------------


def _transpose(site: Site) -> NodeLayout:
    """Rename each order that the operand has: a Transpose moves nothing."""
    op: Any = site.op
    have = site.operands[0].orders
    order = have[0] if have else identity(len(site.shape))
    return NodeLayout(None, (Want(order),), (transposed(order, op.perm),))


def transposed(order: Order, perm: Ints) -> Order:
    """Return the order of the result of a Transpose whose stored data are those of its operand."""
    place = {axis: i for i, axis in enumerate(perm)}
    shuffles = tuple(sorted((place[axis], factors) for axis, factors in order.shuffles))
    return Order(tuple(place[axis] for axis in order.perm), shuffles)


def _reshape(site: Site) -> NodeLayout:
    """Keep the memory if the result can be described; else do what consumers prefer."""
    op: Any = site.op
    preferred, target = site.preferred[0], op.shape
    for order in site.operands[0].orders:
        made = reshaped(order, site.shape, target, preferred)
        if made is None or not made.is_tidy:
            continue
        if made == preferred or _is_absorbed(made, site.absorbed[0]):
            return _reshape_to(site, order, made)
    pulled = reshaped(preferred, target, site.shape) if preferred is not None else None
    if preferred is not None and pulled is not None:
        return _reshape_to(site, pulled, preferred)
    return _reshape_to(site, identity(len(site.shape)), identity(len(target)))


def _is_absorbed(order: Order, axes: frozenset[int]) -> bool:
    return all(axis in axes for axis, _ in order.shuffles)


def _reshape_to(site: Site, order: Order, made: Order) -> NodeLayout:
    op: Any = site.op
    shape = made.pick(op.shape)
    same = order.pick(site.shape) == shape
    return NodeLayout(None if same else ops.Reshape(shape), (Want(order),), (made,))


_RULES: Mapping[type[Op], Rule] = {
    **dict.fromkeys((ops.MatMul, ops.Lstm, ops.Gru, ops.Rnn, ops.Opaque), _canonical),
    **dict.fromkeys((ops.MaxPool, ops.AveragePool, ops.Resize), _spatial),
    **dict.fromkeys((ops.SpaceToDepth, ops.InstanceNorm), _spatial),
    **dict.fromkeys((ops.Softmax, ops.LogSoftmax), _softmax),
    ops.Conv: _conv,
    ops.DepthwiseConv: _depthwise,
    ops.ConvTranspose: _conv_transpose,
    ops.DepthToSpace: _depth_to_space,
    ops.FullyConnected: _fully_connected,
    ops.LayerNorm: _layer_norm,
    ops.Reduce: _reduce,
    ops.ArgMax: _arg_max,
    ops.TopK: _top_k,
    ops.Concat: _concat,
    ops.Split: _split,
    ops.Slice: _slice,
    ops.Pad: _pad,
    ops.Tile: _tile,
    ops.Expand: _expand,
    ops.Gather: _gather,
    ops.Transpose: _transpose,
    ops.Reshape: _reshape,
}
