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
    from qhal.ir.onnx.alone import model_of, session_of, type_of

    types = {name: type_of(values[name]) for name in node.input if name}
    session = session_of(model_of(node, types, model.opset_import, model.ir_version))
    outputs = list(filter(None, node.output))
    results = session.run(outputs, {name: values[name] for name in types})
    return dict(zip(outputs, results, strict=True))
