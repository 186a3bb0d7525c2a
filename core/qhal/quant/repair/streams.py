"""The float model and the quantized one, run side by side, up to the layer that is fitted next."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import IO

import numpy as np

from qhal.data import Dataset
from qhal.data.room import copying, discard, temporary_file
from qhal.host import usable_cores
from qhal.ir.graph import Array, Graph, Node, TensorType
from qhal.progress import SILENT, Progress
from qhal.quant.arithmetic import dequantize, quantize
from qhal.quant.covariance import ReceptiveField
from qhal.quant.floatrun import FloatRun
from qhal.quant.model import QuantParams
from qhal.quant.repair.moments import Moments, MomentsCollector, moments_of

SAMPLES = 100
"""Samples that layers are fitted to, at most."""


@dataclass(frozen=True, eq=False)
class Refit:
    """What layers are fitted to.

    Attributes:
        graph: the float canonical graph in NCHW.
        dataset: the calibration samples.
        sources: activation of the target's graph -> that of ``graph`` whose elements it holds,
            where their names differ.
        progress: is advanced with each node.
    """

    graph: Graph
    dataset: Dataset
    sources: Mapping[str, str] = field(default_factory=dict)
    progress: Progress = SILENT


@contextmanager
def open_streams(refit: Refit, params: Mapping[str, QuantParams]) -> Iterator[Streams]:
    """Open both models at their inputs.

    Args:
        refit: the float model and its samples.
        params: quantized activation of ``refit.graph`` -> its parameters.
    """
    with refit.progress.stage("repair", total=len(refit.graph.nodes)) as advance:
        streams = Streams(refit, params, advance)
        try:
            yield streams
        finally:
            streams.close()


class _Tape:
    """The values of one tensor for every sample, in a temporary file."""

    def __init__(self, kind: TensorType, params: QuantParams | None) -> None:
        self._params, self._shape = params, kind.shape
        self._dtype = kind.dtype.numpy if params is None else params.dtype.numpy
        self._file: IO[bytes] = temporary_file()

    def write(self, values: Array) -> None:
        """Append one sample; integers are kept of a quantized tensor."""
        stored = values if self._params is None else quantize(values, self._params)
        with copying("what layers see"):
            self._file.write(np.ascontiguousarray(stored).tobytes())

    def read(self) -> Iterator[Array]:
        """Give real values, sample by sample."""
        self._file.flush()
        self._file.seek(0)
        size = int(np.prod(self._shape, dtype=np.int64)) * self._dtype.itemsize
        while data := self._file.read(size):
            stored = np.frombuffer(data, self._dtype).reshape(self._shape)
            yield stored if self._params is None else dequantize(stored, self._params)

    def close(self) -> None:
        """Give the room back."""
        discard(self._file)


class Streams:
    """Both models over the samples; only tensors that are still read are kept."""

    def __init__(
        self, refit: Refit, params: Mapping[str, QuantParams], advance: Callable[[int], None]
    ) -> None:
        self._graph, self._params, self._advance = refit.graph, params, advance
        self._count = min(len(refit.dataset), SAMPLES)
        self._next = 0
        self._stored: dict[str, tuple[Array, Array | None]] = {}
        self._tapes: tuple[dict[str, _Tape], dict[str, _Tape]] = ({}, {})
        self._places = {node.name: at for at, node in enumerate(refit.graph.nodes)}
        self._last = {name: at for at, node in enumerate(refit.graph.nodes) for name in node.inputs}
        for index in range(self._count):
            self._write_inputs(refit.dataset.sample(index))

    def find(self, name: str) -> Node | None:
        """Find a node by name; None if it is not there, or was passed already."""
        place = self._places.get(name, -1)
        return self._graph.nodes[place] if place >= self._next else None

    def weight_shape(self, node: Node) -> tuple[int, ...] | None:
        """Return the shape of a node's constant weight that no other node reads, else None."""
        name = node.inputs[1]
        alone = name in self._graph.constants and len(self._graph.consumers[name]) == 1
        return self._graph.constants[name].shape if alone else None

    def moments(self, node: Node, receptive: ReceptiveField) -> tuple[Moments, Moments, Moments]:
        """Run both models up to a node; return its moments over all samples, and over halves."""
        self._run_to(self._places[node.name])
        halves = [MomentsCollector(receptive, self._count) for _ in range(2)]
        tapes = (stream[node.inputs[0]].read() for stream in self._tapes)
        for index, (exact, quantized) in enumerate(zip(*tapes, strict=True)):
            halves[index % 2].update(exact, quantized)
        return moments_of(*halves), moments_of(halves[0]), moments_of(halves[1])

    def store(self, node: Node, weight: Array, bias: Array | None) -> None:
        """Give a node of the quantized model its weight and bias, as real numbers.

        The node may have no bias in the float model.
        """
        self._stored[node.name] = (weight, bias)

    def close(self) -> None:
        """Remove what is left."""
        for stream in self._tapes:
            for tape in stream.values():
                tape.close()
            stream.clear()

    # --- running ---

    def _write_inputs(self, sample: Mapping[str, Array]) -> None:
        for name in self._graph.inputs:
            if name in self._last:
                self._write(name, sample[name], sample[name])

    def _write(self, name: str, exact: Array, quantized: Array) -> None:
        kind = self._graph.tensors[name]
        wanted = self._params.get(name)
        for stream, values, params in zip(
            self._tapes, (exact, quantized), (None, wanted), strict=True
        ):
            if name not in stream:
                stream[name] = _Tape(kind, params)
            stream[name].write(values)

    def _run_to(self, place: int) -> None:
        while self._next < place:
            self._run(self._graph.nodes[self._next])
            self._drop()
            self._next += 1
            self._advance(1)

    def _run(self, node: Node) -> None:
        kept = [name for name in node.outputs if name in self._last]
        if not kept:
            return
        alone = _alone(self._graph, node)
        exact = FloatRun(alone, kept, threads=usable_cores())
        quantized = exact
        if node.name in self._stored:
            stored = _with_constants(alone, node, *self._stored.pop(node.name))
            quantized = FloatRun(stored, kept, threads=usable_cores())
        for pair in zip(*(self._samples(alone, stream) for stream in self._tapes), strict=True):
            results = exact.run(pair[0])
            made = {name: results[name].copy() for name in kept}
            again = quantized.run(pair[1])
            for name in kept:
                self._write(name, made[name], again[name])

    def _samples(self, graph: Graph, stream: Mapping[str, _Tape]) -> Iterator[dict[str, Array]]:
        readers = {name: stream[name].read() for name in graph.inputs}
        for _ in range(self._count):
            yield {name: next(reader) for name, reader in readers.items()}

    def _drop(self) -> None:
        for stream in self._tapes:
            for name in [name for name in stream if self._last[name] <= self._next]:
                stream.pop(name).close()


def _alone(graph: Graph, node: Node) -> Graph:
    """Cut one node out of a graph."""
    read = tuple(dict.fromkeys(n for n in node.inputs if n and n not in graph.constants))
    cut = replace(graph, inputs=read, outputs=node.outputs, permutations={})
    return cut.with_nodes([node])


def _with_constants(graph: Graph, node: Node, weight: Array, bias: Array | None) -> Graph:
    """Put another weight and bias into the only node of a graph."""
    names = (node.inputs[1], f"{node.name}__bias")
    constants = {**graph.constants, names[0]: weight}
    tensors = dict(graph.tensors)
    if bias is None:
        return replace(graph, constants=constants)
    constants[names[1]], tensors[names[1]] = bias, TensorType(bias.shape)
    inputs = (*node.inputs[:2], names[1], *node.inputs[3:])
    return graph.with_nodes([replace(node, inputs=inputs)], tensors, constants)
