"""A scale per channel in front of depthwise convolutions, folded into the weights around them.

A depthwise convolution reads every channel on its own, with a weight scale of its own. A channel
that is small in its input can carry as much as a large one, but shares the large one's step and
drowns in rounding errors. Dividing channel ``c`` by ``s_c`` where the tensor is made, and
multiplying the depthwise weights of that channel by ``s_c``, changes nothing in float and costs
nothing in integers: both weights have a scale per channel anyway. With ``s_c`` the channel's
largest magnitude, all channels fill the range. It is cross-layer equalization (Nagel et al. 2019,
"Data-Free Quantization through Weight Equalization and Bias Correction", section 4.1) in the one
place where nothing is traded for it, with ranges of activations in the place of weights.

The scale passes through operators with ``f(s x) = s f(x)``. SiLU is ``x * sigmoid(x)``: there the
argument of the sigmoid is scaled back by one more multiplication, which is only done where the
gain is large. ReLU6 cuts off what exceeds 6: a channel that was divided by ``s_c`` is cut off at
``6 s_c``. That is what the range of an 8-bit tensor does as well, and it stays far above all that
was seen, so it is done where the gain is large, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, log10

import numpy as np
import numpy.typing as npt

from qhal.data import Dataset
from qhal.decisions import Code, Decision
from qhal.ir.build import GraphBuilder
from qhal.ir.graph import Array, Graph, Node
from qhal.ir.ops import (
    Activation,
    AveragePool,
    Conv,
    ConvTranspose,
    DepthwiseConv,
    LeakyRelu,
    MaxPool,
    Mul,
    Op,
    Pad,
    PRelu,
    Relu,
    Relu6,
    Resize,
    Sigmoid,
    Silu,
)
from qhal.quant.floatrun import FloatRun
from qhal.quant.masks import SILU_LOW
from qhal.quant.rewritten import Rewritten
from qhal.quant.weight_rows import output_axis

Float = npt.NDArray[np.float32]

LEAST_GATED_GAIN_DB = 10.0
"""Gain from which on a SiLU is rewritten, which costs a multiplication more."""

LEAST_CLIPPED_GAIN_DB = 6.0
"""Gain from which on a channel behind a ReLU6 is cut off earlier."""

_HEADROOM = 3.0
"""How far above the largest magnitude seen a ReLU6 may begin to cut off."""
_LEAST_CLIPPED_LEVELS = 16
"""A channel behind a ReLU6 is magnified by 16 at most, so that one that was silent can speak."""

_SAMPLES = 16
_LEVELS = 255
"""Scales are multiples of 1/255: an 8-bit constant holds them exactly, and the last bits of what
was measured make no difference."""

_CUT_OFF = 6.0
_HOMOGENEOUS = (Relu, LeakyRelu, PRelu, MaxPool, AveragePool, Resize)


@dataclass(frozen=True)
class Chain:
    """A way from a convolution to the depthwise convolutions that alone read its result.

    Attributes:
        producer: the convolution.
        between: operators that let a scale pass, from first to last.
        tensor: what the depthwise convolutions read.
        readers: the depthwise convolutions.
    """

    producer: Node
    between: tuple[Node, ...]
    tensor: str
    readers: tuple[Node, ...]

    @property
    def scaled(self) -> tuple[str, ...]:
        """Tensors whose ranges the scales have to suit.

        What a SiLU reads belongs to them: it reaches far where the result is almost 0. So does
        what a ReLU6 makes: a pooling behind it may make it smaller.
        """
        clipped = (node.outputs[0] for node in self.clips)
        return (self.tensor, *(node.inputs[0] for node in self.gates), *clipped)

    @property
    def gates(self) -> tuple[Node, ...]:
        """The SiLUs among the operators."""
        return tuple(node for node in self.between if isinstance(node.op, Silu))

    @property
    def clips(self) -> tuple[Node, ...]:
        """The ReLU6s among the operators."""
        return tuple(node for node in self.between if isinstance(node.op, Relu6))


@dataclass(frozen=True, eq=False)
class Finding:
    """What equalizing a chain would do.

    Attributes:
        chain: the chain.
        peak: largest useful magnitude of each channel, (C,).
        scale: the factor by which each channel would be divided, (C,), at most 1.
        gain_db: by how much rounding the tensor would disturb the results of its readers less.
    """

    chain: Chain
    peak: Float
    scale: Float
    gain_db: float

    @property
    def pays(self) -> bool:
        """True if the gain is worth what it costs."""
        least = LEAST_GATED_GAIN_DB if self.chain.gates else 0.0
        return self.gain_db > max(least, LEAST_CLIPPED_GAIN_DB if self.chain.clips else 0.0)

    @property
    def decision(self) -> Decision:
        """The sentence for the record."""
        gated = " A multiplication in front of each sigmoid undoes it." if self.chain.gates else ""
        least = _CUT_OFF * _LEAST_CLIPPED_LEVELS / _LEVELS
        clipped = (
            f" Its ReLU6 now clips a channel at {_HEADROOM:g} times the largest value seen, "
            f"or at {least:.2g} if that is more."
        )
        sentence = (
            f"The {self.peak.size} channels of {self.chain.tensor} have peaks from "
            f"{float(self.peak.min()):.3g} to {float(self.peak.max()):.3g}. They were scaled to "
            f"a common range: {self.gain_db:.1f} dB less rounding error in "
            f"{', '.join(reader.name for reader in self.chain.readers)}.{gated}"
            f"{clipped if self.chain.clips else ''}"
        )
        return Decision(Code.EQUALIZED, sentence, self.chain.tensor)


def survey(graph: Graph, samples: Dataset) -> tuple[Finding, ...]:
    """Find what could be equalized.

    Args:
        graph: float canonical graph in NCHW.
        samples: calibration data. A few of them are looked at, since no choice of scales
            changes what the model computes.

    Raises:
        ModelInvalidError: onnxruntime does not take the graph.
        DataValueError: onnxruntime fails on a sample.
    """
    chains = find_chains(graph)
    peaks = _channel_peaks(graph, chains, samples) if chains else {}
    return tuple(_finding(graph, chain, peaks[chain.tensor]) for chain in chains)


def equalize(graph: Graph, findings: Sequence[Finding]) -> Rewritten:
    """Give the channels in front of depthwise convolutions the same range, where it pays.

    Args:
        graph: the graph that was surveyed.
        findings: from :func:`survey`; those of chains that are to stay as they are left out.
    """
    chosen = [finding for finding in findings if finding.pays]
    if not chosen:
        return Rewritten(graph, ())
    scales = {finding.chain.tensor: finding.scale for finding in chosen}
    scaled = rescale(graph, [finding.chain for finding in chosen], scales)
    return Rewritten(scaled, tuple(finding.decision for finding in chosen))


# --- where --------------------------------------------------------------------


def find_chains(graph: Graph) -> tuple[Chain, ...]:
    """Find all chains of a graph, in the order of what their depthwise convolutions read."""
    read = [n.inputs[0] for n in graph.nodes if isinstance(n.op, DepthwiseConv)]
    found = (_chain(graph, tensor) for tensor in dict.fromkeys(read))
    return tuple(chain for chain in found if chain is not None)


def _chain(graph: Graph, tensor: str) -> Chain | None:
    readers = graph.consumers[tensor]
    if tensor in graph.outputs or not all(_is_foldable(graph, n, DepthwiseConv) for n in readers):
        return None
    between: list[Node] = []
    node = graph.producers.get(tensor)
    while node is not None and _passes_scale(graph, node):
        between.insert(0, node)
        source = node.inputs[0]
        if source in graph.outputs or len(graph.consumers[source]) != 1:
            return None
        node = graph.producers.get(source)
    if node is None or not _is_producer(graph, node):
        return None
    return Chain(node, tuple(between), tensor, readers)


def _is_foldable(graph: Graph, node: Node, kinds: type[Op] | tuple[type[Op], ...]) -> bool:
    """Return True for a convolution with constant weights and a constant bias or none."""
    operands = [name for name in node.inputs[1:] if name]
    return isinstance(node.op, kinds) and all(name in graph.constants for name in operands)


def _is_producer(graph: Graph, node: Node) -> bool:
    if not _is_foldable(graph, node, (Conv, DepthwiseConv, ConvTranspose)):
        return False
    if isinstance(node.op, ConvTranspose) and node.op.groups > 1:
        return False
    return node.op.fused is not Activation.RELU6


def _passes_scale(graph: Graph, node: Node) -> bool:
    """Return True if scaling a channel of the operand scales that channel of the result."""
    op, rank = node.op, len(graph.tensors[node.inputs[0]].shape)
    if not all(name in graph.constants for name in node.inputs[1:]):
        return False
    if isinstance(op, Pad):
        return (op.mode != "constant" or op.value == 0.0) and op.pads[1] == op.pads[rank + 1] == 0
    return isinstance(op, (*_HOMOGENEOUS, Silu, Relu6))


# --- how much -----------------------------------------------------------------


def _channel_peaks(graph: Graph, chains: Sequence[Chain], samples: Dataset) -> dict[str, Float]:
    """Map each chain's tensor to the largest useful magnitude per channel in a few samples."""
    run = FloatRun(graph, sorted({name for chain in chains for name in chain.scaled}))
    peaks = {c.tensor: np.zeros(graph.tensors[c.tensor].shape[1], np.float32) for c in chains}
    for index in range(0, len(samples), ceil(len(samples) / _SAMPLES)):
        values = run.run(samples.sample(index), where=samples.where(index))
        for chain in chains:
            peak = peaks[chain.tensor]
            np.maximum(peak, _largest(values[chain.tensor], -np.inf), out=peak)
            for gate in chain.gates:
                np.maximum(peak, _largest(values[gate.inputs[0]], SILU_LOW), out=peak)
            for clip in chain.clips:
                np.maximum(peak, _largest(values[clip.outputs[0]], -np.inf), out=peak)
    return peaks


def _largest(values: Array, useful_low: float) -> Float:
    """Find each channel's largest magnitude that is high enough to matter; copy nothing."""
    rows = np.asarray(values, np.float32)
    others = (0, *range(2, rows.ndim))
    low = np.maximum(rows.min(axis=others), np.float32(useful_low))
    return np.asarray(np.maximum(rows.max(axis=others), -low), np.float32)


def _finding(graph: Graph, chain: Chain, peak: Float) -> Finding:
    scale = _clipped_scale(peak) if chain.clips else _scale(peak)
    return Finding(chain, peak, scale, _gain_db(graph, chain, scale))


def _scale(peak: Float) -> Float:
    """Return peaks relative to the largest one, in multiples of 1/255; ones if none are known."""
    largest = float(peak.max(initial=0.0))
    if not np.isfinite(largest) or largest == 0.0:
        return np.ones_like(peak)
    levels = np.clip(np.ceil(peak / largest * _LEVELS), 1, _LEVELS)
    return np.asarray(levels / _LEVELS, np.float32)


def _clipped_scale(peak: Float) -> Float:
    """Return how much each channel can grow and surely stay below the 6 of a ReLU6."""
    levels = np.ceil(_HEADROOM * peak / _CUT_OFF * _LEVELS)
    return np.asarray(np.clip(levels, _LEAST_CLIPPED_LEVELS, _LEVELS) / _LEVELS, np.float32)


def _gain_db(graph: Graph, chain: Chain, scale: Float) -> float:
    """Compare rounding errors at the readers, weighted by the power of their weights and scale."""
    before = after = 0.0
    for reader in chain.readers:
        weight = graph.constants[reader.inputs[1]].astype(np.float64)
        power = np.square(weight).reshape(scale.size, -1).sum(axis=1)
        before += float(power.sum())
        after += float(np.dot(power, np.square(scale, dtype=np.float64)))
    return 10.0 * log10(before / after) if after > 0.0 else 0.0


# --- the rewrite --------------------------------------------------------------


def rescale(graph: Graph, chains: Sequence[Chain], scales: Mapping[str, Float]) -> Graph:
    """Divide the channels of each chain's tensor by its scale, without changing any result.

    Args:
        graph: float canonical graph in NCHW.
        chains: of the graph.
        scales: tensor of a chain -> positive factor of each channel, (C,).
    """
    made = {chain.producer.name: scales[chain.tensor] for chain in chains}
    read = {node.name: scales[chain.tensor] for chain in chains for node in chain.readers}
    gated = {node.name: scales[chain.tensor] for chain in chains for node in chain.gates}
    builder = GraphBuilder(start=graph)
    for node in graph.nodes:
        if node.name in gated:
            _emit_gate(builder, node, gated[node.name])
        else:
            builder.emit(_folded(builder, node, made.get(node.name), read.get(node.name)))
    return builder.build()


def _folded(builder: GraphBuilder, node: Node, made: Float | None, read: Float | None) -> Node:
    """Fold the scales of its result (divided) and operand (multiplied) into a convolution."""
    if made is None and read is None:
        return node
    names = list(node.inputs)
    weight = builder.value(names[1])
    assert weight is not None
    axis = output_axis(node.op)
    factor = np.ones(weight.shape[axis], np.float32)
    if read is not None:
        assert isinstance(node.op, DepthwiseConv)
        factor *= np.repeat(read, node.op.multiplier)
    if made is not None:
        factor /= made
    column = factor.reshape([-1 if i == axis else 1 for i in range(weight.ndim)])
    names[1] = builder.constant(f"{names[1]}__equalized", np.multiply(weight, column))
    if made is not None and len(names) > 2 and names[2]:
        bias = builder.value(names[2])
        assert bias is not None
        names[2] = builder.constant(f"{names[2]}__equalized", np.divide(bias, made))
    return replace(node, inputs=tuple(names))


def _emit_gate(builder: GraphBuilder, node: Node, scale: Float) -> None:
    """Emit ``x * sigmoid(s * x)``: SiLU of ``s * x``, divided by ``s``."""
    (source,), (result,) = node.inputs, node.outputs
    column = scale.reshape(-1, *(1 for _ in builder.type(source).shape[2:]))
    factor = builder.constant(f"{node.name}/scale", column)
    argument = builder.one(
        Mul(), [source, factor], name=f"{node.name}/argument", origin=node.origin
    )
    gate = builder.one(Sigmoid(), [argument], name=f"{node.name}/gate", origin=node.origin)
    builder.emit(replace(node, op=Mul(), inputs=(source, gate), outputs=(result,)))
