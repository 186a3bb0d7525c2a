"""A graph as stable text, for golden tests, ``--dump`` and readers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from enum import Enum
from hashlib import sha256

import numpy as np

from qhal.ir.graph import Array, Graph, Node
from qhal.ir.ops import Op

_SHOWN_VALUES = 8


def to_text(graph: Graph, params: Mapping[str, object] | None = None) -> str:
    """Print a graph: a header, one line per constant, one line per node.

    Args:
        graph: any graph.
        params: tensor -> what is printed behind its type, such as its quantization parameters.
    """
    printer = _Printer(graph, params or {})
    lines = [
        f"graph {graph.name}",
        *(f"input  {printer.tensor(name)}{printer.permutation(name)}" for name in graph.inputs),
        *(
            f"const  {printer.tensor(name)} = {_value(graph.constants[name])}"
            for name in sorted(graph.constants)
        ),
        *(printer.node(node) for node in graph.nodes),
        *(f"output {name}{printer.permutation(name)}" for name in graph.outputs),
    ]
    return "\n".join(lines) + "\n"


class _Printer:
    """Prints the parts of one graph."""

    def __init__(self, graph: Graph, params: Mapping[str, object]) -> None:
        self._graph = graph
        self._params = params

    def tensor(self, name: str) -> str:
        """Print ``%name: type`` with its parameters."""
        if not name:
            return "-"
        suffix = f" {self._params[name]}" if name in self._params else ""
        return f"%{name}: {self._graph.tensors[name]}{suffix}"

    def permutation(self, name: str) -> str:
        """Print the permutation of an input or output against the user's model."""
        perm = self._graph.permutations.get(name)
        return f" permuted {perm}" if perm else ""

    def node(self, node: Node) -> str:
        """Print ``%out: type = Kind(%in, …) {attributes}``."""
        outputs = ", ".join(self.tensor(name) for name in node.outputs)
        inputs = ", ".join(f"%{name}" if name else "-" for name in node.inputs)
        return f"{outputs} = {node.op.kind}({inputs}){_attributes(node.op)}"


def _attributes(op: Op) -> str:
    shown = [f"{f.name}={_attribute(getattr(op, f.name))}" for f in fields(op)]
    return f" {{{', '.join(shown)}}}" if shown else ""


def _attribute(value: object) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, bytes):
        return f"{len(value)}B:{sha256(value).hexdigest()[:8]}"
    if isinstance(value, float):
        return f"{value:.9g}"
    if isinstance(value, tuple):
        return f"({','.join(map(str, value))})"
    return str(value)


def _value(array: Array) -> str:
    """Print small constants in full, others by their content hash."""
    if array.size <= _SHOWN_VALUES:
        return f"[{', '.join(_number(v) for v in array.ravel().tolist())}]"
    return f"sha256:{sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:12]}"


def _number(value: object) -> str:
    return f"{value:.9g}" if isinstance(value, float) else str(value)
