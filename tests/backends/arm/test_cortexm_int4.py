"""Weights of 4 bits on a Cortex-M: equal to the oracle, smaller in flash, and CMSIS-NN's limits."""

from __future__ import annotations

import numpy as np
import pytest

from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.dtypes import DType
from qhal.ir.graph import Graph, TensorType
from qhal.plugin.backend import RunOptions, Trial
from qhal.quant.arithmetic import quantize
from qhal.quant.oracle import Oracle
from qhal.quant.select import select
from qhal.targets.profile import TargetProfile
from qhal.targets.recipe import find_recipe, recipes_of
from qhal.testing.samples import random_data
from qhal_backends.arm.cortexm.backend import CortexMBackend
from qhal_backends.arm.cortexm.capabilities import capabilities
from qhal_backends.arm.cortexm.cmsis_nn import Layer, Window, convolution_s4, depthwise_s4
from qhal_backends.arm.cortexm.cores import Kernels
from tests.backends.one_node import Deployed, deploy

BACKEND = CortexMBackend()
TARGET = TargetProfile("mcu", "cortex-m", "a microcontroller")
CAPS = capabilities()
W4A8 = find_recipe("w4a8", CAPS, "cortex-m")


def weighted(op: ops.Op, shape: tuple[int, ...], *weight: int) -> Graph:
    """One weighted operator, without a bias."""
    builder = GraphBuilder("net")
    x = builder.input("x", TensorType(shape))
    values = np.random.default_rng(len(weight)).normal(size=weight).astype(np.float32)
    builder.one(op, (x, builder.constant("w", values)), name="node", output="y")
    return builder.build(outputs=("y",))


def conv(*shape: int, stride: int = 1, dilation: int = 1, groups: int = 1) -> Graph:
    op = ops.Conv((stride,) * 2, (1,) * 4, (dilation,) * 2, groups)
    return weighted(op, (1, shape[1] * groups, 9, 10), *shape)


def depthwise(channels: int, multiplier: int = 1, dilation: int = 1, batch: int = 1) -> Graph:
    op = ops.DepthwiseConv((1, 1), (1,) * 4, (dilation,) * 2, multiplier)
    return weighted(op, (batch, channels, 9, 10), channels * multiplier, 1, 3, 3)


def deployed(graph: Graph, recipe: str = "w4a8") -> Deployed:
    return deploy(graph, CAPS, find_recipe(recipe, CAPS, "cortex-m"), random_data(graph, -2, 2))


NETS = {
    "conv": conv(6, 4, 3, 3),
    "conv, odd": conv(5, 3, 3, 3),
    "conv, strides": conv(7, 3, 1, 1, stride=2),
    "conv, dilated": conv(4, 5, 3, 3, dilation=2),
    "depthwise": depthwise(6),
    "depthwise, multiplied": depthwise(4, multiplier=3),
    "depthwise, dilated": depthwise(8, dilation=2),
    "depthwise, images": depthwise(4, batch=2),
}


@pytest.mark.parametrize("net", NETS.values(), ids=NETS.keys())
def test_the_interpreter_computes_what_the_oracle_computes(net: Graph) -> None:
    pytest.importorskip("tflite_micro", reason="tflite-micro is not installed: quant-hal[arm]")
    made = deployed(net)
    assert made.model.kernels["node"].name == "int8x4 per-axis"
    assert made.model.graph.tensors["w"].dtype is DType.INT4
    runner = BACKEND.load(BACKEND.lower(made.model, TARGET), TARGET, RunOptions())
    assert runner is not None
    inputs = {n: quantize(v, made.model.params[n]) for n, v in made.here().items()}
    found, wanted = runner.run(inputs), Oracle(made.model).run(inputs)
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)


def test_flash_is_smaller() -> None:
    graph = conv(64, 32, 3, 3)
    artifacts = [BACKEND.lower(deployed(graph, r).model, TARGET) for r in ("w4a8", "w8a8")]
    few, many = (
        BACKEND.examine(Trial(artifact, {}), None, TARGET).metrics["flash_bytes"].value
        for artifact in artifacts
    )
    assert few < 0.6 * many


@pytest.mark.parametrize(
    ("net", "reason"),
    [
        (conv(4, 3, 3, 3, groups=2), "there are 2 groups; allowed: 1"),
        (depthwise(7), "it has 7 input channels; with int4 weights allowed: multiples of 2"),
        (
            weighted(ops.ConvTranspose((1, 1), (0,) * 4, (1, 1), (0, 0)), (1, 4, 5, 5), 4, 2, 2, 2),
            "int4 kernels for CONV_2D and DEPTHWISE_CONV_2D only",
        ),
    ],
    ids=["groups", "odd channels", "transposed"],
)
def test_others_keep_8_bits_and_say_why(net: Graph, reason: str) -> None:
    choice = select(deployed(net).laid.graph, CAPS, W4A8)["node"]
    assert choice.row is not None
    assert choice.row.name == "int8 per-axis"
    assert reason in choice.reason


def test_recipes() -> None:
    names = [recipe.name for recipe in recipes_of(CAPS)]
    assert "w4a8" in names
    assert not {"w4a16", "w4", "w3a8", "w2a8"} & set(names)


# Values of arm_*_wrapper_s4_get_buffer_size and the ones for Helium, compiled for the host.
@pytest.mark.parametrize(
    ("layer", "dsp", "helium"),
    [
        (Layer(Window(8, 8, 3, 1, 1, 1), Window(8, 8, 3, 1, 1, 1), 16, 8, 16), 576, 576),
        (Layer(Window(8, 8, 3, 1, 1, 1), Window(8, 8, 3, 1, 1, 1), 3, 8, 3), 108, 128),
        (Layer(Window(8, 8, 1), Window(8, 8, 1), 16, 8, 16), 0, 0),
        (Layer(Window(8, 4, 1, 2), Window(8, 4, 1, 2), 16, 8, 16), 0, 0),
        (Layer(Window(1, 1, 1), Window(50, 50, 7, 1, 1, 3), 8, 4, 8), 224, 0),
        (Layer(Window(1, 1, 1), Window(2, 2, 7, 1, 1, 3), 8, 4, 8), 224, 256),
        (Layer(Window(1, 1, 1), Window(50, 50, 7, 1, 1, 3), 3, 4, 3), 84, 128),
    ],
)
def test_scratch_of_convolutions(layer: Layer, dsp: int, helium: int) -> None:
    found = (convolution_s4(layer, Kernels.DSP), convolution_s4(layer, Kernels.HELIUM))
    assert found == (dsp, helium)


@pytest.mark.parametrize(
    ("channels", "filters", "dilation", "batch", "dsp", "helium"),
    [(16, 16, 1, 1, 288, 4464), (16, 32, 1, 1, 0, 0), (16, 16, 2, 1, 0, 0), (16, 16, 1, 2, 0, 0)],
)
def test_scratch_of_depthwise_convolutions(
    channels: int, filters: int, dilation: int, batch: int, dsp: int, helium: int
) -> None:
    window = Window(8, 8, 3, 1, dilation, dilation)
    layer = Layer(window, window, channels, filters, 1, batch)
    assert (depthwise_s4(layer, Kernels.DSP), depthwise_s4(layer, Kernels.HELIUM)) == (dsp, helium)
