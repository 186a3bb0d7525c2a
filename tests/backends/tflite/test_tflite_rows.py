"""Every kernel row that the capabilities state, run for real and compared with the oracle."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import pytest

from qhal.data import load_dataset
from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.export import to_onnx
from qhal.ir.graph import Array, TensorType
from qhal.plugin.backend import RunOptions
from qhal.quant.arithmetic import quantize
from qhal.quant.model import QuantModel
from qhal.quant.oracle import Oracle
from qhal.targets.capability import Capability, KernelRow
from qhal.targets.profile import TargetProfile
from qhal.targets.recipe import RECIPES
from qhal.testing.samples import Sample, random_data
from qhal_backends.tflite.capabilities import capabilities
from qhal_backends.tflite.family import MODEL
from qhal_backends.tflite.plugin import TfliteBackend
from qhal_backends.tflite.runner import find_runtime
from tests.backends.one_node import Deployed, deploy, deploy_row, trials

BACKEND = TfliteBackend()
TARGET = TargetProfile("litert", "tflite", "LiteRT")
CAPS = capabilities()
TRIALS = list(trials(CAPS))
REFERENCE, DEFAULT = RunOptions(reference=True), RunOptions()


def run(
    model: QuantModel, inputs: Mapping[str, Array], options: RunOptions
) -> dict[str, np.ndarray]:
    return BACKEND.load(BACKEND.lower(model, TARGET), TARGET, options).run(inputs)


def test_tensors_with_steps_above_one_are_compared_in_float() -> None:
    shape, wide = TensorType((1, 64)), 1000.0
    builder = GraphBuilder("smaller")
    x, y = builder.input("x", shape), builder.input("y", shape)
    less = builder.one(ops.Compare("<"), (x, y))
    builder.one(ops.Where(), (less, x, y), output="z")
    graph = builder.build(outputs=("z",))
    deployed = deploy(graph, CAPS, RECIPES[0], random_data(graph, -wide, wide))
    here = deployed.here()
    found = run(deployed.model, here, DEFAULT)["z"]
    np.testing.assert_allclose(found, np.minimum(here["x"], here["y"]), atol=wide / 64)


@pytest.mark.parametrize("masked", [-np.inf, np.finfo(np.float32).min, -1e4])
@pytest.mark.parametrize("op", [ops.Add(), ops.Where()], ids=["Add", "Where"])
def test_a_mask_leaves_scores_their_steps(op: ops.Op, masked: float) -> None:
    builder = GraphBuilder("attention")
    scores = builder.input("scores", TensorType((1, 8, 8)))
    keep = np.tri(8, dtype=np.bool_)[None]
    if isinstance(op, ops.Where):
        value = builder.constant("value", np.array(masked, np.float32))
        operands: tuple[str, ...] = (builder.constant("keep", keep), scores, value)
    else:
        operands = (scores, builder.constant("mask", np.where(keep, 0, masked).astype(np.float32)))
    y = builder.one(ops.Softmax(2), (builder.one(op, operands),), output="y")
    graph = builder.build(outputs=(y,))
    deployed = deploy(graph, CAPS, RECIPES[0], random_data(graph, -6, 6, 32))
    here = deployed.here()
    exponentials = np.exp(here["scores"]) * keep
    wanted = exponentials / exponentials.sum(-1, keepdims=True)
    for options in (DEFAULT, REFERENCE):
        found = run(deployed.model, here, options)["y"]
        np.testing.assert_allclose(found, wanted, atol=0.03)


@pytest.mark.parametrize("options", [DEFAULT, REFERENCE], ids=["usual", "reference"])
@pytest.mark.parametrize("masked", [-np.inf, -1e12])
def test_a_mask_does_not_wrap_around_where_it_is_quantized(
    masked: float, options: RunOptions
) -> None:
    builder = GraphBuilder("biased")
    scores, bias = (builder.input(n, TensorType((1, 8, 8))) for n in ("scores", "bias"))
    masks = builder.one(ops.Reshape((1, 8, 8)), (bias,))
    graph = builder.build(
        outputs=(builder.one(ops.Softmax(2), (builder.one(ops.Add(), (scores, masks)),)),)
    )
    keep = np.tri(8, dtype=np.bool_)[None]
    rng = np.random.default_rng(4)
    values = {n: rng.uniform(10, 20, (32, 1, 8, 8)).astype(np.float32) for n in graph.inputs}
    values["bias"] = np.where(keep, values["bias"], np.float32(masked))
    data = load_dataset(values, {n: graph.tensors[n] for n in graph.inputs}, masks=("bias",))
    deployed = deploy(graph, CAPS, RECIPES[0], data)
    (found,) = run(deployed.model, deployed.here(), options).values()
    assert deployed.model.params["bias__quantized"].zero_point < 0
    assert found[~np.broadcast_to(keep, found.shape)].max() <= 1 / 256


def stored(deployed: Deployed) -> dict[str, Array]:
    """The first sample in the types of the artifact's inputs."""
    params = deployed.model.params
    return {n: quantize(v, params[n]) if n in params else v for n, v in deployed.here().items()}


def share_within(found: Array, wanted: Array, tolerance: float) -> float:
    """How many elements agree."""
    gap = np.abs(found.astype(np.float64) - wanted.astype(np.float64))
    return float(np.mean(gap <= tolerance))


def tolerance_of(wanted: Array) -> float:
    if wanted.dtype.kind != "f":
        return 1.0 if wanted.dtype.kind == "i" else 0.0
    return 1e-4 * max(1.0, float(np.abs(wanted).max(initial=0)))


@pytest.mark.parametrize(
    ("sample", "capability", "row"), TRIALS, ids=[f"{s}: {row}" for s, _, row in TRIALS]
)
def test_row_computes_what_the_oracle_computes(
    sample: Sample, capability: Capability, row: KernelRow
) -> None:
    deployed = deploy_row(sample, capability, row, CAPS)
    inputs = stored(deployed)
    wanted = Oracle(deployed.model).run(inputs)
    found = run(deployed.model, inputs, REFERENCE)
    usual = run(deployed.model, inputs, DEFAULT)
    for name, value in wanted.items():
        assert found[name].shape == usual[name].shape == value.shape
        assert found[name].dtype == usual[name].dtype == value.dtype
        assert share_within(found[name], value, tolerance_of(value)) >= 0.999
        if "dynamic" not in row.name:  # XNNPACK quantizes each row of an image by itself
            assert share_within(usual[name], value, tolerance_of(value)) >= 0.999


FLOAT_TRIALS = [(s, c, row) for s, c, row in TRIALS if row.name == "float32"]


@pytest.mark.parametrize(
    ("sample", "capability", "row"), FLOAT_TRIALS, ids=[str(s) for s, _, _ in FLOAT_TRIALS]
)
def test_float_row_computes_what_onnxruntime_computes(
    sample: Sample, capability: Capability, row: KernelRow
) -> None:
    import onnxruntime

    deployed = deploy_row(sample, capability, row, CAPS)
    session = onnxruntime.InferenceSession(
        to_onnx(deployed.graph).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    wanted = session.run(None, deployed.there())
    found = run(deployed.float_model, deployed.here(), DEFAULT)
    perms = deployed.laid.graph.permutations
    for name, value in zip(deployed.graph.outputs, wanted, strict=True):
        here = np.transpose(value, perms[name]) if name in perms else value
        assert found[name].shape == here.shape
        assert share_within(found[name], here, tolerance_of(here)) == 1.0


WITHOUT_REFERENCE = {"Elu", "Ceil", "Round"}
"""Operators that LiteRT's reference resolver lacks (tensorflow/lite/kernels/register_ref.cc)."""


@pytest.mark.parametrize(
    ("sample", "capability", "row"), TRIALS, ids=[f"{s}: {row}" for s, _, row in TRIALS]
)
def test_row_has_reference_kernels(sample: Sample, capability: Capability, row: KernelRow) -> None:
    runtime = find_runtime()
    content = BACKEND.lower(deploy_row(sample, capability, row, CAPS).model, TARGET).files[MODEL]
    interpreter = partial(
        runtime.module.Interpreter,
        model_content=content,
        experimental_op_resolver_type=runtime.module.OpResolverType.BUILTIN_REF,
    )
    if capability.op in WITHOUT_REFERENCE:
        with pytest.raises(ValueError, match="Didn't find op"):
            interpreter()
    else:
        interpreter().allocate_tensors()


def test_every_row_was_tried() -> None:
    tried = {(capability.op, row.name) for _, capability, row in TRIALS}
    stated = {(c.op, row.name) for c in CAPS.kernels for row in c.rows}
    assert stated == tried
