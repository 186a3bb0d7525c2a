"""Read which operators of an artifact run in XNNPACK and which in builtin kernels."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from qhal.plugin.backend import PlacedNode, Placement, RunOptions
from qhal.targets.where import Where, WhereBasis
from qhal_backends.tflite.runner import find_runtime, load_interpreter

DELEGATE = "DELEGATE"
"""Name of the operator that stands for a delegated part of the graph."""


def read_placement(content: bytes) -> Placement:
    """Read what the runtime's default delegate (XNNPACK) took of an artifact, and what it left.

    Every operator is reported under the name of the tensor that it makes.

    Raises:
        MissingDependencyError: no runtime is installed.
        VerificationError: the runtime refuses the file.
    """
    runtime = find_runtime()
    interpreter = load_interpreter(runtime, content, RunOptions()).interpreter
    tensors = {detail["index"]: detail for detail in interpreter.get_tensor_details()}
    operators = interpreter._get_ops_details()  # no public way
    inside = _delegated([op for op in operators if op["op_name"] == DELEGATE], operators)
    placed = [
        _placed(op, op["index"] in inside, tensors) for op in operators if op["op_name"] != DELEGATE
    ]
    source = f"execution plan of {runtime.label}"
    return Placement(tuple(placed), source, by_result=True)


def _delegated(
    delegates: Sequence[Mapping[str, Any]], operators: Sequence[Mapping[str, Any]]
) -> set[int]:
    """Find the operators between the operands and the results of a delegate, by index.

    A delegate's operands are all tensors that its part reads and does not make, so walking back
    from its results to them meets exactly the operators of the part.
    """
    makers = {t: op for op in operators if op["op_name"] != DELEGATE for t in op["outputs"]}
    found: set[int] = set()
    for delegate in delegates:
        found |= _between(delegate["outputs"], set(delegate["inputs"]), makers)
    return found


def _between(
    results: Collection[int], operands: set[int], makers: Mapping[int, Mapping[str, Any]]
) -> set[int]:
    found: set[int] = set()
    waiting = list(results)
    while waiting:
        maker = makers.get(waiting.pop())
        if maker is None or maker["index"] in found:
            continue
        found.add(maker["index"])
        waiting.extend(t for t in maker["inputs"] if t not in operands)
    return found


def _placed(
    op: Mapping[str, Any], delegated: bool, tensors: Mapping[int, Mapping[str, Any]]
) -> PlacedNode:
    made = tensors[op["outputs"][0]]
    unit = "XNNPACK" if delegated else "builtin kernel"
    where = Where(unit, op["op_name"], made["dtype"].__name__, WhereBasis.READ)
    return PlacedNode(made["name"], where)
