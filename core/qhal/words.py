"""Foreign text in messages: names and values from a model, a file or a record."""

from __future__ import annotations

import shlex
import unicodedata

_LONGEST = 60
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
"""Categories of characters that move the cursor, turn the direction of text, or show nothing."""


def one_line(text: str) -> str:
    """Write every character that is not shown as its escape."""
    return text if text.isprintable() else "".join(map(_shown, text))


def lines(text: str) -> str:
    """Write every character that is not shown as its escape, but keep line breaks."""
    return "\n".join(map(one_line, text.split("\n")))


def shortened(value: object) -> str:
    """Shorten a value so that it fits into a sentence."""
    try:
        text = repr(value)
    except ValueError:  # an integer with more digits than Python converts
        return f"a {type(value).__name__} with thousands of digits"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def as_option(option: str, value: str) -> str:
    """Write an option for a shell; a value that begins like an option is tied to its own."""
    return f"{option}{'=' if value.startswith('-') else ' '}{shlex.quote(value)}"


def _shown(character: str) -> str:
    if unicodedata.category(character) not in _HIDDEN:
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
