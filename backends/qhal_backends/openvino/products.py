"""Matrix products in a row, of which OpenVINO makes one kernel (TokenizeMLPSeqSnippets).

OpenVINO 2026.4 computes something else if integers lie between two products and all elements of
the bias between them are equal, or there is none: it takes the Add for one of a single number, or
removes it. A bias of which one element differs in its last bit is computed right.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from qhal.ir import ops
from qhal.ir.graph import Graph, Node
from qhal.quant.model import QuantModel

_CONVERSIONS = (ops.Quantize, ops.Dequantize, ops.Requantize)

Row = npt.NDArray[np.float32]


def uneven_biases(model: QuantModel) -> Mapping[str, Row]:
    """Make the biases (1, N) that differ from the model's, so that products in a row are right.

    Returns:
        Node -> its bias.
    """
    found: dict[str, Row] = {}
    for node in model.graph.nodes:
        before = _product_in_front(model.graph, node) if _is_product(model, node) else None
        if before is not None and _is_product(model, before):
            bias = _bias(model.graph, before)
            if (bias == bias[0, 0]).all():
                found[before.name] = _uneven(bias)
    return found


def _uneven(bias: Row) -> Row:
    """Change the first element by the least that is not flushed to zero."""
    least = np.float32(np.finfo(np.float32).tiny)
    first = bias[0, 0]
    changed = bias.copy()
    changed[0, 0] = max(np.nextafter(first, np.float32(np.inf)), first + least)
    return changed


def _is_product(model: QuantModel, node: Node) -> bool:
    """Return True for a layer on a matrix of integers."""
    x = node.inputs[0] if node.inputs else ""
    is_layer = isinstance(node.op, ops.FullyConnected) and x in model.params
    return is_layer and len(model.graph.tensors[x].shape) == 2


def _bias(graph: Graph, node: Node) -> Row:
    if len(node.inputs) > 2 and node.inputs[2]:
        return graph.constants[node.inputs[2]].astype(np.float32).reshape(1, -1)
    return np.zeros((1, graph.tensors[node.outputs[0]].shape[-1]), np.float32)


def _product_in_front(graph: Graph, node: Node) -> Node | None:
    """Find the layer that a layer follows, with nothing in between but work on each element."""
    before = graph.producers.get(node.inputs[0])
    while before is not None and not isinstance(before.op, ops.FullyConnected):
        if not (isinstance(before.op, _CONVERSIONS) or before.op.traits.elementwise):
            return None
        before = graph.producers.get(before.inputs[0])
    return before
