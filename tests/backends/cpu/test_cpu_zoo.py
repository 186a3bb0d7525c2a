"""Real models: what was planned as integers runs as integers and equals the oracle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qhal.data import Dataset, load_dataset
from qhal.ir.importer import import_model
from qhal.pipeline.prepare import Prepared, prepare
from qhal.pipeline.served import Served, find_target
from qhal.plugin.backend import RunOptions
from qhal.quant.assign import assign
from qhal.quant.calibrate import calibrate
from qhal.quant.constraints import constrain
from qhal.quant.model import QuantModel
from qhal.quant.oracle import Oracle


def quantize(
    model: Path, recipe: str, samples: dict[str, np.ndarray]
) -> tuple[Served, Prepared, QuantModel, Dataset]:
    served = find_target("cpu", recipe)
    target = served.target
    ready = prepare(target, import_model(model, {}))
    graph = ready.imported.graph
    constraints = constrain(ready.laid.graph, target.caps, target.policy, ready.choices)
    dataset = load_dataset(samples, {name: graph.tensors[name] for name in graph.inputs})
    observe, average = constraints.to_observe, constraints.to_average
    stats = calibrate(ready.legal.graph, dataset, observe, average).stats
    return served, ready, assign(constraints, stats, "minmax").model, dataset


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (4, *shape)).astype(np.float32)


MODELS = {
    "mlperf_tiny_kws": {"input_1": random(49, 10, 1)},
    "resnet20_cifar10": {"input": random(3, 32, 32)},
    "mlperf_tiny_ad": {"input_1": random(640)},
}


@pytest.mark.parametrize("name", MODELS)
def test_w8a8_runs_on_integers_and_equals_the_oracle(zoo: Path, name: str) -> None:
    served, ready, model, dataset = quantize(zoo / "models" / f"{name}.onnx", "w8a8", MODELS[name])
    backend, profile = served.backend, served.target.profile
    artifact = backend.lower(model, profile)
    placement = backend.placement(artifact, profile)
    assert placement is not None
    placed = {node.name: node for node in placement.nodes}
    for node in model.graph.nodes:
        if node.name in ready.choices and ready.choices[node.name].quantized:
            assert node.name not in placed or placed[node.name].where.dtype == "uint8"
    assert not {"Conv", "Gemm", "MatMul"} & {node.where.kernel for node in placed.values()}
    runner, oracle = backend.load(artifact, profile, RunOptions()), Oracle(model)
    assert runner is not None
    for index in range(2):
        sample = dataset.sample(index)
        got, expected = runner.run(sample), oracle.run(sample)
        for output in model.graph.outputs:
            source = model.graph.producers[output].inputs[0]
            gap = np.abs(got[output] - expected[output]) / model.params[source].scale
            assert np.rint(gap).max() <= 1


@pytest.mark.parametrize(("recipe", "ratio"), [("w8", 0.3), ("fp16", 0.55)])
def test_stored_weights_make_the_file_smaller(zoo: Path, recipe: str, ratio: float) -> None:
    path = zoo / "models" / "mlperf_tiny_ad.onnx"
    served, ready, model, _ = quantize(path, recipe, MODELS["mlperf_tiny_ad"])
    lower, profile = served.backend.lower, served.target.profile
    baseline = lower(QuantModel(ready.laid.graph), profile)
    assert lower(model, profile).size_bytes < ratio * baseline.size_bytes
