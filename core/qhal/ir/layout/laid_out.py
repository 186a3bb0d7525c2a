"""Rewrite a canonical NCHW graph in the layout of a target, moving as little as possible.

The pass walks once through the graph. For each tensor it keeps the orders in which it is
stored; each operator says what it wants (:mod:`qhal.ir.layout.rules`), and only a want that
no stored order meets costs a Transpose. A Transpose of the model costs nothing by itself:
it relabels the order. Constants are permuted at compile time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from qhal.decisions import Code, Decision
from qhal.errors import InternalError
from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.cost import size_bytes
from qhal.ir.graph import Graph, Node, TensorType
from qhal.ir.layout.moves import collapsed, moves
from qhal.ir.layout.order import Order, axis_elements, identity, reshaped, store, walk
from qhal.ir.layout.preferences import LayoutPreferences, collect_absorbed, collect_preferences
from qhal.ir.layout.rules import NodeLayout, Operand, Site, Want, lay_out
from qhal.ir.ops import Ints, Layout
from qhal.ir.simplify import simplify

T = TypeVar("T")

_WIDEST_TRANSPOSE = 4
"""Dimensions of a Transpose that every runtime takes."""

IndexArray = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class LaidOut:
    """A graph in the layout of a target.

    Attributes:
        graph: tensors keep their names; ``graph.permutations`` says how inputs and outputs
            differ from the user's model.
        decisions: the order of inputs and outputs, and each Transpose that stayed.
        element_order: tensor -> the canonical index of each element of its last stored
            dimension, for tensors in which that dimension is shuffled:
            ``here[..., i] = there[..., element_order[i]]`` (after ``perms``).
        perms: tensor -> ``perm`` with ``here = np.transpose(there, perm)`` against the tensor
            of the same name in the given graph, where they differ.
        sources: activation that the given graph does not have -> the tensor of the given graph
            whose elements it holds.
    """

    graph: Graph
    decisions: tuple[Decision, ...]
    element_order: Mapping[str, IndexArray] = field(default_factory=dict)
    perms: Mapping[str, Ints] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)

    def sources_of(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the tensors of the given graph that hold the elements of these ones, each once."""
        return tuple(dict.fromkeys(self.sources.get(name, name) for name in names))

    def with_sources(self, facts: Mapping[str, T]) -> dict[str, T]:
        """Copy facts about tensors of the given graph to the names that are new here."""
        new = {name: facts[old] for name, old in self.sources.items() if old in facts}
        return {**facts, **new}


def to_layout(graph: Graph, layout: Layout, keep_io: bool = False) -> LaidOut:
    """Rewrite ``graph`` (canonical, NCHW) in ``layout``.

    Args:
        graph: a canonical graph in NCHW.
        layout: what the target's spatial kernels want.
        keep_io: inputs and outputs keep the order of the user's model, which may cost
            Transposes; otherwise they have the order that costs nothing.
    """
    if layout is Layout.NCHW:
        return LaidOut(graph, ())
    return _Layouter(graph, keep_io).run()


class _Layouter:
    """One run of the pass."""

    def __init__(self, graph: Graph, keep_io: bool) -> None:
        self._graph = graph
        self._keep_io = keep_io
        self._builder = GraphBuilder(start=graph)
        self._preferences: LayoutPreferences = collect_preferences(graph)
        self._absorbed = collect_absorbed(graph)
        # Tensor -> how it is stored -> the name under which it is stored so.
        self._stored: dict[str, dict[Order, str]] = {}
        self._constants: dict[tuple[str, Order, Ints | None], str] = {}
        self._views: dict[tuple[str, Order, Ints], str] = {}
        self._claimed: set[str] = set()
        self._names: Mapping[str, str] = {}  # of the finished graph, where they differ

    def run(self) -> LaidOut:
        for name in self._graph.inputs:
            self._stored[name] = {self._input_order(name): self._claim(name)}
            self._builder.declare(name, replace(self._type(name), shape=self._input_shape(name)))
        for node in self._graph.nodes:
            self._place(node)
        return self._laid_out(self._finish())

    # --- inputs ---------------------------------------------------------------

    def _input_order(self, name: str) -> Order:
        preferred = None if self._keep_io else self._preferences.get(name)
        return preferred.plain() if preferred else self._model_order(name)

    def _model_order(self, name: str) -> Order:
        """Return the order of the user's model."""
        perm = self._graph.permutations.get(name, identity(len(self._shape(name))).perm)
        return Order(tuple(perm.index(axis) for axis in range(len(perm))))

    def _input_shape(self, name: str) -> Ints:
        return self._input_order(name).pick(self._shape(name))

    # --- nodes ----------------------------------------------------------------

    def _place(self, node: Node) -> None:
        chosen = lay_out(self._site(node))
        if chosen.op is None:
            self._relabel(node, chosen)
            return
        inputs = tuple(
            self._require(name, want) if name and want else ""
            for name, want in zip(node.inputs, chosen.wants, strict=True)
        )
        outputs = [name for name in node.outputs if name]
        for name, order in zip(outputs, chosen.results, strict=True):
            self._stored[name] = {order: self._claim(name)}
            self._builder.declare(
                name, replace(self._type(name), shape=order.pick(self._shape(name)))
            )
        self._builder.emit(replace(node, op=chosen.op, inputs=inputs))
        for name, order in zip(outputs, chosen.results, strict=True):
            self._check(name, order)

    def _site(self, node: Node) -> Site:
        outputs = [name for name in node.outputs if name]
        return Site(
            node.op,
            tuple(map(self._operand, node.inputs)),
            tuple(map(self._shape, outputs)),
            tuple(map(self._preferences.get, outputs)),
            tuple(map(self._absorbed.__getitem__, outputs)),
        )

    def _operand(self, name: str) -> Operand:
        if not name:
            return Operand(None)
        return Operand(self._shape(name), tuple(self._stored.get(name, ())))

    def _relabel(self, node: Node, chosen: NodeLayout) -> None:
        """Store the result where its operand is, in every order of the operand."""
        want = chosen.wants[0]
        assert want is not None, "operand 0 is never absent"
        source = self._require(node.inputs[0], want)
        self._stored[node.outputs[0]] = {chosen.results[0]: source}
        if isinstance(node.op, ops.Transpose):
            self._relabel_others(node)

    def _relabel_others(self, node: Node) -> None:
        for order, stored in self._stored.get(node.inputs[0], {}).items():
            site = replace(
                self._site(node), operands=(Operand(self._shape(node.inputs[0]), (order,)),)
            )
            self._stored[node.outputs[0]].setdefault(lay_out(site).results[0], stored)

    def _check(self, name: str, order: Order) -> None:
        if self._builder.type(name).shape != order.pick(self._shape(name)):
            raise InternalError(
                f"The layout of {name!r} is wrong: {self._builder.type(name)} in order {order}.",
                "This is a bug in qhal; please report it with the model.",
            )

    # --- operands in a wanted order -------------------------------------------

    def _require(self, name: str, want: Want) -> str:
        """Return the name of a tensor in the wanted order; move data if needed."""
        if name in self._graph.constants:
            return self._constant(name, want)
        if want.view is not None and want.view != self._shape(name):
            return self._viewed(name, want.order, want.view)
        versions = self._stored[name]
        if want.order not in versions:
            source = self._cheapest(name, want.order)
            versions[want.order] = self._converted(name, source, versions[source], want.order)
        return versions[want.order]

    def _constant(self, name: str, want: Want) -> str:
        key = (name, want.order, want.view)
        if key not in self._constants:
            value = self._graph.constants[name]
            stored = store(value if want.view is None else value.reshape(want.view), want.order)
            self._constants[key] = self._store_constant(name, np.asarray(stored, order="C"))
        return self._constants[key]

    def _store_constant(self, name: str, value: npt.NDArray[np.generic]) -> str:
        if name in self._claimed:
            return self._builder.constant(name, value)
        return self._builder.define(self._claim(name), value)

    def _viewed(self, name: str, order: Order, view: Ints) -> str:
        """Insert dimensions of size 1 into a tensor of lower rank where ``order`` wants them."""
        key = (name, order, view)
        if key not in self._views:
            plain = reshaped(order, view, self._shape(name)) or identity(len(self._shape(name)))
            source = self._require(name, Want(plain))
            shape = order.pick(view)
            self._views[key] = self._builder.one(
                ops.Reshape(shape), [source], name=f"{name}__reshaped"
            )
        return self._views[key]

    def _cheapest(self, name: str, order: Order) -> Order:
        """Choose a stored order that is the same in memory, else the first one."""
        shape, versions = self._shape(name), self._stored[name]
        wanted = walk(order, shape)
        return next((o for o in versions if walk(o, shape) == wanted), next(iter(versions)))

    def _converted(self, name: str, source: Order, stored: str, target: Order) -> str:
        *first, last = moves(source, target, self._shape(name))
        origin = self._origin(name)
        for op in first:
            stored = self._builder.one(op, [stored], name=f"{name}__moved", origin=origin)
        if name not in self._claimed:  # a relabeled tensor: its own name is free
            output = self._claim(name)
            return self._builder.one(last, [stored], name=name, output=output, origin=origin)
        suffix = "reshaped" if isinstance(last, ops.Reshape) else "transposed"
        return self._builder.one(last, [stored], name=f"{name}__{suffix}", origin=origin)

    def _origin(self, name: str) -> tuple[str, ...]:
        maker = self._graph.producers.get(name)
        return maker.origin if maker else ()

    # --- outputs --------------------------------------------------------------

    def _finish(self) -> Graph:
        """Build the graph with outputs under their names, and the permutations stated."""
        orders = {name: self._output_order(name) for name in self._graph.outputs}
        stored = {name: self._require(name, Want(order)) for name, order in orders.items()}
        for name, source in stored.items():
            if source != name and not self._may_rename(source, stored):
                stored[name] = self._copied(name, source)
                self._stored[name] = {orders[name]: stored[name]}
        self._names = _swaps(stored, self._claimed)
        built = self._builder.build(outputs=[stored[name] for name in self._graph.outputs])
        orders.update((name, self._input_order(name)) for name in self._graph.inputs)
        permutations = {name: self._against_model(name, o.perm) for name, o in orders.items()}
        return replace(
            _renamed(built, self._names),
            permutations={k: v for k, v in permutations.items() if list(v) != sorted(v)},
        )

    def _output_order(self, name: str) -> Order:
        if self._keep_io or name not in self._stored:
            return self._model_order(name)
        return next(iter(self._stored[name])).plain()

    def _may_rename(self, source: str, stored: Mapping[str, str]) -> bool:
        """Return True if a tensor is only this one output and nothing else."""
        fixed = {*self._graph.inputs, *self._graph.constants, *self._graph.outputs}
        return source not in fixed and [*stored.values()].count(source) == 1

    def _copied(self, name: str, source: str) -> str:
        copy = ops.Reshape(self._builder.type(source).shape)
        return self._builder.one(copy, [source], name=name, output=self._builder.fresh(name))

    def _against_model(self, name: str, perm: Ints) -> Ints:
        """Turn a permutation against the canonical graph into one against the user's model."""
        before = self._graph.permutations.get(name, tuple(range(len(perm))))
        return tuple(before[axis] for axis in perm)

    # --- the result -----------------------------------------------------------

    def _laid_out(self, built: Graph) -> LaidOut:
        final = simplify(_collapsed(simplify(built)))
        stored = self._final_orders(final)
        return LaidOut(
            final,
            (*_layout_decisions(final, self._graph), *_transpose_decisions(final)),
            {
                name: axis_elements(order.shuffle(order.perm[-1]), final.tensors[name].shape[-1])
                for name, order in stored.items()
                if order.perm and order.shuffle(order.perm[-1])
            },
            {name: order.perm for name, order in stored.items() if not order.is_identity},
            self._sources(final),
        )

    def _sources(self, final: Graph) -> dict[str, str]:
        renamed = {new: old for old, new in self._names.items() if old in self._graph.tensors}
        sources: dict[str, str] = {}
        for node in final.nodes:
            for name in node.outputs:
                if name and name not in self._graph.tensors:
                    before = node.inputs[0]
                    sources[name] = renamed.get(name) or sources.get(before, before)
        return sources

    def _final_orders(self, final: Graph) -> dict[str, Order]:
        """Map each tensor of the given graph that is in the result to its order."""
        return {
            name: order
            for name, versions in self._stored.items()
            for order, stored in versions.items()
            if self._names.get(stored, stored) == name and name in final.tensors
        }

    # --- small helpers --------------------------------------------------------

    def _type(self, name: str) -> TensorType:
        return self._graph.tensors[name]

    def _shape(self, name: str) -> Ints:
        return self._graph.tensors[name].shape

    def _claim(self, name: str) -> str:
        """Take a tensor's own name for one stored form of it."""
        self._claimed.add(name)
        return name


def _swaps(stored: Mapping[str, str], claimed: set[str]) -> Mapping[str, str]:
    """Map names so that each output gets its own: a tensor that has it gets the other's."""
    names = {source: name for name, source in stored.items() if source != name}
    return {**names, **{name: source for source, name in names.items() if name in claimed}}


def _renamed(graph: Graph, names: Mapping[str, str]) -> Graph:
    def new(name: str) -> str:
        return names.get(name, name)

    return replace(
        graph,
        outputs=tuple(map(new, graph.outputs)),
        nodes=tuple(
            replace(n, inputs=tuple(map(new, n.inputs)), outputs=tuple(map(new, n.outputs)))
            for n in graph.nodes
        ),
        tensors={new(name): type for name, type in graph.tensors.items()},
    )


def _collapsed(graph: Graph) -> Graph:
    """Write Transposes of many dimensions as ones of few, between Reshapes that cost nothing."""
    if not any(_deep_perm(node) for node in graph.nodes):
        return graph
    builder = GraphBuilder(start=graph)
    for node in graph.nodes:
        perm = _deep_perm(node)
        if not perm:
            builder.emit(node)
            continue
        name = node.inputs[0]
        *first, last = collapsed(perm, graph.tensors[name].shape)
        for op in first:
            name = builder.one(op, [name], name=f"{node.name}__moved", origin=node.origin)
        builder.emit(replace(node, op=last, inputs=(name,)))
    return builder.build()


def _deep_perm(node: Node) -> Ints:
    """Return the permutation of a Transpose that some runtime does not take; else ()."""
    if isinstance(node.op, ops.Transpose) and len(node.op.perm) > _WIDEST_TRANSPOSE:
        return node.op.perm
    return ()


# --- decisions ----------------------------------------------------------------


def _layout_decisions(graph: Graph, before: Graph) -> list[Decision]:
    """Return a decision for each input and output whose order is not the user's model's."""
    return [
        Decision(
            Code.LAYOUT,
            f"{what.capitalize()} {name!r} of the artifact is {_by(graph.tensors[name].shape)}: "
            f"the model's {_by(_model_shape(before, name))} transposed by "
            f"{graph.permutations[name]}.",
            name,
        )
        for what, names in (("input", graph.inputs), ("output", graph.outputs))
        for name in names
        if name in graph.permutations
    ]


def _model_shape(graph: Graph, name: str) -> Ints:
    """Return the shape in the user's model."""
    shape = graph.tensors[name].shape
    perm = graph.permutations.get(name, tuple(range(len(shape))))
    return tuple(shape[perm.index(axis)] for axis in range(len(perm)))


def _transpose_decisions(graph: Graph) -> list[Decision]:
    return [
        Decision(Code.TRANSPOSE_KEPT, _transpose_sentence(graph, node, node.op.perm), node.name)
        for node in graph.nodes
        if isinstance(node.op, ops.Transpose)
    ]


def _transpose_sentence(graph: Graph, node: Node, perm: Ints) -> str:
    source, result = graph.tensors[node.inputs[0]], graph.tensors[node.outputs[0]]
    readers = [f"{n.op.kind} {n.name!r}" for n in graph.consumers[node.outputs[0]]]
    reader = readers[0] if readers else "the output"
    more = f" and {len(readers) - 1} more" if len(readers) > 1 else ""
    return (
        f"Tensor {node.inputs[0]!r} ({_by(source.shape)}) is transposed by {perm} to "
        f"{_by(result.shape)} for {reader}{more}: {size_bytes(source)} bytes are moved."
    )


def _by(shape: Ints) -> str:
    return "x".join(map(str, shape))
