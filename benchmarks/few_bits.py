"""What weights of few bits lose, rounded alone and fitted to what their layer sees.

For each model and recipe the artifact of ``cpu`` is compared with the float model on samples that
calibration did not use. "rounded" is the same plan without :mod:`qhal.quant.repair`. Seconds and
peak memory are those of planning and lowering, fitting included.

``make bench-few-bits`` runs all of it; give names of models to run some. ``QHAL_ZOO`` has to name
the folder that holds ``zoo/``.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import peers_data as data

from qhal.artifact.runnable import Subject
from qhal.pipeline.line import lower_line
from qhal.pipeline.options import Options
from qhal.pipeline.planning import PlannedModel
from qhal.pipeline.session import open_session
from qhal.pipeline.stages import Stages
from qhal.quant.assign import assign
from qhal.quant.range_estimators import DEFAULT_RANGE_ESTIMATOR

MODELS = (
    "mlperf_tiny_kws",
    "mlperf_tiny_ic",
    "resnet20_cifar10",
    "squeezenet1_1",
    "mobilenet_v2",
)
RECIPES = ("w4a8", "w3a8", "w2a8")


def main() -> None:
    """Print one row for each model and recipe."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--recipe", action="append", choices=RECIPES)
    asked = parser.parse_args()
    print("| model | recipe | float top-1 | rounded | fitted | seconds | peak MB |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for model in asked.models:
        with tempfile.TemporaryDirectory() as folder:
            data.prepare(model, Path(folder))
            for recipe in asked.recipe or RECIPES:
                print(_row(model, recipe, Path(folder)), flush=True)


def _row(model: str, recipe: str, folder: Path) -> str:
    options = Options(
        data=folder / "calibration",
        recipe=recipe,
        calib_samples=data.CALIBRATION_SAMPLES,
        cache=False,
    )
    started = time.perf_counter()
    with open_session(folder / "model.onnx", options) as session:
        lowered = lower_line(session, "cpu", options, Stages())
        seconds = time.perf_counter() - started
        subjects = None, _without_fitting(lowered.planned), lowered.subject
        exact, before, after = (_judged(subject, folder) for subject in subjects)
    figures = f"{exact} | {before} | {after} | {seconds:.1f} | {data.peak_memory_mb():.0f}"
    return f"| {model} | {recipe} | {figures} |"


def _without_fitting(planned: PlannedModel) -> Subject:
    laid = planned.prepared.laid
    stats = laid.with_sources(planned.calibration.stats)
    plain = assign(planned.constraints, stats, DEFAULT_RANGE_ESTIMATOR, laid.element_order)
    return planned.served.lower(plain.model)


def _judged(subject: Subject | None, folder: Path) -> str:
    """Return top-1 and SQNR over the evaluation samples; of the float model if None."""
    known, hits, signal, noise = data.labels(folder), 0, 0.0, 0.0
    runner = None if subject is None else subject.load()
    for index, inputs in enumerate(data.samples(folder / "evaluation")):
        wanted = found = data.reference(folder, index)
        if subject is not None and runner is not None:
            made = subject.adapter.to_user(runner.run(subject.adapter.to_artifact(inputs)))
            found = [made[name] for name in subject.model.graph.outputs]
        signal += sum(float(np.square(there).sum()) for there in wanted)
        noise += sum(float(np.square(h - t).sum()) for h, t in zip(found, wanted, strict=True))
        hits += 0 if known is None else int(np.argmax(found[0]) == known[index])
    top1 = "–" if known is None else f"{100 * hits / len(known):.1f} %"
    return top1 if subject is None else f"{top1}, {10 * np.log10(signal / noise):.1f} dB"


if __name__ == "__main__":
    main()
