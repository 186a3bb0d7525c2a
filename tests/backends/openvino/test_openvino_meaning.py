"""What OpenVINO reads or computes otherwise than ONNX says is written so that it does not."""

from __future__ import annotations

import numpy as np
import pytest

from qhal.ir import ops
from qhal.ir.graph import Graph
from qhal.legal.legalize import legalize
from qhal.plugin.backend import RunOptions
from qhal.quant.model import QuantModel
from qhal.quant.oracle import Oracle
from qhal.targets.profile import TargetProfile
from qhal_backends.openvino.capabilities import capabilities
from qhal_backends.openvino.plugin import OpenVinoBackend
from tests.backends.openvino.openvino_models import (
    Constant,
    Shape,
    quantize,
    random_data,
    single,
    sqnr_db,
)

pytest.importorskip("openvino", reason="pip install 'quant-hal[openvino]'")

CPU = TargetProfile("openvino-cpu", "openvino", "", options={"device": "CPU"})
BACKEND = OpenVinoBackend()


def run(model: QuantModel, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    runner = BACKEND.load(BACKEND.lower(model, CPU), CPU, RunOptions())
    assert runner is not None
    return dict(runner.run(inputs))


def gap_db(graph: Graph) -> float:
    """How close the graph, made legal, is to its own meaning."""
    inputs = random_data(graph).sample(0)
    legal = legalize(graph, capabilities()).graph
    (name,) = graph.outputs
    expected = Oracle(QuantModel(graph)).run(inputs)[name]
    found = run(QuantModel(legal), inputs)[name]
    assert found.shape == expected.shape
    return sqnr_db(expected, found)


@pytest.mark.parametrize("shape", [(1, 4, 4, 4), (1, 4, 4), (1, 3, 4), (4, 4), (2, 3, 4, 2, 5)])
@pytest.mark.parametrize("dynamic", [False, True])
def test_a_slope_of_one_dimension_lies_along_the_last_one(shape: Shape, dynamic: bool) -> None:
    slope = (shape[-1],)
    graph = single(ops.PRelu(), [shape, slope if dynamic else Constant(slope)])
    assert gap_db(graph) > 90


@pytest.mark.parametrize("op", [ops.HardSigmoid(0.0, 0.3), ops.HardSigmoid(-0.2, 0.5)])
def test_hard_sigmoids_of_any_slope(op: ops.Op) -> None:
    assert gap_db(single(op, [(1, 4, 5, 5)])) > 90


@pytest.mark.parametrize("scale", [(4,), (1, 4), (3, 1)])
def test_the_scale_of_a_normalization_is_broadcast(scale: Shape) -> None:
    graph = single(ops.LayerNorm(1), [(2, 3, 4), Constant(scale), Constant(scale)])
    assert gap_db(graph) > 90


@pytest.mark.parametrize("bias", [(), (Constant((5,)),)])
@pytest.mark.parametrize("recipe", ["w8a8", "w8", "fp16"])
def test_a_layer_over_a_vector_makes_a_vector(bias: tuple[Constant, ...], recipe: str) -> None:
    graph = single(ops.FullyConnected(), [(16,), Constant((5, 16)), *bias])
    assert gap_db(graph) > 90
    made = quantize(legalize(graph, capabilities()).graph, recipe)
    inputs = made.data.sample(0)
    (expected,) = Oracle(made.model).run(inputs).values()
    assert sqnr_db(expected, run(made.model, inputs)[graph.outputs[0]]) > 90


@pytest.mark.parametrize(("stride", "dilation"), [(1, 2), (2, 1), (2, 2), (3, 2)])
def test_transposed_convolutions_with_stride_and_dilation(stride: int, dilation: int) -> None:
    op = ops.ConvTranspose((stride,) * 2, (0,) * 4, (dilation,) * 2, (0, 0))
    graph = single(op, [(1, 8, 6, 6), Constant((8, 4, 3, 3)), Constant((4,))])
    made = quantize(graph)
    assert made.choices["node"].quantized == (1 in (stride, dilation))
    inputs = made.data.sample(0)
    (expected,) = Oracle(made.model).run(inputs).values()
    assert sqnr_db(expected, run(made.model, inputs)[graph.outputs[0]]) > 90
