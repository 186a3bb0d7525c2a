"""Processors on which OpenVINO adds integer products inexactly.

x86-64 without VNNI multiplies unsigned with signed bytes by VPMADDUBSW, which adds two products
in 16 bits and saturates where both operands are large. OpenVINO 2026.4 has no other integer
kernels there. Two things make sums exact: weights of 7 bits, or switching off the transformations
that lead to integers, which makes OpenVINO compute the same plan in float.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from qhal.decisions import Code, Decision, Severity
from qhal.plugin.backend import Artifact
from qhal_backends.openvino import settings
from qhal_backends.openvino.devices import CPU
from qhal_backends.openvino.runner import load_core

LOW_PRECISION, OFF = "LP_TRANSFORMS_MODE", "NO"
"""The switch, an option of the plugin for processors, and its value for float."""

_NARROW = "openvino-cpu-avx2"
"""The target of the catalog whose weights have 7 bits."""

_QUANTIZED = b'type="FakeQuantize"'
"""In the ``.xml`` of an artifact that computes with integers."""


@cache
def sums_saturate() -> bool:
    """Return True if OpenVINO's integer kernels saturate sums of products on this processor.

    It adds up the largest products and looks at the sum, because the kernels that OpenVINO chooses
    also depend on oneDNN's settings in the environment.
    """
    import openvino
    from openvino import opset13 as operators

    depth, outputs = 4, 16
    x = operators.parameter([2, depth], np.float32)
    ends = [np.float32(end) for end in (0, 255)]
    integers = operators.fake_quantize(x, *ends, *ends, levels=256)
    stored = operators.constant(np.full((outputs, depth), 127, np.int8))
    scale = np.ones((outputs, 1), np.float32)
    weight = operators.multiply(operators.convert(stored, "f32"), scale)
    product = operators.matmul(integers, weight, transpose_a=False, transpose_b=True)
    config = {settings.PRECISION: settings.FLOAT32, "INFERENCE_NUM_THREADS": 1}
    compiled = load_core().compile_model(openvino.Model([product], [x]), CPU, config)
    sums = compiled(np.full((2, depth), 255, np.float32))[0]
    return not np.array_equal(sums, np.full_like(sums, depth * 255 * 127))


def may_saturate(written: bytes) -> bool:
    """Return True if sums of an artifact can saturate: it computes with integers."""
    return _QUANTIZED in written


def decisions_about(written: bytes) -> tuple[Decision, ...]:
    """Report on which processors the artifact computes inexactly, and what to do there."""
    if not may_saturate(written):
        return ()
    sentence = (
        "On x86-64 processors without VNNI, OpenVINO's integer kernels saturate sums at 16 bits, "
        f"which can cost most of the accuracy. For such processors deploy to {_NARROW}, or compile "
        f"the artifact with {LOW_PRECISION} {OFF}: it then computes in float, slower than the "
        "float model."
    )
    return (Decision(Code.SATURATING_SUMS, sentence),)


def decisions_here(artifact: Artifact) -> tuple[Decision, ...]:
    """Warn if an artifact computes inexactly on this processor."""
    if not sums_saturate() or not may_saturate(artifact.files[artifact.main]):
        return ()
    sentence = (
        "On this processor OpenVINO's integer kernels saturate sums at 16 bits, so the artifact "
        "did not compute what was planned: the accuracy and agreement measured here suffer from "
        f"it. On processors with VNNI the artifact is exact; for this one deploy to {_NARROW}."
    )
    return (Decision(Code.SATURATING_SUMS, sentence, severity=Severity.WARNING),)
