"""The FlatBuffer writer: alignment, sharing, names, determinism."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from qhal.errors import OutputError
from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.graph import TensorType
from qhal.quant.model import QuantModel
from qhal_backends.tflite import writer
from qhal_backends.tflite.flat import FlatModel
from qhal_backends.tflite.lowering import lower_model


def small_model() -> FlatModel:
    """Two convolutions with equal weights, and names that other formats would not take."""
    builder = GraphBuilder("small")
    x = builder.input("in:0/x.y", TensorType((1, 6, 6, 3)))
    weight = np.arange(3 * 3 * 3, dtype=np.float32).reshape(3, 1, 3, 3) / 9
    conv = ops.Conv((1, 1), (0, 1, 0, 1), (1, 1), layout=ops.Layout.NHWC)
    first = builder.one(conv, (x, builder.constant("w1", weight)), name="a")
    second = builder.one(conv, (first, builder.constant("w2", weight)), output="out:0")
    return lower_model(QuantModel(builder.build(outputs=(second,)))).model


def read(content: bytes) -> Any:
    return schema.ModelT.InitFromPackedBuf(content, 0)


def test_equal_models_give_equal_bytes() -> None:
    assert writer.write(small_model()) == writer.write(small_model())


def test_header() -> None:
    content = writer.write(small_model())
    assert content[4:8] == b"TFL3"
    assert read(content).version == 3


def test_names_inputs_and_signature() -> None:
    model = read(writer.write(small_model()))
    (graph,) = model.subgraphs
    names = [tensor.name.decode() for tensor in graph.tensors]
    assert [names[i] for i in graph.inputs] == ["in:0/x.y"]
    assert [names[i] for i in graph.outputs] == ["out:0"]
    assert len(set(names)) == len(names)
    (signature,) = model.signatureDefs
    assert signature.signatureKey == b"serving_default"
    assert [entry.name for entry in signature.inputs] == [b"in:0/x.y"]
    assert [entry.tensorIndex for entry in signature.outputs] == list(graph.outputs)


def test_equal_constants_share_a_buffer() -> None:
    model = read(writer.write(small_model()))
    tensors = {tensor.name.decode(): tensor for tensor in model.subgraphs[0].tensors}
    assert tensors["w1"].buffer == tensors["w2"].buffer
    assert model.buffers[0].data is None
    contents = [bytes(b.data) for b in model.buffers[1:]]
    assert len(set(contents)) == len(contents)


def test_buffers_are_aligned() -> None:
    content = writer.write(small_model())
    model = schema.Model.GetRootAs(content, 0)
    for index in range(1, model.BuffersLength()):
        table = model.Buffers(index)._tab
        start = table.Vector(table.Offset(4))
        assert start % 16 == 0


def test_runtime_metadata() -> None:
    model = read(writer.write(small_model()))
    (entry,) = model.metadata
    assert entry.name == b"min_runtime_version"
    assert bytes(model.buffers[entry.buffer].data) == b"1.5.0".ljust(16, b"\0")


def test_a_file_beyond_two_gib_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_LARGEST_FILE", 16)
    with pytest.raises(OutputError, match="at most 16"):
        writer.write(small_model())


def test_big_endian_constants_are_stored_little_endian() -> None:
    model = small_model()
    tensor = model.tensors["w1"]
    assert tensor.value is not None
    swapped = replace(tensor, value=tensor.value.astype(">f4"))
    tensors = {**model.tensors, "w1": swapped}
    assert writer.write(replace(model, tensors=tensors)) == writer.write(model)
