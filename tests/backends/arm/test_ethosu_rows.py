"""Verdicts of qhal beside what Vela does with models of one operator."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from qhal.ir.dtypes import DType
from qhal.targets.capability import Capability, KernelRow
from qhal.testing.samples import Sample
from qhal_backends.arm.ethosu.backend import VELA
from qhal_backends.arm.ethosu.capabilities import capabilities
from qhal_backends.arm.ethosu.configuration import Configuration
from qhal_backends.tflite.capabilities import of_whole_bytes
from qhal_backends.tflite.lowering import lower_model
from qhal_backends.tflite.writer import write
from tests.backends.arm.vela_runs import ALL, U55, U65, U85, compile_all
from tests.backends.one_node import broken_limit, deploy_row, is_plain

pytest.importorskip("ethosu.vela", reason="ethos-u-vela is not installed: quant-hal[arm]")

Trial = tuple[Sample, Capability, KernelRow]


def integer_trials(is_u85: bool) -> list[Trial]:
    """Every sample that LiteRT runs in integers and that Vela survives."""
    caps, mine = of_whole_bytes(), capabilities(is_u85)
    return [
        (sample, capability, row)
        for sample in ALL
        for capability in caps.of(sample.op.kind)
        for row in capability.rows
        if row.activation.quantized
        and mine.has(sample.op.kind)
        and not is_plain(sample)
        and broken_limit(sample, capability, row) is None
    ]


def reason_against_npu(trial: Trial, is_u85: bool) -> str | None:
    """Why qhal does not put a sample on the NPU."""
    sample, _, row = trial
    reasons = []
    for capability in capabilities(is_u85).of(sample.op.kind):
        for own in capability.rows:
            if not own.unit and own.activation == row.activation:
                broken = broken_limit(sample, capability, own)
                if broken is None:
                    return None
                reasons.append(broken)
    return "; ".join(reasons) or "the NPU has no row"


@pytest.mark.parametrize("configuration", [U55, U65, U85], ids=lambda c: c.accelerator)
def test_verdict_is_velas(configuration: Configuration, tmp_path: Path) -> None:
    caps = replace(of_whole_bytes(), indices=DType.INT32)
    trials = integer_trials(configuration.is_u85)
    models = [deploy_row(*trial, caps).model for trial in trials]
    files = [write(lower_model(model, VELA).model) for model in models]
    compiled = compile_all(tmp_path, files, configuration)
    wrong = []
    for index, trial in enumerate(trials):
        reason = reason_against_npu(trial, configuration.is_u85)
        on_cpu = compiled[index].on_cpu
        if (reason is None) != (on_cpu is not None and not on_cpu):
            wrong.append(f"{trial[0]} {trial[2]}: qhal: {reason}, Vela: {on_cpu}")
    assert not wrong, "\n".join(wrong)
    assert len(trials) > 300
