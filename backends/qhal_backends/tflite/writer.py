"""Serialize a :class:`~qhal_backends.tflite.flat.FlatModel` as a TFLite FlatBuffer.

The schema classes come from ai-edge-litert; what they build is laid out by the FlatBuffers
library in the order of the calls here, so equal models give equal bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np

from qhal.errors import OutputError
from qhal.ir.dtypes import DType
from qhal.ir.graph import Array
from qhal.quant.model import QuantParams
from qhal_backends.tflite.flat import FlatModel, FlatOperator, FlatTensor, OptionValue
from qhal_backends.tflite.options import OPTIONS
from qhal_backends.tflite.versions import lowest_runtime

SIGNATURE = "serving_default"
"""Key of the only signature, as TensorFlow's converter names it."""

_ALIGNMENT = 16
"""Of constant buffers, as the schema demands (``force_align: 16``)."""

_LARGEST_FILE = 2**31 - 1
"""Offsets in a FlatBuffer are 32-bit."""

_NIBBLE = 4

_RUNTIME_FIELD = 16
"""Bytes of the ``min_runtime_version`` metadata (runtime_version.cc)."""


def write(model: FlatModel) -> bytes:
    """Write the bytes of the ``.tflite`` file.

    Raises:
        OutputError: the file would exceed 2 GiB.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    size = sum(t.value.nbytes for t in model.tensors.values() if t.value is not None)
    if size > _LARGEST_FILE:
        raise OutputError(
            f"The constants take {size:,} bytes, but a TFLite file holds at most "
            f"{_LARGEST_FILE:,}.",
            "Quantize the weights (recipe w8a8 or w8), or deploy to another target.",
        )
    builder = flatbuffers.Builder(size + (1 << 16))
    root = _Assembler(schema, model).assemble().Pack(builder)
    builder.Finish(root, b"TFL3")
    return bytes(memoryview(builder.Bytes)[builder.Head() :])


class _Buffer:
    """A constant's bytes: the generated ``BufferT`` would not align them."""

    def __init__(self, schema: Any, content: memoryview) -> None:
        self._schema = schema
        self._content = content

    def Pack(self, builder: Any) -> Any:  # noqa: N802  the name that the schema classes call
        """Append the buffer; called by ``ModelT.Pack``."""
        size = self._content.nbytes
        if not size:
            self._schema.BufferStart(builder)
            return self._schema.BufferEnd(builder)
        builder.StartVector(1, size, _ALIGNMENT)
        builder.head -= size
        builder.Bytes[builder.head : builder.head + size] = self._content
        data = builder.EndVector()
        self._schema.BufferStart(builder)
        self._schema.BufferAddData(builder, data)
        return self._schema.BufferEnd(builder)


@dataclass
class _Assembler:
    """Turns the flat model into the schema's object tree."""

    schema: Any
    model: FlatModel
    buffers: list[_Buffer] = field(default_factory=list)
    buffer_of: dict[bytes, int] = field(default_factory=dict)
    codes: dict[tuple[str, int], int] = field(default_factory=dict)

    def assemble(self) -> Any:
        """Build the root table."""
        schema = self.schema
        self._buffer(memoryview(b""))  # buffer 0 is empty by definition
        index = {name: i for i, name in enumerate(self.model.tensors)}
        root = schema.ModelT()
        root.version = 3
        root.description = "qhal"
        root.subgraphs = [self._subgraph(index)]
        root.operatorCodes = [self._code(*key) for key in self.codes]
        root.metadata = [self._runtime_metadata()]
        root.signatureDefs = [self._signature(index)]
        root.buffers = self.buffers
        return root

    def _subgraph(self, index: dict[str, int]) -> Any:
        graph = self.schema.SubGraphT()
        graph.name = self.model.name or "main"
        graph.tensors = [self._tensor(tensor) for tensor in self.model.tensors.values()]
        graph.inputs = _ints([index[name] for name in self.model.inputs])
        graph.outputs = _ints([index[name] for name in self.model.outputs])
        graph.operators = [self._operator(op, index) for op in self.model.operators]
        return graph

    # --- tensors and buffers ---

    def _tensor(self, tensor: FlatTensor) -> Any:
        made = self.schema.TensorT()
        made.name = tensor.name
        made.shape = _ints(tensor.type.shape)
        made.type = getattr(self.schema.TensorType, tensor.type.dtype.name)
        made.buffer = 0 if tensor.value is None else self._buffer(_content(tensor))
        made.quantization = None if tensor.params is None else self._params(tensor.params)
        return made

    def _buffer(self, content: memoryview) -> int:
        """Return the index of a buffer with this content; equal constants share one."""
        digest = sha256(content).digest()
        if digest not in self.buffer_of:
            self.buffer_of[digest] = len(self.buffers)
            self.buffers.append(_Buffer(self.schema, content))
        return self.buffer_of[digest]

    def _params(self, params: QuantParams) -> Any:
        made = self.schema.QuantizationParametersT()
        made.scale = np.atleast_1d(params.scale).astype(np.float32)
        made.zeroPoint = np.atleast_1d(params.zero_point).astype(np.int64)
        made.quantizedDimension = params.axis or 0
        return made

    # --- operators ---

    def _operator(self, op: FlatOperator, index: dict[str, int]) -> Any:
        made = self.schema.OperatorT()
        made.opcodeIndex = self.codes.setdefault((op.builtin, op.version), len(self.codes))
        made.inputs = _ints([index[name] if name else -1 for name in op.inputs])
        made.outputs = _ints([index[name] for name in op.outputs])
        table = OPTIONS[op.builtin]
        if table:
            made.builtinOptionsType = getattr(self.schema.BuiltinOptions, table)
            made.builtinOptions = self._options(table, op)
        return made

    def _options(self, table: str, op: FlatOperator) -> Any:
        options = getattr(self.schema, f"{table}T")()
        for name, value in op.options.items():
            assert hasattr(options, name), f"{table} has no field {name}"
            setattr(options, name, self._option(value))
        return options

    def _option(self, value: OptionValue) -> Any:
        if isinstance(value, DType):
            return getattr(self.schema.TensorType, value.name)
        return _ints(value) if isinstance(value, tuple) else value

    def _code(self, builtin: str, version: int) -> Any:
        made = self.schema.OperatorCodeT()
        made.builtinCode = getattr(self.schema.BuiltinOperator, builtin)
        # Runtimes before 2.4 read the old 8-bit field, which ends at 127.
        made.deprecatedBuiltinCode = min(made.builtinCode, 127)
        made.version = version
        return made

    # --- metadata ---

    def _runtime_metadata(self) -> Any:
        made = self.schema.MetadataT()
        made.name = "min_runtime_version"
        release = lowest_runtime(self.model.operators).encode()
        made.buffer = self._buffer(memoryview(release.ljust(_RUNTIME_FIELD, b"\0")))
        return made

    def _signature(self, index: dict[str, int]) -> Any:
        made = self.schema.SignatureDefT()
        made.signatureKey = SIGNATURE
        made.subgraphIndex = 0
        made.inputs = self._names(self.model.inputs, index)
        made.outputs = self._names(self.model.outputs, index)
        return made

    def _names(self, names: Iterable[str], index: dict[str, int]) -> list[Any]:
        found = []
        for name in names:
            entry = self.schema.TensorMapT()
            entry.name, entry.tensorIndex = name, index[name]
            found.append(entry)
        return found


def _ints(values: Sequence[int]) -> Any:
    return np.asarray(values, np.int32)


def _content(tensor: FlatTensor) -> memoryview:
    """View the little-endian bytes in row-major order; copy only if they are not stored so."""
    value = tensor.value
    assert value is not None
    stored = np.ascontiguousarray(value, value.dtype.newbyteorder("<")).reshape(-1)
    if tensor.type.dtype.bits == _NIBBLE:
        stored = _pairs(stored)
    return memoryview(stored.view(np.uint8).data)


def _pairs(nibbles: Array) -> Array:
    """Pack two integers of 4 bits into each byte, the first into its low half."""
    even = np.append(nibbles, np.zeros(len(nibbles) % 2, nibbles.dtype)).view(np.uint8)
    return (even[0::2] & 0xF) | (even[1::2] << 4)
