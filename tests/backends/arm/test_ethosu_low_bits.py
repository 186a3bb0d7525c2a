"""Weights of few values on an Ethos-U: Vela's encoder makes them small, and int4 ends it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from qhal.errors import RefusedError
from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.dtypes import DType
from qhal.ir.graph import Graph, TensorType
from qhal.plugin.backend import Artifact, RunOptions, Trial
from qhal.quant.arithmetic import quantize
from qhal.quant.oracle import Oracle
from qhal.targets.capability import Capability
from qhal.targets.recipe import find_recipe, recipes_of
from qhal.testing.samples import random_data
from qhal_backends.arm.ethosu import compiler
from qhal_backends.arm.ethosu.backend import VELA, EthosUBackend
from qhal_backends.arm.ethosu.capabilities import capabilities
from qhal_backends.tflite import rows
from qhal_backends.tflite.capabilities import of_whole_bytes
from qhal_backends.tflite.lowering import lower_model
from qhal_backends.tflite.writer import write
from tests.backends.arm.vela_runs import U55, profile
from tests.backends.one_node import Deployed, deploy

pytest.importorskip("ethosu.vela", reason="ethos-u-vela is not installed: quant-hal[arm]")

BACKEND = EthosUBackend()
TARGET = profile(U55)
FEW = {"w4a8": 4, "w3a8": 3, "w2a8": 2, "w4a16": 4}
SIGFPE = 8
FLASH = "off_chip_flash_bytes"


def net() -> Graph:
    """All four weighted operators, most weights in a convolution."""
    rng = np.random.default_rng(0)

    def weight(*shape: int) -> str:
        return builder.constant(f"w{len(shape)}{shape}", rng.normal(size=shape).astype(np.float32))

    builder = GraphBuilder("net")
    x = builder.input("x", TensorType((1, 32, 8, 8)))
    x = builder.one(ops.Conv((1, 1), (1,) * 4, (1, 1)), (x, weight(64, 32, 3, 3)), name="conv")
    depthwise = ops.DepthwiseConv((1, 1), (1,) * 4, (1, 1))
    x = builder.one(depthwise, (x, weight(64, 1, 3, 3)), name="depthwise")
    up = ops.ConvTranspose((2, 2), (0,) * 4, (1, 1), (0, 0))
    x = builder.one(up, (x, weight(64, 8, 2, 2)), name="up")
    x = builder.one(ops.Reshape((1, 2048)), (x,), name="flat")
    x = builder.one(ops.FullyConnected(), (x, weight(10, 2048)), name="dense", output="y")
    return builder.build(outputs=(x,))


@cache
def made(recipe: str) -> Deployed:
    caps, graph = BACKEND.capabilities(TARGET), net()
    return deploy(graph, caps, find_recipe(recipe, caps, "ethos-u"), random_data(graph))


@cache
def compiled(recipe: str) -> Artifact:
    return BACKEND.lower(made(recipe).model, TARGET)


def figures(recipe: str) -> dict[str, float]:
    found = BACKEND.examine(Trial(compiled(recipe), {}), None, TARGET).metrics
    return {name: metric.value for name, metric in found.items()}


@pytest.mark.parametrize("recipe", FEW)
def test_weights_are_few_integers_held_in_bytes(recipe: str) -> None:
    model = made(recipe).model
    weights = {
        node.inputs[1]: node.name
        for node in model.graph.nodes
        if model.kernels[node.name].weight is not None
    }
    assert set(weights.values()) == {"conv", "depthwise", "up", "dense"}
    for name, node in weights.items():
        assert model.graph.tensors[name].dtype is DType.INT8
        values, levels = model.graph.constants[name], 1 << FEW[recipe]
        assert -levels // 2 <= values.min() < 0 < values.max() < levels // 2
        assert str(model.kernels[node]).startswith(("int8", "int16x8"))
        assert f"per-axis, {levels} levels" in str(model.kernels[node])


@pytest.mark.parametrize("recipe", FEW)
def test_the_host_computes_what_the_oracle_computes(recipe: str) -> None:
    deployed = made(recipe)
    inputs = {n: quantize(v, deployed.model.params[n]) for n, v in deployed.here().items()}
    runner = BACKEND.load(compiled(recipe), TARGET, RunOptions(reference=True))
    found = runner.run(inputs)
    for name, wanted in Oracle(deployed.model).run(inputs).items():
        assert np.abs(found[name].astype(np.int64) - wanted.astype(np.int64)).max() <= 1


def test_velas_flash_and_cycles_drop_with_every_bit() -> None:
    by_bits = [figures(recipe) for recipe in ("w8a8", "w4a8", "w3a8", "w2a8")]
    flash = [found[FLASH] for found in by_bits]
    assert flash == sorted(flash, reverse=True)
    assert flash[1] < 0.6 * flash[0]
    assert flash[3] < flash[2] < flash[1]
    cycles = [found["cycles"] for found in by_bits]
    assert cycles[3] <= cycles[2] <= cycles[1] < cycles[0]
    assert figures("w4a16")[FLASH] < 0.6 * figures("w8a16")[FLASH]


@pytest.mark.parametrize("is_u85", [False, True])
def test_no_row_packs_weights(is_u85: bool) -> None:
    caps = capabilities(is_u85)
    kept = [row for c in caps.kernels for row in c.rows if row.weight is not None]
    assert {row.weight.dtype for row in kept if row.weight} == {DType.INT8}
    assert {"w4a8", "w3a8", "w2a8", "w4a16"} <= {r.name for r in recipes_of(caps)}


def test_int4_ends_vela() -> None:
    """If this fails, Vela has become better: the comment on the rows has to change."""
    row = rows.INT4_WEIGHTED
    caps = replace(of_whole_bytes(), kernels=(Capability("Conv", (row,), "a probe"),))
    builder: Any = GraphBuilder("net")
    x = builder.input("x", TensorType((1, 4, 6, 6)))
    weight = builder.constant("w", np.linspace(-1, 1, 16, dtype=np.float32).reshape(4, 4, 1, 1))
    builder.one(ops.Conv((1, 1), (0,) * 4, (1, 1)), (x, weight), name="conv", output="y")
    graph = builder.build(outputs=("y",))
    model = deploy(graph, caps, find_recipe("w4a8", caps, "probe"), random_data(graph)).model
    content = write(lower_model(model, VELA).model)
    with pytest.raises(RefusedError, match=f"crashed with signal {SIGFPE}"):
        compiler.compile_model(content, U55)
