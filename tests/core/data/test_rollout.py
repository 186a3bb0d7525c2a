"""Frames with the states that a model comes to, whole sequences, and inputs that never change."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from qhal.data import Rollout, load_dataset, roll_out, split_sequences
from qhal.data.constant import constant_inputs
from qhal.decisions import Code, Severity
from qhal.errors import DataShapeError, DataValueError
from qhal.ir.graph import Array, Arrays, TensorType

KINDS = {"x": TensorType((1, 2)), "h": TensorType((1, 2))}
PAIRS = {"hn": "h"}


def total(inputs: Arrays) -> Mapping[str, Array]:
    """Add the data to the state."""
    return {"hn": np.add(inputs["h"], inputs["x"], dtype=np.float32)}


def rollout(**arrays: Array) -> Rollout:
    data = load_dataset(arrays, KINDS, states=("h",))
    return roll_out(data, PAIRS, total)


def ones(*shape: int) -> npt.NDArray[np.float32]:
    return np.ones((*shape, 1, 2), np.float32)


def states(rolled: Rollout) -> list[float]:
    return [float(rolled.sample(index)["h"][0, 0]) for index in range(len(rolled))]


def test_each_state_is_what_the_model_left() -> None:
    assert states(rollout(x=ones(4))) == [0, 1, 2, 3]
    initial = np.full((4, 1, 2), 5, np.float32)
    assert states(rollout(x=ones(4), h=initial)) == [5, 6, 7, 8]


def test_frames_may_be_asked_for_in_any_order() -> None:
    rolled = rollout(x=ones(6))
    asked = [int(rolled.sample(index)["h"][0, 0]) for index in (5, 2, 3, 0)]
    assert asked == [5, 2, 3, 0]
    assert states(rolled.select([1, 4])) == [1, 4]


def test_an_axis_in_front_counts_the_frames_of_sequences() -> None:
    rolled = rollout(x=ones(3, 4))
    assert rolled.starts == (0, 4, 8)
    assert states(rolled) == [0, 1, 2, 3] * 3
    initial = np.array([1, 2, 3], np.float32).reshape(3, 1, 1) * ones(3)
    assert states(rollout(x=ones(3, 2), h=initial)) == [1, 2, 2, 3, 3, 4]
    assert [rolled.begins(index) for index in range(5)] == [True, False, False, False, True]
    assert rolled.where(5) == "frame 1 of sample 1 of the given arrays"


def test_files_may_hold_sequences_of_different_lengths(tmp_path: Path) -> None:
    for name, length in (("a", 2), ("b", 3)):
        np.savez(tmp_path / f"{name}.npz", x=ones(length))
    rolled = roll_out(load_dataset(tmp_path, KINDS, states=("h",)), PAIRS, total)
    assert (rolled.starts, states(rolled)) == ((0, 2), [0, 1, 0, 1, 2])


@pytest.mark.parametrize("lengths", [[5, 1, 7], [1, 5, 7], [1, 1, 2]])
def test_a_sequence_may_have_one_frame(lengths: list[int]) -> None:
    """An array of one frame looks like a frame whose batch is not left out."""
    flat = [{"x": np.ones((length, 2), np.float32)} for length in lengths]
    rolled = roll_out(load_dataset(lambda: flat, KINDS, states=("h",)), PAIRS, total)
    assert states(rolled) == [frame for length in lengths for frame in range(length)]


def test_samples_of_one_frame_each_are_frames() -> None:
    flat = [{"x": np.ones((1, 2), np.float32)}] * 3
    rolled = roll_out(load_dataset(lambda: flat, KINDS, states=("h",)), PAIRS, total)
    assert states(rolled) == [0, 1, 2]


def test_what_is_no_frame_and_no_sequence_is_refused() -> None:
    with pytest.raises(DataShapeError, match="takes"):
        rollout(x=np.ones((4, 3, 5, 2), np.float32))
    with pytest.raises(DataShapeError, match="no array for input 'x'"):
        rollout(h=ones(4), z=ones(4))
    with pytest.raises(DataShapeError, match="at least one"):
        rollout(x=np.ones((3, 0, 1, 2), np.float32))


def test_a_state_that_overflows_names_its_frame() -> None:
    rolled = rollout(x=np.full((3, 1, 2), 3e38, np.float32))
    with np.errstate(over="ignore"), pytest.raises(DataValueError, match="after sample 1"):
        rolled.sample(2)


def test_one_sequence_is_cut_in_the_middle() -> None:
    found = split_sequences(rollout(x=ones(200)), 10)
    assert (len(found.calibration), len(found.evaluation)) == (10, 100)
    assert found.calibration.indices.max() < 100 <= found.evaluation.indices.min()
    assert np.array_equal(found.evaluation.indices, np.arange(100, 200))
    assert isinstance(found.evaluation, Rollout)
    assert states(found.evaluation)[:2] == [0, 1]
    assert isinstance(found.calibration, Rollout)
    assert states(found.calibration) == found.calibration.indices.tolist()
    codes = [decision.code for decision in found.decisions]
    assert codes == [Code.CALIBRATION_SPLIT, Code.STATES_ROLLED]
    assert "of 1 sequence" in found.decisions[-1].sentence


def test_several_sequences_stay_whole() -> None:
    found = split_sequences(rollout(x=ones(5, 10)), 1000)
    assert isinstance(found.calibration, Rollout)
    assert len(found.calibration) == 30
    assert len(found.evaluation) == 20
    assert found.calibration.describe()["sequences"] == 3
    assert found.calibration.describe()["sequence_starts"] == [0, 20, 40]
    short = split_sequences(rollout(x=ones(20)), 10)
    assert len(short.evaluation) == 20
    assert Code.EVALUATION_OVERLAP in [decision.code for decision in short.decisions]


def test_the_fingerprint_is_that_of_all_frames_that_count() -> None:
    data = np.arange(400, dtype=np.float32).reshape(200, 1, 2)
    changed = data.copy()
    changed[1] += 1
    prints = {
        rollout(x=values).select(chosen).fingerprint
        for values in (data, changed)
        for chosen in ([0, 9], [0, 8])
    }
    assert len(prints) == 4


def test_an_input_that_never_changes_is_told() -> None:
    kinds = {"x": TensorType((1, 2)), "rate": TensorType(())}
    arrays = {"x": np.arange(8, dtype=np.float32).reshape(4, 1, 2), "rate": np.ones(4, np.float32)}
    [told] = constant_inputs(load_dataset(arrays, kinds))
    assert (told.code, told.subject) == (Code.INPUT_CONSTANT, "rate")
    assert told.severity is Severity.WARNING
    assert "Input rate is 1.0 in all 4" in told.sentence
    one = {name: array[:1] for name, array in arrays.items()}
    assert constant_inputs(load_dataset(one, kinds)) == ()


def test_states_that_are_fed_back_are_not_constant() -> None:
    still = rollout(x=ones(4), h=np.zeros((4, 1, 2), np.float32))
    assert [decision.subject for decision in constant_inputs(still)] == ["x"]
