"""Whether a node has the operands and results that its operator defines.

Runtimes do not always look: some end the whole process where an operand is absent.
"""

from __future__ import annotations

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
    if call.kind in _SUBGRAPHS or not schema.inputs:
        return
    for index in range(max(len(node.inputs), schema.min_input)):
        formal = schema.inputs[min(index, len(schema.inputs) - 1)]
        optional = formal.option is onnx.defs.OpSchema.FormalParameterOption.Optional
        if not optional and not call.has(index):
            raise ValueError(f"operand {index} ({formal.name}) is missing")


def _check_most(what: str, count: int, most: int) -> None:
    if count > most:
        raise ValueError(f"it has {count} {what}, its operator has {most}")
