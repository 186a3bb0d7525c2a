"""Every row of the Edge TPU and its host, run on the host's reference kernels."""

from __future__ import annotations

import numpy as np
import pytest

from qhal.ir import ops
from qhal.ir.graph import NodeView
from qhal.ir.layout.laid_out import to_layout
from qhal.legal.legalize import legalize
from qhal.plugin.backend import RunOptions
from qhal.quant.arithmetic import quantize
from qhal.quant.oracle import Oracle
from qhal.targets.capability import Capability, KernelRow
from qhal.targets.profile import TargetProfile
from qhal.testing.samples import SAMPLES, Sample
from qhal_backends.edgetpu import limits as the
from qhal_backends.edgetpu.capabilities import JOIN, capabilities
from qhal_backends.edgetpu.flavor import EDGE_TPU
from qhal_backends.edgetpu.plugin import EdgeTpuBackend
from qhal_backends.tflite.lowering import lower_model
from qhal_backends.tflite.versions import lowest_runtime
from tests.backends.one_node import deploy_row, trials

BACKEND = EdgeTpuBackend()
TARGET = TargetProfile("coral", "edgetpu", "Coral")
CAPS = capabilities()
TRIALS = list(trials(CAPS))
IDS = [f"{s}: {row}" for s, _, row in TRIALS]
EACH = pytest.mark.parametrize(("sample", "capability", "row"), TRIALS, ids=IDS)

COMPILER_RELEASE = (2, 6)
"""edgetpu_compiler 16.0 is of July 2021, between TensorFlow 2.5 and 2.6."""


@EACH
def test_row_computes_what_the_oracle_computes(
    sample: Sample, capability: Capability, row: KernelRow
) -> None:
    model = deploy_row(sample, capability, row, CAPS)
    params = model.model.params
    inputs = {n: quantize(v, params[n]) if n in params else v for n, v in model.here().items()}
    artifact = BACKEND.lower(model.model, TARGET)
    found = BACKEND.load(artifact, TARGET, RunOptions(reference=True)).run(inputs)
    for name, wanted in Oracle(model.model).run(inputs).items():
        assert found[name].dtype == wanted.dtype
        gap = np.abs(found[name].astype(np.int64) - wanted.astype(np.int64))
        assert np.mean(gap <= 1) >= 0.999


@EACH
def test_row_needs_nothing_that_the_compiler_does_not_know(
    sample: Sample, capability: Capability, row: KernelRow
) -> None:
    model = lower_model(deploy_row(sample, capability, row, CAPS).model, EDGE_TPU).model
    release = tuple(map(int, lowest_runtime(model.operators).split(".")))[:2]
    assert release <= COMPILER_RELEASE
    floats = [t.name for t in model.tensors.values() if t.type.dtype.is_float]
    assert bool(floats) is (row is JOIN)


def test_every_row_was_tried() -> None:
    tried = {(capability.op, row.name) for _, capability, row in TRIALS}
    stated = {(c.op, row.name) for c in CAPS.kernels for row in c.rows}
    # Poolings and the like are never of indices.
    untried = {op for op, name in stated - tried if name != "integers on the host"}
    # Behind a join, see tests/core/pipeline/test_outputs.py.
    assert untried == {"Reshape", "Transpose"}
    assert all(stated - tried >= {(op, JOIN.name)} for op in untried)


def builtins(op: str, label: str) -> list[str]:
    sample, capability, row = next(
        (s, c, r) for s, c, r in TRIALS if str(s) == f"{op}-{label}" and not r.unit
    )
    lowered = lower_model(deploy_row(sample, capability, row, CAPS).model, EDGE_TPU)
    return [operator.builtin for operator in lowered.model.operators]


@pytest.mark.parametrize(
    ("op", "label", "wanted"),
    [
        ("Conv", "grouped", ["SPLIT", "CONV_2D", "CONV_2D", "CONCATENATION"]),
        ("Resize", "point", ["TILE"]),
        ("Split", "uneven", ["SLICE", "SLICE"]),
        ("Slice", "plane", ["SLICE", "MAX_POOL_2D"]),
    ],
)
def test_forms_that_stay_on_the_edge_tpu(op: str, label: str, wanted: list[str]) -> None:
    assert builtins(op, label) == wanted


def test_a_layer_of_several_rows_becomes_a_convolution() -> None:
    [sample] = [s for s in SAMPLES if str(s) == "FullyConnected-rank3"]
    legal = legalize(sample.graph(), CAPS)
    assert "2 Reshape, 2 Transpose, Conv: it has 6 rows" in legal.decisions[0].sentence
    laid = to_layout(legal.graph, CAPS.layout).graph
    assert [node.op.kind for node in laid.nodes] == ["Reshape", "Conv", "Reshape"]
    assert all(the.three_innermost.check(NodeView(laid, node)) is None for node in laid.nodes)


def test_the_core_rewrites_what_only_the_host_has() -> None:
    for op in (ops.HardSwish(), ops.LeakyRelu(0.1), ops.Silu(), ops.HardSigmoid()):
        assert not CAPS.has(op.kind)
