"""Small ONNX models, and the comparison of what was imported with the original."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

from qhal.ir.export import to_onnx
from qhal.ir.graph import Array, Graph, Node
from qhal.ir.importer import Imported, import_model

RNG = np.random.default_rng(7)


def floats(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Random numbers."""
    return RNG.standard_normal(shape).astype(np.float32)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Sequence[int | str | None] | Array],
    outputs: Sequence[str] = ("y",),
    *,
    opset: int = 13,
    constants: Mapping[str, Array] | None = None,
    domains: Mapping[str, int] | None = None,
    functions: Sequence[onnx.FunctionProto] = (),
    dtype: int = onnx.TensorProto.FLOAT,
) -> onnx.ModelProto:
    """A model; an input is a shape (of ``dtype``) or an example array."""
    infos = []
    for name, given in inputs.items():
        shape = given.shape if isinstance(given, np.ndarray) else given
        kind = dtype
        if isinstance(given, np.ndarray):
            kind = helper.np_dtype_to_tensor_dtype(given.dtype)
        infos.append(helper.make_tensor_value_info(name, kind, shape))
    graph = helper.make_graph(
        list(nodes),
        "g",
        infos,
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in (constants or {}).items()],
    )
    imports = [helper.make_opsetid("", opset)]
    imports += [helper.make_opsetid(d, v) for d, v in (domains or {}).items()]
    made = helper.make_model(graph, opset_imports=imports, ir_version=8, functions=list(functions))
    return made


def read(
    tmp_path: Path, proto: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]] | None = None
) -> Imported:
    """Write a model and import it."""
    path = tmp_path / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return import_model(path, shapes or {})


def run(proto: bytes, feeds: Mapping[str, Array]) -> list[np.ndarray]:
    """Run a model in onnxruntime."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(proto, options, providers=["CPUExecutionProvider"])
    return list(session.run(None, dict(feeds)))


def random_feeds(graph: Graph) -> dict[str, Array]:
    """Random values for all inputs."""
    feeds: dict[str, Array] = {}
    for name in graph.inputs:
        found = graph.tensors[name]
        if found.dtype.is_float:
            feeds[name] = floats(*found.shape)
        else:
            feeds[name] = RNG.integers(0, 2, found.shape).astype(found.dtype.numpy)
    return feeds


def check_same(
    original: bytes, graph: Graph, feeds: Mapping[str, Array] | None = None, limit: float = 1e-5
) -> None:
    """The graph computes what the original model computes in onnxruntime."""
    feeds = random_feeds(graph) if feeds is None else feeds
    wanted, got = run(original, feeds), run(to_onnx(graph).SerializeToString(), feeds)
    assert len(wanted) == len(got)
    for expected, found in zip(wanted, got, strict=True):
        assert expected.shape == found.shape
        assert expected.dtype == found.dtype
        scale = max(float(np.abs(expected).max(initial=0)), 1e-6)
        np.testing.assert_allclose(found / scale, expected / scale, atol=limit)


def imported(tmp_path: Path, proto: onnx.ModelProto) -> Graph:
    """Import a model and compare it with the original."""
    graph = read(tmp_path, proto).graph
    check_same(proto.SerializeToString(), graph)
    return graph


def kinds(graph: Graph) -> list[str]:
    """The operators of a graph, in order."""
    return [node.op.kind for node in graph.nodes]


def only(graph: Graph) -> Node:
    """The single node of a graph."""
    (node,) = graph.nodes
    return node
