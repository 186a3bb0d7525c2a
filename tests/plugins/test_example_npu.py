"""The stranger's backend: a distribution of its own, small, and working from end to end."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import qhal
from qhal.plugin.registry import registry
from tests.paths import ROOT

PLUGIN = ROOT / "plugins" / "qhal-example-npu"
DIGITS = ROOT / "examples" / "digits"


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> tuple[qhal.RunRecord, Path]:
    """The example, deployed for the invented NPU."""
    out = tmp_path_factory.mktemp("npu") / "out"
    return qhal.deploy(
        DIGITS / "digits.onnx",
        target="example-npu",
        data=DIGITS / "calibration.npz",
        eval=DIGITS / "evaluation.npz",
        out=out,
        cache=False,
    ), out


def test_it_is_a_distribution_of_its_own() -> None:
    distribution = metadata.distribution("qhal-example-npu")
    provider = registry().backend_providers["example-npu"]
    assert (provider.distribution, provider.version) == ("qhal-example-npu", distribution.version)


def test_it_is_under_100_lines() -> None:
    files = [path for path in PLUGIN.iterdir() if path.is_file()]
    assert len(files) == 3
    assert sum(len(path.read_text().splitlines()) for path in files) < 100


def test_it_deploys_the_example(record: tuple[qhal.RunRecord, Path]) -> None:
    found, out = record
    assert {file.name for file in found.artifact.files} == {"model.npu", "weights.npz"}
    assert (out / "model.npu").read_text().strip()
    assert found.metrics["top1"].value >= found.metrics["top1_float"].value - 0.01
    assert "oracle" in found.artifact.runtime


def test_its_limits_are_reasons(tmp_path: Path) -> None:
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper, save

    weight = numpy_helper.from_array(np.ones((4, 1, 7, 7), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], name="wide", pads=[3] * 4)],
        "wide",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 8, 8])],
        [weight],
    )
    path = tmp_path / "wide.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    report = qhal.check(path, target="example-npu")
    assert not report.ok
    assert "window is 7 wide; allowed: 1 to 5" in report.rows[0].reason


def test_the_command_knows_it() -> None:
    code = "import sys; from qhal.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "check", str(DIGITS / "digits.onnx")]
    done = subprocess.run(
        [*command, "--target", "example-npu"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
