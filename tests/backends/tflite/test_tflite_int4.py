"""Weights of 4 bits in LiteRT: how they are stored, what executes them, and what must not be."""

from __future__ import annotations

from dataclasses import replace

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from qhal.decisions import Code
from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.graph import Array, Graph, TensorType
from qhal.quant.oracle import Oracle
from qhal.quant.select import select
from qhal.targets.capability import Capability
from qhal.targets.recipe import find_recipe
from qhal.testing.samples import random_data
from qhal_backends.tflite import rows
from qhal_backends.tflite.capabilities import capabilities
from qhal_backends.tflite.family import MODEL
from qhal_backends.tflite.placement import read_placement
from qhal_backends.tflite.runner import TfliteRunner
from tests.backends.one_node import Deployed, deploy
from tests.backends.tflite.test_tflite_rows import (
    BACKEND,
    DEFAULT,
    REFERENCE,
    TARGET,
    run,
    stored,
)

CAPS = capabilities()
BLOCK = 32


def layer(depth: int, outputs: int, batch: int = 1) -> Graph:
    """A fully connected layer with a bias."""
    rng = np.random.default_rng(depth)
    builder = GraphBuilder("layer")
    x = builder.input("x", TensorType((batch, depth)))
    weight = rng.normal(size=(outputs, depth)).astype(np.float32)
    bias = rng.normal(size=outputs).astype(np.float32)
    operands = (x, builder.constant("w", weight), builder.constant("b", bias))
    builder.one(ops.FullyConnected(), operands, name="fc", output="y")
    return builder.build(outputs=("y",))


def convolution() -> Graph:
    """A convolution of 3x3 with even numbers of channels."""
    rng = np.random.default_rng(3)
    builder = GraphBuilder("convolution")
    x = builder.input("x", TensorType((1, 4, 8, 8)))
    weight = builder.constant("w", rng.normal(size=(6, 4, 3, 3)).astype(np.float32))
    builder.one(ops.Conv((1, 1), (1,) * 4, (1, 1)), (x, weight), name="conv", output="y")
    return builder.build(outputs=("y",))


def deployed(graph: Graph, recipe: str) -> Deployed:
    return deploy(graph, CAPS, find_recipe(recipe, CAPS, "litert"), random_data(graph, -2, 2))


def units(content: bytes, operator: str) -> set[str | None]:
    """Where the operators of one kind are executed."""
    placed = read_placement(content).nodes
    return {node.where.unit for node in placed if node.where.kernel == operator}


@pytest.mark.parametrize("recipe", ["w4a8", "w4"])
@pytest.mark.parametrize(("depth", "outputs", "batch"), [(64, 10, 1), (2, 9, 3), (256, 128, 16)])
def test_xnnpack_executes_layers(recipe: str, depth: int, outputs: int, batch: int) -> None:
    made = deployed(layer(depth, outputs, batch), recipe)
    content = BACKEND.lower(made.model, TARGET).files[MODEL]
    assert units(content, "FULLY_CONNECTED") == {"XNNPACK"}
    if recipe == "w4a8":
        wanted = Oracle(made.model).run(stored(made))["y"]
        for options in (DEFAULT, REFERENCE):
            assert np.array_equal(run(made.model, stored(made), options)["y"], wanted)


def test_two_weights_are_in_a_byte_the_first_in_its_low_half() -> None:
    made = deployed(layer(6, 3), "w4a8")
    content = BACKEND.lower(made.model, TARGET).files[MODEL]
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    tensors = model.subgraphs[0].tensors
    (weight,) = (t for t in tensors if t.type == schema.TensorType.INT4)
    found = model.buffers[weight.buffer].data
    nibbles = made.model.graph.constants["w"].reshape(-1)
    assert nibbles.min() < 0
    assert bytes(found) == bytes(
        (a & 15) | ((b & 15) << 4) for a, b in nibbles.reshape(-1, 2).tolist()
    )
    assert list(weight.shape) == [3, 6]


@pytest.mark.parametrize(("few", "many"), [("w4a8", "w8a8"), ("w4", "w8")])
def test_files_are_smaller(few: str, many: str) -> None:
    graph = layer(256, 128)
    sizes = [len(BACKEND.lower(deployed(graph, r).model, TARGET).files[MODEL]) for r in (few, many)]
    assert sizes[0] < 0.6 * sizes[1]


def test_the_first_release_that_reads_the_file() -> None:
    for recipe in ("w4a8", "w4"):
        content = BACKEND.lower(deployed(layer(8, 4), recipe).model, TARGET).files[MODEL]
        model = schema.ModelT.InitFromPackedBuf(content, 0)
        assert bytes(model.buffers[model.metadata[0].buffer].data).rstrip(b"\0") == b"2.17.0"


def test_rows_of_odd_length_keep_8_bits() -> None:
    graph = layer(63, 10)
    choice = select(graph, CAPS, find_recipe("w4a8", CAPS, "litert"))["fc"]
    assert choice.row is not None
    assert choice.row.name == "int8 per-axis"
    assert "63 int4 weights; allowed: multiples of 2" in choice.reason


def test_convolutions_keep_8_bits_and_say_why() -> None:
    graph = deployed(convolution(), "w4a8").laid.graph
    node = next(node for node in graph.nodes if node.name == "conv")
    choice = select(graph, CAPS, find_recipe("w4a8", CAPS, "litert"))["conv"]
    assert choice.row is not None
    assert choice.row.name == "int8 per-axis"
    decision = choice.decision(node)
    assert decision is not None
    assert decision.code is Code.WIDER_WEIGHT
    assert "keeps 8 bits" in decision.sentence
    assert "builtin kernels, never in XNNPACK" in decision.sentence


# --- faults of the runtime, which are why there are no rows ---------------------------


def test_xnnpack_does_not_take_an_int4_convolution() -> None:
    """It is right, but slow. If this fails, LiteRT has become better: add the row."""
    only = (Capability("Conv", (rows.INT4_WEIGHTED,), "a probe"), *CAPS.of("Transpose"))
    caps = replace(CAPS, kernels=only)
    graph = convolution()
    made = deploy(graph, caps, find_recipe("w4a8", caps, "litert"), random_data(graph))
    content = BACKEND.lower(made.model, TARGET).files[MODEL]
    assert units(content, "CONV_2D") == {"builtin kernel"}


def test_an_odd_layer_is_left_to_builtin_kernels() -> None:
    only = (Capability("FullyConnected", (rows.INT4_WEIGHTED,), "a probe"),)
    caps = replace(CAPS, kernels=only)
    graph = layer(63, 10)
    made = deploy(graph, caps, find_recipe("w4a8", caps, "litert"), random_data(graph))
    content = BACKEND.lower(made.model, TARGET).files[MODEL]
    assert units(content, "FULLY_CONNECTED") == {"builtin kernel"}


def test_reference_kernels_ignore_the_scales_of_blocks() -> None:
    """XNNPACK reads one scale for each 32 weights; the reference kernel computes without them."""
    graph = layer(2 * BLOCK, 8)
    made = deployed(graph, "w4")
    scales = np.random.default_rng(0).uniform(0.01, 0.1, (8, 2)).astype(np.float16)
    content = in_blocks(BACKEND.lower(made.model, TARGET).files[MODEL], scales)
    weight = made.model.graph.constants["w"].reshape(8, -1, BLOCK).astype(np.float32)
    real = (weight * scales[..., np.newaxis].astype(np.float32)).reshape(8, -1)
    x = made.here()["x"].astype(np.float32)
    wanted = x @ real.T + made.model.graph.constants["b"].astype(np.float32)
    error = []
    for options in (DEFAULT, REFERENCE):
        found = TfliteRunner(content, ("x",), ("y",), options).run({"x": x})["y"]
        error.append(float(np.abs(found.astype(np.float32) - wanted).max()))
    assert error[0] < 0.1
    assert error[1] > 0.5


def in_blocks(content: bytes, scales: Array) -> bytes:
    """Give the int4 weight of a file one scale for each block of a row."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    (weight,) = (t for t in graph.tensors if t.type == schema.TensorType.INT4)
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(scales.tobytes(), np.uint8)
    model.buffers.append(buffer)
    tensor = schema.TensorT()
    tensor.name, tensor.type = "scales", schema.TensorType.FLOAT16
    tensor.shape, tensor.buffer = np.asarray(scales.shape, np.int32), len(model.buffers) - 1
    graph.tensors.append(tensor)
    blocks = schema.BlockwiseQuantizationT()
    blocks.scales, blocks.zeroPoints, blocks.blockSize = len(graph.tensors) - 1, -1, BLOCK
    weight.quantization.detailsType = schema.QuantizationDetails.BlockwiseQuantization
    weight.quantization.details = blocks
    weight.quantization.scale = weight.quantization.zeroPoint = None
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
