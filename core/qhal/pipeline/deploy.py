"""``qhal deploy`` for one target: one job."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Unpack

from qhal.data import Source
from qhal.output import put_in_order
from qhal.pipeline.job import Job, run_or_raise
from qhal.pipeline.options import OptionKeywords, Options
from qhal.pipeline.post_mortem import run_each_node
from qhal.pipeline.session import open_session
from qhal.plugin.registry import Registry
from qhal.progress import SILENT, Progress
from qhal.results.record import RunRecord
from qhal.system.guard import guarded
from qhal.system.wire import Wire


def deploy(
    model: str | Path,
    *,
    target: str,
    data: Source,
    progress: Progress = SILENT,
    registry: Registry | None = None,
    **options: Unpack[OptionKeywords],
) -> RunRecord:
    """Quantize a model for a target, prove the artifact, measure it, and write it all down.

    Args:
        model: path of an ONNX file.
        target: name of a device, as in ``qhal targets``.
        data: calibration data, see :class:`qhal.pipeline.options.Options`.
        progress: shows the progress of long stages.
        registry: backends and targets; None for those that are installed here.
        **options: the other fields of :class:`qhal.pipeline.options.Options`.

    Returns:
        The record, as it is in the output folder.

    Raises:
        QhalError: something in the input is not usable, a gate was not met, or something that
            is needed is not installed. Nothing is written then, unless ``keep_refused`` asks
            for the record.
    """
    job = Job(Path(model), target, Options(data, **options))
    with put_in_order(*job.folders):
        return guarded(
            partial(_deploy, job, registry),
            progress,
            post_mortem=partial(run_each_node, job, registry),
            by_value=job.options.by_value and registry is None,
        )


def _deploy(job: Job, registry: Registry | None, wire: Wire) -> RunRecord:
    with open_session(job.model, job.options, registry=registry) as session:
        return run_or_raise(job, session, wire.progress)
