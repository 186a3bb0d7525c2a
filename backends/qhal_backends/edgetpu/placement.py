"""Which operators the compiler put on the Edge TPU, read from the compiled file."""

from __future__ import annotations

from collections.abc import Sequence

from qhal.plugin.backend import PlacedNode, Placement
from qhal.targets.capability import HOST
from qhal.targets.where import Where, WhereBasis
from qhal_backends.edgetpu.compiler import MAPPED, OperatorStatus, read_statuses, read_version
from qhal_backends.tflite.operators import CUSTOM, Operator, read_operators

EDGE_TPU = "Edge TPU"
"""The unit that the compiler compiles for."""


def read_placement(source: bytes, compiled: bytes, log: str) -> Placement:
    """Compare a file with its compiled form: unchanged operators run on the host.

    Args:
        source: the file that was compiled.
        compiled: what the compiler made of it.
        log: what the compiler printed, for its reasons.
    """
    left = {operator.result for operator in read_operators(compiled) if operator.builtin != CUSTOM}
    statuses = read_statuses(log)
    placed = [_placed(op, op.result in left, statuses) for op in read_operators(source)]
    compiler = f"edgetpu_compiler {read_version(log)}".rstrip()
    return Placement(tuple(placed), compiler, by_result=True)


def _placed(operator: Operator, on_host: bool, statuses: Sequence[OperatorStatus]) -> PlacedNode:
    kernel = operator.builtin
    if not on_host:
        return PlacedNode(operator.result, Where(EDGE_TPU, kernel, "int8", WhereBasis.REPORTED))
    reasons = [s.status for s in statuses if s.operator == kernel and s.status != MAPPED]
    shown = f"{kernel} ({reasons[0]})" if len(reasons) == 1 else kernel
    return PlacedNode(operator.result, Where(HOST, shown, "int8", WhereBasis.REPORTED))
