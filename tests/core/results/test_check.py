"""How rows of ``qhal check`` merge into groups."""

from __future__ import annotations

from qhal.quant.choice import Verdict
from qhal.results.check import CheckReport, CheckRow


def _groups(*rows: tuple[str, str]) -> list[tuple[str, int]]:
    refused = [CheckRow(name, "Resize", Verdict.REFUSED, reason=why) for name, why in rows]
    groups = CheckReport("m.onnx", "npu", "w8a8", tuple(refused)).groups
    return [(group.reason, group.count) for group in groups]


def test_reasons_that_differ_in_the_name_alone_are_one() -> None:
    rows = [(n, f"{n} has 9 dimensions, operand {n}.") for n in ("up.1", "up.2", "$up")]
    assert _groups(*rows) == [("the node has 9 dimensions, operand the node.", 3)]


def test_a_name_is_not_replaced_inside_words() -> None:
    why = "LiteRT has no builtin operator for it: it resamples by cubic interpolation"
    assert _groups(("i", why), ("h", why), ("e", why)) == [(why, 3)]


def test_a_name_that_is_a_word_of_the_sentence_leaves_it_whole() -> None:
    why = "a window of 3 lies in the padding alone"
    assert _groups(("a", why)) == [(why, 1)]
    assert _groups(("a", why), ("in", why)) == [(why, 2)]


def test_a_name_that_is_part_of_another_name_is_not_replaced() -> None:
    why = "operand fc/weights and fc.bias are computed"
    assert _groups(("fc", why), ("gc", why.replace("fc", "gc"))) == [
        (why, 1),
        (why.replace("fc", "gc"), 1),
    ]
