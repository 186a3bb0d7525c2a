"""A detector whose boxes and scores do not fit one scale, and the way to deploy it."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import qhal
from qhal.cli.main import main
from qhal.decisions import Code
from qhal.errors import OptionError, RefusedError
from qhal.results.record import RunRecord
from tests.core.ir.importing import model

pytest.importorskip("ai_edge_litert")

ENDS = ("boxes", "scores")


def detector() -> onnx.ModelProto:
    """Boxes in pixels and scores from 0 to 1, as detectors are exported: joined and turned."""
    rng, node = np.random.default_rng(0), helper.make_node
    nodes = [
        node("Conv", ["x", "w"], ["features"], name="stem"),
        node("Conv", ["features", "wb"], ["raw"], name="regression"),
        node("Mul", ["raw", "stride"], ["boxes"], name="decode"),
        node("Conv", ["features", "ws"], ["logits"], name="classes"),
        node("Sigmoid", ["logits"], ["scores"], name="probability"),
        node("Concat", ["boxes", "scores"], ["joined"], axis=1, name="join"),
        node("Reshape", ["joined", "shape"], ["rows"], name="flat"),
        node("Transpose", ["rows"], ["y"], perm=[0, 2, 1], name="last"),
    ]
    shapes = {"w": (8, 3, 3, 3), "wb": (4, 8, 1, 1), "ws": (5, 8, 1, 1)}
    weights = {n: rng.normal(0, 0.5, s).astype(np.float32) for n, s in shapes.items()}
    others = {"stride": np.array(600, np.float32), "shape": np.array([1, 9, 36])}
    return model(nodes, {"x": (1, 3, 8, 8)}, constants={**weights, **others})


@pytest.fixture
def asked(tmp_path: Path) -> dict[str, Any]:
    """The arguments that all calls share."""
    onnx.save(detector(), tmp_path / "model.onnx")
    values = np.random.default_rng(1).normal(size=(16, 1, 3, 8, 8)).astype(np.float32)
    np.save(tmp_path / "x.npy", values)
    return {"model": tmp_path / "model.onnx", "data": tmp_path / "x.npy"}


def sqnr_of(record: RunRecord) -> list[float]:
    return [record.metrics[f"sqnr[{name}]"].value for name in ENDS]


def test_the_refusal_says_with_which_outputs_it_can_be_deployed(
    asked: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(RefusedError) as caught:
        qhal.deploy(**asked, target="edgetpu", out=tmp_path / "whole")
    assert "scores 1 step of 255" in caught.value.message
    said = re.findall(r"--output \S+", caught.value.hint)
    names = [shlex.split(each)[1] for each in said]
    assert names == list(ENDS)
    fleet = qhal.deploy_all(
        **asked, targets=["edgetpu", "cortex-m7"], outputs=names, out=tmp_path / "apart"
    )
    for name in ("edgetpu", "cortex-m7"):
        record = RunRecord.load(tmp_path / "apart" / name)
        assert [port.name for port in record.model.outputs] == names
        assert min(sqnr_of(record)) > 30
        assert record.options["outputs"] == names
        assert Code.OUTPUTS_CHOSEN in {decision.code for decision in record.decisions}
    assert fleet.exit_code == 0


def test_bench_cuts_the_float_model_too(asked: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "out"
    qhal.deploy(**asked, target="tflite", outputs=ENDS, out=out)
    report = qhal.bench(out, model=asked["model"], data=asked["data"], budget_s=0.05)
    assert "speedup_host" in report.results[0].metrics


def test_check_and_its_dump_take_them(
    asked: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["check", str(asked["model"]), "--target", "edgetpu", "--output", "scores"]
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert "QD110" in {decision["code"] for decision in found["decisions"]}
    assert main([*command, "--dump", "imported"]) == 0
    shown = capsys.readouterr().out
    assert "Sigmoid" in shown and "Concat" not in shown
    assert main([*command, "--output", "score"]) == OptionError.exit_code
    assert "Did you mean scores?" in capsys.readouterr().err


def test_a_real_detector_delivers_each_head_by_itself(zoo: Path, tmp_path: Path) -> None:
    ends = ("1104", "1106", "1146", "1148")
    record = qhal.deploy(
        zoo / "models" / "yolox_nano.onnx",
        target="edgetpu",
        data=zoo / "data" / "imagenet_sample",
        preprocess="raw-bgr",
        calib_samples=16,
        eval_samples=2,
        outputs=ends,
        out=tmp_path / "out",
    )
    assert [port.name for port in record.model.outputs] == list(ends)
    found = [record.metrics[f"sqnr[{name}]"].value for name in ends]
    assert min(found[::2]) > 15 and min(found[1::2]) > 5
    scales = {tensor.name: tensor.scale for tensor in record.plan.tensors}
    assert [scales[name] for name in ends[1::2]] == [(1 / 256,)] * 2
