"""How large the arena of a model has to be.

The interpreter's own number is what it holds after loading. Two things are not in it: the scratch
buffers of CMSIS-NN's kernels, where the interpreter has others, and what is held only while the
model is loaded, which for a model of many small tensors is more than its activations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qhal_backends.arm.cortexm.cores import Kernels
from qhal_backends.arm.cortexm.graph import FileGraph, FileNode, Tensor, read_graph
from qhal_backends.arm.cortexm.plan import Buffer, align, planned_bytes
from qhal_backends.arm.cortexm.requests import requests_of

_POINTER = 8
_REQUEST = 16
"""``internal::ScratchBufferRequest``."""
_SPARE_REQUESTS = 12
"""kMaxScratchBuffersPerOp, for which room is kept while a model is loaded."""
_ALLOCATION = 32
"""``AllocationInfo``, one for each tensor and scratch buffer."""
_PLANNED = 40
"""``GreedyMemoryPlanner::per_buffer_size()``."""
_OPERAND = 64 + 24
"""``TfLiteTensor`` and ``TfLiteAffineQuantization``."""


@dataclass(frozen=True)
class Held:
    """What the interpreter holds after loading, by its own account.

    Attributes:
        planned: bytes for activations and scratch buffers, the arena's head.
        persistent: bytes for everything else, the arena's tail.
    """

    planned: int
    persistent: int

    @property
    def total(self) -> int:
        """All bytes."""
        return self.planned + self.persistent


@dataclass(frozen=True)
class Needs:
    """The arena of a model with some kernels.

    Attributes:
        kernels: the kernels.
        planned: bytes for activations and scratch buffers.
        scratch: bytes of the largest request of one node.
        total: an arena with which the model loads. Structures count as they are with pointers of
            64 bits, so that 32-bit pointers need less.
    """

    kernels: Kernels
    planned: int
    scratch: int
    total: int


def needs_of(content: bytes, held: Held, kernels: Sequence[Kernels]) -> Needs:
    """Compute the arena for the kernels that need most.

    Args:
        content: a ``.tflite`` file.
        held: what the interpreter with the reference kernels holds for it.
        kernels: one kind, or those that are possible.
    """
    graph = read_graph(content)
    # What the plan of the file alone does not explain is needed with other kernels too.
    unexplained = max(0, held.planned - planned_bytes(buffers_of(graph, Kernels.REFERENCE)))
    found = (_needs(graph, held.persistent, unexplained, kind) for kind in kernels)
    return max(found, key=lambda needs: needs.total)


def _needs(graph: FileGraph, persistent: int, unexplained: int, kernels: Kernels) -> Needs:
    buffers = buffers_of(graph, kernels)
    asked = [requests_of(graph, node, kernels) for node in graph.nodes]
    count = sum(map(len, asked))
    planned = planned_bytes(buffers) + unexplained
    room = max(planned, _while_planning(graph, len(buffers), count), _while_preparing(graph, count))
    total = align(persistent) + align(_POINTER * count) + align(room)
    return Needs(kernels, planned, max(map(sum, asked), default=0), total)


def _while_planning(graph: FileGraph, buffers: int, requests: int) -> int:
    """Count what ``MicroAllocator::CommitStaticMemoryPlan`` holds."""
    asked = _REQUEST * (_SPARE_REQUESTS + requests)
    lifetimes = _POINTER + _ALLOCATION * (len(graph.tensors) + requests)
    return align(asked + lifetimes) + align(_PLANNED * buffers)


def _while_preparing(graph: FileGraph, requests: int) -> int:
    """Count what is held while a node's kernel prepares, for the node with most."""
    operands = (_operands_bytes(graph, node) for node in graph.nodes)
    return align(_REQUEST * (_SPARE_REQUESTS + requests)) + max(operands, default=0)


def _operands_bytes(graph: FileGraph, node: FileNode) -> int:
    """Count the descriptions of a node's operands, which have a zero point for each scale.

    ``Prepare`` holds those of two inputs and the outputs while a function that it calls, such as
    ``CalculateOpDataConv``, makes all of them again.
    """
    again = (*node.inputs[:2], *node.outputs)
    indices = (*node.inputs, *node.outputs, *again)
    return sum(_description(graph.tensors[index]) for index in indices)


def _description(tensor: Tensor) -> int:
    return _OPERAND + align(4 * (1 + tensor.scales))


def buffers_of(graph: FileGraph, kernels: Kernels) -> tuple[Buffer, ...]:
    """List what is planned: tensors, then scratch buffers, as ``AllocationInfoBuilder`` does.

    Inputs are there from the start, outputs until the end; a scratch buffer lives as long as its
    node runs (tensorflow/lite/micro/micro_allocation_info.cc).
    """
    first, last = _lifetimes(graph)
    tensors = (
        Buffer(tensor.size, first.get(index, -1), last.get(index, -1))
        for index, tensor in enumerate(graph.tensors)
        if tensor.planned and tensor.size
    )
    scratch = (
        Buffer(size, step, step)
        for step, node in enumerate(graph.nodes, start=1)
        for size in requests_of(graph, node, kernels)
    )
    return (*tensors, *scratch)


def _lifetimes(graph: FileGraph) -> tuple[dict[int, int], dict[int, int]]:
    first = dict.fromkeys(graph.inputs, 0)
    last = dict.fromkeys(graph.inputs, 0)
    for step, node in enumerate(graph.nodes, start=1):
        for index in node.outputs:
            first.setdefault(index, step)
        last.update(dict.fromkeys((*node.inputs, *node.outputs), step))
    for index in graph.outputs:
        first.setdefault(index, len(graph.nodes))
        last[index] = len(graph.nodes)
    return first, last
