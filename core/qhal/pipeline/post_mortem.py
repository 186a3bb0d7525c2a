"""After a crash in the user's float model: find the node, by running each one alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qhal.ir.graph import Array, Arrays
from qhal.pipeline.job import Job
from qhal.pipeline.session import open_session
from qhal.plugin.registry import Registry
from qhal.system.trail import Kind, doing
from qhal.system.wire import Wire

if TYPE_CHECKING:
    import onnx


def run_each_node(job: Job, registry: Registry | None, wire: Wire) -> None:
    """Run the nodes of a job's model one by one, on the first sample, until one crashes.

    It ends without a word where a node cannot run alone.
    """
    import onnx

    from qhal.ir.onnx.cut import end_at

    with open_session(job.model, job.options, registry=registry) as session:
        sample = session.load_data().calibration.sample(0)
    model = onnx.load(job.model)
    if job.options.outputs:
        end_at(model, job.options.outputs)
    values: dict[str, Array] = {"": np.zeros(0)}
    values.update((t.name, onnx.numpy_helper.to_array(t)) for t in model.graph.initializer)
    values.update(sample)
    for node in model.graph.node:
        with doing(Kind.MODEL, f"node {node.name or node.output[0]!r} ({node.op_type}) ran alone"):
            values.update(_run(model, node, values))


def _run(model: onnx.ModelProto, node: onnx.NodeProto, values: Arrays) -> Arrays:
    import onnxruntime
    from onnx import helper

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    operands = list(dict.fromkeys(filter(None, node.input)))
    outputs = list(filter(None, node.output))
    graph = helper.make_graph(
        [node],
        "alone",
        [_typed(name, values[name]) for name in operands],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
    )
    alone = helper.make_model(
        graph, opset_imports=model.opset_import, ir_version=model.ir_version
    ).SerializeToString()
    session = onnxruntime.InferenceSession(alone, options, providers=["CPUExecutionProvider"])
    results = session.run(outputs, {name: values[name] for name in operands})
    return dict(zip(outputs, results, strict=True))


def _typed(name: str, value: Array) -> onnx.ValueInfoProto:
    from onnx import helper

    kind = helper.np_dtype_to_tensor_dtype(value.dtype)
    return helper.make_tensor_value_info(name, kind, value.shape)
