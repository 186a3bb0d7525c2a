"""Which outputs are taken for states, which are not, and what the user may say."""

from __future__ import annotations

import numpy as np
import pytest

from qhal.decisions import Code, Severity
from qhal.errors import OptionError
from qhal.ir.build import GraphBuilder
from qhal.ir.dtypes import DType
from qhal.ir.graph import Array, Graph, TensorType
from qhal.ir.ops import Gru, Relu
from qhal.ir.states import find_states

STATE = TensorType((1, 8))


def graph_of(inputs: dict[str, TensorType], outputs: dict[str, TensorType]) -> Graph:
    """Make a graph with these ends, of which each output is a function of some input."""
    builder = GraphBuilder("ends")
    for name, kind in inputs.items():
        builder.input(name, kind)
    for name, kind in outputs.items():
        alike = next((n for n, k in inputs.items() if k == kind), None)
        source = alike or builder.constant(f"{name}_value", _zeros(kind))
        builder.declare(name, kind)
        builder.add(Relu(), (source,), name=f"{name}_node", outputs=(name,))
    return builder.build(outputs=tuple(outputs))


def _zeros(kind: TensorType) -> Array:
    return np.zeros(kind.shape, kind.dtype.numpy)


def streaming(*pairs: tuple[str, str], kind: TensorType = STATE) -> Graph:
    """Make a model with data, a result and states, given as (output, input)."""
    inputs = {"audio": TensorType((1, 4)), **{i: kind for _, i in pairs}}
    outputs = {"speech": TensorType((1, 1)), **{o: kind for o, _ in pairs}}
    return graph_of(inputs, outputs)


@pytest.mark.parametrize(
    ("output", "name"),
    [
        ("hn", "h"),
        ("stateN", "state"),
        ("hidden_out", "hidden_in"),
        ("vad_gru_h", "vad_gru_h0"),
        ("present", "past"),
        ("present.0.key", "past_key_values.0.key"),
        ("cache_out", "cache_in"),
        ("out_cache0", "in_cache0"),
        ("new_states", "states"),
        ("next_h", "prev_h"),
        ("r1o", "r1i"),
        ("h_n", "h_0"),
        ("output_state", "input_state"),
        ("Y_h", "initial_h"),
    ],
)
def test_names_of_states(output: str, name: str) -> None:
    found = find_states(streaming((output, name)))
    assert found.pairs == {output: name}
    [told] = found.decisions
    assert (told.code, told.subject) == (Code.STATE_FOUND, name)
    assert f"Output {output} feeds input {name}" in told.sentence


def test_several_states_of_one_type_are_told_apart_by_name() -> None:
    assert find_states(streaming(("hn", "h"), ("cn", "c"))).pairs == {"hn": "h", "cn": "c"}
    numbered = streaming(*((f"cache_out{i}", f"cache_in{i}") for i in range(3)))
    assert find_states(numbered).pairs == {f"cache_out{i}": f"cache_in{i}" for i in range(3)}


def test_the_state_of_a_recurrent_layer_needs_no_name() -> None:
    builder = GraphBuilder("gru")
    x = builder.input("input_1", TensorType((1, 1, 4)))
    h = builder.input("input_2", TensorType((1, 1, 8)))
    w, r = (np.ones((1, 24, n), np.float32) for n in (4, 8))
    bias = np.zeros((1, 48), np.float32)
    weights = [builder.constant(n, v) for n, v in (("w", w), ("r", r), ("b", bias))]
    builder.declare("Identity", TensorType((1, 1, 1, 8)))
    builder.declare("Identity_1", TensorType((1, 1, 8)))
    builder.add(
        Gru(hidden_size=8), (x, *weights, h), name="gru", outputs=("Identity", "Identity_1")
    )
    found = find_states(builder.build(outputs=("Identity", "Identity_1")))
    assert found.pairs == {"Identity_1": "input_2"}
    assert "by its recurrent layer" in found.decisions[0].sentence


def test_models_that_have_no_states() -> None:
    kind = TensorType((1, 8))
    assert not find_states(graph_of({"x": kind}, {"x_out": kind})).pairs  # an autoencoder
    one_step = graph_of({"sample": kind, "t": TensorType((1,))}, {"out_sample": kind})
    assert not find_states(one_step).pairs  # a denoiser: no output would be left
    both = graph_of({"image": kind, "mask": kind}, {"image_out": kind, "mask_out": kind})
    assert not find_states(both).pairs


@pytest.mark.parametrize(
    ("output", "name"),
    [
        ("hidden_states", "encoder_hidden_states"),
        ("context", "memory"),
        ("hidden", "gru_state"),
        ("key_states", "value_states"),
    ],
)
def test_states_of_other_names_are_not_guessed(output: str, name: str) -> None:
    found = find_states(streaming((output, name)))
    assert not found.pairs
    [told] = found.decisions
    assert (told.code, told.severity) == (Code.STATE_UNCLEAR, Severity.WARNING)
    assert f"--state {output}={name} says so" in told.sentence


def test_what_is_unclear_is_told_and_not_guessed() -> None:
    alike = find_states(streaming(("Identity_1", "input_2")))
    assert alike.pairs == {}
    [told] = alike.decisions
    assert (told.code, told.severity) == (Code.STATE_UNCLEAR, Severity.WARNING)
    assert "--state Identity_1=input_2 says so" in told.sentence
    grows = graph_of(
        {"ids": TensorType((1, 1)), "past": TensorType((1, 4))},
        {"logits": TensorType((1, 9)), "present": TensorType((1, 5))},
    )
    found = find_states(grows)
    assert found.pairs == {}
    assert "only a state of one shape" in found.decisions[0].sentence


def test_the_user_has_the_last_word() -> None:
    graph = streaming(("hn", "h"), ("top", "low"))
    assert find_states(graph, {}).pairs == {}
    found = find_states(graph, {"top": "low"})
    assert found.pairs == {"top": "low"}
    assert "as --state says" in found.decisions[0].sentence


def test_what_the_user_says_has_to_fit() -> None:
    graph = graph_of(
        {"x": TensorType((1, 4)), "h": STATE, "n": TensorType((1, 8), DType.INT64)},
        {"y": TensorType((1, 4)), "hn": STATE, "gn": STATE},
    )
    for given, said in (
        ({"h": "hn"}, "no output 'h'"),
        ({"hn": "g"}, "no input 'g'"),
        ({"y": "h"}, r"the output is float32\[1x4\], but the input is float32\[1x8\]"),
        ({"hn": "n"}, r"the input is int64\[1x8\]"),
        ({"hn": "h", "gn": "h"}, "'h' twice"),
    ):
        with pytest.raises(OptionError, match=said):
            find_states(graph, given)
