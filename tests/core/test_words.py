"""Names of others in our words: nothing in them acts."""

from __future__ import annotations

import pytest

from qhal.words import lines, one_line, shortened


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("conv_1/weights:0", "conv_1/weights:0"),
        ("größe → 中文", "größe → 中文"),
        ("\x1b[31mRED\x1b]0;title\x07", r"\x1b[31mRED\x1b]0;title\x07"),
        ("\x9b2J\x7f\r\b", r"\x9b2J\x7f\r\x08"),
        ("a\u202egnp.exe", r"a\u202egnp.exe"),
        ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
        ("lone \udcff", r"lone \udcff"),
        ("a\nb\u2028c\td", r"a\nb\u2028c\td"),
    ],
)
def test_what_is_not_shown_is_written_as_its_escape(text: str, shown: str) -> None:
    assert one_line(text) == shown


def test_line_breaks_may_stay() -> None:
    assert lines("one\n\x1btwo\n") == "one\n\\x1btwo\n"


@pytest.mark.parametrize(
    "value", [pytest.param(10**5000, id="digits"), "x" * 1000, list(range(1000))]
)
def test_long_values_are_shortened(value: object) -> None:
    assert len(shortened(value)) < 100
