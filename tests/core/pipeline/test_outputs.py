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
from qhal.decisions import Code, Severity
from qhal.errors import OptionError, RefusedError
from qhal.results.record import RunRecord
from qhal.targets.capability import HOST
from qhal.verify import FloatReference
from tests.core.ir.importing import model

pytest.importorskip("ai_edge_litert")

ENDS = ("boxes", "scores")


def detector(end: str = "y") -> onnx.ModelProto:
    """Boxes in pixels and scores from 0 to 1, as detectors are exported: joined and turned.

    Args:
        end: the output: y; mixed, with a transpose that stays; or cut, which is no movement.
    """
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
        node("Reshape", ["joined", "three"], ["parts"], name="part"),
        node("Transpose", ["parts"], ["mixed"], perm=[0, 2, 1], name="mix"),
        node("Relu", ["joined"], ["cut"], name="cut_off"),
    ]
    shapes = {"w": (8, 3, 3, 3), "wb": (4, 8, 1, 1), "ws": (5, 8, 1, 1)}
    weights = {n: rng.normal(0, 0.5, s).astype(np.float32) for n, s in shapes.items()}
    others = {"stride": np.array(600, np.float32), "shape": np.array([1, 9, 36])}
    others["three"] = np.array([1, 3, 108])
    return model(nodes, {"x": (1, 3, 8, 8)}, [end], constants={**weights, **others})


@pytest.fixture
def asked(tmp_path: Path) -> dict[str, Any]:
    """The arguments that all calls share."""
    onnx.save(detector("cut"), tmp_path / "model.onnx")
    values = np.random.default_rng(1).normal(size=(16, 1, 3, 8, 8)).astype(np.float32)
    np.save(tmp_path / "x.npy", values)
    return {"model": tmp_path / "model.onnx", "data": tmp_path / "x.npy"}


def sqnr_of(record: RunRecord) -> list[float]:
    return [record.metrics[f"sqnr[{name}]"].value for name in ENDS]


@pytest.mark.parametrize("end", ["y", "mixed"])
@pytest.mark.parametrize(
    ("target", "needs", "unit"),
    [
        ("edgetpu", "ai_edge_litert", HOST),
        ("ethos-u55-128", "ethosu", HOST),
        ("cortex-m7", "tflite_micro", ""),
    ],
)
def test_a_join_that_only_becomes_an_output_is_done_in_float(
    asked: dict[str, Any], tmp_path: Path, target: str, needs: str, unit: str, end: str
) -> None:
    pytest.importorskip(needs)
    path = tmp_path / "joined.onnx"
    onnx.save(detector(end), path)
    record = qhal.deploy(path, data=asked["data"], target=target, out=tmp_path / "joined")
    floats = {n.op: n for n in record.plan.nodes if n.declared.dtype == "float32"}
    moves = {"y": {"Reshape"}, "mixed": {"Transpose", "Reshape"}}[end]
    assert set(floats) == {"Dequantize", "Concat", *moves}
    assert {node.declared.unit for node in floats.values()} == {unit}
    assert len([n for n in record.plan.nodes if n.op == "Dequantize"]) == 2
    told = {d.subject: d for d in record.decisions if d.code is Code.JOIN_PROMOTED}
    assert "scores would keep 1 step" in told["join"].sentence
    assert told["join"].severity is (Severity.WARNING if unit else Severity.INFO)
    assert [port.artifact_dtype for port in record.model.outputs] == ["float32"]
    assert record.metrics["sqnr"].value > 30
    assert worst_channel_of(path, tmp_path / "joined", record) > 20


def worst_channel_of(path: Path, folder: Path, record: RunRecord) -> float:
    """Return the SQNR in dB of that part of the output that is worst, run from the file."""
    from ai_edge_litert.interpreter import Interpreter

    (port,) = record.model.outputs
    name, order = port.name, port.permutation or (0, 1, 2)
    found = Interpreter(str(folder / "model.tflite"))
    found.allocate_tensors()
    (given,), (result,) = found.get_input_details(), found.get_output_details()
    (source,) = record.model.inputs
    assert source.scale is not None and source.zero_point is not None
    noise = signal = np.zeros(9)
    for sample in np.random.default_rng(2).normal(size=(8, 1, 3, 8, 8)).astype(np.float32):
        wanted = np.asarray(FloatReference(path, [name]).run({"x": sample})[name])
        integers = np.round(sample.transpose(0, 2, 3, 1) / source.scale + source.zero_point)
        found.set_tensor(given["index"], np.clip(integers, -128, 127).astype(np.int8))
        found.invoke()
        gotten = found.get_tensor(result["index"]).transpose(np.argsort(order))
        error = np.asarray(gotten - wanted, np.float32)
        noise = noise + (by_channel(error) ** 2).sum(1)
        signal = signal + (by_channel(np.asarray(wanted, np.float32)) ** 2).sum(1)
    return float(10 * np.log10(signal / noise).min())


def by_channel(value: np.ndarray[Any, np.dtype[np.float32]]) -> np.ndarray[Any, Any]:
    """Undo the movement behind the join: a row for each of four boxes and five scores."""
    return value.transpose(0, 2, 1).reshape(9, 36).astype(np.float64)


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
