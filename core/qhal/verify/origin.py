"""Find the node at which a runtime begins to differ from the oracle.

The model is lowered once more with all its tensors as outputs. Every node is then computed by
the oracle from what the runtime made of its operands, so that what came before does not count.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qhal.artifact.ports import Adapter
from qhal.artifact.runnable import Subject, run_raw
from qhal.errors import QhalError, VerificationError
from qhal.ir.graph import Array, Arrays, Node
from qhal.plugin.backend import Backend, RunOptions
from qhal.plugin.calls import call
from qhal.quant.model import QuantModel
from qhal.verify.compare import StepGap, difference

_MOST_ELEMENTS = 200_000_000
"""Of all tensors together: more would not fit beside the model in the memory of most machines."""

_FLOAT_DB = 60.0
"""Float operators in another order stay above this."""


def where_it_begins(subject: Subject, options: RunOptions, sample: Arrays) -> str:
    """Say at which node the runtime begins to differ, in one sentence.

    Args:
        subject: the artifact and its model.
        options: how it was loaded.
        sample: one sample of the user's inputs.
    """
    try:
        values = _all_tensors(subject, options, sample)
    except QhalError as error:
        why = error.message.splitlines()[0].rstrip(".")
        return f"Where it begins could not be found, since no tensor in between is known: {why}."
    if values is None:
        return (
            "Where it begins could not be found: with its tensors as outputs the artifact "
            "computes something else."
        )
    return _blame(subject.model, values)


def where_not_finite(subject: Subject, sample: Arrays) -> str:
    """Say at which node NaN or Inf first comes out of finite operands; "" if nobody knows."""
    try:
        values = _all_tensors(subject, RunOptions(), sample)
    except QhalError:
        return ""
    bad = {name for name, array in (values or {}).items() if not np.isfinite(array).all()}
    for node in subject.graph.nodes:
        if bad.intersection(node.outputs) and not bad.intersection(node.inputs):
            return f"It begins at node {node.name} ({node.op.kind})."
    return ""


def _all_tensors(subject: Subject, options: RunOptions, sample: Arrays) -> dict[str, Array] | None:
    """Read every tensor of one run; None if that changes what the runtime computes."""
    model, outputs = subject.model, subject.graph.outputs
    made = dict.fromkeys(out for node in model.graph.nodes for out in node.outputs if out)
    within = [name for name in made if name not in outputs]
    if sum(model.graph.tensors[name].elements for name in within) > _MOST_ELEMENTS:
        raise VerificationError("the model has too many tensors to read them all")
    probed = replace(model, graph=replace(model.graph, outputs=(*outputs, *within)))
    artifact = call(subject.provided, Backend.lower, probed, subject.profile)
    adapter = Adapter.of_model(probed)
    probe = replace(subject, artifact=artifact, adapter=adapter, model=probed, seal=None)
    plain, every = subject.load(options), probe.load(options)
    if plain is None or every is None:
        raise VerificationError("the runtime does not load it")
    inputs = subject.adapter.to_artifact(sample)
    then, now = run_raw(plain, subject, inputs), run_raw(every, probe, inputs)
    if not all(_equal(then[name], now[name]) for name in outputs):
        return None
    return {**model.graph.constants, **inputs, **now}


def _equal(one: Array, other: Array) -> bool:
    return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")


def _blame(model: QuantModel, values: Arrays) -> str:
    """Compute every node from the runtime's operands and find the first that differs."""
    first = ""
    for node in model.graph.nodes:
        found = _alone(model, node, values)
        for name in filter(None, node.outputs):
            steps, why = _differs(model, name, found[name], values[name])
            if steps > 1:
                return f"It begins at node {node.name} ({node.op.kind}): {why}."
            first = first or (node.name if steps else "")
    if not first:
        return "No node alone differs."
    return (
        "No single node is off by more than one quantization step; the rounding errors from "
        f"{first} on add up."
    )


def _alone(model: QuantModel, node: Node, values: Arrays) -> dict[str, Array]:
    from qhal.quant.oracle import Oracle

    constants = model.graph.constants
    operands = tuple(dict.fromkeys(n for n in node.inputs if n and n not in constants))
    graph = replace(model.graph, inputs=operands, outputs=tuple(filter(None, node.outputs)))
    alone = replace(model, graph=graph.with_nodes((node,)))
    return Oracle(alone).run({name: values[name] for name in operands})


def _differs(model: QuantModel, name: str, oracle: Array, runtime: Array) -> tuple[int, str]:
    """Return by how many steps a tensor differs (2 for any other difference), and in words."""
    if name in model.params or not model.graph.tensors[name].dtype.is_float:
        gap = StepGap()
        gap.add(oracle, runtime)
        why = f"from the same operands its result is off by up to {gap.largest} quantization steps"
        return gap.largest, why
    found = difference(oracle, runtime)
    why = f"from the same operands its result has an SQNR of {found.sqnr_db:.1f} dB"
    return (2 if found.sqnr_db < _FLOAT_DB else 0), why
