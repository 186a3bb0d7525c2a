"""What several deployments of one model have in common: made once, used by each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from weakref import WeakKeyDictionary

from qhal.data import (
    Dataset,
    DataSplit,
    Rollout,
    Source,
    further_sequences,
    load_dataset,
    roll_out,
    split,
    split_sequences,
)
from qhal.data.constant import constant_inputs
from qhal.data.contradict import contradicted
from qhal.data.spool import Spool
from qhal.decisions import Decision
from qhal.host import cache_folder
from qhal.ir.graph import Graph
from qhal.ir.importer import Imported, import_model
from qhal.ir.states import States, find_states, without
from qhal.pipeline.float_check import FloatFinding, check_float
from qhal.pipeline.options import Options
from qhal.plugin.registry import Registry, given_or_installed
from qhal.progress import SILENT, Progress
from qhal.quant.equalize import Finding, survey
from qhal.quant.scores import AttentionScores
from qhal.system.scratch import scratch
from qhal.system.trail import Kind, doing
from qhal.verify import ORACLE_SAMPLES, Evaluation, FloatReference, check_labels


@dataclass(frozen=True)
class Session:
    """One model, its data and its float results.

    Each is made by a call, at the first one; further calls return the same value.

    Attributes:
        model: path of the user's model.
        options: what the user asked for.
        registry: backends and targets; None for those that are installed here.
        cache: folder of calibration statistics, None for none.
        spools: where decoded samples and float results are kept for further targets; None
            keeps none.
    """

    model: Path
    options: Options
    registry: Registry | None = None
    cache: Path | None = None
    spools: tuple[Spool, Spool] | None = None
    _surveys: WeakKeyDictionary[Graph, tuple[Finding, ...]] = field(
        default_factory=WeakKeyDictionary, init=False, repr=False, compare=False
    )
    _checked: list[FloatFinding] = field(
        default_factory=list, init=False, repr=False, compare=False
    )

    def load_plugins(self) -> Registry:
        """Take the registry that was handed in, else load the one of this process."""
        return self._plugins

    def load_model(self) -> Imported:
        """Import the user's model as a canonical graph."""
        return self._imported

    def load_data(self) -> DataSplit:
        """Read calibration and evaluation data, for the inputs of the model."""
        return self._data

    def find_states(self) -> States:
        """Find the outputs that feed inputs again."""
        return self._states

    def find_constant(self) -> tuple[Decision, ...]:
        """Warn of inputs that never change in the calibration data."""
        return self._constant

    def survey(self, graph: Graph) -> tuple[Finding, ...]:
        """Find what could be equalized in a float graph of the model, whatever the target.

        Args:
            graph: as imported, or as another pass made it; targets with the same one share the
                findings.
        """
        if graph not in self._surveys:
            self._surveys[graph] = survey(graph, self._data.calibration)
        return self._surveys[graph]

    def load_reference(self) -> Evaluation:
        """Pair the evaluation data with the float model that gives the reference outputs."""
        return self._evaluation

    def check_float(self, progress: Progress = SILENT) -> FloatFinding:
        """Find out whether the float model is right more often than by chance."""
        if self._states.pairs:  # a frame is right or wrong by those in front of it
            return FloatFinding()
        if not self._checked:
            options, evaluation = self.options, self._evaluation
            if options.eval_samples is not None:
                evaluation = evaluation.spread(options.eval_samples)
            graph, data = self._imported.graph, self._data.evaluation
            self._checked.append(check_float(graph, evaluation, data, options, progress))
        return self._checked[0]

    @property
    def oracle_samples(self) -> int:
        """Samples that the oracle computes; fewer if several targets are verified in one run."""
        return ORACLE_SAMPLES // 2 if self.spools else ORACLE_SAMPLES

    @cached_property
    def _plugins(self) -> Registry:
        return given_or_installed(self.registry, self.options.targets_file)

    @cached_property
    def _imported(self) -> Imported:
        with doing(Kind.MODEL, f"{self.model.name} was imported"):
            return import_model(self.model, self.options.shapes, self.options.outputs)

    @cached_property
    def _data(self) -> DataSplit:
        graph, options, rest = self._imported.graph, self.options, []
        data = self._given
        if options.eval is not None:
            rest = [self._load(options.eval, self._states.inputs)]
        if self._states.pairs:
            divided = self._divide_sequences(data, *rest)
        else:
            divided = split(data, options.calib_samples, *rest)
        limited = options.max_drop is not None and not self._states.pairs
        if options.labels is not None or options.label_offset or limited:
            check_labels(graph, divided.evaluation.labels, needed=limited)
        return divided

    @cached_property
    def _given(self) -> Dataset:
        """The data, read for the states that there are."""
        loaded = self._recognized_in
        found, recognized = self._states.inputs, self._recognized.inputs
        return loaded if found == recognized else self._load(self.options.data, found)

    @cached_property
    def _recognized_in(self) -> Dataset:
        return self._load(self.options.data, self._recognized.inputs)

    def _load(self, source: Source, states: tuple[str, ...]) -> Dataset:
        graph, options = self._imported.graph, self.options
        return load_dataset(
            source,
            {name: graph.tensors[name] for name in graph.inputs},
            preprocess=options.preprocess,
            labels=options.labels,
            label_offset=options.label_offset,
            masks=AttentionScores.of(graph).ranges,
            states=states,
        )

    def _divide_sequences(self, *loaded: Dataset) -> DataSplit:
        data, *rest = (self._roll_out(dataset) for dataset in loaded)
        return split_sequences(data, self.options.calib_samples, *rest)

    def _roll_out(self, dataset: Dataset) -> Rollout:
        return roll_out(dataset, self._states.pairs, self._reference.run)

    @cached_property
    def _recognized(self) -> States:
        return find_states(self._imported.graph, self.options.state)

    @cached_property
    def _states(self) -> States:
        """The states that were recognized, unless the data say otherwise; the user may insist."""
        found = self._recognized
        if self.options.state is not None or not found.pairs:
            return found
        data, model = self._recognized_in, self._reference.run
        return without(found, contradicted(data, found.pairs, model))

    @cached_property
    def _constant(self) -> tuple[Decision, ...]:
        return constant_inputs(self._data.calibration)

    @cached_property
    def _reference(self) -> FloatReference:
        outputs = self._imported.graph.outputs
        return FloatReference(self.model, outputs, cut=bool(self.options.outputs))

    @cached_property
    def _evaluation(self) -> Evaluation:
        inputs, outputs = self.spools or (None, None)
        further = further_sequences(self._data)
        return Evaluation(self._data.evaluation, self._reference, inputs, outputs, further=further)


@contextmanager
def open_session(
    model: Path, options: Options, *, several: bool = False, registry: Registry | None = None
) -> Iterator[Session]:
    """Open a session for one target, or for several, which then share all that does not differ.

    Nothing is read yet. Statistics are shared even if the user wants none to be kept for the
    next run.
    """
    cache = cache_folder() if options.cache else None
    if not several:
        yield Session(model, options, registry, cache)
        return
    with Spool() as inputs, Spool() as outputs, scratch() as folder:
        yield Session(model, options, registry, cache or folder, (inputs, outputs))
