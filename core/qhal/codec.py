"""Frozen dataclasses to JSON and back, by their annotations, with located errors.

Fields may be str, int, float, bool, ``object`` (any JSON), an enum, another dataclass,
``tuple[T, ...]``, ``Mapping[str, T]`` and ``T | None``. An enum is written as its value, or
as the first part of it where the value is a tuple.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from math import isfinite
from types import NoneType, UnionType
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")

Json = Any
"""What :mod:`json` reads and writes: None, bool, int, float, str, list, dict."""

_LINE_WIDTH = 100
_MOST_DIGITS = 39
"""Of a whole number: what 128 bits hold. Any such number is also a float."""


def encode(value: object) -> Json:
    """Convert a value to its JSON form.

    Raises:
        ValueError: a float is not finite, or the type has no JSON form.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Enum):
        return _enum_text(value)
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    if isinstance(value, float) and not isfinite(value):
        raise ValueError(f"{value} is not finite")
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise ValueError(f"a {type(value).__name__} has no JSON form")


def decode(kind: type[T], value: object, where: str = "record") -> T:
    """Read a dataclass from its JSON form.

    Raises:
        ValueError: something is missing, unknown or of another type; the message starts with
            the path to it, such as ``record.metrics.sqnr.value``.
    """
    return cast(T, _decode(kind, value, where))


def dumps(value: object) -> str:
    """Write JSON text for people and diffs: nested, but what fits on a line stays on one."""
    return _pretty(value, 0) + "\n"


def _decode(kind: Any, value: object, where: str) -> Any:
    if kind is object or kind is Any:
        return value
    if isinstance(kind, UnionType):
        return _decode_optional(kind, value, where)
    origin = get_origin(kind)
    if origin is tuple:
        items = _expect(value, list, where)
        return tuple(_decode(get_args(kind)[0], x, f"{where}[{i}]") for i, x in enumerate(items))
    if origin is not None and issubclass(origin, Mapping):
        pairs = _expect(value, dict, where).items()
        return {key: _decode(get_args(kind)[1], x, f"{where}.{key}") for key, x in pairs}
    if is_dataclass(kind):
        return _decode_dataclass(kind, _expect(value, dict, where), where)
    if issubclass(kind, Enum):
        return _decode_enum(kind, value, where)
    return _expect(value, kind, where)


def _decode_optional(kind: UnionType, value: object, where: str) -> Any:
    if value is None:
        return None
    present = [arm for arm in get_args(kind) if arm is not NoneType]
    return _decode(present[0], value, where)


def _decode_dataclass(kind: Any, value: dict[str, object], where: str) -> Any:
    hints = get_type_hints(kind)
    known = {f.name: f for f in fields(kind)}
    unknown = sorted(set(value) - set(known))
    if unknown:
        raise ValueError(f"{where} has the unknown key {unknown[0]!r}")
    missing = [name for name, f in known.items() if name not in value and not _has_default(f)]
    if missing:
        raise ValueError(f"{where} lacks the key {missing[0]!r}")
    return kind(**{key: _decode(hints[key], x, f"{where}.{key}") for key, x in value.items()})


def _decode_enum(kind: type[Enum], value: object, where: str) -> Enum:
    for member in kind:
        if _enum_text(member) == value:
            return member
    raise ValueError(f"{where} is {value!r}, which is not a valid {kind.__name__.lower()}")


def _enum_text(member: Enum) -> Any:
    return member.value[0] if isinstance(member.value, tuple) else member.value


def _has_default(field: Field[Any]) -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


def _expect(value: object, kind: type[Any], where: str) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return value  # an integer is a float that is written without a point
    # bool is an int in Python, but not in a record.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{where} is a {type(value).__name__}, expected a {kind.__name__}")
    if isinstance(value, float) and not isfinite(value):
        raise ValueError(f"{where} is {value}, which is not finite")
    return value


def loads(text: str) -> Json:
    """JSON text as a value.

    Raises:
        ValueError: it is no JSON, nested too deeply, or a number in it is not finite
            or absurdly long.
    """
    try:
        return json.loads(text, parse_constant=_no_number, parse_float=_float, parse_int=_int)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not finite")


def _float(text: str) -> float:
    value = float(text)
    return value if isfinite(value) else _no_number(text)


def _int(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"{text[:_MOST_DIGITS]}… has too many digits")
    return int(text)


def _pretty(value: object, indent: int) -> str:
    flat = json.dumps(value, ensure_ascii=False, allow_nan=False)
    scalars = isinstance(value, list) and not any(isinstance(x, dict | list) for x in value)
    if scalars or not value or len(flat) + indent <= _LINE_WIDTH:
        return flat
    inner, outer = "\n" + " " * (indent + 1), "\n" + " " * indent
    if isinstance(value, dict):
        rows = [f"{json.dumps(k)}: {_pretty(v, indent + 1)}" for k, v in value.items()]
        return "{" + inner + f",{inner}".join(rows) + outer + "}"
    if isinstance(value, list):
        return "[" + inner + f",{inner}".join(_pretty(x, indent + 1) for x in value) + outer + "]"
    return flat
