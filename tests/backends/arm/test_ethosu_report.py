"""The operators of qhal's tables beside those of Vela's own report."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping

import pytest

from qhal_backends.arm.ethosu.backend import VELA
from qhal_backends.arm.ethosu.capabilities import capabilities
from qhal_backends.tflite.lowering import lower_model
from qhal_backends.tflite.options import OPTIONS
from tests.backends.one_node import deploy_row, trials

pytest.importorskip("ethosu.vela", reason="ethos-u-vela is not installed: quant-hal[arm]")

TABLES = {False: "Ethos-U55 and Ethos-U65 TFLite", True: "Ethos-U85 TFLite"}


NOT_WRITTEN_IN_INTEGERS = frozenset(
    {"CAST", "DIV", "LOG", "NEG", "RSQRT", "SUM", "LOGICAL_NOT", "MIRROR_PAD", "QUANTIZE"}
    | {"SQUARED_DIFFERENCE", "EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL"}
    | {"LOGICAL_AND", "LOGICAL_OR", "NOT_EQUAL"}
)
"""Operators that the lowering has for float and indices, or writes as others; QUANTIZE is a step
between nodes. LiteRT's comparisons of integers are wrong for scales of 1 and more."""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What ``vela --supported-ops-report`` writes for the installed version."""
    folder = tmp_path_factory.mktemp("report")
    command = [sys.executable, "-P", "-m", "ethosu.vela", "--supported-ops-report"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return (folder / "SUPPORTED_OPS.md").read_text()


def operators_of(report: str, table: str) -> set[str]:
    """Operators in a summary table."""
    part = report.partition(f"## {table} Summary Table")[2].partition("\n## ")[0]
    return set(re.findall(r"^\| ([A-Z0-9_]+) \|", part, re.MULTILINE))


def rules_of(report: str, table: str, operator: str) -> str:
    """The rules that are special to an operator."""
    return report.partition(f"### {table} {operator} Constraints\n")[2].partition("\n### ")[0]


def emitted(is_u85: bool) -> Mapping[str, set[str]]:
    """Canonical operator -> builtin operators that its samples are lowered to on the NPU."""
    caps = capabilities(is_u85)
    found: dict[str, set[str]] = {}
    for sample, capability, row in trials(caps):
        if row.unit or row.activation.dtype.value != "int8":
            continue
        lowered = lower_model(deploy_row(sample, capability, row, caps).model, VELA)
        builtins = {operator.builtin for operator in lowered.model.operators}
        found.setdefault(sample.op.kind, set()).update(builtins)
    return found


@pytest.mark.parametrize("is_u85", [False, True])
def test_what_is_put_on_the_npu_is_in_the_report(report: str, is_u85: bool) -> None:
    listed = operators_of(report, TABLES[is_u85])
    assert len(listed) > 50
    for op, builtins in emitted(is_u85).items():
        assert builtins <= listed, op


@pytest.mark.parametrize("is_u85", [False, True])
def test_what_is_in_the_report_is_put_on_the_npu(report: str, is_u85: bool) -> None:
    listed = operators_of(report, TABLES[is_u85]) & set(OPTIONS)
    reached = set().union(*emitted(is_u85).values())
    assert listed - reached - NOT_WRITTEN_IN_INTEGERS == set()


@pytest.mark.parametrize(
    ("is_u85", "operator", "rule"),
    [
        (False, "CONV_2D", "Stride>3 is only supported IF (dilation = 1 AND padding = VALID)"),
        (False, "CONV_2D", "The sum of absolute weights cannot exceed 8323072"),
        (False, "DEPTHWISE_CONV_2D", "Kernel stride must be in the range (1,3)."),
        (False, "ARG_MAX", "IFM depth must be less than or equal to 127."),
        (False, "AVERAGE_POOL_2D", "Kernel width and height must be less than or equal to 8"),
        (False, "MEAN", "Reduced axis must be less than 4096"),
        (False, "MEAN", "cannot exceed: 16777216(Int8), 8388608(UInt8), 65536(Int16)"),
        (False, "RESIZE_BILINEAR", "Scale-factor needs to be one of: 2x/4x/8x"),
        (False, "TRANSPOSE", "Product of any N-2 axes in a rank N tensor"),
        (True, "RESIZE_BILINEAR", "Scale-factor must be an integer power of two."),
        (True, "GATHER", "axis must be equal to batch_dims"),
        (True, "SOFTMAX", "The product of IFM width and height must be less than 65536"),
    ],
)
def test_the_rules_are_those_of_the_installed_version(
    report: str, is_u85: bool, operator: str, rule: str
) -> None:
    assert rule in rules_of(report, TABLES[is_u85], operator)
