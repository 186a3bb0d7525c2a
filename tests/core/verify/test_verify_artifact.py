"""Artifacts against the float model and the oracle."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qhal.decisions import Code
from qhal.errors import LabelError, ModelInvalidError, VerificationError
from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.export import to_onnx
from qhal.ir.graph import Array, Graph, TensorType
from qhal.metric import Basis
from qhal.verify import (
    FEWEST_SAMPLES,
    ORACLE_BUDGET_S,
    RUNNER_BUDGET_S,
    Evaluation,
    FloatReference,
    check_import,
    check_labels,
    verification,
    verify,
)
from tests.core.conftest import Toys


@pytest.fixture
def reference(toys: Toys) -> FloatReference:
    return FloatReference(to_onnx(toys.float_graph).SerializeToString(), ["y"])


def test_a_good_artifact(toys: Toys, reference: FloatReference) -> None:
    found = verify(toys.subject(toys.model), Evaluation(toys.samples(), reference))
    assert found.runtime == "toy 1.0"
    assert found.decisions == ()
    metrics = found.metrics
    assert 25 < metrics["sqnr"].value < 60
    assert metrics["cosine"].value > 0.99
    assert metrics["evaluation_samples"].value == 16
    assert metrics["oracle_max_steps"].value == 0
    assert metrics["oracle_reference_within_1_step"].value == 1
    assert metrics["sqnr"].basis is Basis.MEASURED_HOST
    assert "top1" not in metrics


def test_integer_io_gives_the_same_figures(toys: Toys, reference: FloatReference) -> None:
    floats = verify(toys.subject(toys.model), Evaluation(toys.samples(), reference)).metrics
    integers = verify(
        toys.subject(toys.integer_model), Evaluation(toys.samples(), reference)
    ).metrics
    assert integers["sqnr"] == floats["sqnr"]
    assert integers["oracle_max_steps"].value == 0


def test_labels_give_top1_of_both(toys: Toys, reference: FloatReference) -> None:
    samples = toys.samples()
    scores = [reference.run(samples.sample(i))["y"][0] for i in range(len(samples))]
    labels = np.argmax(scores, 1).astype(np.int64)
    labels[0] = (labels[0] + 1) % 3
    samples.labels = labels
    metrics = verify(toys.subject(toys.model), Evaluation(samples, reference)).metrics
    assert metrics["top1_float"].value == 15 / 16
    drop = metrics["top1_drop"].value
    assert drop == pytest.approx(100 * (15 / 16 - metrics["top1"].value))
    assert metrics["top5"].value == 1
    assert 0.8 <= metrics["agreement"].value <= 1


def test_labels_that_are_off_by_one_are_noticed(toys: Toys, reference: FloatReference) -> None:
    samples = toys.samples()
    scores = [reference.run(samples.sample(i))["y"][0] for i in range(len(samples))]
    samples.labels = np.maximum(np.argmax(scores, 1) - 1, 0).astype(np.int64)
    (decision,) = verify(toys.subject(toys.model), Evaluation(samples, reference)).decisions
    assert decision.code is Code.LABELS_SHIFTED
    assert "with +1 added to all labels: see --label-offset" in decision.sentence


def test_named_labels_beyond_the_classes_are_refused(toys: Toys) -> None:
    check_labels(toys.float_graph, None)
    check_labels(toys.float_graph, np.array([0, 2]))
    with pytest.raises(LabelError, match="labels go from 0 to 3"):
        check_labels(toys.float_graph, np.array([1, 3]))


@pytest.mark.parametrize("missing", [None, "no runtime"])
def test_found_labels_beyond_the_classes_are_not_used(
    toys: Toys, reference: FloatReference, missing: str | None
) -> None:
    subject = toys.subject(toys.model, missing=missing)
    found = verify(subject, Evaluation(toys.samples(labels=np.full(16, 998)), reference))
    assert Code.LABELS_UNUSED in {d.code for d in found.decisions}
    assert "top1" not in found.metrics
    assert "agreement" in found.metrics


def test_a_gap_of_two_steps_is_a_warning(toys: Toys, reference: FloatReference) -> None:
    def spoil(array: Array) -> Array:
        spoilt = array.copy()
        spoilt[0, 0] += 2 / 8
        return spoilt

    found = verify(toys.subject(toys.model, spoil=spoil), Evaluation(toys.samples(), reference))
    assert found.metrics["oracle_max_steps"].value == 2
    assert found.metrics["oracle_within_1_step"].value == pytest.approx(2 / 3)
    assert {d.code for d in found.decisions} == {Code.ORACLE_GAP}
    assert (
        "33.3 % of the elements of output y, at most by 2 quantization steps"
        in found.decisions[0].sentence
    )


def test_an_artifact_that_computes_something_else_is_an_error(
    toys: Toys, reference: FloatReference, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = toys.subject(toys.model, spoil=lambda array: -3 * array + 2)
    with pytest.raises(VerificationError, match=r"toy 1\.0 does not compute what the plan says"):
        verify(subject, Evaluation(toys.samples(), reference))


def test_without_a_runtime_the_oracle_takes_its_place(
    toys: Toys, reference: FloatReference, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = toys.subject(toys.model, missing="toy-runtime is not installed: pip install toy.")
    found = verify(subject, Evaluation(toys.samples(), reference))
    assert found.runtime == ""
    assert [d.code for d in found.decisions] == [Code.NOT_RUNNABLE]
    assert "pip install toy." in found.decisions[0].sentence
    assert found.metrics["sqnr"].basis is Basis.COUNTED_EMULATED
    assert found.metrics["sqnr"].value > 25


def test_the_import_is_checked(toys: Toys, reference: FloatReference) -> None:
    sample = toys.samples().sample(0)
    assert check_import(toys.float_graph, reference, sample)["import_error"].value < 1e-5
    wrong = {**toys.float_graph.constants, "b": np.zeros(3, np.float32) + 9}
    with pytest.raises(VerificationError, match="bug of qhal's importer"):
        check_import(replace(toys.float_graph, constants=wrong), reference, sample)


def test_rounding_where_all_outputs_are_tiny_is_no_error_of_the_import() -> None:
    x = {"x": np.linspace(-19, -15, 8, dtype=np.float32)[None]}
    graph = _squashed(ops.Unary("Exp"))  # about the same down there
    same = FloatReference(to_onnx(_squashed(ops.Sigmoid())).SerializeToString(), ["y"])
    assert same.run(x)["y"].max() < 1e-6
    assert check_import(graph, same, x)["import_error"].value > 0.01
    other = FloatReference(to_onnx(_squashed(ops.Tanh())).SerializeToString(), ["y"])
    with pytest.raises(VerificationError, match="bug of qhal's importer"):
        check_import(graph, other, x)


def _squashed(*functions: ops.Op) -> Graph:
    builder = GraphBuilder("faint")
    name = builder.input("x", TensorType((1, 8)))
    for function in functions[:-1]:
        name = builder.one(function, (name,))
    builder.one(functions[-1], (name,), output="y")
    return builder.build(outputs=("y",))


def test_what_onnxruntime_does_not_take_is_an_error(reference: FloatReference) -> None:
    with pytest.raises(ModelInvalidError, match="does not load"):
        FloatReference(b"not onnx", ["y"]).run({})
    with pytest.raises(ModelInvalidError, match="cannot run"):
        reference.run({"x": np.zeros((1, 5), np.float32)})


def test_a_slow_runtime_is_given_a_part_of_the_samples(
    toys: Toys, reference: FloatReference, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = toys.subject(toys.model)
    evaluation = Evaluation(toys.samples(100), reference)
    for rate, samples in ((12 * 50 / RUNNER_BUDGET_S, 50), (0.1, FEWEST_SAMPLES), (1e9, 100)):
        info = replace(subject.backend.info, runner_macs_per_s=rate)
        monkeypatch.setattr(type(subject.backend), "info", info)
        found = verify(subject, evaluation)
        assert found.metrics["evaluation_samples"].value == samples
        reduced = [d.sentence for d in found.decisions if d.code is Code.EVALUATION_REDUCED]
        assert [s.split(",")[0] for s in reduced] == (
            [f"Accuracy was measured on {samples} of 100 samples"] if samples < 100 else []
        )


@pytest.mark.parametrize(
    ("macs_per_s", "samples", "compared"),
    [(12 * 50 / ORACLE_BUDGET_S, 50, 8), (12 * 3 / ORACLE_BUDGET_S, FEWEST_SAMPLES, 3)],
)
def test_the_size_of_the_model_says_how_much_the_oracle_is_given(
    toys: Toys,
    reference: FloatReference,
    monkeypatch: pytest.MonkeyPatch,
    macs_per_s: float,
    samples: int,
    compared: int,
) -> None:
    monkeypatch.setattr(verification, "_ORACLE_PACE", verification._Pace("it", macs_per_s, 8.0))
    evaluation = Evaluation(toys.samples(100), reference)
    found = verify(toys.subject(toys.model, missing="no runtime"), evaluation)
    assert found.metrics["evaluation_samples"].value == samples
    not_run, reduced = found.decisions
    assert f"with the oracle on {samples} of 100 samples" in not_run.sentence
    assert reduced.code is Code.EVALUATION_REDUCED
    metrics = verify(toys.subject(toys.model), evaluation).metrics
    assert metrics["evaluation_samples"].value == 100
    assert metrics["oracle_max_steps"].note.endswith(f" {compared} samples")


def test_the_number_of_samples_can_be_asked_for(
    toys: Toys, reference: FloatReference, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluation = Evaluation(toys.samples(100), reference)
    for missing in (None, "no runtime"):
        subject = toys.subject(toys.model, missing=missing)
        info = replace(subject.backend.info, runner_macs_per_s=0.1)
        monkeypatch.setattr(type(subject.backend), "info", info)
        for asked, samples in ((7, 7), (1000, 100)):
            found = verify(subject, evaluation, samples=asked)
            assert found.metrics["evaluation_samples"].value == samples
            assert Code.EVALUATION_REDUCED not in {d.code for d in found.decisions}
