"""Where a node runs, as a value and in a record."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qhal.codec import decode, dumps, encode
from qhal.results.plan import NodePlan
from qhal.targets.where import Where, WhereBasis

WORDS = st.none() | st.text(min_size=1)
ANSWERS = st.builds(Where, st.text(), WORDS, WORDS, st.sampled_from(WhereBasis))
DECLARED = Where("NPU", "int8 per-axis", "int8", WhereBasis.DECLARED)
NODE = NodePlan("fc", "FullyConnected", ("x",), ("y",), DECLARED)


@given(ANSWERS, st.none() | ANSWERS, st.none() | ANSWERS)
def test_a_node_reads_back_with_its_answers(
    declared: Where, placed: Where | None, executed: Where | None
) -> None:
    node = replace(NODE, declared=declared, placed=placed, executed=executed)
    assert decode(NodePlan, json.loads(dumps(encode(node)))) == node


def test_what_is_unknown_is_null() -> None:
    body = encode(NODE)
    assert body["declared"] == {
        "unit": "NPU",
        "kernel": "int8 per-axis",
        "dtype": "int8",
        "basis": "declared",
    }
    assert (body["placed"], body["executed"]) == (None, None)


@pytest.mark.parametrize(
    ("kernel", "dtype", "words"),
    [
        ("Gemm", "int8", "Gemm int8"),
        ("Gemm", None, "Gemm"),
        (None, "int8", "int8"),
        (None, None, ""),
    ],
)
def test_as_what(kernel: str | None, dtype: str | None, words: str) -> None:
    assert Where("", kernel, dtype, WhereBasis.READ).as_what == words
