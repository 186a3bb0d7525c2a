"""Limits: rules that a node must meet, with their bounds as data.

A limit is declared above the function that checks it, whose docstring is the rule. Its bounds are
stated once: the rule's text names them, the check is given them, and a program can list them::

    @limit(window=Range(1, 5))
    def small_window(view: NodeView, window: Range) -> str | None:
        \"\"\"Windows are {window} wide.\"\"\"
        width = view.input(1).shape[1]
        return None if width in window else f"window is {width} wide; allowed: {window}"
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from qhal.codec import Json, encode
from qhal.errors import PluginError, in_one_line
from qhal.ir.graph import NodeView


@dataclass(frozen=True)
class Range:
    """Numbers between two ends, which belong to it.

    Attributes:
        least: None if there is no lower end.
        most: None if there is no upper end.
    """

    least: float | None = None
    most: float | None = None

    def __contains__(self, number: float) -> bool:
        above = self.least is None or number >= self.least
        return above and (self.most is None or number <= self.most)

    def __str__(self) -> str:
        """As sentences have it: ``1 to 7``, ``up to 7``, ``1 or more``."""
        if self.least is None:
            return f"up to {_shown(self.most)}"
        if self.most is None:
            return f"{_shown(self.least)} or more"
        return f"{_shown(self.least)} to {_shown(self.most)}"


@dataclass(frozen=True)
class OneOf:
    """A choice of values.

    Attributes:
        values: in the order in which sentences list them.
    """

    values: tuple[float | str | tuple[int, ...], ...]

    def __contains__(self, value: object) -> bool:
        return value in self.values

    def __str__(self) -> str:
        """As sentences have it: ``2, 4, 8``."""
        return ", ".join(map(_shown, self.values))

    @property
    def either(self) -> str:
        """As rules have it: ``2, 4 or 8``."""
        *most, last = map(_shown, self.values)
        return f"{', '.join(most)} or {last}" if most else last


@dataclass(frozen=True)
class MultipleOf:
    """Whole multiples of a number.

    Attributes:
        number: above 0.
    """

    number: int

    def __contains__(self, number: int) -> bool:
        return number % self.number == 0

    def __str__(self) -> str:
        return f"multiples of {self.number}"


@dataclass(frozen=True)
class Above:
    """Numbers above one, which does not belong to them.

    Attributes:
        number: the end.
    """

    number: float

    def __contains__(self, number: float) -> bool:
        return number > self.number

    def __str__(self) -> str:
        return f"above {_shown(self.number)}"


Bound = float | Range | OneOf | MultipleOf | Above
"""What a bound is: the one number that is allowed, or several."""

LimitFunction = Callable[..., str | None]
"""Of a node and the bounds by their names: None, or the sentence with the offending value."""


@dataclass(frozen=True)
class Limit:
    """A rule that a node must meet.

    Attributes:
        name: as programs and errors call it.
        rule: in English, with its bounds.
        function: checks a node; it is given the bounds as named arguments.
        bounds: by name, such as ``{"kernel": Range(1, 7)}``; empty where the rule has no numbers.
    """

    name: str
    rule: str
    function: LimitFunction = field(repr=False)
    bounds: Mapping[str, Bound] = field(default_factory=dict, hash=False)

    def check(self, view: NodeView) -> str | None:
        """Check a node.

        Returns:
            None if it meets the rule, else one sentence with the offending value, without a full
            stop: "stride is 4; allowed: 1 to 3".
        """
        return self.function(view, **self.bounds)

    def __reduce__(self) -> tuple[Callable[..., Limit], tuple[object, ...]]:
        """Pickle the function by its name, where the limit that it declares may stand instead."""
        place = (self.function.__module__, self.function.__qualname__)
        if _function_at(*place) is self.function:
            return _restored, (*place, self.name, self.rule, dict(self.bounds))
        return Limit, (self.name, self.rule, self.function, dict(self.bounds))

    def to_json(self) -> dict[str, Json]:
        """Write name, rule and bounds as JSON."""
        return {"name": self.name, "rule": self.rule, "bounds": encode(self.bounds)}


def limit(**bounds: Bound) -> Callable[[LimitFunction], Limit]:
    """Declare a function to be a limit.

    Its name is the limit's; the first paragraph of its docstring is the rule, in which
    ``{kernel}`` or ``{kernel.most}`` stands for a bound.

    Args:
        **bounds: by name; the function takes them as arguments of these names.

    Raises:
        PluginError: the function takes other bounds, or the rule names others.
    """

    def declared(function: LimitFunction) -> Limit:
        name = function.__name__.strip("_")
        where = f"Limit {name} of {function.__module__}"
        _check_arguments(function, bounds, where)
        text = (inspect.getdoc(function) or "").partition("\n\n")[0]
        return Limit(name, _filled_in(" ".join(text.split()), bounds, where), function, bounds)

    return declared


def _check_arguments(function: LimitFunction, bounds: Mapping[str, Bound], where: str) -> None:
    """Refuse a function that does not take a node and then the bounds."""
    try:
        inspect.signature(function).bind(None, **bounds)
    except TypeError as error:
        raise PluginError(
            f"{where} cannot be called with a node and {_listed(bounds)}: {error}.",
            "Give the function and @limit(...) the same bounds.",
        ) from error


def _filled_in(rule: str, bounds: Mapping[str, Bound], where: str) -> str:
    """Put the bounds into the text of a rule."""
    try:
        return rule.format(**bounds)
    except KeyError as error:
        wrong = f"names {{{error.args[0]}}}"
    except (ValueError, IndexError, AttributeError, TypeError) as error:
        wrong = f"cannot be filled in: {in_one_line(error)}"
    raise PluginError(
        f"{where} has {_listed(bounds)}, but its rule {wrong}.",
        "In the first paragraph of its docstring write the name of a bound in braces, such as "
        "{kernel} or {kernel.most}; write {{ for a brace.",
    )


def _listed(bounds: Mapping[str, Bound]) -> str:
    return f"the bounds {', '.join(bounds)}" if bounds else "no bounds"


def _restored(
    module: str, function: str, name: str, rule: str, bounds: Mapping[str, Bound]
) -> Limit:
    import_module(module)
    return Limit(name, rule, _function_at(module, function), bounds)


def _function_at(module: str, name: str) -> Any:
    """Find a function of a module that was imported, declared as a limit or not."""
    found = getattr(sys.modules.get(module), name, None)
    return found.function if isinstance(found, Limit) else found


def broken_by(rule: Limit, view: NodeView) -> str | None:
    """Check a node, and blame what breaks on the limit.

    Returns:
        None if the node meets the limit, else the sentence with the offending value.

    Raises:
        PluginError: the limit itself breaks, or says something else.
    """
    where = f"limit {rule.name} on {view.op.kind} {view.node.name}"
    try:
        said: object = rule.check(view)
    except Exception as error:
        raise PluginError(f"{where}: {in_one_line(error)}.") from error
    if said is None or isinstance(said, str):
        return said
    raise PluginError(f"{where}: it returned {said!r:.60}, not a sentence or None.")


def refuse_others(limits: object, owner: str) -> None:
    """Refuse what is no limit where limits are stated, such as a function that is not declared.

    Args:
        limits: what is stated.
        owner: whose, as a sentence has it.

    Raises:
        PluginError: one of them is no limit.
    """
    for stated in limits if isinstance(limits, tuple) else (limits,):
        if not isinstance(stated, Limit):
            shown = getattr(stated, "__name__", None) or f"{stated!r:.60}"
            raise PluginError(
                f"The limits of {owner} contain {shown}, which is not a Limit.",
                "Write @limit() of qhal.targets.limit above the function.",
            )


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
