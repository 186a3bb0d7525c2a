"""Ways to damage files of any format, and odd values of text formats."""

from __future__ import annotations

import json
from typing import Any

from fuzz.case import Random, often, pick

TEXTS = ("", " ", "x", "nan", "a" * 3000, "../..", "/etc/passwd", "\x1b[2J", "é\u202e", "a\0b", "0")
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, -(2**63), 2**63, 10**40, 10**400, 1e308, -1e308, 5e-324),
    *(float("nan"), float("inf"), [], {}, [[]], [1, "a"], {"": 0}, [0] * 2000, *TEXTS),
)


def bytes_of(random: Random, data: bytes) -> bytes:
    """Cut the bytes short, or change, insert or replace some."""
    way = int(random.integers(6))
    if way == 0 or not data:
        return b""
    at = int(random.integers(len(data)))
    if way == 1:
        return data[:at]
    if way == 2:
        return data[:at] + random.bytes(int(random.integers(1, 40))) + data[at:]
    if way == 3:
        return random.bytes(int(random.integers(1, 400)))
    changed = bytearray(data)
    for _ in range(int(random.integers(1, 12))):
        changed[int(random.integers(min(len(data), 400 if way == 4 else len(data))))] ^= 1 << int(
            random.integers(8)
        )
    return bytes(changed)


def value(random: Random, old: Any) -> Any:
    """Change one part, somewhere in a structure of lists and mappings."""
    if isinstance(old, dict) and old and often(random, 0.93):
        key = pick(random, list(old))
        way = int(random.integers(8))
        if way == 0:
            return {k: v for k, v in old.items() if k != key}
        if way == 1:
            return {**old, pick(random, TEXTS): pick(random, ODD)}
        return {**old, key: value(random, old[key])}
    if isinstance(old, list) and old and often(random, 0.9):
        i = int(random.integers(len(old)))
        if often(random, 0.15):
            return [*old[:i], *old[i + 1 :]]
        return [*old[:i], value(random, old[i]), *old[i + 1 :]]
    return pick(random, ODD)


def json_text(random: Random, old: Any) -> str:
    """Write a structure with one to three odd parts as JSON."""
    for _ in range(int(random.integers(1, 4))):
        old = value(random, old)
    return json.dumps(old)


def toml_text(random: Random, old: Any) -> str:
    """Write a mapping with one to three odd parts as TOML."""
    for _ in range(int(random.integers(1, 4))):
        old = value(random, old)
    if not isinstance(old, dict):
        return f"x = {toml_value(old)}\n"
    return "".join(f"{toml_key(k)} = {toml_value(v)}\n" for k, v in old.items())


def toml_value(given: Any) -> str:
    """Write one value in TOML."""
    if isinstance(given, dict):
        return "{" + ", ".join(f"{toml_key(k)} = {toml_value(v)}" for k, v in given.items()) + "}"
    if isinstance(given, list):
        return "[" + ", ".join(map(toml_value, given)) + "]"
    if given is None:
        return "1979-05-27T07:32:00Z"
    if isinstance(given, bool):
        return str(given).lower()
    if isinstance(given, float):
        return repr(given)
    return str(given) if isinstance(given, int) and abs(given) < 10**300 else toml_key(str(given))


def toml_key(text: str) -> str:
    """Quote a key or text; TOML escapes like JSON, except for the null character it forbids."""
    return json.dumps(text, ensure_ascii=True).replace("\\u0000", "\\u0001")
