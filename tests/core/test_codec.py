"""JSON by annotation, with errors that say where."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qhal.codec import decode, dumps, encode
from qhal.decisions import Code, Decision, Severity


class Color(Enum):
    RED = "red"
    BLUE = ("blue", "the other one")


@dataclass(frozen=True)
class Leaf:
    name: str
    value: float = 0.0


@dataclass(frozen=True)
class Tree:
    color: Color
    leaves: tuple[Leaf, ...] = ()
    by_name: Mapping[str, Leaf] = field(default_factory=dict)
    best: Leaf | None = None
    anything: object = None
    count: int = 0


TREE = Tree(Color.BLUE, (Leaf("a", 1.5),), {"b": Leaf("b")}, None, {"x": [1, None]}, 3)


def test_round_trip() -> None:
    assert decode(Tree, json.loads(dumps(encode(TREE)))) == TREE


def test_decisions_are_written_by_their_code() -> None:
    decision = Decision(Code.REFUSED, "no", "n", Severity.REFUSAL)
    assert encode(decision)["code"] == "QD303"
    assert decode(Decision, encode(decision)) == decision


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"color": "green"}, "record.color is 'green', which is not a valid color"),
        ({"count": 1.5}, "record.count is a float, expected a int"),
        ({"count": True}, "record.count is a bool"),
        ({"leaves": [{"value": 1}]}, "record.leaves[0] lacks the key 'name'"),
        ({"leaves": {}}, "record.leaves is a dict, expected a list"),
        ({"by_name": {"z": {"name": 1}}}, "record.by_name.z.name is a int, expected a str"),
        ({"best": []}, "record.best is a list"),
        ({"extra": 1}, "record has the unknown key 'extra'"),
    ],
)
def test_errors_say_where(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match="record") as caught:
        decode(Tree, {**encode(TREE), **change})
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}])
def test_what_json_lacks_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"finite|JSON"):
        encode({"x": value})


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(_json)
def test_the_text_is_json(value: object) -> None:
    assert json.loads(dumps(value)) == value


def test_long_lists_of_numbers_stay_on_a_line() -> None:
    assert dumps({"scale": list(range(200))}).count("\n") == 3
