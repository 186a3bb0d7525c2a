"""The catalog: devices as data, read from ``targets.toml``.

::

    [targets.openvino-npu]
    backend = "openvino"               # who serves it
    title = "NPU of my laptop"         # one line for people
    family = "OpenVINO"                # heading in `qhal targets`

    [targets.openvino-npu.facts]       # numbers, each with its unit and source
    peak_ops_per_s = { value = 48e12, unit = "op/s", source = "https://..." }

    [targets.openvino-npu.options]     # strings that only the backend reads
    device = "NPU"

    [targets.my-board]
    extends = "cortex-m7"              # everything else is taken from there, but
    title = "My board"                 # no options if the backend is another one

qhal's own catalog lies beside the package. A ``targets.toml`` in the working folder, or the
file given with ``--targets``, adds devices, changes them, and extends them.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

from qhal.errors import CatalogError
from qhal.system.files import is_file, plain
from qhal.targets.profile import Sourced, TargetProfile
from qhal.words import shortened

FILE_NAME = "targets.toml"
ORIGIN = "qhal's catalog"
"""Where the devices that qhal ships come from; those of a user come from a file."""

Profiles = Mapping[str, TargetProfile]

_TARGET_KEYS = ("backend", "title", "family", "extends", "facts", "options")
_FACT_KEYS = ("value", "unit", "source")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_TOO_LARGE = 1e300
_LONGEST_CHAIN = 50
_UNITS = {
    "hz": "Hz",
    "w": "W",
    "s": "s",
    "j": "J",
    "pj": "pJ",
    "bytes": "B",
    "bits": "bit",
    "ops_per_s": "op/s",
    "bytes_per_s": "B/s",
    "pj_per_op": "pJ/op",
    "pj_per_byte": "pJ/B",
    "ratio": "1",
    "count": "1",
}
"""End of a fact's key -> the unit that it must be given in."""


def builtin() -> Profiles:
    """Return the devices that qhal ships."""
    text = resources.files("qhal").joinpath(FILE_NAME).read_text(encoding="utf-8")
    return parse(text, ORIGIN, {})


def user_file(explicit: str | Path | None = None) -> Path | None:
    """Find the user's own catalog: the given one, else ``targets.toml`` in the working folder.

    qhal's own file is not the user's, even if the working folder is qhal's repository.

    Raises:
        CatalogError: the given file is missing, or what has the name is not a file.
    """
    path = Path(FILE_NAME if explicit is None else explicit)
    if explicit is None and not os.path.lexists(path):
        return None
    if not is_file(path):
        hint = "Rename it." if explicit is None else "Check --targets."
        raise CatalogError(f"The catalog {path} is not a file.", hint)
    own = resources.files("qhal").joinpath(FILE_NAME)
    is_own = isinstance(own, Path) and path.samefile(own)
    return None if explicit is None and is_own else path


def read(path: Path, known: Profiles) -> Profiles:
    """Read the devices of a file; ``known`` are those that it can extend.

    Raises:
        CatalogError: the file cannot be read or a key in it is wrong; names file and key.
    """
    try:
        text = plain(path).read_text(encoding="utf-8")
    except OSError as error:
        raise CatalogError(f"Cannot read the catalog {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise CatalogError(f"The catalog {path} is not UTF-8 text.") from error
    return parse(text, str(path), known)


def parse(text: str, origin: str, known: Profiles) -> Profiles:
    """Parse the devices in a catalog's text.

    Args:
        text: TOML.
        origin: name of the file, for messages and for ``TargetProfile.origin``.
        known: profiles of other origins that ``extends`` may name.

    Raises:
        CatalogError: names file, key path, the offending value and what is allowed.
    """
    try:
        document = tomllib.loads(text)
    except ValueError as error:  # also of integers with more digits than Python converts
        raise CatalogError(f"{origin} is not valid TOML: {error}.") from error
    except RecursionError as error:
        raise CatalogError(f"{origin} is nested too deeply.") from error
    where = _Key(origin)
    where.only(document, ("targets",))
    tables = where.at("targets").table(document.get("targets", {}))
    return _CatalogReader(tables, where.at("targets"), known).all()


class _Key:
    """A place in a file; raises errors that name it."""

    def __init__(self, origin: str, path: str = "") -> None:
        self.origin = origin
        self.path = path

    def at(self, key: str) -> _Key:
        return _Key(self.origin, f"{self.path}.{key}" if self.path else key)

    def error(self, sentence: str, hint: str = "") -> CatalogError:
        return CatalogError(f"{self.origin}: {self.path or 'the file'} {sentence}.", hint)

    def table(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.error(f"is {shortened(value)}; expected a table")
        return value

    def text(self, value: Any) -> str:
        if not isinstance(value, str) or not value.strip() or not value.isprintable():
            raise self.error(f"is {shortened(value)}; expected a non-empty line of text")
        return value

    def number(self, value: Any) -> float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not 0 < value < _TOO_LARGE:
            allowed = f"a number above 0 and below {_TOO_LARGE:g}"
            raise self.error(f"is {shortened(value)}; expected {allowed}")
        return float(value)

    def only(self, table: Mapping[str, Any], allowed: Collection[str]) -> None:
        for key in table:
            if key not in allowed:
                near = difflib.get_close_matches(key, allowed, 1)
                hint = f"Did you mean {near[0]}?" if near else ""
                raise self.at(key).error(f"is unknown; allowed are {', '.join(allowed)}", hint)


class _CatalogReader:
    """Resolves ``extends`` between the tables of one file."""

    def __init__(self, tables: dict[str, Any], where: _Key, known: Profiles) -> None:
        self._tables = tables
        self._where = where
        self._known = known
        self._done: dict[str, TargetProfile] = {}

    def all(self) -> Profiles:
        for name in self._tables:
            self._profile(name, ())
        return {name: self._done[name] for name in self._tables}

    def _profile(self, name: str, chain: tuple[str, ...]) -> TargetProfile:
        if name not in self._done:
            if name in chain:
                circle = " -> ".join((*chain, name))
                raise self._where.at(name).error(f"extends itself: {circle}")
            if len(chain) == _LONGEST_CHAIN:
                others = f"{_LONGEST_CHAIN} others in a row"
                raise self._where.at(chain[0]).error(f"extends more than {others}")
            self._done[name] = self._read(name, (*chain, name))
        return self._done[name]

    def _read(self, name: str, chain: tuple[str, ...]) -> TargetProfile:
        where = self._where.at(name)
        if not _NAME.fullmatch(name):
            raise where.error("is not a name; use small letters, digits, '.', '_' and '-'")
        table = where.table(self._tables[name])
        where.only(table, _TARGET_KEYS)
        base = self._base(table, where, chain)
        texts = {
            key: where.at(key).text(table[key])
            for key in ("backend", "title", "family")
            if key in table
        }
        inherited = base.options if texts.get("backend", base.backend) == base.backend else {}
        return replace(
            base,
            name=name,
            origin=where.origin,
            facts={**base.facts, **_facts(table, where.at("facts"))},
            options={**inherited, **_options(table, where.at("options"))},
            **texts,
        )

    def _base(self, table: dict[str, Any], where: _Key, chain: tuple[str, ...]) -> TargetProfile:
        if "extends" not in table:
            for key in ("backend", "title"):
                if key not in table:
                    raise where.error(f"has no {key}", self._how_to_base(chain[-1], key))
            return TargetProfile("", "", "")
        name = where.at("extends").text(table["extends"])
        # A device that extends its own name changes the one of the layer below.
        if name in self._tables and name != chain[-1]:
            return self._profile(name, chain)
        if name not in self._known:
            known = sorted({*self._known, *self._tables} - {chain[-1]})
            raise where.at("extends").error(
                f"is {name!r}, which is not a target", _near(name, known)
            )
        return self._known[name]

    def _how_to_base(self, name: str, key: str) -> str:
        """Say what to do about a table without ``extends`` that is not complete."""
        if name in self._known:
            return f'extends = "{name}" takes everything else from the device of that name.'
        return f"Give a {key}, or extends = another one."


def _facts(table: dict[str, Any], where: _Key) -> dict[str, Sourced]:
    return {
        key: _fact(key, value, where.at(key))
        for key, value in where.table(table.get("facts", {})).items()
    }


def _fact(key: str, value: Any, where: _Key) -> Sourced:
    table = where.table(value)
    where.only(table, _FACT_KEYS)
    for part in _FACT_KEYS:
        if part not in table:
            raise where.error(f"has no {part}; a fact is {{ value, unit, source }}")
    unit = where.at("unit").text(table["unit"])
    if unit != (expected := _unit_of(key, where)):
        raise where.at("unit").error(f"is {unit!r}; the unit of {key} has to be {expected!r}")
    return Sourced(
        where.at("value").number(table["value"]), unit, where.at("source").text(table["source"])
    )


def _unit_of(key: str, where: _Key) -> str:
    """Return the unit that the end of a fact's key stands for; the longest end counts."""
    ends = [end for end in _UNITS if key.endswith(f"_{end}")]
    if not ends:
        listed = ", ".join(f"_{end} ({unit})" for end, unit in _UNITS.items())
        raise where.error(f"does not end in a unit; known are {listed}")
    return _UNITS[max(ends, key=len)]


def _options(table: dict[str, Any], where: _Key) -> dict[str, str]:
    return {
        key: where.at(key).text(value)
        for key, value in where.table(table.get("options", {})).items()
    }


def _near(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, 3)
    listed = f"Known targets: {', '.join(known)}."
    return f"Did you mean {' or '.join(near)}? {listed}" if near else listed
