"""Tensors that must share their parameters, as groups; fixed parameters pin a group.

Where a fixed tensor meets a relation that it cannot satisfy without clipping the others (a
Sigmoid's output in a Concat with other tensors), a Requantize is inserted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from qhal.decisions import Code, Decision
from qhal.ir.graph import Node, TensorType
from qhal.ir.ops import Requantize, Role
from qhal.quant.choice import Choice
from qhal.quant.qdq_insertion import QdqGraph
from qhal.targets.spec import FixedQParams, QuantSpec, SameAsInput


@dataclass(frozen=True, eq=False)
class Related:
    """A graph with Q/DQ and its groups.

    Attributes:
        qdq: the graph, now with the conversions that relations needed.
        groups: tensors with the same parameters; every quantized activation, and every constant
            with the role activation, is in exactly one.
    """

    qdq: QdqGraph
    groups: tuple[tuple[str, ...], ...]


def relate(
    qdq: QdqGraph, choices: Mapping[str, Choice], apart: Collection[tuple[str, str]] = ()
) -> Related:
    """Solve the relations of all kernel rows.

    Args:
        qdq: the graph with conversions.
        choices: of its nodes.
        apart: pairs of an observed tensor and a node that reads it by a copy with a scale of its
            own, so that other readers keep their steps.
    """
    return _Relater(qdq, choices, frozenset(apart)).run()


@dataclass
class _Relater:
    qdq: QdqGraph
    choices: Mapping[str, Choice]
    apart: frozenset[tuple[str, str]] = frozenset()
    parent: dict[str, str] = field(default_factory=dict)
    pins: dict[str, FixedQParams] = field(default_factory=dict)
    specs: dict[str, QuantSpec | FixedQParams] = field(default_factory=dict)
    observed: dict[str, str] = field(default_factory=dict)
    tensors: dict[str, TensorType] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)
    moved: dict[tuple[str, str], str] = field(default_factory=dict)
    """(tensor, node) -> the requantized copy that the node reads instead."""

    def run(self) -> Related:
        self.specs = dict(self.qdq.specs)
        self.observed = dict(self.qdq.observed)
        self.tensors = dict(self.qdq.graph.tensors)
        self.parent = {name: name for name in self._members()}
        self.pins = {n: s for n, s in self.specs.items() if isinstance(s, FixedQParams)}
        for node in self.qdq.graph.nodes:
            if self._relation(node) == SameAsInput():
                self._join((node.inputs[0], *node.outputs))
        for node in self.qdq.graph.nodes:
            if self._relation(node) == SameAsInput(every=True):
                self._share(node)
        return Related(self._qdq(), self._groups())

    def _members(self) -> Iterable[str]:
        yield from self.qdq.specs
        for name, form in self.qdq.forms.items():
            if form.role is Role.ACTIVATION:
                yield name

    def _relation(self, node: Node) -> SameAsInput | None:
        choice = self.choices.get(node.name)
        if choice is None or choice.row is None or not choice.quantized:
            return None
        return choice.row.output if isinstance(choice.row.output, SameAsInput) else None

    # --- union-find ---

    def _root(self, name: str) -> str:
        while self.parent[name] != name:
            name = self.parent[name]
        return name

    def _join(self, names: Iterable[str]) -> None:
        roots = list(dict.fromkeys(self._root(name) for name in names if name in self.parent))
        for root in roots[1:]:
            self.parent[root] = roots[0]
            if root in self.pins:
                self.pins[roots[0]] = self.pins.pop(root)

    def _share(self, node: Node) -> None:
        """Share parameters of activations and results; requantize pinned operands that differ."""
        operands = [name for name in dict.fromkeys(node.inputs) if name in self.parent]
        pins = {name: self.pins.get(self._root(name)) for name in operands}
        agree = len(set(pins.values())) == 1
        fixed = {name for name, pin in pins.items() if pin and not agree}
        fixed.update(name for name in operands if self._is_apart(name, node))
        operands = [self._requantized(n, node) if n in fixed else n for n in operands]
        self._join((*operands, *node.outputs))

    def _is_apart(self, name: str, node: Node) -> bool:
        """Return True for an operand that others read, if it shall keep its own scale for them."""
        others = len(self.qdq.graph.consumers[name]) > 1
        return others and (self.observed.get(name, ""), node.name) in self.apart

    def _requantized(self, name: str, node: Node) -> str:
        copy = f"{name}__for_{node.name}"
        self.moved[name, node.name] = copy
        self.parent[copy] = copy
        pinned = self.pins.get(self._root(name))
        self.specs[copy] = self.specs[name] if pinned is None else QuantSpec(pinned.dtype)
        self.observed[copy] = self.observed[name]
        self.tensors[copy] = self.tensors[name]
        why = f"its parameters are fixed at {pinned}" if pinned else "its range is much narrower"
        sentence = (
            f"Inserted Requantize of {name} for {node.op.kind} {node.name}: {why}, "
            "but the node needs one scale for all operands."
        )
        self.decisions.append(Decision(Code.RELATION, sentence, name))
        return copy

    # --- results ---

    def _groups(self) -> tuple[tuple[str, ...], ...]:
        found: dict[str, list[str]] = {}
        for name in self.parent:
            found.setdefault(self._root(name), []).append(name)
        return tuple(tuple(names) for names in found.values())

    def _qdq(self) -> QdqGraph:
        nodes: list[Node] = []
        for node in self.qdq.graph.nodes:
            copies = {
                n: self.moved[n, node.name] for n in node.inputs if (n, node.name) in self.moved
            }
            for name, copy in copies.items():
                nodes.append(Node(f"{copy}/step", Requantize(), (name,), (copy,)))
            nodes.append(replace(node, inputs=tuple(copies.get(n, n) for n in node.inputs)))
        graph = self.qdq.graph.with_nodes(nodes, self.tensors)
        decisions = (*self.qdq.decisions, *self.decisions)
        return replace(
            self.qdq, graph=graph, specs=self.specs, observed=self.observed, decisions=decisions
        )
