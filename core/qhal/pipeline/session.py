"""What several deployments of one model have in common: made once, used by each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from qhal.data import DataSplit, load_dataset, split
from qhal.data.spool import Spool
from qhal.host import cache_folder
from qhal.ir.importer import Imported
from qhal.pipeline.options import Options
from qhal.pipeline.prepare import read_model
from qhal.quant.equalize import Finding, survey
from qhal.scratch import scratch
from qhal.verify import ORACLE_SAMPLES, Evaluation, FloatReference, check_labels


@dataclass(frozen=True)
class Session:
    """One model, its data and its float results.

    Attributes:
        model: path of the user's model.
        options: what the user asked for.
        cache: folder of calibration statistics, None for none.
        spools: where decoded samples and float results are kept for further targets; None
            keeps none.
    """

    model: Path
    options: Options
    cache: Path | None = None
    spools: tuple[Spool, Spool] | None = None

    @cached_property
    def imported(self) -> Imported:
        """The user's model as a canonical graph."""
        return read_model(self.model, self.options.shapes)

    @cached_property
    def data(self) -> DataSplit:
        """Calibration and evaluation data."""
        graph, options = self.imported.graph, self.options
        inputs = {name: graph.tensors[name] for name in graph.inputs}
        sources = [options.data] if options.eval is None else [options.data, options.eval]
        loaded = [
            load_dataset(
                source,
                inputs,
                preprocess=options.preprocess,
                labels=options.labels,
                label_offset=options.label_offset,
            )
            for source in sources
        ]
        divided = split(loaded[0], options.calib_samples, *loaded[1:])
        limited = options.max_drop is not None
        if options.labels is not None or options.label_offset or limited:
            check_labels(graph, divided.evaluation.labels, needed=limited)
        return divided

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """What could be equalized, whatever the target."""
        return survey(self.imported.graph, self.data.calibration)

    @property
    def oracle_samples(self) -> int:
        """Samples that the oracle computes; fewer if several targets are verified in one run."""
        return ORACLE_SAMPLES // 2 if self.spools else ORACLE_SAMPLES

    @cached_property
    def evaluation(self) -> Evaluation:
        """The evaluation data with the float model's results."""
        reference = FloatReference(self.model, self.imported.graph.outputs)
        inputs, outputs = self.spools or (None, None)
        return Evaluation(self.data.evaluation, reference, inputs, outputs)


@contextmanager
def open_session(model: Path, options: Options, *, several: bool = False) -> Iterator[Session]:
    """A session for one target, or for several, which then share all that does not differ.

    Statistics are shared even if the user wants none to be kept for the next run.
    """
    cache = cache_folder() if options.cache else None
    if not several:
        yield Session(model, options, cache)
        return
    with Spool() as inputs, Spool() as outputs, scratch() as folder:
        yield Session(model, options, cache or folder, (inputs, outputs))
