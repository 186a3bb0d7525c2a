"""Where a layer of the target's graph stands in the float graph that its data come from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qhal.ir.graph import Array, Node
from qhal.ir.ops import Ints, Op
from qhal.quant.covariance import ReceptiveField, receptive_field_of
from qhal.quant.repair.moments import LARGEST_FIELD, Moments
from qhal.quant.repair.streams import Streams
from qhal.quant.weight_rows import by_output


@dataclass(frozen=True, eq=False)
class FittingSite:
    """A layer of the float graph.

    Attributes:
        node: the layer.
        shape: of its weight.
        receptive: what one of its outputs multiplies.
        order: the inputs as the target's layout has them, ``there[i] = here[order[i]]``; None if
            they are the same.
    """

    node: Node
    shape: Ints
    receptive: ReceptiveField
    order: npt.NDArray[np.intp] | None

    @staticmethod
    def of(streams: Streams, name: str, order: npt.NDArray[np.intp] | None) -> FittingSite | None:
        """Find the layer of this name; None if it cannot be fitted by itself.

        It cannot if others read its weight too, or its receptive field is not known or too wide.
        """
        node = streams.find(name)
        shape = None if node is None or len(node.inputs) < 2 else streams.weight_shape(node)
        if node is None or shape is None:
            return None
        receptive = receptive_field_of(node.op, shape, LARGEST_FIELD)
        return None if receptive is None else FittingSite(node, shape, receptive, order)

    def look(self, streams: Streams) -> tuple[Moments, Moments, Moments]:
        """Return what the layer sees, in the order of the target's layout."""
        whole, one, other = streams.moments(self.node, self.receptive)
        return whole.in_order(self.order), one.in_order(self.order), other.in_order(self.order)

    def store(self, streams: Streams, op: Op, weight: Array, bias: Array | None) -> None:
        """Put what the target's layer has, as real numbers, into the quantized model.

        Args:
            streams: the models.
            op: the target's operator.
            weight: in its layout.
            bias: (O,), or None.
        """
        rows = by_output(op, weight)
        if self.order is not None:
            here = np.empty_like(rows)
            here[:, self.order] = rows
            rows = here
        streams.store(self.node, rows.reshape(self.shape), bias)
