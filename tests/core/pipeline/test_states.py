"""A model whose state feeds it again: rolled out, run in a loop, and refused where that fails."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import qhal
from qhal.decisions import Code
from qhal.errors import LoopGateError, OptionError
from qhal.ir.graph import Array
from qhal.pipeline.deployed import open_deployed
from qhal.results.record import RunRecord

WIDTH = 8
DECAY = 0.97
FRAMES = 1600


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bank of leaky sums: the state grows to thirty times what a single frame adds."""
    generator = np.random.default_rng(0)
    weights = {
        "w": generator.normal(0, 0.3, (4, WIDTH)).astype(np.float32),
        "decay": np.full((1, WIDTH), DECAY, np.float32),
        "v": generator.normal(0, 0.5, (WIDTH, 1)).astype(np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Mul", ["state", "decay"], ["kept"]),
        helper.make_node("Add", ["a", "kept"], ["stateN"]),
        helper.make_node("MatMul", ["stateN", "v"], ["sum"]),
        helper.make_node("Sigmoid", ["sum"], ["speech"]),
    ]
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in side]
        for side in (
            (("x", (1, 4)), ("state", (1, WIDTH))),
            (("speech", (1, 1)), ("stateN", (1, WIDTH))),
        )
    ]
    stored = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "leaky", ends[0], ends[1], stored)
    path = tmp_path_factory.mktemp("leaky") / "leaky.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def frames(count: int = FRAMES, times: float = 1.0) -> Array:
    generator = np.random.default_rng(1)
    slow = np.sin(np.arange(count) / 20)[:, None, None] * np.ones((1, 1, 4))
    noise = 0.2 * generator.normal(size=(count, 1, 4))
    return (times * (slow + noise)).astype(np.float32)


def deploy(model: Path, tmp_path: Path, target: str = "tflite", **more: Any) -> RunRecord:
    asked = {"data": {"x": frames()}, "cache": False, **more}
    return qhal.deploy(model, target=target, out=tmp_path / "o", **asked)


def codes(record: RunRecord) -> set[Code]:
    return {decision.code for decision in record.decisions}


def range_of(record: RunRecord, name: str) -> float:
    """Return how far the quantized forms of a tensor reach; 0 if it stays in float."""
    ranges = [t.range for t in record.plan.tensors if t.name.startswith(name) and t.range]
    return max((max(abs(end) for end in found) for found in ranges), default=0.0)


@pytest.mark.parametrize("target", ["tflite", "cpu"])
def test_the_loop_is_closed_and_holds(model: Path, tmp_path: Path, target: str) -> None:
    record = deploy(model, tmp_path, target)
    assert {Code.STATE_FOUND, Code.STATES_ROLLED, Code.STATE_PROMOTED} <= codes(record)
    [gate] = [gate for gate in record.gates if gate.name == "closed-loop"]
    assert gate.passed
    assert record.metrics["loop_frames"].value == FRAMES // 2
    assert "sqnr[speech]" in record.metrics
    assert "sqnr[stateN]" not in record.metrics
    bound = record.metrics["loop_decisions_bound[speech]"]
    assert record.metrics["loop_decisions_changed[speech]"].value < bound.value <= 3
    assert "frames of 2 sequences, those of calibration included" in bound.note
    assert record.metrics["state_sqnr[stateN]"].value > 20
    assert record.data["calibration"]["states"] == {"stateN": "state"}  # type: ignore[index]


def test_an_artifact_decides_as_the_float_model_over_two_hundred_frames(
    model: Path, tmp_path: Path
) -> None:
    """Judge with nothing of what verification uses."""
    import onnxruntime

    deploy(model, tmp_path)
    deployed = open_deployed(tmp_path / "o").runnable
    runner, adapter = deployed.load(), deployed.adapter
    assert runner is not None
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    ours = theirs = np.zeros((1, WIDTH), np.float32)
    differing, spoken = 0, 0
    for x in frames()[FRAMES // 2 :][:200]:
        expected, theirs = session.run(["speech", "stateN"], {"x": x, "state": theirs})
        found = adapter.to_user(runner.run(adapter.to_artifact({"x": x, "state": ours})))
        ours = found["stateN"].astype(np.float32)
        spoken += bool(expected[0, 0] > 0.5)
        differing += bool((found["speech"][0, 0] > 0.5) != (expected[0, 0] > 0.5))
    assert 20 < spoken < 180
    assert differing <= 6


def test_zero_states_in_the_data_do_not_plan_the_range(model: Path, tmp_path: Path) -> None:
    data = {"x": frames(), "state": np.zeros((FRAMES, 1, WIDTH), np.float32)}
    record = deploy(model, tmp_path, data=data)
    assert range_of(record, "stateN") > 4
    assert Code.INPUT_CONSTANT not in codes(record)


def test_states_in_the_data_that_the_model_did_not_make_are_none(
    model: Path, tmp_path: Path
) -> None:
    other = np.random.default_rng(2).normal(0, 3, (FRAMES, 1, WIDTH)).astype(np.float32)
    data = {"x": frames(), "state": other}
    record = deploy(model, tmp_path, data=data)
    assert Code.STATE_FOUND not in codes(record)
    [told] = [d for d in record.decisions if d.code is Code.STATE_UNCLEAR]
    assert "--state stateN=state" in told.sentence
    assert "loop_frames" not in record.metrics
    said = deploy(model, tmp_path, data=data, state={"stateN": "state"}, force=True)
    assert "loop_frames" in said.metrics


def test_states_in_the_data_that_the_model_made_are_states(model: Path, tmp_path: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    state, made = np.zeros((1, WIDTH), np.float32), []
    for x in frames():
        made.append(state)
        [state] = session.run(["stateN"], {"x": x, "state": state})
    record = deploy(model, tmp_path, data={"x": frames(), "state": np.stack(made)})
    assert Code.STATE_FOUND in codes(record)


def test_without_recognition_the_constant_state_is_told(model: Path, tmp_path: Path) -> None:
    data = {"x": frames(), "state": np.zeros((FRAMES, 1, WIDTH), np.float32)}
    record = deploy(model, tmp_path, data=data, state={})
    told = [d.subject for d in record.decisions if d.code is Code.INPUT_CONSTANT]
    assert told == ["state"]
    assert not record.gates
    assert Code.STATE_FOUND not in codes(record)


def test_a_loop_that_leaves_the_float_model_is_refused(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Evaluate on ten times what calibration saw: the state saturates."""
    evaluation = {"x": frames(200, 10)}
    monkeypatch.setenv("QHAL_CACHE", str(tmp_path / "cache"))
    data = {"x": frames(200, 0.01)}
    with pytest.raises(LoopGateError) as caught:
        deploy(model, tmp_path, data=data, eval=evaluation, cache=True)
    message = str(caught.value)
    assert "of the decisions of speech (above 0.5) differ from the float model's" in message
    assert "Measured with the oracle on 200 frames in a closed loop" in message
    assert "--recipe w8: 0.00 % of the decisions of speech" in message
    assert not (tmp_path / "o").exists()
    kept = deploy(model, tmp_path, data={"x": frames(200, 0.01)}, eval=evaluation, max_drop=100.0)
    assert kept.ok


def test_few_frames_that_hold_do_not_answer_for_others(model: Path, tmp_path: Path) -> None:
    """The frames are within the limit; that others are as well takes more of them."""
    with pytest.raises(LoopGateError) as caught:
        deploy(model, tmp_path, data={"x": frames(400)})
    message = str(caught.value)
    assert "of other frames like these it may be" in message
    assert "400 frames of 2 sequences, those of calibration included" in message
    assert "More frames narrow the bound" in message
    assert deploy(model, tmp_path, data={"x": frames(400)}, max_drop=3.0).ok


def test_a_refusal_measures_recipes_until_one_holds(model: Path, tmp_path: Path) -> None:
    """Also where no statistics are kept: the recipe that is named deploys."""
    loud: dict[str, Any] = {"data": {"x": frames(200, 0.01)}, "eval": {"x": frames(200, 10)}}
    with pytest.raises(LoopGateError) as caught:
        deploy(model, tmp_path, **loud)
    message = str(caught.value)
    held = re.search(r"--recipe (\w+) holds on these frames", message)
    assert held is not None
    assert f"--recipe {held[1]}: 0.00 % of the decisions" in message
    assert "Not measured: another number of --calib-samples." in message
    assert message.index("--recipe w8a16:") < message.index(f"--recipe {held[1]}:")
    assert deploy(model, tmp_path, recipe=held[1], **loud).ok


def test_a_state_that_is_none_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no output 'hn'"):
        deploy(model, tmp_path, state={"hn": "state"})


def test_several_targets_share_the_rollout(model: Path, tmp_path: Path) -> None:
    fleet = qhal.deploy_all(
        model, targets=["cpu", "tflite"], data={"x": frames()}, out=tmp_path, cache=False
    )
    for outcome in fleet.outcomes:
        assert outcome.record is not None, outcome.error
        assert outcome.record.metrics["loop_frames"].value == FRAMES // 2


def test_bench_takes_the_same_data(model: Path, tmp_path: Path) -> None:
    deploy(model, tmp_path)
    report = qhal.bench(tmp_path / "o", data={"x": frames()}, budget_s=0.1)
    assert len(report.results) == 1


def lstm_of_one_state(path: Path) -> Path:
    """An LSTM whose ``h``, at most 1, and ``c``, which adds up, are one state of two rows."""
    generator = np.random.default_rng(4)
    gates = np.repeat([1.0, 0.5, 4.0, 0.0], WIDTH)  # input, output, forget, cell
    weights = {
        "w": generator.normal(0, 0.6, (1, 4 * WIDTH, 4)).astype(np.float32),
        "r": generator.normal(0, 0.3, (1, 4 * WIDTH, WIDTH)).astype(np.float32),
        "b": np.concatenate([gates, 0 * gates])[None].astype(np.float32),
        "v": generator.normal(0, 0.7, (WIDTH, 1)).astype(np.float32),
        **{str(row): np.array([row]) for row in range(3)},
    }
    nodes = [
        helper.make_node("Slice", ["state", "0", "1"], ["h"]),
        helper.make_node("Slice", ["state", "1", "2"], ["c"]),
        helper.make_node(
            "LSTM", ["x", "w", "r", "b", "", "h", "c"], ["y", "hN", "cN"], hidden_size=WIDTH
        ),
        helper.make_node("Concat", ["hN", "cN"], ["stateN"], axis=0),
        helper.make_node("MatMul", ["hN", "v"], ["sum"]),
        helper.make_node("Sigmoid", ["sum"], ["speech"]),
    ]
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in side]
        for side in (
            (("x", (1, 1, 4)), ("state", (2, 1, WIDTH))),
            (("speech", (1, 1, 1)), ("stateN", (2, 1, WIDTH))),
        )
    ]
    stored = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "lstm", ends[0], ends[1], stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), path)
    return path


def test_each_part_of_a_state_is_rounded_in_its_own_range(tmp_path: Path) -> None:
    """With one scale for both, ``h`` kept six steps to each side in front of its product."""
    path = lstm_of_one_state(tmp_path / "lstm.onnx")
    record = deploy(path, tmp_path, data={"x": frames()[:, None]}, max_drop=100)
    tensors = {tensor.name: tensor for tensor in record.plan.tensors}
    [hidden] = [n for n in record.plan.nodes if n.op == "FullyConnected" and n.name.endswith("/r")]
    low, high = tensors[hidden.inputs[0]].range
    assert -1.1 < low < high < 1.1
    assert record.metrics["sqnr[speech]"].value > 30
