"""Calibration: one streaming pass of the float model over the data.

Every float tensor of the graph is observed, whatever the target at hand asks for: the statistics
of one pass then serve all targets, and do not depend on which of them came first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from qhal.data import Dataset
from qhal.decisions import Code, Decision
from qhal.errors import InternalError
from qhal.ir.graph import Array, Graph, Node
from qhal.ir.ops import FullyConnected, Gru, Lstm, Role
from qhal.progress import SILENT, Progress
from qhal.quant import stats_cache
from qhal.quant.floatrun import FloatRun, runtime_version, tensor_bytes
from qhal.quant.observe import TensorObserver, TensorStats

_OVERLAP_LIMIT_BYTES = 64 << 20
"""Results of one sample above which running and observing take turns in one set of buffers."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """What calibration found.

    Attributes:
        stats: statistics of the tensors that were asked for.
        samples: number of samples seen.
        cache_hit: True if nothing had to be run.
        decisions: what is worth telling the user.
    """

    stats: Mapping[str, TensorStats]
    samples: int
    cache_hit: bool
    decisions: tuple[Decision, ...] = ()


def calibrate(
    graph: Graph,
    dataset: Dataset,
    tensors: Collection[str],
    channel_means: Collection[str] = (),
    *,
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
            layer, else axis 1.
        cache: folder that remembers statistics between runs; None for none.
        progress: is told of each sample.

    Raises:
        DataValueError: a tensor becomes NaN or Inf.
        ModelInvalidError: onnxruntime does not take the graph.
    """
    plan = _plan(graph)
    _check_wanted(graph, plan, {*tensors, *channel_means})
    entries = _entries(graph, plan) if cache else {}
    key = stats_cache.cache_key(entries.values(), dataset.fingerprint, runtime_version())
    found = stats_cache.load(cache, key) if cache else None
    if found is not None and found.keys() >= set(entries.values()):
        stats = {name: found[entry] for name, entry in entries.items()}
        return _calibration(stats, tensors, len(dataset), cache_hit=True)
    stats = _observe(graph, dataset, plan, progress)
    if cache:
        stats_cache.store(cache, key, {entries[name]: kept for name, kept in stats.items()})
    return _calibration(stats, tensors, len(dataset), cache_hit=False)


def _calibration(
    stats: Mapping[str, TensorStats], tensors: Collection[str], samples: int, *, cache_hit: bool
) -> Calibration:
    asked = {name: stats[name] for name in stats if name in set(tensors)}
    return Calibration(asked, samples, cache_hit, _decisions(asked))


def _decisions(stats: Mapping[str, TensorStats]) -> tuple[Decision, ...]:
    return tuple(
        Decision(
            Code.CONSTANT_RANGE,
            f"{name} was {kept.minimum:g} in every calibration sample; its scale is a convention.",
            name,
        )
        for name, kept in stats.items()
        if kept.minimum == kept.maximum
    )


# --- what to observe ----------------------------------------------------------

_Plan = Mapping[str, int | None]  # tensor -> axis of its channels, None if no means are kept


def _plan(graph: Graph) -> _Plan:
    """Every non-constant float tensor, in the graph's order."""
    axes = _channel_axes(graph)
    made = [name for node in graph.nodes for name in node.outputs if name]
    return {
        name: axes.get(name)
        for name in (*graph.inputs, *made)
        if graph.tensors[name].dtype.is_float and graph.tensors[name].elements
    }


def _channel_axes(graph: Graph) -> dict[str, int]:
    """Operand of a weighted node -> axis of its channels."""
    axes: dict[str, int] = {}
    for node in graph.nodes:
        for name, axis in _weighted_operand(graph, node):
            axes[name] = max(axis, axes.get(name, axis))
    return axes


def _weighted_operand(graph: Graph, node: Node) -> Iterator[tuple[str, int]]:
    weighted = any(node.op.role(i) is Role.WEIGHT for i in range(len(node.inputs)))
    if weighted:
        last = isinstance(node.op, FullyConnected | Lstm | Gru)
        rank = len(graph.tensors[node.inputs[0]].shape)
        yield node.inputs[0], rank - 1 if last else 1


def _check_wanted(graph: Graph, plan: _Plan, wanted: Collection[str]) -> None:
    missing = sorted(name for name in wanted if name not in plan)
    if missing:
        raise InternalError(
            f"no statistics can be collected of {', '.join(missing)} in {graph.name!r}."
        )


def _entries(graph: Graph, plan: _Plan) -> dict[str, str]:
    """Tensor -> what identifies its statistics in the cache."""
    digests = stats_cache.tensor_digests(graph)
    return {name: f"{digests[name]}/{axis}" for name, axis in plan.items()}


# --- the pass -----------------------------------------------------------------


def _observe(
    graph: Graph, dataset: Dataset, plan: _Plan, progress: Progress
) -> dict[str, TensorStats]:
    observers = {name: TensorObserver(name, axis) for name, axis in plan.items()}
    with progress.step("calibrate", total=len(dataset)) as advance:
        for values in _evaluate(graph, dataset, [n for n in plan if n not in graph.inputs]):
            for name, observer in observers.items():
                observer.update(values[name])
            advance(1)
    return {name: observer.stats() for name, observer in observers.items()}


def _evaluate(graph: Graph, dataset: Dataset, tensors: list[str]) -> Iterator[Mapping[str, Array]]:
    """Inputs and tensors of each sample; overwritten when the next one is asked for.

    While the caller looks at one sample, the next one already runs, in the other slot.
    """
    slots = 2 if tensor_bytes(graph, tensors) <= _OVERLAP_LIMIT_BYTES else 1
    # Without float tensors beyond the inputs there is nothing to run.
    run = FloatRun(graph, tensors, slots=slots) if tensors else None
    running: deque[Future[Mapping[str, Array]]] = deque()
    with ThreadPoolExecutor(max_workers=1) as pool:
        for index in range(len(dataset)):
            inputs = dataset.sample(index)
            if len(running) == slots:
                yield running.popleft().result()
            running.append(pool.submit(_run, run, inputs, index % slots, dataset.where(index)))
        while running:
            yield running.popleft().result()


def _run(
    run: FloatRun | None, inputs: Mapping[str, Array], slot: int, where: str
) -> Mapping[str, Array]:
    return {**inputs, **(run.run(inputs, slot=slot, where=where) if run else {})}
