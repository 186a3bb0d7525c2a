"""Limits of Ethos-U refuse with the offending value."""

from __future__ import annotations

import pytest

from qhal.targets.capability import Capability, KernelRow
from qhal.targets.limit import Limit
from qhal.testing.samples import EDGES
from qhal_backends.arm.ethosu import limits as the
from qhal_backends.arm.ethosu.capabilities import capabilities
from qhal_backends.tflite import rows
from tests.backends.one_node import broken_limit

CASES: list[tuple[str, Limit, str | None]] = [
    ("Conv-stride4-pads0000-dilation1", the.u55_strides_of_conv, None),
    (
        "Conv-stride4-pads0000-dilation2",
        the.u55_strides_of_conv,
        "the strides are (4, 4), with dilation or padding SAME; allowed: 1 to 3",
    ),
    ("DepthwiseConv-stride3", the.u55_strides_up_to_three, None),
    (
        "DepthwiseConv-stride4",
        the.u55_strides_up_to_three,
        "the strides are (4, 4); allowed: 1 to 3",
    ),
    ("ConvTranspose-strides(1, 1)-(5, 4)-(3, 3)", the.u55_strides_of_transposed, None),
    ("ConvTranspose-strides(1, 2)-(1, 6)-(1, 3)", the.u55_strides_of_transposed, None),
    ("ConvTranspose-strides(2, 1)-(6, 1)-(3, 1)", the.u55_strides_of_transposed, None),
    (
        "ConvTranspose-strides(3, 3)-(5, 4)-(3, 3)",
        the.u55_strides_of_transposed,
        "the strides are (3, 3); allowed: 1x1 or 2x2",
    ),
    (
        "FullyConnected-long",
        the.filters_are_small,
        "a filter has 65537 weights; allowed: up to 65536",
    ),
    ("MaxPool-stride4", the.u55_strides_of_pool, None),
    (
        "MaxPool-stride4-same",
        the.u55_strides_of_pool,
        "the strides are (4, 4) with padding SAME; allowed: 1 to 3",
    ),
    (
        "MaxPool-tall",
        the.kernel_is_small,
        "the kernel is 257x1; allowed: up to 65536 elements and up to 256 rows",
    ),
    ("AveragePool-same7", the.same_kernel_is_small, None),
    (
        "AveragePool-same9",
        the.same_kernel_is_small,
        "the kernel is (9, 9) with padding SAME; allowed: up to 8 by 8",
    ),
    ("ReduceMean-row4096", the.reduced_axes_are_short, None),
    (
        "ReduceMean-row4097",
        the.reduced_axes_are_short,
        "an axis of 4097 elements is reduced; allowed: up to 4096",
    ),
    ("ReduceMean-plane64", the.reduces_at_most(4096), None),
    (
        "ReduceMean-plane65",
        the.reduces_at_most(4096),
        "4160 elements are reduced; allowed: up to 4096",
    ),
    ("ArgMax-depth127", the.u55_argmax_over_depth, None),
    ("ArgMax-depth128", the.u55_argmax_over_depth, "the axis has 128 elements; allowed: up to 127"),
    ("Softmax-rows256", the.softmax_rows, None),
    ("Softmax-rows257", the.softmax_rows, "there are 65792 rows; allowed: up to 65536"),
    ("Resize-linear-8", the.u55_resizes_by_powers_of_two, None),
    (
        "Resize-linear-16",
        the.u55_resizes_by_powers_of_two,
        "the scales are 16, 16 (4 to 64 and 4 to 64); allowed: 2, 4, 8 for both",
    ),
    (
        "Resize-half4",
        the.u55_resizes_by_powers_of_two,
        "the scales are 4, 4 (4 to 16 and 4 to 16); allowed: 2 for both",
    ),
    ("Resize-linear-16", the.u85_resizes_in_bounds, None),
    (
        "Resize-linear-3",
        the.u85_resizes_in_bounds,
        "the scales are 3, 3 (4 to 12 and 4 to 12); allowed: powers of two",
    ),
    ("Transpose-rank3", the.u55_transposes_small_planes, None),
    (
        "Transpose-large",
        the.u55_transposes_small_planes,
        "some axes of (300, 2, 300, 2) have 90000 elements together; allowed: up to 65536",
    ),
    ("Slice-rank3-width", the.strides_in_height_and_width, None),
    (
        "Slice-rank2-depth",
        the.strides_in_height_and_width,
        "the strides are (1, 2); only those along height and width may differ from 1",
    ),
]


@pytest.mark.parametrize(("name", "limit", "wanted"), CASES, ids=[f"{n}: {w}" for n, _, w in CASES])
def test_limit(name: str, limit: Limit, wanted: str | None) -> None:
    sample = next(s for s in EDGES if str(s) == name)
    plain = KernelRow(rows.INT8, rows.INT8)
    only = Capability(sample.op.kind, (plain,), "", (limit,))
    assert broken_limit(sample, only, plain) == wanted


@pytest.mark.parametrize("is_u85", [False, True])
def test_every_limit_is_documented(is_u85: bool) -> None:
    for capability in capabilities(is_u85).kernels:
        for row in capability.rows:
            for limit in (*capability.limits, *row.limits):
                assert limit.rule.endswith((".", ")."))


def test_the_larger_generation_takes_more() -> None:
    small = {c.op for c in capabilities(False).kernels if any(not r.unit for r in c.rows)}
    large = {c.op for c in capabilities(True).kernels if any(not r.unit for r in c.rows)}
    assert large - small == {"Gather", "Where"}
    assert small < large


@pytest.mark.parametrize("is_u85", [False, True])
def test_only_the_host_has_rows_in_float(is_u85: bool) -> None:
    stated = [row for capability in capabilities(is_u85).kernels for row in capability.rows]
    npu = [row for row in stated if not row.unit]
    assert {row.activation.dtype.value for row in npu} == {"int8", "int16"}
    assert {row.unit for row in stated} == {"", "host"}
