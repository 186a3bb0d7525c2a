"""Outputs that feed inputs again: the states of a streaming model."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from qhal.decisions import Code, Decision, Severity
from qhal.errors import OptionError
from qhal.ir.graph import Graph
from qhal.ir.ops import REARRANGING, Gru, Lstm, Rnn
from qhal.words import as_option

Pairs = Mapping[str, str]
"""Output -> the input that it feeds in the next frame."""

_IN = frozenset(
    "in input inputs past prev previous old last init initial cur current before i x 0".split()  # noqa: SIM905
)
_OUT = frozenset(
    "out output outputs present new next updated update final result after n o y".split()  # noqa: SIM905
)
_STATE = frozenset(
    "state states hidden cell h c hc cache caches mem memory memories past present buffer buf "  # noqa: SIM905
    "buffers gru lstm rnn context ctx history hist carry key value kv r".split()
)
_SAME = {"past_key_values": "past", "present_key_values": "present", "past_key_value": "past"}


@dataclass(frozen=True)
class States:
    """The states of a model.

    Attributes:
        pairs: output -> the input that it feeds again; empty for a model without states.
        decisions: what was recognized, and what was left open.
    """

    pairs: Pairs = field(default_factory=dict)
    decisions: tuple[Decision, ...] = ()

    @property
    def inputs(self) -> tuple[str, ...]:
        """Inputs that hold a state."""
        return tuple(self.pairs.values())

    @property
    def outputs(self) -> tuple[str, ...]:
        """Outputs that hold a state."""
        return tuple(self.pairs)


def find_states(graph: Graph, given: Pairs | None = None) -> States:
    """Find the states of a model.

    Args:
        graph: as imported.
        given: what the user says, output -> input; None recognizes states by type and name.

    Raises:
        OptionError: what the user says does not fit the model.
    """
    if given is not None:
        _check(graph, given)
        return States(dict(given), tuple(_told(given, "as --state says")))
    if len(graph.inputs) < 2 or len(graph.outputs) < 2:
        return States()
    named, unclear = _by_name(graph)
    recurrent = _by_layer(graph, named)
    pairs = {**named, **recurrent}
    if not pairs or len(pairs) == len(graph.outputs) or len(pairs) == len(graph.inputs):
        return States({}, tuple(_doubts(graph, {}, unclear)))
    ordered = {name: pairs[name] for name in graph.outputs if name in pairs}
    told = (
        *_told({o: i for o, i in ordered.items() if o in named}, "by type and name"),
        *_told({o: i for o, i in ordered.items() if o not in named}, "by its recurrent layer"),
    )
    return States(ordered, (*told, *_doubts(graph, ordered, unclear)))


def without(states: States, contradicted: Collection[str]) -> States:
    """Take back what was recognized where the data say otherwise.

    Args:
        states: as recognized.
        contradicted: outputs whose inputs hold something else in the data.
    """
    if not contradicted:
        return states
    taken_back = {states.pairs[output] for output in contradicted}
    kept = {o: i for o, i in states.pairs.items() if o not in contradicted}
    told = [d for d in states.decisions if d.subject not in taken_back]
    return States(kept, (*told, *(_doubt(o, states.pairs[o], _CONTRADICTED) for o in contradicted)))


_CONTRADICTED = (
    "looks like a state, but the data give {} values that are not what the model made of the "
    "sample before"
)


def _doubt(output: str, name: str, why: str) -> Decision:
    sentence = (
        f"Output {output}, which may feed input {name}, {why.format(name)}. It was not taken for a "
        f"state, so that no loop was verified: leave {name} out of the data or say "
        f"{_option(output, name)} if it is one, --state none if there is none."
    )
    return Decision(Code.STATE_UNCLEAR, sentence, name, Severity.WARNING)


# --- what the user says ---------------------------------------------------------


def _check(graph: Graph, given: Pairs) -> None:
    for output, name in given.items():
        _check_name(output, graph.outputs, "output")
        _check_name(name, graph.inputs, "input")
        ours, theirs = graph.tensors[output], graph.tensors[name]
        if ours != theirs:
            raise OptionError(
                f"--state {output}={name}: the output is {ours}, but the input is {theirs}.",
                "A state has the same shape and type at both ends; set free dimensions with "
                "--shape.",
            )
    twice = [name for name in given.values() if list(given.values()).count(name) > 1]
    if twice:
        raise OptionError(
            f"--state names the input {twice[0]!r} twice.", "One output feeds each state input."
        )
    if len(given) == len(graph.inputs) and given:
        raise OptionError(
            "--state makes a state of every input.", "At least one input has to hold data."
        )


def _check_name(name: str, known: Iterable[str], what: str) -> None:
    if name not in known:
        raise OptionError(
            f"--state: the model has no {what} {name!r}.",
            f"Its {what}s are {', '.join(known)}; write --state OUTPUT=INPUT.",
        )


def _told(pairs: Pairs, how: str) -> Iterator[Decision]:
    for output, name in pairs.items():
        sentence = f"Output {output} feeds input {name} in the next frame, {how}."
        yield Decision(Code.STATE_FOUND, sentence, name)


# --- names ----------------------------------------------------------------------


def _by_name(graph: Graph) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Pair what has one type and one name but for "in" and "out"; return doubtful pairs too."""
    ways = [
        (output, name)
        for output in graph.outputs
        for name in graph.inputs
        if _stem(output, _OUT) & _stem(name, _IN)
    ]
    fit = [(o, i) for o, i in ways if graph.tensors[o] == graph.tensors[i]]
    pairs = {o: i for o, i in fit if _alone((o, i), fit)}
    unclear = [(o, i) for o, i in ways if o not in pairs and i not in pairs.values()]
    return {**pairs, **_by_word(graph, pairs)}, unclear


def _by_word(graph: Graph, known: Pairs) -> dict[str, str]:
    """Pair what is called one state at both ends, whatever counts it, and has a type of its own.

    Other words tell them apart: the hidden states of an encoder are not those of a decoder.
    """
    fit = [
        (o, i)
        for o in graph.outputs
        for i in graph.inputs
        if o not in known and i not in known.values() and graph.tensors[o] == graph.tensors[i]
    ]
    return {o: i for o, i in fit if _alone((o, i), fit) and _is_state(o) and _core(o) == _core(i)}


def _alone(pair: tuple[str, str], others: Iterable[tuple[str, str]]) -> bool:
    return not any((o == pair[0]) != (i == pair[1]) for o, i in others)


def _is_state(name: str) -> bool:
    return not _STATE.isdisjoint(_words(name))


def _words(name: str) -> list[str]:
    """Split a name into words and numbers: ``stateN``, ``h_0`` and ``r1i``."""
    split = re.sub(r"([a-z])([A-Z])", r"\1_\2", name)
    lowered = re.sub(r"([a-z])(\d)|(\d)([a-z])", r"\1\3_\2\4", split.lower())
    for long, short in _SAME.items():
        lowered = lowered.replace(long, short)
    return [word for word in re.split(r"[^a-z0-9]+", lowered) if word]


def _core(name: str) -> list[str]:
    """Return the words of a name without those for "in" or "out", and without numbers."""
    words = [word for found in _words(name) for word in re.findall(r"\d+|[a-z]+", found)]
    return [word for word in words if not word.isdigit() and word not in _IN | _OUT]


def _stem(name: str, roles: frozenset[str]) -> frozenset[tuple[str, ...]]:
    """Return what a name can be without its words for "in" or "out"; letters count at the ends."""
    words = _words(name)
    clear = [word for word in words if word not in roles or len(word) < 2]
    found = {tuple(words), *_without_ends(words, roles), *_without_ends(clear, roles)}
    if "n" in roles and len(words) == 1 and len(name) == 2 and words[0][1] in "nt":
        found.add((words[0][0],))
    return frozenset(found if _is_state(name) else found - {()})


def _without_ends(words: list[str], roles: frozenset[str]) -> Iterator[tuple[str, ...]]:
    """Take such words off in front, then behind; yield what is left each time."""
    yield tuple(words)
    for end, rest in ((0, slice(1, None)), (-1, slice(-1))):
        while words and words[end] in roles:
            words = words[rest]
            yield tuple(words)


# --- recurrent layers -----------------------------------------------------------


def _by_layer(graph: Graph, known: Pairs) -> dict[str, str]:
    """Pair the initial and the last state of one recurrent layer, which nothing but moves touch."""
    before = {name: _layers_below(graph, name) for name in graph.inputs}
    after = {name: _layers_above(graph, name) for name in graph.outputs}
    fit = [
        (o, i)
        for o in graph.outputs
        for i in graph.inputs
        if graph.tensors[o] == graph.tensors[i] and before[i] & after[o]
    ]
    free = [(o, i) for o, i in fit if o not in known and i not in known.values()]
    return {o: i for o, i in free if _alone((o, i), free)}


def _layers_below(graph: Graph, name: str) -> frozenset[str]:
    """Find the recurrent layers whose initial state an input is."""
    found: set[str] = set()
    todo = [name]
    while todo:
        tensor = todo.pop()
        for node in graph.consumers.get(tensor, ()):
            if isinstance(node.op, Lstm | Gru | Rnn):
                if node.inputs[0] != tensor:
                    found.add(node.name)
            elif node.op.kind in _MOVES:
                todo.extend(node.outputs)
    return frozenset(found)


def _layers_above(graph: Graph, name: str) -> frozenset[str]:
    """Find the recurrent layers whose last state an output is."""
    found: set[str] = set()
    todo = [name]
    while todo:
        tensor = todo.pop()
        node = graph.producers.get(tensor)
        if node is None:
            continue
        if isinstance(node.op, Lstm | Gru | Rnn):
            if tensor != node.outputs[0]:
                found.add(node.name)
        elif node.op.kind in _MOVES:
            todo.extend(node.inputs)
    return frozenset(found)


_MOVES = REARRANGING | {"Gather"}


def _option(output: str, name: str) -> str:
    """Write the option that says which output feeds an input."""
    return as_option("--state", f"{output}={name}")


# --- what stays open ------------------------------------------------------------


def _doubts(graph: Graph, pairs: Pairs, unclear: Iterable[tuple[str, str]]) -> Iterator[Decision]:
    """Say what looks like a state and is not taken for one."""
    told: set[str] = set(pairs) | set(pairs.values())
    for output, name in (*unclear, *_alike(graph, pairs)):
        if output in told or name in told:
            continue
        told |= {output, name}
        ours, theirs = graph.tensors[output], graph.tensors[name]
        if ours == theirs:
            why = f"may feed input {name} in the next frame: both are {ours}"
            advice = f"{_option(output, name)} says so"
        elif _is_state(output) and _is_state(name):
            why = f"is named like input {name}, but is {ours}, and the input {theirs}"
            advice = "only a state of one shape can be run in a loop"
        else:
            continue
        sentence = (
            f"Output {output} {why}. It was not taken for a state, so that no loop was verified: "
            f"{advice}, --state none that there is none."
        )
        yield Decision(Code.STATE_UNCLEAR, sentence, name, Severity.WARNING)


def _alike(graph: Graph, pairs: Pairs) -> Iterator[tuple[str, str]]:
    """Find outputs and inputs that are alike, where other inputs and outputs remain."""
    if len(graph.inputs) - len(pairs) < 2 or len(graph.outputs) - len(pairs) < 2:
        return
    for output in graph.outputs:
        for name in graph.inputs:
            if graph.tensors[output] == graph.tensors[name]:
                yield output, name
