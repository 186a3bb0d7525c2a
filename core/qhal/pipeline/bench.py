"""``qhal bench``: run deployed artifacts again, on the machine where it is called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from qhal import host
from qhal.artifact.runnable import Subject
from qhal.data import Source
from qhal.data.function import depends_on_process
from qhal.decisions import Code, Decision, Severity
from qhal.errors import MissingDependencyError, ModelShapeError, OptionError
from qhal.ir.importer import Imported, import_model
from qhal.measure.memory import peak_memories
from qhal.measure.timing import Clocked, Pair, clock, ratio
from qhal.metric import Metric
from qhal.pipeline.deployed import Deployed, open_deployed
from qhal.pipeline.options import check_threads
from qhal.pipeline.sample import InputSample, first_sample, random_sample
from qhal.pipeline.served import serve_float
from qhal.plugin.registry import Registry, given_or_installed
from qhal.progress import SILENT, Progress
from qhal.results.bench import BenchReport, BenchResult, origin_of
from qhal.results.record import RunRecord
from qhal.system.files import real
from qhal.system.guard import guarded
from qhal.system.wire import Wire
from qhal.version import __version__


def bench(
    *folders: str | Path,
    model: str | Path | None = None,
    data: Source | None = None,
    preprocess: str | Path | None = None,
    threads: int = 1,
    budget_s: float = 2.0,
    progress: Progress = SILENT,
    registry: Registry | None = None,
) -> BenchReport:
    """Measure artifacts again, in turn, so that their times can be compared.

    Each artifact runs for the target of its own record; the catalog is not consulted. The
    folders are only read.

    Args:
        *folders: output folders of ``qhal deploy``, each once.
        model: the float model that all of them were made from; it is lowered again through
            their backends and measured alongside.
        data: the data to take a sample from, as in :func:`qhal.deploy`; without it the sample
            is made up.
        preprocess: how raw data become inputs: a preset or a TOML file; None takes them as is.
        threads: threads to measure with.
        budget_s: about how long the clock runs for each folder.
        progress: shows the progress of long stages.
        registry: the backends; None for those that are installed here.

    Raises:
        QhalError: a folder is not what its record says, the model is another one, the data do
            not fit, an artifact does not run, or something that it needs is not installed.
    """
    _check_folders(folders)
    check_threads(threads)
    if preprocess is not None and data is None:
        raise OptionError(
            f"preprocess is {preprocess}, but no data are given.", "Give --data as well."
        )
    budget = _Budget(threads, budget_s)
    work = partial(_bench, folders, model, data, preprocess, budget, registry)
    by_value = registry is None and not depends_on_process(data)
    return guarded(work, progress, by_value=by_value)


@dataclass(frozen=True)
class _Budget:
    """What the clock may use.

    Attributes:
        threads: of the runtimes.
        seconds: for each folder.
    """

    threads: int
    seconds: float


def _bench(
    folders: Sequence[str | Path],
    model: str | Path | None,
    data: Source | None,
    preprocess: str | Path | None,
    budget: _Budget,
    registry: Registry | None,
    wire: Wire,
) -> BenchReport:
    opened = (open_deployed(folder, registry=registry) for folder in folders)
    entries = [_enter(deployed, model, data, preprocess) for deployed in opened]
    with wire.progress.stage("measure"):
        pairs = [entry.pair for entry in entries]
        seconds = budget.seconds * len(pairs)
        clocked = clock(pairs, threads=budget.threads, budget_s=seconds)
    results = []
    with wire.progress.stage("examine", total=len(entries)) as advance:
        for entry, ran in zip(entries, clocked, strict=True):
            results.append(_result(entry, ran, clocked[0]))
            advance(1)
    versions = host.versions(given_or_installed(registry).packages)
    return BenchReport(tuple(results), budget.threads, __version__, versions, host.describe())


def _check_folders(folders: Sequence[str | Path]) -> None:
    """Refuse no folder, and a folder given twice: its two runs would slow each other down."""
    if not folders:
        raise OptionError(
            "No folder is given.", "Give one or more output folders of `qhal deploy`."
        )
    places = [real(folder) for folder in folders]
    twice = next((f for f, p in zip(folders, places, strict=True) if places.count(p) > 1), None)
    if twice is not None:
        raise OptionError(f"The folder {twice} is given twice.", "Give each folder once.")


@dataclass(frozen=True, eq=False)
class _Entry:
    """A folder that is ready to run."""

    deployed: Deployed
    sample: InputSample
    pair: Pair


def _enter(
    deployed: Deployed,
    model: str | Path | None,
    data: Source | None,
    preprocess: str | Path | None,
) -> _Entry:
    record, inputs = deployed.record, deployed.runnable.adapter.inputs
    if data is None:
        sample = random_sample(inputs, record.plan)
    else:
        sample = first_sample(data, inputs, preprocess, _states_of(record))
    baseline = None if model is None else _baseline(deployed, Path(model))
    return _Entry(deployed, sample, Pair(deployed.runnable, baseline, sample.inputs))


def _states_of(record: RunRecord) -> list[str]:
    """List the inputs that a deployed model's outputs feed again."""
    calibration = record.data.get("calibration")
    states = calibration.get("states") if isinstance(calibration, Mapping) else None
    known = [port.name for port in record.model.inputs]
    return [name for name in known if isinstance(states, Mapping) and name in states.values()]


def _result(entry: _Entry, clocked: Clocked, first: Clocked) -> BenchResult:
    """Collect all that is known today about one artifact."""
    deployed, pair = entry.deployed, entry.pair
    peaks, found = peak_memories(pair, clocked), pair.examine()
    metrics = {
        **clocked.metrics,
        **_against(first, clocked),
        **peaks.metrics,
        **found.metrics,
    }
    if not metrics:
        name = deployed.record.target.name
        raise MissingDependencyError(
            f"{deployed.folder}: the artifact for {name} cannot run here.", pair.subject.why_not()
        )
    return BenchResult(
        str(deployed.folder),
        origin_of(deployed.record, metrics),
        entry.sample.origin,
        clocked.runtime,
        metrics,
        (*_not_run(pair, clocked), *clocked.decisions, *peaks.decisions, *found.decisions),
    )


def _against(first: Clocked, clocked: Clocked) -> dict[str, Metric]:
    """Compare the speed with that of the first artifact; no metric for the first one itself."""
    if first.subject is None or clocked.subject is None or clocked is first:
        return {}
    note = "p50 of the first folder divided by this folder's; band over the windows"
    return {"speedup_first": ratio(first.subject, clocked.subject, note)}


def _not_run(pair: Pair, clocked: Clocked) -> tuple[Decision, ...]:
    """Say what has no latency, and why."""
    if clocked.subject is None:
        sentence = f"The artifact did not run, so it has no latency here: {pair.subject.why_not()}."
        return (Decision(Code.NOT_RUNNABLE, sentence, severity=Severity.WARNING),)
    if pair.baseline is not None and clocked.baseline is None:
        name = pair.baseline.profile.name
        sentence = f"The float model does not run on {name}, so there is no float baseline."
        return (Decision(Code.NOT_RUNNABLE, sentence),)
    return ()


# --- the float model ----------------------------------------------------------------


def _baseline(deployed: Deployed, model: Path) -> Subject:
    """Lower the float model as it was lowered when the folder was written."""
    record, provided = deployed.record, deployed.runnable.provided
    if not provided.info.lowers_float:
        raise OptionError(
            f"{deployed.folder}: the backend {provided.info.name!r} does not lower float models.",
            "Leave out --model.",
        )
    served = serve_float(provided, deployed.runnable.profile)
    served.check_can_lower()
    keep_layout = bool(record.options.get("keep_layout"))
    ready = served.prepare(_original(deployed, model), keep_layout=keep_layout)
    return served.lower(ready.float_model)


def _cut_at(record: RunRecord) -> tuple[str, ...]:
    """Return the tensors at which the model ends; none if these are its own outputs."""
    asked = record.options.get("outputs")
    return tuple(map(str, asked)) if isinstance(asked, list) else ()


def _original(deployed: Deployed, model: Path) -> Imported:
    """Import the model that the folder was made from.

    Raises:
        OptionError: it is another one.
    """
    info = deployed.record.model
    hint = f"Give the model that the folder was made from: {info.file}."
    try:
        shapes = {port.name: port.shape for port in info.inputs}
        imported = import_model(model, shapes, _cut_at(deployed.record))
    except (ModelShapeError, OptionError) as error:
        raise OptionError(
            f"{model} is not the model of {deployed.folder}: {error.message}", hint
        ) from error
    if imported.sha256 != info.sha256:
        raise OptionError(
            f"{model} is not the model of {deployed.folder}: its sha256 is {imported.sha256}; "
            f"the record says {info.sha256}.",
            hint,
        )
    return imported
