"""A float model at chance is refused, with what fits it; a good one is not asked for long."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import qhal
from qhal.decisions import Code, Severity
from qhal.errors import FloatModelError
from qhal.ir.graph import Array
from qhal.pipeline.float_check import FloatFinding
from qhal.pipeline.options import Options
from qhal.pipeline.session import Session
from qhal.progress import Advance
from qhal.results.record import RunRecord
from tests.paths import ROOT

DIGITS = ROOT / "examples" / "digits"
MODEL = DIGITS / "digits.onnx"


@pytest.fixture(scope="module")
def digits() -> dict[str, Any]:
    with np.load(DIGITS / "evaluation.npz") as file:
        return dict(file)


def checked(model: Path, data: dict[str, Array], **options: Any) -> FloatFinding:
    return Session(model, Options(data, calib_samples=8, **options)).check_float()


def refused(model: Path, data: dict[str, Array], **options: Any) -> FloatModelError:
    found = checked(model, data, **options)
    assert found.error is not None
    assert [gate.passed for gate in found.gates] == [False]
    with pytest.raises(FloatModelError):
        found.refuse(True)
    return found.error


def test_a_good_model_is_not_asked_for_long(digits: dict[str, Any]) -> None:
    assert checked(MODEL, digits) == FloatFinding()
    assert checked(MODEL, {"image": digits["image"]}) == FloatFinding()


@pytest.mark.parametrize("offset", [1, -1, 3])
def test_labels_that_are_off(digits: dict[str, Any], offset: int) -> None:
    fitting = (digits["labels"] + offset >= 0) & (digits["labels"] + offset < 10)
    image, labels = digits["image"][fitting], digits["labels"][fitting]
    error = refused(MODEL, {"image": image, "labels": labels + offset})
    assert "labeled samples" in error.message
    assert "no more often than by chance" in error.message
    assert f"\n  --label-offset {-offset}: " in error.hint
    assert error.exit_code == 1
    error = refused(MODEL, {"image": image, "labels": labels}, label_offset=offset)
    assert "\n  --label-offset 0: " in error.hint


def test_height_and_width_swapped(digits: dict[str, Any]) -> None:
    """Transposed digits are no digits, though some look alike; the model still knows some."""
    image = np.ascontiguousarray(digits["image"].swapaxes(2, 3))
    alike = np.isin(digits["labels"], [2, 4, 5, 7, 9])
    error = refused(MODEL, {"image": image[alike], "labels": digits["labels"][alike]})
    assert "height and width swapped in the data" in error.hint


def color_model(path: Path, scale: float, order: tuple[int, int, int], mean: float = 0.0) -> Path:
    """The class is the channel with most light, in the model's own scale and order.

    Only what is prepared as it wants gets through the offset in front of the comparison.
    """
    weight = np.zeros((3, 3, 1, 1), np.float32)
    weight[range(3), order] = 1 / scale
    nodes = [
        helper.make_node("Sub", ["x", "mean"], ["shifted"]),
        helper.make_node("Relu", ["shifted"], ["cut"]),
        helper.make_node("Conv", ["cut", "w"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["p"]),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "color",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
        [
            numpy_helper.from_array(weight, "w"),
            numpy_helper.from_array(np.array(mean, np.float32), "mean"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def colors(rng: np.random.Generator) -> dict[str, Any]:
    image = rng.integers(0, 200, (200, 8, 8, 3), np.uint8)
    labels = rng.integers(0, 3, 200)
    image[np.arange(200), :, :, labels] += 55
    return {"x": image, "labels": labels}


def test_the_order_of_channels(tmp_path: Path) -> None:
    data = colors(np.random.default_rng(0))
    moved = {**data, "labels": np.array([1, 2, 0])[data["labels"]]}
    model = color_model(tmp_path / "m.onnx", 1, (1, 2, 0))
    assert checked(model, moved, preprocess="raw").error is not None
    swapped = color_model(tmp_path / "s.onnx", 1, (2, 1, 0))
    right = {**data, "labels": data["labels"][data["labels"] != 1]}
    right["x"] = data["x"][data["labels"] != 1]
    error = refused(swapped, right, preprocess="raw")
    assert "\n  --preprocess raw-bgr: " in error.hint


def test_the_preset(tmp_path: Path) -> None:
    model = color_model(tmp_path / "m.onnx", 100, (0, 1, 2), mean=20.0)
    error = refused(model, colors(np.random.default_rng(1)), preprocess="unit")
    first, *_ = error.hint.splitlines()[1:]
    assert first.strip().startswith("--preprocess raw: 64 of 64 (100.00 %)")


def test_arrays_that_were_scaled_before(tmp_path: Path) -> None:
    """A preset would be wrong for them, so that a file says how to undo it."""
    data = colors(np.random.default_rng(2))
    scaled = (data["x"].transpose(0, 3, 1, 2) / 127.5 - 1).astype(np.float32)
    model = color_model(tmp_path / "m.onnx", 100, (0, 1, 2), mean=2.0)
    dark = {"x": scaled, "labels": data["labels"]}
    error = refused(model, dark)
    (line,) = [x for x in error.hint.splitlines() if 'order = "rgb"' in x and "mean = [-1]" in x]
    assert "--preprocess FILE.toml with scale = 1; mean = [-1]; std = [0.00784314]" in line
    assert line.endswith(": 64 of 64 (100.00 %)")
    steps = tmp_path / "steps.toml"
    steps.write_text(line.partition("with ")[2].rpartition(":")[0].replace("; ", "\n"))
    assert checked(model, dark, preprocess=steps) == FloatFinding()


def test_what_nothing_fits_says_so(digits: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    error = refused(MODEL, {**digits, "labels": rng.permutation(digits["labels"])})
    assert "What was tried, each with the label offset that fits best, is right on" in error.hint
    assert "\n  --preprocess raw-bgr" not in error.hint
    assert "\n  --preprocess unit" in error.hint or "FILE.toml" in error.hint
    assert error.hint.endswith("--allow-chance deploys it as it is.")


def test_a_constant_answer_is_chance_however_frequent(tmp_path: Path) -> None:
    """With two thirds of one class a constant is right two times in three."""
    data = colors(np.random.default_rng(3))
    labels = np.where(np.arange(200) % 3 == 0, 1, 0)
    model = color_model(tmp_path / "m.onnx", 1, (0, 1, 2), mean=1e6)
    error = refused(model, {**data, "labels": labels}, preprocess="raw")
    assert "for the same answers in any order" in error.message


def test_few_samples_only_warn(digits: dict[str, Any]) -> None:
    few = {"image": digits["image"][:12], "labels": (digits["labels"][:12] + 1) % 10}
    found = checked(MODEL, few)
    (warning,) = found.decisions
    assert (warning.code, found.error) == (Code.FLOAT_AT_CHANCE, None)
    assert warning.sentence.endswith("so few samples cannot tell.")


def test_chance_that_is_meant(digits: dict[str, Any], tmp_path: Path) -> None:
    wrong = {**digits, "labels": (digits["labels"] + 5) % 10}
    asked: dict[str, Any] = {"eval_samples": 64, "cache": False, "out": tmp_path / "out"}
    with pytest.raises(FloatModelError):
        qhal.deploy(MODEL, target="cpu", data=wrong, **asked)
    assert [*tmp_path.iterdir()] == []
    with pytest.raises(FloatModelError):
        qhal.deploy_all(MODEL, targets=["cpu", "tflite"], data=wrong, **asked)
    with pytest.raises(FloatModelError, match="without the artifact"):
        qhal.deploy(MODEL, target="cpu", data=wrong, keep_refused=tmp_path / "kept", **asked)
    assert [g.name for g in RunRecord.load(tmp_path / "kept").gates if not g.passed] == [
        "float-top1"
    ]
    record = qhal.deploy(MODEL, target="cpu", data=wrong, allow_chance=True, **asked)
    (warning,) = [d for d in record.decisions if d.code is Code.FLOAT_AT_CHANCE]
    assert "which --allow-chance accepts" in warning.sentence


@pytest.mark.parametrize(
    ("factor", "offset", "wanted"),
    [(-1.0, 1.0, "mean = [1]; std = [-1]"), (2.0, -1.0, "mean = [-1]; std = [2]")],
)
def test_preparation_that_is_only_worse_is_told(
    digits: dict[str, Any], factor: float, offset: float, wanted: str
) -> None:
    """Inverted or shifted images leave the model some digits: more than by chance."""
    image = (digits["image"] * factor + offset).astype(np.float32)
    found = checked(MODEL, {"image": image, "labels": digits["labels"]})
    assert found.error is None
    (warning,) = found.decisions
    assert (warning.code, warning.severity) == (Code.FLOAT_WORSE, Severity.WARNING)
    assert "--preprocess FILE.toml with " in warning.sentence
    assert wanted in warning.sentence
    assert "and on 189 of 192 (98.44 %) with" in warning.sentence


def test_a_mediocre_model_that_nothing_fits_better_is_left_alone(digits: dict[str, Any]) -> None:
    """Half of the labels are arbitrary, so that no preparation makes more of them right."""
    rng = np.random.default_rng(5)
    labels = np.where(rng.random(500) < 0.5, digits["labels"], rng.integers(0, 10, 500))
    assert checked(MODEL, {**digits, "labels": labels}) == FloatFinding()


class Units:
    """Counts the units of each stage."""

    def __init__(self) -> None:
        self.done: dict[str, int] = {}

    @contextmanager
    def stage(self, title: str, total: int | None = None) -> Iterator[Advance]:
        self.done[title] = 0

        def advance(units: int) -> None:
            self.done[title] += units

        yield advance


def asked_on(
    digits: dict[str, Any], labels: np.ndarray[Any, np.dtype[np.int64]]
) -> tuple[FloatFinding, int]:
    """Return what is found, and how many samples were run to find other preparation."""
    units = Units()
    session = Session(MODEL, Options({**digits, "labels": labels}, calib_samples=8))
    return session.check_float(units), units.done.get("try other preprocessing", 0)


def test_what_is_best_as_it_is_runs_on_no_more_samples(digits: dict[str, Any]) -> None:
    rng = np.random.default_rng(1)
    labels = np.where(rng.random(500) < 0.4, digits["labels"], rng.integers(0, 10, 500))
    found, runs = asked_on(digits, labels)
    assert found == FloatFinding()
    assert 0 < runs < 2 * 192, runs  # on the few samples that choose, and on none that confirm
