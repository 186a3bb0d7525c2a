"""The straight line for graphs of one node: every kernel row is tried with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from qhal.data import Dataset
from qhal.ir import ops
from qhal.ir.dtypes import DType
from qhal.ir.graph import Array, Graph, NodeView, TensorType
from qhal.ir.layout.laid_out import LaidOut, to_layout
from qhal.legal.indices import narrow_indices
from qhal.quant.assign import assign
from qhal.quant.calibrate import calibrate
from qhal.quant.constraints import constrain
from qhal.quant.model import QuantModel
from qhal.targets.capability import Capabilities, Capability, KernelRow
from qhal.targets.recipe import RECIPES, Recipe
from qhal.testing.samples import SAMPLES, Sample, random_data


@dataclass(frozen=True, eq=False)
class Deployed:
    """A sample made ready for one kernel row."""

    graph: Graph
    laid: LaidOut
    model: QuantModel
    data: Dataset

    @property
    def float_model(self) -> QuantModel:
        """The same without quantization."""
        return QuantModel(self.laid.graph)

    def there(self, index: int = 0) -> dict[str, Array]:
        """Inputs of the model as the user gave it."""
        return self.data.sample(index)

    def here(self, index: int = 0) -> dict[str, Array]:
        """Float inputs in the layout of the artifact."""
        perms = self.laid.graph.permutations
        return {
            name: np.transpose(value, perms[name]) if name in perms else value
            for name, value in self.there(index).items()
        }


def recipe_of(row: KernelRow, weighted: bool) -> Recipe:
    """The recipe that a row belongs to; float32 if none."""
    found = [r for r in RECIPES if r.accepts(row, weighted) and (weighted or not r.is_float)]
    return (
        found[0]
        if found
        else replace(RECIPES[-1], name="float32", weight=frozenset({DType.FLOAT32}))
    )


def lay_out(graph: Graph, indices: DType = DType.INT64) -> LaidOut:
    """In the layout of the runtime; a lone Transpose is kept from becoming the order of inputs."""
    keep_io = any(isinstance(node.op, ops.Transpose) for node in graph.nodes)
    laid = to_layout(graph, ops.Layout.NHWC, keep_io)
    return replace(laid, graph=narrow_indices(laid.graph, indices).graph)


def deploy(graph: Graph, caps: Capabilities, recipe: Recipe, data: Dataset) -> Deployed:
    """The straight line from a canonical graph to a quantized model."""
    laid = lay_out(graph, caps.indices)
    constraints = constrain(laid.graph, caps, recipe)
    found = calibrate(graph, data, constraints.to_observe, constraints.to_average)
    model = assign(constraints, found.stats, "minmax", laid.element_order).model
    return Deployed(graph, laid, model, data)


def deploy_row(
    sample: Sample, capability: Capability, row: KernelRow, caps: Capabilities
) -> Deployed:
    """Deploy a sample to a target that has this one row, and what the layout may add."""
    graph = sample.graph()
    only = replace(capability, rows=(row,))
    more = (*caps.of("Transpose"), *caps.of("Reshape"))
    integer = row.activation.quantized
    target = replace(caps, kernels=(only, *more), integer_io=integer)
    recipe = recipe_of(row, row.weight is not None)
    return deploy(graph, target, recipe, random_data(graph, sample.low, sample.high))


def is_plain(sample: Sample) -> bool:
    """True if nothing in a sample is float, so that nothing can be quantized."""
    kinds = [given.dtype for given in sample.inputs if isinstance(given, TensorType)]
    bytes_to_float = DType.UINT8 in kinds and sample.op == ops.Cast(DType.FLOAT32)
    no_float = len(kinds) == len(sample.inputs) and not sample.first and DType.FLOAT32 not in kinds
    return no_float and not bytes_to_float


def trials(caps: Capabilities) -> Iterator[tuple[Sample, Capability, KernelRow]]:
    """Every kernel row with every sample of its operator that meets the limits."""
    for capability in caps.kernels:
        for sample in (s for s in SAMPLES if s.op.kind == capability.op):
            for row in capability.rows:
                idle = is_plain(sample) and row.activation.quantized
                if not idle and broken_limit(sample, capability, row, caps.indices) is None:
                    yield sample, capability, row


def broken_limit(
    sample: Sample, capability: Capability, row: KernelRow, indices: DType = DType.INT64
) -> str | None:
    """The first limit that a sample breaks, in the layout of the target."""
    graph = lay_out(sample.graph(), indices).graph
    node = next(n for n in graph.nodes if type(n.op) is type(sample.op))
    view = NodeView(graph, node)
    found = (limit.check(view) for limit in (*capability.limits, *row.limits))
    return next((text for text in found if text), None)
