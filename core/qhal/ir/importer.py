"""Import: an ONNX file becomes the canonical graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qhal.decisions import Code, Decision
from qhal.errors import ModelInvalidError, OptionError
from qhal.ir.graph import Graph, Shapes


@dataclass(frozen=True, eq=False)
class Imported:
    """A model that was read.

    Attributes:
        graph: canonical, static, in NCHW, with the user's names of inputs and outputs.
        decisions: dimensions that were bound, and nodes that stay opaque.
        sha256: hash of the model file, followed by its external weight files if it has any.
        opset: version of the ai.onnx operators in the file.
        size_bytes: size of the same files.
        computed: names of the tensors at which the file can be cut.
    """

    graph: Graph
    decisions: tuple[Decision, ...]
    sha256: str
    opset: int
    size_bytes: int
    computed: frozenset[str] = frozenset()


def import_model(
    path: str | Path, shapes: Shapes | None = None, outputs: Sequence[str] = ()
) -> Imported:
    """Read a float ONNX model of opset 7 or newer.

    Dimensions are bound, functions inlined, constants folded, and usual decompositions
    recognized. Weights stay memory-mapped where nothing had to change them.

    Args:
        path: the model; external weight files lie in its folder.
        shapes: input -> shape, for inputs with free dimensions. A free leading dimension
            that is not given is 1.
        outputs: tensors at which the model ends; none for its own outputs.

    Raises:
        ModelFileError: the file is missing, empty, truncated, a folder or not ONNX.
        ModelInvalidError: the graph is not valid, quantized already, or not made of tensors.
        ModelShapeError: a dimension is free, or what ``shapes`` says does not fit.
        ModelWeightsError: a weight is missing, holds NaN or Inf, or lies outside the folder.
        OptionError: one of ``outputs`` is not a tensor that the model computes from its inputs.
    """
    from qhal.ir.onnx.load import load
    from qhal.ir.onnx.reader import read
    from qhal.ir.recognize import recognize

    source = load(Path(path), outputs)
    with np.errstate(all="ignore"):  # what comes out is checked instead
        graph, decisions = read(source, shapes or {})
        graph = recognize(graph)
    if not graph.inputs:
        raise ModelInvalidError(
            "The model has no inputs: its outputs are the same at every run.",
            "Keep what depends on data as an input, instead of a constant.",
        )
    if outputs:
        _check_dependent(graph)
        decisions = (*decisions, _cut(outputs))
    weights = source.weights
    return Imported(
        graph, decisions, weights.sha256(), source.opset, weights.size_bytes, source.computed
    )


def _check_dependent(graph: Graph) -> None:
    """Refuse to end a model at what is the same for every input."""
    dependent = set(graph.inputs)
    for node in graph.nodes:
        if not dependent.isdisjoint(node.inputs):
            dependent.update(node.outputs)
    for name in graph.outputs:
        if name not in dependent:
            raise OptionError(
                f"--output {name!r} is a constant: it is the same for every input.",
                "Name a tensor that depends on an input.",
            )


def _cut(outputs: Sequence[str]) -> Decision:
    names = ", ".join(outputs)
    return Decision(Code.OUTPUTS_CHOSEN, f"The model ends at {names}, as --output says.")
