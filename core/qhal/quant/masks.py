"""What may be cut off a tensor's range: values for which every reader saturates.

An operand of HardSwish may be cut at -3 without any change of the result, one of Sigmoid where
the result is within half a step of 0 or 1. A range that leaves these parts out has finer steps
where they count. Networks full of SiLU gain most: their pre-activations reach far below zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf, log

import numpy as np

from qhal.ir.graph import Graph, Node
from qhal.ir.ops import Clip, HardSigmoid, HardSwish, Mul, Relu, Relu6, Sigmoid, Silu, Tanh
from qhal.quant.collectors import Histogram, TensorStats, frame
from qhal.quant.range_estimators import RealRange

EVERYWHERE: RealRange = (-inf, inf)

SILU_LOW = -8.0
"""``silu(-8) = -0.0027``: less than half a step of any result that reaches 1.4 in 8 bits."""


def useful_range(graph: Graph, tensor: str, bits: int) -> RealRange:
    """Find the range outside of which values of a tensor make no difference to its readers.

    Args:
        graph: a graph before or after conversions were inserted.
        tensor: name of the tensor.
        bits: of the readers' results.
    """
    readers = graph.consumers[tensor]
    if tensor in graph.outputs or not readers:
        return EVERYWHERE
    if _is_silu(graph, tensor, readers):
        return (SILU_LOW, inf)
    ranges = [_reader_range(node, tensor, bits) for node in readers]
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def clip_stats(stats: TensorStats, useful: RealRange) -> TensorStats:
    """Make the statistics that a tensor would have if its values were clipped to a range."""
    low, high = np.clip((stats.minimum, stats.maximum), *useful)
    if (low, high) == (stats.minimum, stats.maximum):
        return stats
    histogram = _clip_histogram(stats.histogram, float(low), float(high))
    return replace(stats, minimum=float(low), maximum=float(high), histogram=histogram)


def _clip_histogram(histogram: Histogram, low: float, high: float) -> Histogram:
    """Count what lies outside in the bins of the two ends; one bin if all lies outside."""
    if low == high:
        exponent, first, _ = frame(low, high)
        return Histogram(exponent, first, np.array([histogram.total], np.int64))
    last = len(histogram.counts) - 1
    ends = np.floor(np.array((low, high)) / histogram.width) - histogram.first
    begin, end = (int(e) for e in np.clip(ends, 0, last))
    counts = histogram.counts[begin : end + 1].copy()
    counts[0] += histogram.counts[:begin].sum()
    counts[-1] += histogram.counts[end + 1 :].sum()
    return replace(histogram, first=histogram.first + begin, counts=counts)


def _is_silu(graph: Graph, tensor: str, readers: Sequence[Node]) -> bool:
    """Return True for ``x * sigmoid(x)`` written as two operators."""
    gates = [node for node in readers if isinstance(node.op, Sigmoid)]
    products = [node for node in readers if isinstance(node.op, Mul)]
    if len(gates) != 1 or len(products) != 1 or len(readers) != 2:
        return False
    return set(products[0].inputs) == {tensor, gates[0].outputs[0]}


def _reader_range(node: Node, tensor: str, bits: int) -> RealRange:
    found = _RANGES.get(type(node.op))
    return EVERYWHERE if found is None or node.inputs[0] != tensor else found(node, bits)


def _sigmoid_range(node: Node, bits: int) -> RealRange:
    """Find where the result is over half a step from 0 and 1, at a scale of ``2**-bits``."""
    end = log(2.0 * 2.0**bits)
    return -end, end


def _tanh_range(node: Node, bits: int) -> RealRange:
    """Find where the result is over half a step from -1 and 1, at a scale of ``2**(1 - bits)``."""
    end = 0.5 * log(4.0 * 2.0 ** (bits - 1))
    return -end, end


def _hard_sigmoid_range(node: Node, bits: int) -> RealRange:
    assert isinstance(node.op, HardSigmoid)
    ends = -node.op.beta / node.op.alpha, (1.0 - node.op.beta) / node.op.alpha
    return min(ends), max(ends)


def _clip_range(node: Node, bits: int) -> RealRange:
    assert isinstance(node.op, Clip)
    return node.op.low, node.op.high


_RANGES: dict[type, Callable[[Node, int], RealRange]] = {
    Sigmoid: _sigmoid_range,
    Tanh: _tanh_range,
    HardSigmoid: _hard_sigmoid_range,
    Clip: _clip_range,
    HardSwish: lambda node, bits: (-3.0, inf),
    Silu: lambda node, bits: (SILU_LOW, inf),
    Relu: lambda node, bits: (0.0, inf),
    Relu6: lambda node, bits: (0.0, 6.0),
}
