"""``qhal deploy`` for several targets: a job for each over one calibration, and one summary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Unpack

from qhal.data import Source
from qhal.errors import OptionError, QhalError
from qhal.output import put_in_order
from qhal.pipeline.job import Job, run
from qhal.pipeline.options import OptionKeywords, Options
from qhal.pipeline.post_mortem import run_each_node
from qhal.pipeline.session import open_session
from qhal.plugin.registry import Registry, given_or_installed
from qhal.progress import SILENT, Progress
from qhal.results.fleet import Fleet, Outcome
from qhal.system.guard import guarded
from qhal.system.wire import Wire


def deploy_all(
    model: str | Path,
    *,
    targets: Sequence[str],
    data: Source,
    progress: Progress = SILENT,
    registry: Registry | None = None,
    **options: Unpack[OptionKeywords],
) -> Fleet:
    """Deploy a model for several targets; import, data and calibration happen once.

    A target that fails does not stop the others; if it crashes, the rest is begun anew. What
    crashes between two targets, or behind the last one, is the failure of none. Each one gets its
    own folder: in ``out`` if that is given, else in the working folder.

    Args:
        model: path of an ONNX file.
        targets: names of devices, each once.
        data: calibration data, see :class:`qhal.pipeline.options.Options`.
        progress: shows the progress of long stages.
        registry: backends and targets; None for those that are installed here.
        **options: the other fields of :class:`qhal.pipeline.options.Options`.

    Raises:
        QhalError: the model or the data are not usable by any target.
        UnknownTargetError: one of the names is not a target; nothing was run.
    """
    if len(set(targets)) < len(targets) or not all(targets):
        raise OptionError(
            f"The targets {','.join(targets)!r} contain an empty or repeated name.",
            "Give each target once, separated by commas.",
        )
    asked, path = Options(data, **options), Path(model)
    waiting = [_job(path, name, asked) for name in targets]
    outcomes: list[Outcome] = []
    while waiting:
        told: list[str | Outcome] = []
        problem: QhalError | None = None
        try:
            with put_in_order(*(folder for job in waiting for folder in job.folders)):
                guarded(
                    partial(_deploy_each, tuple(waiting), registry),
                    progress,
                    told.append,
                    partial(run_each_node, waiting[0], registry),
                    by_value=asked.by_value and registry is None,
                )
        except QhalError as error:
            if not told and not outcomes:
                raise  # not one of the targets has begun
            problem = error
        found = [outcome for outcome in told if isinstance(outcome, Outcome)]
        outcomes += found
        waiting = waiting[len(found) :]
        if problem is not None and waiting and (not found or isinstance(told[-1], str)):
            outcomes.append(Outcome(waiting.pop(0).target, error=problem))
    return Fleet(path.name, tuple(outcomes))


def _deploy_each(jobs: Sequence[Job], registry: Registry | None, wire: Wire) -> None:
    """Do the jobs in turn; send the name of each target when it begins, and its outcome."""
    path, asked = jobs[0].model, jobs[0].options
    known = given_or_installed(registry, asked.targets_file)
    for job in jobs:
        known.profile(job.target)
    with open_session(path, asked, several=True, registry=known) as session:
        session.load_model()
        session.load_data()
        session.check_float(wire.progress).refuse(asked.keep_refused is None)
        for job in jobs:
            wire.send(job.target)
            wire.send(run(job, session, wire.progress))


def _job(model: Path, target: str, options: Options) -> Job:
    """Make the job of a target, with folders of its own."""
    if options.keep_refused is not None:
        options = replace(options, keep_refused=Path(options.keep_refused) / target)
    if options.out is not None:
        options = replace(options, out=Path(options.out) / target)
    return Job(model, target, options)
