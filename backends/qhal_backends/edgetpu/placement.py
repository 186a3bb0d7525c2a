"""Which operators the compiler put on the Edge TPU, read from the compiled file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qhal.plugin.backend import PlacedNode, Placement
from qhal_backends.edgetpu.compiler import MAPPED, OperatorStatus, read_statuses, read_version

CUSTOM = "edgetpu-custom-op"
"""Name of the operator that stands for a compiled part."""


def read_placement(source: bytes, compiled: bytes, log: str) -> Placement:
    """Compare a file with its compiled form: what is left as it was runs on the host.

    Args:
        source: the file that was compiled.
        compiled: what the compiler made of it.
        log: what the compiler said, for its reasons.
    """
    left = {name for name, _ in _operators(compiled)}
    statuses = read_statuses(log)
    placed = [_placed(name, kernel, name in left, statuses) for name, kernel in _operators(source)]
    version = read_version(log)
    return Placement(tuple(placed), f"edgetpu_compiler {version}".rstrip())


def _placed(
    name: str, kernel: str, on_host: bool, statuses: tuple[OperatorStatus, ...]
) -> PlacedNode:
    if not on_host:
        return PlacedNode(name, kernel, "", "int8")
    reasons = [s.status for s in statuses if s.operator == kernel and s.status != MAPPED]
    shown = f"{kernel} ({reasons[0]})" if len(reasons) == 1 else kernel
    return PlacedNode(name, shown, "host", "int8")


def _operators(content: bytes) -> Iterator[tuple[str, str]]:
    """(name of the first result, builtin operator) of every operator but the compiled parts."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if name.isupper()}
    graph = model.subgraphs[0]
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        if not _is_compiled(code):
            builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
            yield graph.tensors[operator.outputs[0]].name.decode(), names[builtin]


def _is_compiled(code: Any) -> bool:
    return code.customCode is not None and bytes(code.customCode).decode() == CUSTOM
