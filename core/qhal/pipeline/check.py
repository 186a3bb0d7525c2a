"""``qhal check``: can the target run this model? Needs no data."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from qhal.ir.graph import Shapes
from qhal.ir.importer import import_model
from qhal.pipeline.options import check_outputs
from qhal.pipeline.served import find_target
from qhal.plugin.registry import Registry
from qhal.progress import SILENT
from qhal.results.check import CheckReport, check_report
from qhal.system.guard import guarded
from qhal.system.trail import Kind, doing
from qhal.system.wire import Wire


def check(
    model: str | Path,
    *,
    target: str,
    recipe: str = "w8a8",
    shapes: Shapes | None = None,
    outputs: Sequence[str] = (),
    keep_layout: bool = False,
    targets_file: str | Path | None = None,
    registry: Registry | None = None,
) -> CheckReport:
    """Say for every operator of a model which kernel of the target runs it, or why none does.

    Args:
        model: path of an ONNX file.
        target: name of a device, as in ``qhal targets``.
        recipe: name of a recipe, such as ``w8a8``.
        shapes: input name -> shape, where the model leaves dimensions free.
        outputs: tensors at which the model ends, instead of at its own outputs.
        keep_layout: keep the model's order of dimensions at inputs and outputs.
        targets_file: a ``targets.toml`` with further devices.
        registry: backends and targets; None for those that are installed here.

    Raises:
        QhalError: the model, the target or the recipe is not usable; a refusal by the target is
            a report whose ``ok`` is false, not an error.
    """
    check_outputs(outputs)
    asked = partial(_check, Path(model), target, recipe, shapes, outputs)
    work = partial(asked, keep_layout, targets_file, registry)
    return guarded(work, SILENT, by_value=registry is None)


def _check(
    model: Path,
    target: str,
    recipe: str,
    shapes: Shapes | None,
    outputs: Sequence[str],
    keep_layout: bool,
    targets_file: str | Path | None,
    registry: Registry | None,
    wire: Wire,
) -> CheckReport:
    served = find_target(target, recipe, targets_file, registry=registry)
    with doing(Kind.MODEL, f"{model.name} was imported"):
        imported = import_model(model, shapes, outputs)
    ready = served.prepare(imported, keep_layout=keep_layout)
    graph = ready.laid.graph
    named = ((ready.choices[node.name], node) for node in graph.nodes)
    reasons = tuple(d for choice, node in named if (d := choice.decision(node)) is not None)
    decisions = (*ready.decisions, *reasons, *served.foresee(ready))
    return check_report(model.name, target, recipe, graph, ready.choices, decisions)
