"""End a model at tensors that the user names, before anything else is read of it."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path

import onnx

from qhal.errors import OptionError
from qhal.words import as_option

_LISTED = 8
_LIST_ALL = "`qhal check MODEL --target T --dump imported` lists the tensors."


def end_at(model: onnx.ModelProto, outputs: Sequence[str]) -> None:
    """Make these tensors the model's outputs, and drop the nodes that do not lead to them.

    Inputs stay, also those that nothing reads any more.

    Args:
        model: is changed in place.
        outputs: names of tensors that nodes of the main graph make.

    Raises:
        OptionError: a name is repeated, or is not that of such a tensor.
    """
    graph = model.graph
    _check(graph, outputs)
    known = {info.name: info for info in (*graph.value_info, *graph.output)}
    ends = [known.get(name, onnx.ValueInfoProto(name=name)) for name in outputs]
    ends = [onnx.ValueInfoProto.FromString(info.SerializeToString()) for info in ends]
    kept = _leading_to(graph, outputs)
    del graph.output[:]
    graph.output.extend(ends)
    del graph.node[:]
    graph.node.extend(kept)


def cut_file(path: Path, outputs: Sequence[str]) -> bytes:
    """Read a model file, which ends at these tensors; what lies in other files stays there.

    Raises:
        OptionError: as for :func:`end_at`.
    """
    model = onnx.load_model_from_string(path.read_bytes())
    end_at(model, outputs)
    return bytes(model.SerializeToString())


def folder_of(path: Path) -> str:
    """Return the folder in which the external weights of a model file lie."""
    return os.fspath(path.absolute().parent)


def computed(graph: onnx.GraphProto) -> frozenset[str]:
    """Return the names of what the nodes of a graph make, but not those of their bodies."""
    return frozenset(name for node in graph.node for name in node.output if name)


def _leading_to(graph: onnx.GraphProto, outputs: Collection[str]) -> list[onnx.NodeProto]:
    """Copy the nodes on which the outputs depend, in their order."""
    makers = {name: index for index, node in enumerate(graph.node) for name in node.output if name}
    waiting, kept = [makers[name] for name in outputs], set[int]()
    while waiting:
        index = waiting.pop()
        if index not in kept:
            kept.add(index)
            waiting.extend(makers[n] for n in _read(graph.node[index]) if n in makers)
    copies = []
    for index in sorted(kept):
        copy = onnx.NodeProto()
        copy.CopyFrom(graph.node[index])
        copies.append(copy)
    return copies


def _read(node: onnx.NodeProto) -> Iterator[str]:
    """Yield all names that a node reads, in its bodies too."""
    yield from node.input
    for attribute in node.attribute:
        for body in (attribute.g, *attribute.graphs):
            for inner in body.node:
                yield from _read(inner)
            yield from (info.name for info in body.output)


# --- names that do not fit ----------------------------------------------------------


def _check(graph: onnx.GraphProto, outputs: Sequence[str]) -> None:
    made = computed(graph)
    for name in outputs:
        if outputs.count(name) > 1:
            raise OptionError(f"--output {name!r} is given twice.", "Name each tensor once.")
        if name not in made:
            raise _not_computed(graph, name, sorted(made))


def _not_computed(graph: onnx.GraphProto, name: str, made: Sequence[str]) -> OptionError:
    hint = "Name a tensor that a node computes."
    if name in {initializer.name for initializer in graph.initializer}:
        return OptionError(f"--output {name!r} is a constant of the model.", hint)
    if name in {info.name for info in graph.input}:
        return OptionError(f"--output {name!r} is an input of the model.", hint)
    named = [node for node in graph.node if node.name == name]
    if named:
        results = " or ".join(as_option("--output", n) for n in named[0].output if n)
        return OptionError(
            f"--output {name!r} is a node ({named[0].op_type}); outputs are tensors.",
            f"Its result is {results}.",
        )
    return OptionError(f"--output: the model computes no tensor {name!r}.", _near(name, made))


def _near(name: str, made: Sequence[str]) -> str:
    near = get_close_matches(name, made, 3) or [n for n in made if name and name in n][:3]
    if near:
        return f"Did you mean {' or '.join(near)}? {_LIST_ALL}"
    if len(made) <= _LISTED:
        return f"It computes {', '.join(made)}."
    return _LIST_ALL
