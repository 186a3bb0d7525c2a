"""Calibration: one streaming pass of the float model over the data.

Statistics are collected of every float tensor of the graph, whatever the target at hand asks for:
those of one pass then serve all targets, and do not depend on which of them came first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from qhal.data import Dataset
from qhal.decisions import Code, Decision, Severity
from qhal.errors import DataValueError, InternalError
from qhal.ir.graph import Array, Graph, Node
from qhal.ir.ops import DepthwiseConv, FullyConnected, Gru, Lstm, Rnn, Role
from qhal.progress import SILENT, Progress
from qhal.quant import stats_cache
from qhal.quant.collectors import StatsCollector, TensorStats
from qhal.quant.covariance import (
    CovarianceCollector,
    Floats,
    ReceptiveField,
    receptive_field_of,
)
from qhal.quant.floatrun import FloatRun, runtime_version, tensor_bytes
from qhal.quant.masked import MaskFloors, raise_to
from qhal.quant.range_estimators import RealRange
from qhal.quant.scores import AttentionScores, clip_scores, moved_from, raise_masked

_OVERLAP_LIMIT_BYTES = 64 << 20
"""Results of one sample above which running and collecting take turns in one set of buffers."""


@dataclass(frozen=True)
class _Channels:
    """What is kept of each channel of a tensor.

    Attributes:
        axis: of the channels; None if nothing is kept of them.
        extremes: True if their extremes are kept beside their means.
        others: axes that other readers take for their channels, of which the means are kept.
        readers: nodes that read the tensor with such an axis.
        softmax: axis of the softmax that alone reads the tensor; what it masks is not counted.
        useful: the range to which values are cut first, since what lies beyond it only masks.
        receptive_fields: of the layers that read it and whose covariances are kept.
    """

    axis: int | None = None
    extremes: bool = False
    others: tuple[int, ...] = ()
    readers: Mapping[str, int] = field(default_factory=dict)
    softmax: int | None = None
    useful: RealRange | None = None
    receptive_fields: tuple[ReceptiveField, ...] = ()

    def __str__(self) -> str:
        masked = "" if self.softmax is None else f" softmax {self.softmax}"
        masked += "" if self.useful is None else f" within {self.useful[0]:g} {self.useful[1]:g}"
        fields = "".join(f" {field}" for field in self.receptive_fields)
        others = f" and {', '.join(map(str, self.others))}" if self.others else ""
        extremes = " extremes" if self.extremes else ""
        return f"{self.axis}{extremes}{others}{masked}{fields}"


_Plan = Mapping[str, _Channels]


@dataclass(frozen=True, eq=False)
class Calibration:
    """What calibration found.

    Attributes:
        stats: statistics of the tensors that were asked for.
        samples: number of samples seen.
        decisions: kept statistics that could not be used.
    """

    stats: Mapping[str, TensorStats]
    samples: int
    decisions: tuple[Decision, ...] = ()


def calibrate(
    graph: Graph,
    dataset: Dataset,
    tensors: Collection[str],
    channel_means: Collection[str] = (),
    *,
    also: Collection[str] = (),
    cache: Path | None = None,
    progress: Progress = SILENT,
) -> Calibration:
    """Collect the statistics of a float graph's tensors over a data set.

    Args:
        graph: float canonical graph in NCHW.
        dataset: the calibration samples.
        tensors: float tensors whose statistics are wanted (constants have none).
        channel_means: those of them whose mean per channel is wanted: operands of weighted
            nodes. The channel axis is the last one in front of a fully-connected or recurrent
            layer, else axis 1; where a tensor has readers of both kinds, both means are kept. In
            front of a depthwise convolution the extremes of each channel are kept too.
        also: names of which statistics are returned where there are any; they may be NaN or Inf.
        cache: folder that remembers statistics between runs; None for none.
        progress: is advanced with each sample.

    Raises:
        DataValueError: one of the tensors becomes NaN or Inf.
        ModelInvalidError: onnxruntime does not take the graph.
    """
    plan = _plan(graph)
    wanted = {*tensors, *channel_means}
    _check_wanted(graph, plan, wanted)
    decisions: tuple[Decision, ...] = ()
    if cache is None:
        stats = _collect(graph, dataset, plan, progress)
    else:
        stats, decisions = _remembered(graph, dataset, plan, cache, progress)
    _check_finite({name: kept for name, kept in stats.items() if name in wanted})
    asked = {
        name: replace(kept, other_readers=plan[name].readers)
        for name, kept in stats.items()
        if name in wanted
    }
    more = {name: replace(stats[name], covariances={}) for name in also if name in stats}
    return Calibration({**more, **asked}, len(dataset), decisions)


def _check_finite(stats: Mapping[str, TensorStats]) -> None:
    """Check only what is asked for: a mask of -Inf in front of a Softmax is sound."""
    broken = [name for name, kept in stats.items() if not kept.is_finite]
    if broken:
        raise DataValueError(
            f"Tensor {broken[0]!r} becomes NaN or Inf when the float model runs on the "
            "calibration data.",
            "Look for a division by zero, a logarithm of 0 or an overflow in the model, or for "
            "calibration data far outside what the model was trained on.",
        )


def _remembered(
    graph: Graph, dataset: Dataset, plan: _Plan, cache: Path, progress: Progress
) -> tuple[dict[str, TensorStats], tuple[Decision, ...]]:
    """Return statistics from the cache; collect new ones and put them there if it has none."""
    entries = _entries(graph, plan)
    key = stats_cache.cache_key(entries.values(), dataset.fingerprint, runtime_version())
    found = stats_cache.load(cache, key, set(entries.values()))
    if found.stats is not None:
        return {name: found.stats[entry] for name, entry in entries.items()}, ()
    stats = _collect(graph, dataset, plan, progress)
    stats_cache.store(cache, key, {entries[name]: kept for name, kept in stats.items()})
    return stats, () if found.damaged is None else (_ignored(found.damaged),)


def _ignored(file: Path) -> Decision:
    sentence = (
        f"The statistics kept in {file} were changed after they were stored: they were not used, "
        "and are collected again."
    )
    return Decision(Code.STATISTICS_IGNORED, sentence, severity=Severity.WARNING)


# --- what to collect ----------------------------------------------------------


def _plan(graph: Graph) -> _Plan:
    """Plan every non-constant float tensor, in the graph's order."""
    channels, scores = _channels(graph), AttentionScores.of(graph)
    made = [name for node in graph.nodes for name in node.outputs if name]
    return {
        name: channels.get(name)
        or _Channels(softmax=scores.axes.get(name), useful=scores.ranges.get(name))
        for name in (*graph.inputs, *made)
        if graph.tensors[name].dtype.is_float and graph.tensors[name].elements
    }


def _channels(graph: Graph) -> dict[str, _Channels]:
    """Map each operand of a weighted node to what is kept of its channels."""
    axes: dict[str, dict[str, int]] = {}
    wide: dict[str, int] = {}
    fields: dict[str, set[ReceptiveField]] = {}
    for node in graph.nodes:
        seen = _receptive_field(graph, node)
        if seen is not None:
            fields.setdefault(node.inputs[0], set()).add(seen)
        for name, axis in _weighted_operand(graph, node):
            axes.setdefault(name, {})[node.name] = axis
            if isinstance(node.op, DepthwiseConv):
                wide[name] = axis
    return {
        name: _kept_of(readers, wide.get(name), tuple(sorted(fields.get(name, ()), key=str)))
        for name, readers in axes.items()
    }


def _kept_of(
    readers: Mapping[str, int], wide: int | None, fields: tuple[ReceptiveField, ...]
) -> _Channels:
    """Tell what is kept of a tensor, of which each reader takes an axis for its channels."""
    axis = max(readers.values()) if wide is None else wide
    others = {node: other for node, other in readers.items() if other != axis}
    further = tuple(sorted(set(others.values())))
    return _Channels(axis, wide is not None, further, others, receptive_fields=fields)


def _receptive_field(graph: Graph, node: Node) -> ReceptiveField | None:
    """Return the receptive field of a layer with a constant weight."""
    weight = graph.constants.get(node.inputs[1]) if len(node.inputs) > 1 else None
    return None if weight is None else receptive_field_of(node.op, weight.shape)


def _weighted_operand(graph: Graph, node: Node) -> Iterator[tuple[str, int]]:
    weighted = any(node.op.role(i) is Role.WEIGHT for i in range(len(node.inputs)))
    if weighted:
        last = isinstance(node.op, FullyConnected | Lstm | Gru | Rnn)
        name = node.inputs[0]
        axis: int | None = len(graph.tensors[name].shape) - 1 if last else 1
        # A layout may absorb the moves in front of the layer; the layer then reads their operand.
        while axis is not None:
            yield name, axis
            before = graph.producers.get(name)
            axis = None if before is None else moved_from(graph, before, axis)
            name = "" if before is None else next(iter(before.inputs), "")


def _check_wanted(graph: Graph, plan: _Plan, wanted: Collection[str]) -> None:
    missing = sorted(name for name in wanted if name not in plan)
    if missing:
        raise InternalError(
            f"no statistics can be collected for {', '.join(missing)} in {graph.name!r}."
        )


def _entries(graph: Graph, plan: _Plan) -> dict[str, str]:
    """Map each tensor to what identifies its statistics in the cache."""
    digests = stats_cache.tensor_digests(graph)
    floors = _floors(graph)
    masked = {
        name: f"/{floors.key(name, digests)}"
        for name in floors.ways
        if name in plan and plan[name].useful is not None
    }
    return {
        name: f"{digests[name]}/{channels}{masked.get(name, '')}" for name, channels in plan.items()
    }


def _floors(graph: Graph) -> MaskFloors:
    return MaskFloors(graph, AttentionScores.of(graph))


# --- the pass -----------------------------------------------------------------


def _collect(
    graph: Graph, dataset: Dataset, plan: _Plan, progress: Progress
) -> dict[str, TensorStats]:
    collectors = {
        name: StatsCollector(kept.axis, kept.extremes, kept.others) for name, kept in plan.items()
    }
    covariances = {
        name: {str(f): CovarianceCollector(f, len(dataset)) for f in kept.receptive_fields}
        for name, kept in plan.items()
        if kept.receptive_fields
    }
    masked = _floors(graph)
    with progress.stage("calibrate", total=len(dataset)) as advance:
        for values in _evaluate(graph, dataset, [n for n in plan if n not in graph.inputs]):
            floors = masked.of_sample(values)
            for name, collector in collectors.items():
                collector.update(_counted(values[name], plan[name], floors.get(name)))
            for name, by_field in covariances.items():
                for patches in by_field.values():
                    patches.update(values[name])
            advance(1)
    return {
        name: replace(collector.stats(), covariances=_covariances(covariances.get(name, {})))
        for name, collector in collectors.items()
    }


def _counted(values: Array, kept: _Channels, floor: Floats | None) -> Array:
    """Leave out what only masks scores."""
    if kept.useful is not None:
        cut = clip_scores(values, kept.useful)
        return cut if floor is None else raise_to(cut, floor)
    return values if kept.softmax is None else raise_masked(values, kept.softmax)


def _covariances(collectors: Mapping[str, CovarianceCollector]) -> dict[str, Floats]:
    found = {field: collector.covariance() for field, collector in collectors.items()}
    return {field: kept for field, kept in found.items() if kept is not None}


def _evaluate(graph: Graph, dataset: Dataset, tensors: list[str]) -> Iterator[Mapping[str, Array]]:
    """Yield inputs and tensors of each sample; the next one overwrites them.

    While the caller looks at one sample, the next one already runs, in the other slot.
    """
    if not tensors:  # nothing to run: the inputs are all there is
        yield from (dataset.sample(index) for index in range(len(dataset)))
        return
    slots = 2 if tensor_bytes(graph, tensors) <= _OVERLAP_LIMIT_BYTES else 1
    run = FloatRun(graph, tensors, slots=slots)
    running: deque[Future[Mapping[str, Array]]] = deque()
    with ThreadPoolExecutor(max_workers=1) as pool:
        for index in range(len(dataset)):
            inputs = dataset.sample(index)
            if len(running) == slots:
                yield running.popleft().result()
            running.append(pool.submit(_run, run, inputs, index % slots, dataset.where(index)))
        while running:
            yield running.popleft().result()


def _run(run: FloatRun, inputs: Mapping[str, Array], slot: int, where: str) -> Mapping[str, Array]:
    return {**inputs, **run.run(inputs, slot=slot, where=where)}
