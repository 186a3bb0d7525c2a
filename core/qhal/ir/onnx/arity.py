"""Whether a node has the operands and results that its operator defines.

Runtimes do not always look: some end the whole process where an operand is absent.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from qhal.ir.onnx.call import ImportCall

_SUBGRAPHS = ("If", "Loop", "Scan", "SequenceMap")
"""Their variadic operands and results belong to a body, which says how many there are."""


def check_arity(call: ImportCall) -> None:
    """Count operands and results; operators that ONNX does not define are let through.

    Raises:
        ValueError: too few or too many, or one is absent that has to be there.
    """
    try:
        schema = onnx.defs.get_schema(call.kind, call.opset, call.node.domain)
    except onnx.defs.SchemaError:
        return
    node = call.node
    _check_most("operands", len(node.inputs), schema.max_input)
    _check_most("results", len(node.outputs), schema.max_output)
    if call.kind in _SUBGRAPHS:
        return
    count = max(len(node.inputs), schema.min_input)
    _check_present("operand", [call.has(i) for i in range(count)], schema.inputs)
    named = [bool(value.name) for value in node.outputs]
    absent = [False] * (schema.min_output - len(named))
    _check_present("result", [*named, *absent], schema.outputs)


def _check_present(
    what: str, there: Sequence[bool], formals: Sequence[onnx.defs.OpSchema.FormalParameter]
) -> None:
    for index, present in enumerate(there):
        if present or not formals:
            continue
        formal = formals[min(index, len(formals) - 1)]
        if formal.option is not onnx.defs.OpSchema.FormalParameterOption.Optional:
            raise ValueError(f"{what} {index} ({formal.name}) is missing")


def _check_most(what: str, count: int, most: int) -> None:
    if count > most:
        raise ValueError(f"it has {count} {what}, its operator has {most}")
