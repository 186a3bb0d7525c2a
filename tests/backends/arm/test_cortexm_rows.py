"""Every row of TensorFlow Lite Micro, run in its interpreter and compared with the oracle."""

from __future__ import annotations

import numpy as np
import pytest

from qhal.artifact.ports import Adapter
from qhal.errors import VerificationError
from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.graph import TensorType
from qhal.legal.decompose import decompose
from qhal.quant.oracle import Oracle
from qhal.quant.select import select
from qhal.targets.capability import Capability, KernelRow
from qhal.targets.recipe import RECIPES
from qhal.testing.samples import Sample
from qhal_backends.arm.cortexm.arena import measure_allocations
from qhal_backends.arm.cortexm.backend import MICRO
from qhal_backends.arm.cortexm.capabilities import CMSIS_NN, JOIN, capabilities
from qhal_backends.arm.cortexm.interpreter import MicroRunner, label
from qhal_backends.tflite.capabilities import capabilities as tflite_capabilities
from qhal_backends.tflite.lowering import lower_model
from qhal_backends.tflite.writer import write
from tests.backends.one_node import deploy_row, trials

pytest.importorskip("tflite_micro", reason="tflite-micro is not installed: quant-hal[arm]")

CAPS = capabilities()
TRIALS = list(trials(CAPS))

ONE_STEP = frozenset(
    {("Mul", "int16"), ("LeakyRelu", "int16"), ("AveragePool", "int8")}
    | {("FullyConnected", "int8 per-axis"), ("FullyConnected", "int16x8 per-axis")}
)
"""Where the oracle follows LiteRT's optimized kernels, or rounding is another than in LiteRT. The
core writes FullyConnected as Conv for that reason; only the host of an Ethos-U has such layers."""


@pytest.mark.parametrize(
    ("sample", "capability", "row"), TRIALS, ids=[f"{s}: {row}" for s, _, row in TRIALS]
)
def test_row_computes_what_the_oracle_computes(
    sample: Sample, capability: Capability, row: KernelRow
) -> None:
    model = deploy_row(sample, capability, row, CAPS)
    content = write(lower_model(model.model, MICRO).model)
    graph = model.model.graph
    inputs = Adapter.of_model(model.model).to_artifact(model.there())
    found = MicroRunner(content, graph.inputs, graph.outputs).run(inputs)
    allowed = int((sample.op.kind, row.name) in ONE_STEP)
    for name, wanted in Oracle(model.model).run(inputs).items():
        assert found[name].dtype == wanted.dtype
        assert found[name].shape == wanted.shape
        assert np.abs(found[name].astype(np.int64) - wanted.astype(np.int64)).max() <= allowed


def test_every_row_was_tried() -> None:
    tried = {(capability.op, row.name) for _, capability, row in TRIALS}
    stated = {(c.op, row.name) for c in CAPS.kernels for row in c.rows}
    # Behind a join, see tests/core/pipeline/test_outputs.py; of int4, see test_cortexm_int4.py.
    joins = {(op, JOIN.name) for op in ("Reshape", "Transpose")}
    assert stated - tried == {*joins, ("DepthwiseConv", "int8x4 per-axis")}


def test_sources_name_the_kernel() -> None:
    (conv,) = CAPS.of("Conv")
    assert conv.source.startswith("tensorflow/lite/micro/kernels/cmsis_nn/conv.cc (tflite-micro")
    assert set(CMSIS_NN) <= {c.op for c in CAPS.kernels}


def test_a_file_that_the_interpreter_lacks_a_kernel_for(capfd: pytest.CaptureFixture[str]) -> None:
    caps = tflite_capabilities()
    gelu = next(t for t in trials(caps) if t[0].op.kind == "Gelu" and t[2].name == "int8")
    model = deploy_row(*gelu, caps).model
    content = write(lower_model(model, MICRO).model)
    with pytest.raises(VerificationError, match="does not load the artifact"):
        MicroRunner(content, model.graph.inputs, model.graph.outputs)
    with pytest.raises(VerificationError, match="Didn't find op for builtin opcode 'GELU'"):
        measure_allocations(content)


def test_a_long_concatenation_is_split() -> None:
    builder = GraphBuilder("long")
    names = [builder.input(f"x{i}", TensorType((1, 4))) for i in range(11)]
    graph = builder.build(outputs=(builder.one(ops.Concat(1), names),))
    legal, _ = decompose(graph, CAPS)
    assert [len(node.inputs) for node in legal.nodes] == [10, 2]
    assert all(choice.quantized for choice in select(legal, CAPS, RECIPES[0]).values())


def test_the_only_kernels_are_the_reference_ones() -> None:
    """Verification distinguishes kinds of kernels by the name of the runtime."""
    assert label().endswith("(reference kernels)")


@pytest.mark.parametrize(("width", "refused"), [(511, False), (512, True)])
def test_a_softmax_that_could_overflow_the_kernel_is_refused(width: int, refused: bool) -> None:
    builder = GraphBuilder("scores")
    x = builder.input("x", TensorType((1, width)))
    builder.one(ops.Softmax(1), (x,), name="softmax", output="y")
    choice = select(builder.build(outputs=("y",)), CAPS, RECIPES[0])["softmax"]
    assert (choice.row is None) == refused
    assert ("512 elements; allowed: 1 to 511" in choice.reason) == refused


@pytest.mark.parametrize(("leading", "refused"), [((2, 3), False), ((2, 3, 2), True)])
@pytest.mark.parametrize("kind", ["MatMul", "Pad"])
def test_what_kernels_of_cmsis_nn_do_not_take(
    kind: str, leading: tuple[int, ...], refused: bool
) -> None:
    """The interpreter here has other kernels, which take more dimensions."""
    builder = GraphBuilder("net")
    x = builder.input("x", TensorType((*leading, 4, 5)))
    y = builder.input("y", TensorType((*leading, 5, 6)))
    zeros = (0,) * len(leading)
    pad = ops.Pad((*zeros, 1, 0, *zeros, 1, 0))
    node: tuple[ops.Op, tuple[str, ...]] = (
        (ops.MatMul(), (x, y)) if kind == "MatMul" else (pad, (x,))
    )
    result = builder.one(*node, name="node")
    choice = select(builder.build(outputs=(result,)), CAPS, RECIPES[0])["node"]
    assert (choice.row is None) == refused
    assert ("5 dimensions; allowed: up to 4" in choice.reason) == refused
