"""``qhal check --dump``: the graph after one stage of the preparation, as text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qhal.ir.graph import Shapes
from qhal.ir.importer import import_model
from qhal.ir.text import to_text
from qhal.pipeline.served import find_target
from qhal.plugin.registry import Registry


def dump(
    stage: str,
    model: str | Path,
    *,
    target: str,
    recipe: str = "w8a8",
    shapes: Shapes | None = None,
    outputs: Sequence[str] = (),
    keep_layout: bool = False,
    targets_file: str | Path | None = None,
    registry: Registry | None = None,
) -> str:
    """Return the graph after one stage, as text.

    Args:
        stage: ``imported``; ``legal``, in the target's operators; or ``laid``, in its layout.
        model: path of an ONNX file.
        target: name of a device, as in ``qhal targets``.
        recipe: name of a recipe, such as ``w8a8``.
        shapes: input name -> shape, where the model leaves dimensions free.
        outputs: tensors at which the model ends, instead of at its own outputs.
        keep_layout: keep the model's order of dimensions at inputs and outputs.
        targets_file: a ``targets.toml`` with further devices.
        registry: backends and targets; None for those that are installed here.

    Raises:
        QhalError: as for :func:`qhal.check`.
    """
    served = find_target(target, recipe, targets_file, registry=registry)
    imported = import_model(model, shapes, outputs)
    ready = served.prepare(imported, keep_layout=keep_layout)
    graphs = {
        "imported": ready.imported.graph,
        "legal": ready.legal.graph,
        "laid": ready.laid.graph,
    }
    return to_text(graphs[stage])
