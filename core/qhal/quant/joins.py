"""How many steps an operand keeps where one scale has to serve operands of different ranges.

Boxes in pixels and scores from 0 to 1 in one Concat: 8 bits over 600 pixels leave the scores two
values. What was measured in calibration says so before anything is rounded. A tensor whose
smallest part is left with few steps is called mixed. It stays mixed through movement and
element-wise arithmetic, until a product of matrices or a bounded function ends it. One factor for
each channel mixes as a Concat does: boxes and scores may be one tensor that is scaled at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from qhal.ir.graph import Array, Graph, Node
from qhal.ir.ops import REARRANGING
from qhal.quant.choice import Choice, Choices
from qhal.quant.collectors import TensorStats
from qhal.quant.range_estimators import RealRange
from qhal.quant.scores import FINE_SHARE, AttentionScores
from qhal.targets.spec import SameAsInput

FEW_STEPS = 16
"""Steps below which an operand is as good as lost: 4 of 8 bits."""
FEW_OUTPUT_STEPS = 64
"""The same for float outputs, where joining in float costs little."""

_JOINS = frozenset({"Concat", "Where", "Maximum", "Minimum", "Pad"})
_SUMS = frozenset({"Add", "Sub"})
_PRODUCTS = frozenset({"Mul", "Div"})
MOVES = (REARRANGING - _JOINS) | frozenset(
    {"Gather", "Expand", "Tile", "Resize", "MaxPool", "DepthToSpace", "SpaceToDepth"}
)
_ARITHMETIC = frozenset(
    {"Relu", "Relu6", "Clip", "LeakyRelu", "PRelu", "Neg", "Abs", "AveragePool"}
)
_KEEPS_MIXED = _JOINS | _SUMS | _PRODUCTS | MOVES | _ARITHMETIC


@dataclass(frozen=True)
class Coarse:
    """A tensor of which a part is left with few steps.

    Attributes:
        node: that makes or reads it.
        tensor: the part: an operand of the join that mixes ranges.
        steps: that it is left with, at most 16 bits' worth.
        beside: what it shares its scale with, as sentences have it.
    """

    node: str
    tensor: str
    steps: float
    beside: str


@dataclass(frozen=True)
class _Part:
    """The smallest part of a tensor, as a share of the tensor's range."""

    tensor: str
    share: float
    join: str


@dataclass(frozen=True, eq=False)
class Extents:
    """How far the values of each tensor of the float graph reach."""

    graph: Graph
    stats: Mapping[str, TensorStats]
    scores: AttentionScores

    def of(self, name: str, varied: bool = True) -> float | None:
        """Return the extent of a tensor, zero included; None if it is unknown.

        Args:
            name: of the tensor.
            varied: a constant of one value, which keeps it at any scale, has none.
        """
        found = self.range(name, varied)
        if found is None:
            return None
        low, high = min(found[0], 0.0), max(found[1], 0.0)
        return high - low

    def fine(self, name: str) -> float:
        """Return the extent of that part of scores which is no mask."""
        low, high = (FINE_SHARE * end for end in self.scores.ranges[name])
        values = self._values(name)
        kept = values[(values > low) & (values < high)]
        return float(np.ptp(kept)) if kept.size else 0.0

    def range(self, name: str, varied: bool = True) -> RealRange | None:
        """Return the extremes of a tensor."""
        if name in self.graph.constants:
            return _constant_range(self.graph.constants[name], varied)
        stats = self.stats.get(name)
        return None if stats is None or not stats.is_finite else (stats.minimum, stats.maximum)

    def _values(self, name: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        if name in self.graph.constants:
            return self.graph.constants[name].astype(np.float64).reshape(-1)
        stats = self.stats.get(name)
        if stats is None or not stats.is_finite:
            return np.zeros(0)
        histogram = stats.histogram
        middles = (histogram.edges[1:] + histogram.edges[:-1]) / 2
        return np.asarray(middles[histogram.counts > 0], np.float64)


def _constant_range(value: Array, varied: bool) -> RealRange | None:
    if value.dtype.kind != "f" or not value.size or not np.isfinite(value).all():
        return None
    low, high = float(value.min()), float(value.max())
    return None if varied and low == high else (low, high)


def _smallest_share(factors: Array | None) -> float:
    """Return the smallest of the factors of channels as a share of the largest; zeros are none.

    Factors that vary along several axes are weights of single elements, of which some are small.
    """
    if (
        factors is None
        or factors.dtype.kind != "f"
        or factors.size != max(factors.shape, default=0)
    ):
        return 1.0
    sizes = np.abs(factors[factors != 0].astype(np.float64))
    return float(sizes.min() / sizes.max()) if sizes.size and np.isfinite(sizes).all() else 1.0


def find_coarse(
    graph: Graph, choices: Choices, stats: Mapping[str, TensorStats]
) -> tuple[Coarse, ...]:
    """Find the integer nodes that make or read a tensor of which a part keeps few steps.

    Args:
        graph: the float graph in the target's layout.
        choices: of its nodes.
        stats: of its activations.
    """
    extents = Extents(graph, stats, AttentionScores.of(graph))
    return tuple(_Finder(graph, choices, extents).run())


@dataclass
class _Finder:
    graph: Graph
    choices: Choices
    extents: Extents
    parts: dict[str, _Part] = field(default_factory=dict)

    def run(self) -> Iterator[Coarse]:
        for node in self.graph.nodes:
            part = self._part(node)
            if part is not None:
                self._pass_on(node, part)
        for node in self.graph.nodes:
            choice = self.choices[node.name]
            found = self._coarse(node, choice) if choice.quantized else None
            if found is not None:
                yield found

    @cached_property
    def leaving(self) -> frozenset[str]:
        """The tensors that only become outputs."""
        return _leaving(self.graph)

    @cached_property
    def _kinds(self) -> Mapping[str, str]:
        return {node.name: node.op.kind for node in self.graph.nodes}

    # --- which tensors are mixed ---

    def _part(self, node: Node) -> _Part | None:
        """Return the smallest part of what a node makes, measured in what it reads."""
        kind = node.op.kind
        if kind not in _KEEPS_MIXED or self._is_among_scores(node):
            return None
        is_join = kind in _JOINS or (kind in _SUMS and node.outputs[0] in self.leaving)
        found = [self.parts[name] for name in node.inputs if name in self.parts]
        if is_join:
            found += self._operands(node)
        if kind in _PRODUCTS and node.outputs[0] in self.leaving:
            found += self._scaled(node)
        return min(found, key=lambda part: part.share, default=None)

    def _operands(self, node: Node) -> Iterator[_Part]:
        whole = self.extents.of(node.outputs[0])
        for name in _activations(self.graph, node):
            extent = self.extents.of(name)
            if whole and extent:
                inner = self.parts.get(name, _Part(name, 1.0, node.name))
                yield _Part(inner.tensor, inner.share * extent / whole, node.name)

    def _scaled(self, node: Node) -> Iterator[_Part]:
        """Measure what factors of their own leave the channels of the other operand."""
        for factors, name in zip(node.inputs, reversed(node.inputs), strict=True):
            share = _smallest_share(self.graph.constants.get(factors))
            if share < 1.0:
                yield _Part(name, share, node.name)

    def _pass_on(self, node: Node, part: _Part) -> None:
        for name in node.outputs:
            share = part.share
            if node.op.kind in MOVES:
                before, after = self.extents.of(node.inputs[0]), self.extents.of(name)
                share *= before / after if before and after else 1.0
            if share < 1.0:
                self.parts[name] = _Part(part.tensor, share, part.join)

    def _is_among_scores(self, node: Node) -> bool:
        scores = self.extents.scores
        return any(name in scores.ranges or name in scores.axes for name in node.outputs)

    # --- which nodes suffer from it ---

    def _coarse(self, node: Node, choice: Choice) -> Coarse | None:
        assert choice.row is not None
        spec = choice.row.activation
        levels = spec.qmax - spec.qmin
        names = (*_activations(self.graph, node), *node.outputs)
        found = [self._in_scores(node, name, levels) for name in names]
        found += [self._in_part(node, name, levels) for name in names]
        if choice.row.output == SameAsInput(every=True):
            found += self._in_shared(node, names, levels)
        return min((c for c in found if c is not None), key=lambda c: c.steps, default=None)

    def _in_scores(self, node: Node, name: str, levels: int) -> Coarse | None:
        if name not in self.extents.scores.ranges:
            return None
        whole, fine = self._cut_extent(name), self.extents.fine(name)
        if not whole or not fine or fine / whole * levels >= FEW_OUTPUT_STEPS:
            return None
        return Coarse(node.name, name, fine / whole * levels, "what it masks")

    def _cut_extent(self, name: str) -> float | None:
        if name in self.graph.constants:
            found: RealRange | None = _constant_range(
                self.extents.scores.constant(name), varied=True
            )
        else:
            found = self.extents.range(name)
        if found is None:
            return None
        low, high = np.clip(found, *self.extents.scores.ranges[name])
        return float(max(high, 0.0) - min(low, 0.0))

    def _in_part(self, node: Node, name: str, levels: int) -> Coarse | None:
        part = self.parts.get(name)
        if part is None:
            return None
        kind = self._kinds[part.join]
        few = FEW_OUTPUT_STEPS if name in self.leaving and kind in _JOINS else FEW_STEPS
        beside = f"{'the largest channel' if kind in _PRODUCTS else 'all'} of {part.join}"
        steps = part.share * levels
        return Coarse(node.name, part.tensor, steps, beside) if steps < few else None

    def _in_shared(self, node: Node, names: Sequence[str], levels: int) -> Iterator[Coarse]:
        """Measure what operands and result keep where the kernel wants one scale for all."""
        scores = self.extents.scores
        sharing = [name for name in names if not scores.is_mask(name)]
        found = {n: e for n in sharing if (e := self.extents.of(n, varied=False)) is not None}
        whole = max(found.values(), default=0.0)
        is_fine = node.outputs[0] in self.leaving or self._is_among_scores(node)
        for name, extent in found.items():
            steps = extent / whole * levels if whole else levels
            is_one = self.extents.of(name) is None
            if 0 < steps < (FEW_OUTPUT_STEPS if is_fine else FEW_STEPS) and not is_one:
                yield Coarse(node.name, name, steps, f"all of {node.name}")


def _leaving(graph: Graph) -> frozenset[str]:
    """Find the tensors that only become outputs, by movement and element-wise arithmetic."""
    leaving: set[str] = set()
    for node in reversed(graph.nodes):
        for name in node.outputs:
            readers = graph.consumers[name]
            followed = all(
                reader.op.kind in _KEEPS_MIXED and leaving.issuperset(reader.outputs)
                for reader in readers
            )
            if followed and (readers or name in graph.outputs):
                leaving.add(name)
    return frozenset(leaving)


def leave_mixed(graph: Graph) -> frozenset[str]:
    """Find the nodes whose mixed operands only become outputs, and stay mixed on the way."""
    leaving = _leaving(graph)
    return frozenset(
        node.name
        for node in graph.nodes
        if node.op.kind in _KEEPS_MIXED and leaving.issuperset(node.outputs)
    )


def _activations(graph: Graph, node: Node) -> list[str]:
    return [name for name in node.activations if graph.tensors[name].dtype.is_float]
