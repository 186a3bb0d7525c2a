"""What an output decides, and what a closed loop may not do to it."""

from __future__ import annotations

import numpy as np
import pytest

from qhal.decisions import Code
from qhal.ir.graph import Array
from qhal.metric import Basis
from qhal.verify.loop import Decisions, LoopAccuracy

FRAMES = 100


def speech(flipped: int, samples: int = FRAMES) -> tuple[Array, Array]:
    """Probabilities of two models, of which so many lie on the other side of one half."""
    float_model = np.where(np.arange(samples) % 2, 0.9, 0.1).astype(np.float32)
    other = float_model.copy()
    other[:flipped] = 1 - other[:flipped]
    return float_model.reshape(-1, 1, 1), other.reshape(-1, 1, 1)


def looped(outputs: dict[str, tuple[Array, Array]], open_error: float = 0.0) -> LoopAccuracy:
    loop = LoopAccuracy({"hn": "h"})
    for frame in range(len(next(iter(outputs.values()))[0])):
        pair = [{n: values[side][frame] for n, values in outputs.items()} for side in (0, 1)]
        loop.add(frame == 0, *pair)
        loop.add_open(pair[0], {n: value + np.float32(open_error) for n, value in pair[0].items()})
    return loop


@pytest.mark.parametrize(("flipped", "passed"), [(0, True), (3, True), (4, False), (50, False)])
def test_decisions_of_one_half(flipped: int, passed: bool) -> None:
    gate = looped({"p": speech(flipped)}).gate(3)
    assert (gate.name, gate.passed) == ("closed-loop", passed)
    assert f"{flipped:.2f} % of the decisions of p (above 0.5) differ" in gate.sentence
    assert "100 frames of 1 sequence" in gate.sentence


@pytest.mark.parametrize(("flipped", "passed"), [(1, True), (2, False)])
def test_a_hundred_frames_show_little_of_others(flipped: int, passed: bool) -> None:
    gate = looped({"p": speech(flipped)}).gate(None)
    assert gate.passed == passed
    assert ("of other frames like these it may be" in gate.sentence) != passed


def test_frames_of_calibration_answer_too() -> None:
    loop = looped({"p": speech(2)})
    for x in range(900):
        values = {"p": np.full((1, 1), 0.9, np.float32)}
        loop.add_further(x == 0, values, values)
    assert loop.gate(None).passed
    wrong = {"p": np.full((1, 1), 0.1, np.float32)}
    for _ in range(60):
        loop.add_further(False, {"p": np.full((1, 1), 0.9, np.float32)}, wrong)
    gate = loop.gate(None)
    assert not gate.passed
    assert "1,060 frames of 2 sequences, those of calibration included" in gate.sentence
    assert "2.00 % of the decisions of p (above 0.5)" in gate.sentence


def test_the_user_sets_another_limit() -> None:
    loop = looped({"p": speech(10)})
    assert loop.gate(10).passed
    assert not loop.gate(9.5).passed
    assert not looped({"p": speech(3)}).gate(2).passed


def test_one_decision_may_be_chance() -> None:
    assert looped({"p": speech(1, 10)}).gate(None).passed
    assert not looped({"p": speech(2, 10)}).gate(None).passed


def test_classes_decide_by_the_largest() -> None:
    first = np.tile(np.array([[0.6, 0.3, 0.1]], np.float32), (20, 1, 1))
    other = first.copy()
    other[:10] = [0.35, 0.45, 0.2]
    for values in ((first, other), (np.log(first), np.log(other))):
        loop = looped({"classes": values})
        assert "by the largest class" in loop.gate(None).sentence
        assert not loop.gate(None).passed
        assert loop.metrics(Basis.MEASURED_HOST)["loop_decisions_changed[classes]"].value == 50


def test_integers_are_equal_or_not() -> None:
    tokens = np.arange(20, dtype=np.int64).reshape(20, 1)
    assert looped({"token": (tokens, tokens)}).gate(None).passed
    assert not looped({"token": (tokens, tokens + (tokens < 2))}).gate(None).passed


def test_other_numbers_are_held_against_noise() -> None:
    signal = np.sin(np.arange(50, dtype=np.float32)).reshape(50, 1) * 3
    near, far = signal + np.float32(0.1), signal + np.float32(1.5)
    assert looped({"audio": (signal, near)}).gate(None).passed
    refused = looped({"audio": (signal, far)})
    assert not refused.gate(None).passed
    assert "the limit is 10 dB" in refused.gate(None).sentence
    assert refused.gate(100).passed


def test_decisions_that_are_always_the_same_do_not_hide_an_error() -> None:
    rng = np.random.default_rng(0)
    low, other = (rng.uniform(0, 0.45, (50, 1, 8)).astype(np.float32) for _ in range(2))
    refused = looped({"p": (low, other)})
    assert not refused.gate(None).passed
    assert "p SQNR" in refused.gate(None).sentence
    assert refused.gate(100).passed
    assert looped({"p": (low, low + np.float32(0.01))}).gate(None).passed
    classes = np.concatenate([1 - low[..., :1], low[..., :1]], axis=-1)
    flat = np.broadcast_to(np.array([1.0, 0.0], np.float32), classes.shape)
    assert not looped({"c": (classes, 0.3 * flat)}).gate(None).passed


def test_the_state_that_drifts_is_named() -> None:
    signal = np.sin(np.arange(50, dtype=np.float32)).reshape(50, 1) * 3
    outputs = {"p": speech(0, 50), "hn": (signal, signal + np.float32(1.5))}
    loop = looped(outputs, open_error=0.01)
    [told] = loop.decisions()
    assert (told.code, told.subject) == (Code.LOOP_DRIFT, "hn")
    assert "State h, which output hn feeds, leaves the float model's" in told.sentence
    assert loop.drift_words() == told.sentence
    assert "state_sqnr[hn]" in loop.metrics(Basis.MEASURED_HOST)
    assert not looped({"p": speech(0, 50), "hn": (signal, signal)}).drift_words()


def test_data_without_a_decision_test_nothing() -> None:
    silence = np.full((20, 1, 1), 0.01, np.float32)
    [told] = looped({"p": (silence, silence)}).decisions()
    assert told.code is Code.LOOP_UNTESTED
    assert looped({"p": speech(0)}).decisions() == ()


def test_an_output_may_decide_nothing() -> None:
    decisions = Decisions("empty")
    assert decisions.counted is None
    decisions.add(np.full((1, 2), 4, np.float32), np.full((1, 2), 4, np.float32))
    assert decisions.counted is None
