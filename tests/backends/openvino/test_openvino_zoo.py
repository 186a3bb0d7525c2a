"""Real models: the products run on integers and equal the oracle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qhal.data import load_dataset
from qhal.ir.cost import macs
from qhal.ir.graph import NodeView
from qhal.ir.importer import import_model
from qhal.pipeline.prepare import prepare
from qhal.pipeline.served import find_target
from qhal.plugin.backend import RunOptions
from qhal.quant.assign import assign
from qhal.quant.calibrate import calibrate
from qhal.quant.constraints import constrain
from qhal.quant.oracle import Oracle
from tests.backends.openvino.openvino_models import sqnr_db

pytest.importorskip("openvino", reason="pip install 'quant-hal[openvino]'")

MODELS = {
    "mlperf_tiny_kws": {"input_1": (49, 10, 1)},
    "resnet20_cifar10": {"input": (3, 32, 32)},
}


@pytest.mark.parametrize("name", MODELS)
def test_w8a8_runs_on_integers_and_equals_the_oracle(zoo: Path, name: str) -> None:
    served = find_target("openvino-cpu", "w8a8")
    target = served.target
    ready = prepare(target, import_model(zoo / "models" / f"{name}.onnx", {}))
    graph = ready.laid.graph
    random = np.random.default_rng(0)
    samples = {
        n: random.uniform(-1, 1, (4, *s)).astype(np.float32) for n, s in MODELS[name].items()
    }
    types = {n: ready.imported.graph.tensors[n] for n in graph.inputs}
    data = load_dataset(samples, types, preprocess=None, labels=None, label_offset=0)
    constraints = constrain(graph, target.caps, target.policy, ready.choices)
    stats = calibrate(ready.legal.graph, data, constraints.to_observe, constraints.to_average)
    model = assign(constraints, stats.stats, "minmax").model

    artifact = served.backend.lower(model, target.profile)
    placement = served.backend.placement(artifact, target.profile)
    assert placement is not None
    executed = {node.name: node.where.dtype for node in placement.nodes}
    work = {node.name: macs(NodeView(graph, node)) for node in graph.nodes}
    integer = sum(work[n] for n in work if executed.get(n) in ("uint8", "int8"))
    assert integer >= 0.95 * sum(work.values())

    runner = served.backend.load(artifact, target.profile, RunOptions())
    assert runner is not None
    for index in range(2):
        sample = data.sample(index)
        expected, found = Oracle(model).run(sample), runner.run(sample)
        for output in graph.outputs:
            assert sqnr_db(expected[output], found[output]) > 60
