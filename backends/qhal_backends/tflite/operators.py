"""The operators of a ``.tflite`` file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

CUSTOM = "CUSTOM"
"""Builtin operator of a custom one: for a compiler, a part that runs on its accelerator."""


@dataclass(frozen=True)
class Operator:
    """One operator.

    Attributes:
        builtin: name of the builtin operator, such as ``CONV_2D``; :data:`CUSTOM` for a custom one.
        result: name of the first tensor that it makes.
    """

    builtin: str
    result: str


def read_operators(content: bytes) -> tuple[Operator, ...]:
    """The operators of a file's only subgraph, in execution order."""
    from ai_edge_litert import schema_py_generated as schema

    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if name.isupper()}
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    codes = [names[_builtin(code)] for code in model.operatorCodes]
    return tuple(
        Operator(codes[operator.opcodeIndex], graph.tensors[operator.outputs[0]].name.decode())
        for operator in graph.operators
    )


def _builtin(code: Any) -> int:
    """Operators above 127 are in the newer of the two fields."""
    return int(max(code.builtinCode, code.deprecatedBuiltinCode))


def builtins_of(operators: Sequence[Operator]) -> tuple[str, ...]:
    """The builtin operators that occur, each once, in the order of the alphabet."""
    return tuple(sorted({operator.builtin for operator in operators}))
