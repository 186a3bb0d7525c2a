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
        dtype: element type of that tensor, such as ``int8``.
    """

    builtin: str
    result: str
    dtype: str


def read_operators(content: bytes) -> tuple[Operator, ...]:
    """Read the operators of a file's only subgraph, in execution order."""
    from ai_edge_litert import schema_py_generated as schema

    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if name.isupper()}
    types = {code: name.lower() for name, code in vars(schema.TensorType).items() if name.isupper()}
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    codes = [names[_builtin(code)] for code in model.operatorCodes]
    made = [(codes[op.opcodeIndex], graph.tensors[op.outputs[0]]) for op in graph.operators]
    return tuple(Operator(code, tensor.name.decode(), types[tensor.type]) for code, tensor in made)


def _builtin(code: Any) -> int:
    """Read the code of an operator; those above 127 are in the newer of the two fields."""
    return int(max(code.builtinCode, code.deprecatedBuiltinCode))


def builtins_of(operators: Sequence[Operator]) -> tuple[str, ...]:
    """List the builtin operators that occur, each once, in alphabetical order."""
    return tuple(sorted({operator.builtin for operator in operators}))
