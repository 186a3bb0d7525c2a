"""What TensorFlow Lite Micro plans memory for: the tensors and nodes of a ``.tflite`` file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Tensor:
    """A tensor.

    Attributes:
        shape: empty for a scalar.
        dtype: such as ``int8``.
        planned: True if it has no content in the file, so that the arena holds it.
        scales: number of its quantization scales.
    """

    shape: tuple[int, ...]
    dtype: str
    planned: bool
    scales: int

    @property
    def elements(self) -> int:
        """How many elements it has."""
        return prod(self.shape)

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return self.elements * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class FileNode:
    """An operator of the file.

    Attributes:
        builtin: its name, such as ``CONV_2D``.
        inputs: indices of tensors, without those that are left out.
        outputs: indices of tensors.
        options: the schema's object; None if it has no options.
    """

    builtin: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any


@dataclass(frozen=True)
class FileGraph:
    """The only subgraph of a file.

    Attributes:
        tensors: by index.
        nodes: in execution order.
        inputs: indices of tensors.
        outputs: indices of tensors.
    """

    tensors: tuple[Tensor, ...]
    nodes: tuple[FileNode, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def read_graph(content: bytes) -> FileGraph:
    """Read a ``.tflite`` file."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if name.isupper()}
    types = {code: name.lower() for name, code in vars(schema.TensorType).items() if name.isupper()}
    codes = [names[max(c.builtinCode, c.deprecatedBuiltinCode)] for c in model.operatorCodes]
    return FileGraph(
        tuple(_tensor(tensor, types, model.buffers) for tensor in graph.tensors),
        tuple(_node(op, codes[op.opcodeIndex]) for op in graph.operators),
        _indices(graph.inputs),
        _indices(graph.outputs),
    )


def _tensor(tensor: Any, types: dict[int, str], buffers: Sequence[Any]) -> Tensor:
    shape = () if tensor.shape is None else tuple(map(int, tensor.shape))
    content = buffers[tensor.buffer].data
    scale = None if tensor.quantization is None else tensor.quantization.scale
    empty = content is None or len(content) == 0
    scales = 0 if scale is None else len(scale)
    return Tensor(shape, types[tensor.type], empty and not tensor.isVariable, scales)


def _node(op: Any, builtin: str) -> FileNode:
    return FileNode(builtin, _indices(op.inputs), _indices(op.outputs), op.builtinOptions)


def _indices(found: Any) -> tuple[int, ...]:
    return () if found is None else tuple(int(index) for index in found if index >= 0)
