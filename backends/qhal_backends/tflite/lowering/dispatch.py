"""Lower a model: each operator by the module of its topic."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from qhal.decisions import Decision
from qhal.errors import InternalError
from qhal.ir.graph import NodeView
from qhal.ir.ops import Op
from qhal.quant.model import QuantModel
from qhal_backends.tflite.emitter import LITERT, Emitter, Flavor
from qhal_backends.tflite.flat import FlatModel
from qhal_backends.tflite.lowering import (
    elementwise,
    movement,
    normalization,
    pooling,
    resize,
    weighted,
)

Lower = Callable[[Emitter, NodeView], None]

LOWERINGS: Mapping[type[Op], Lower] = {
    **weighted.LOWERINGS,
    **elementwise.LOWERINGS,
    **normalization.LOWERINGS,
    **pooling.LOWERINGS,
    **resize.LOWERINGS,
    **movement.LOWERINGS,
}


@dataclass(frozen=True, eq=False)
class Lowered:
    """A TFLite model, not yet serialized, and what was decided on the way."""

    model: FlatModel
    decisions: tuple[Decision, ...]


def lower_model(model: QuantModel, flavor: Flavor = LITERT) -> Lowered:
    """Lower a quantized (or plain float) model with an NHWC graph.

    Raises:
        InternalError: the graph has an operator that the capabilities do not state.
    """
    emitter = Emitter(model, flavor)
    for node in model.graph.nodes:
        view = emitter.begin(node)
        lower = LOWERINGS.get(type(node.op))
        if lower is None:
            raise InternalError(f"There is no lowering for {node.op.kind} ({node.name}) in TFLite.")
        lower(emitter, view)
    return Lowered(emitter.finish(), tuple(emitter.decisions))
