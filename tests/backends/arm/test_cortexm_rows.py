"""Every row of TensorFlow Lite Micro, run in its interpreter and compared with the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from tflite_samples import Sample, deploy_row, trials

from qhal.adapter import Adapter
from qhal.plugin.backend import RunOptions
from qhal.quant.oracle import Oracle
from qhal.target.capability import Capability, KernelRow
from qhal.target.profile import TargetProfile
from qhal_backends.arm.cortexm.capabilities import CMSIS_NN, capabilities
from qhal_backends.arm.cortexm.interpreter import MicroRunner, load_interpreter
from qhal_backends.tflite.plugin import TfliteBackend
from qhal_backends.tflite.rows import INT16

pytest.importorskip("tflite_micro", reason="tflite-micro is not installed: quant-hal[arm]")

LITERT = TfliteBackend()
TARGET = TargetProfile("mcu", "cortex-m", "a microcontroller")
CAPS = capabilities()
TRIALS = list(trials(CAPS))

ONE_STEP = frozenset({"Mul", "LeakyRelu"})
"""Kernels of int16 that round differently from LiteRT's."""


@pytest.mark.parametrize(
    ("sample", "capability", "row"), TRIALS, ids=[f"{s}: {row}" for s, _, row in TRIALS]
)
def test_row_computes_what_the_oracle_computes(
    sample: Sample, capability: Capability, row: KernelRow
) -> None:
    model = deploy_row(sample, capability, row, CAPS)
    content = LITERT.lower(model.model, TARGET).files["model.tflite"]
    graph = model.model.graph
    inputs = Adapter(model.model).to_artifact(model.there())
    found = MicroRunner(content, graph.inputs, graph.outputs).run(inputs)
    allowed = int(row.activation == INT16 and sample.op.kind in ONE_STEP)
    for name, wanted in Oracle(model.model).run(inputs).items():
        assert found[name].dtype == wanted.dtype
        assert found[name].shape == wanted.shape
        assert np.abs(found[name].astype(np.int64) - wanted.astype(np.int64)).max() <= allowed


def test_every_row_was_tried() -> None:
    tried = {(capability.op, row.name) for _, capability, row in TRIALS}
    assert {(c.op, row.name) for c in CAPS.kernels for row in c.rows} == tried


def test_sources_name_the_kernel() -> None:
    (conv,) = CAPS.of("Conv")
    assert conv.source.startswith("tensorflow/lite/micro/kernels/cmsis_nn/conv.cc (tflite-micro")
    assert set(CMSIS_NN) <= {c.op for c in CAPS.kernels}


def test_legacy_unsigned_files_are_refused(capfd: pytest.CaptureFixture[str]) -> None:
    from qhal.errors import VerificationError

    with pytest.raises((VerificationError, RuntimeError, ValueError)):
        load_interpreter(b"not a file at all, but long enough to be looked at").invoke()


def test_reference_kernels_are_the_only_ones() -> None:
    """Both kinds of runner are the same, so verification compares one of them with the oracle."""
    from qhal_backends.arm.cortexm.interpreter import label

    assert label().endswith("(reference kernels)")
    assert RunOptions(reference=True).reference
