"""The float graph that was quantized, after every rewrite, against the user's own file.

The oracle computes the graph as it was made for the target. An error in how an operator was
rewritten, in the layout, or by a narrower type of indices is in that graph, and the artifact
agrees with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from qhal.artifact.ports import Adapter
from qhal.errors import QhalError, VerificationError
from qhal.ir.graph import Array, Arrays, Graph
from qhal.ir.layout.laid_out import LaidOut
from qhal.metric import Basis, Metric
from qhal.quant.model import QuantModel
from qhal.verify.compare import Difference, difference
from qhal.verify.reference import FloatReference

_SMALLEST_SQNR_DB = 60.0
"""Of float outputs. The models of the zoo stay above 97 dB on all targets."""

_ROUNDING = 8 * float(np.finfo(np.float32).eps)
"""Differences up to this are rounding, however small the outputs are."""

_MOST_FLIPPED = 1e-3
"""Share of integers that rounding may change where floats decide about them, as in ArgMax."""

_MOST_ELEMENTS = 200_000_000
"""Of all tensors together that are searched for the first one that differs."""


def check_rewritten(
    laid: LaidOut, imported: Graph, reference: FloatReference, samples: Iterable[Arrays]
) -> dict[str, Metric]:
    """Compare the graph that was quantized with the user's file, in float.

    Args:
        laid: the graph in the target's operators, layout and types of indices.
        imported: the canonical graph that it was made from.
        reference: the user's file.
        samples: of every input, one or two.

    Returns:
        ``rewrite_error``: the largest difference of a float output relative to the largest
        element of it; nothing where all outputs are integers.

    Raises:
        VerificationError: the graph computes something else.
    """
    from qhal.quant.oracle import Oracle

    model, exact, worst = QuantModel(laid.graph), _exact_outputs(laid.graph), []
    adapter, oracle = Adapter.of_model(model), Oracle(model)
    for sample in samples:
        theirs = reference.run(sample)
        with np.errstate(all="ignore"):
            ours = adapter.to_user(oracle.run(adapter.to_artifact(sample)))
        for name in laid.graph.outputs:
            if why := _why_other(theirs[name], ours[name], name in exact):
                raise _refusal(name, why, _first_other(laid, imported, sample))
            if _is_real(theirs[name]):
                worst.append(_relative(difference(theirs[name], ours[name])))
    unit, note = "of the largest output", "largest difference on one or two samples"
    metric = Metric(max(worst, default=0.0), unit, Basis.MEASURED_HOST, note=note)
    return {"rewrite_error": metric} if worst else {}


def _refusal(name: str, why: str, origin: str) -> VerificationError:
    return VerificationError(
        f"The model as rewritten for the target computes something else than the model file: "
        f"output {name} {why}. {origin}".rstrip(),
        "Numbers beyond int32 do not fit a target that counts in int32. Anything else is a bug of "
        "qhal's; please report it with the model.",
    )


def _exact_outputs(graph: Graph) -> frozenset[str]:
    """Return the integer outputs that no float has a part in."""
    real = {name for name in graph.inputs if graph.tensors[name].dtype.is_float}
    for node in graph.nodes:
        made = any(graph.tensors[name].dtype.is_float for name in node.outputs if name)
        if made or not real.isdisjoint(node.inputs):
            real.update(node.outputs)
    return frozenset(graph.outputs) - real


def _is_real(array: Array) -> bool:
    return array.dtype.kind == "f"


def _relative(found: Difference) -> float:
    return found.max_abs / found.peak if found.peak else found.max_abs


def _why_other(theirs: Array, ours: Array, exact: bool) -> str:
    """Say how two values of a tensor differ by more than rounding; "" if they do not."""
    if theirs.shape != ours.shape:
        return f"has shape {ours.shape} instead of {theirs.shape}"
    if not _is_real(theirs):
        return _why_other_integers(theirs, ours, exact)
    try:
        found = difference(theirs, ours)
    except VerificationError:
        return "is NaN or Inf where the model's is finite"
    if found.sqnr_db >= _SMALLEST_SQNR_DB or found.max_abs <= _ROUNDING:
        return ""
    return f"has an SQNR of {found.sqnr_db:.1f} dB, and differs by up to {found.max_abs:g}"


def _why_other_integers(theirs: Array, ours: Array, exact: bool) -> str:
    other = theirs != ours
    count = int(np.count_nonzero(other))
    if count <= (0 if exact else max(1, int(_MOST_FLIPPED * theirs.size))):
        return ""
    wanted, found = theirs[other].flat[0], ours[other].flat[0]
    return f"differs in {count} of {theirs.size} elements ({found} instead of {wanted})"


# --- the first tensor that differs ------------------------------------------------


def _first_other(laid: LaidOut, imported: Graph, sample: Arrays) -> str:
    """Name the first tensor of the imported graph that is another one after the rewrites."""
    shared = _shared(laid, imported)
    if sum(imported.tensors[name].elements for name in shared) > _MOST_ELEMENTS:
        return ""
    try:
        theirs, ours = _theirs(imported, shared, sample), _ours(laid, shared, sample)
    except QhalError:
        return ""
    made = {name: node for node in imported.nodes for name in node.outputs}
    for name in shared:
        kept = ours[name].astype(theirs[name].dtype)
        if why := _why_other(theirs[name], kept, exact=True):
            node = made[name]
            return (
                f"The first tensor that differs is {name} of {node.op.kind} {node.name}: it {why}."
            )
    return ""


def _shared(laid: LaidOut, imported: Graph) -> list[str]:
    """Return what nodes make in both graphs under one name and with the same elements."""
    names = (name for node in imported.nodes for name in node.outputs if name)
    made = laid.graph.producers
    return [
        n for n in names if n in made and n not in laid.element_order and _fits(laid, imported, n)
    ]


def _fits(laid: LaidOut, imported: Graph, name: str) -> bool:
    there, here = imported.tensors[name].shape, laid.graph.tensors[name].shape
    perm = laid.perms.get(name, tuple(range(len(there))))
    return len(perm) == len(there) and here == tuple(there[i] for i in perm)


def _theirs(imported: Graph, names: list[str], sample: Arrays) -> Mapping[str, Array]:
    from qhal.ir.export import to_onnx

    proto = to_onnx(imported, outputs=names)
    return FloatReference(proto.SerializeToString(), names).run(sample)


def _ours(laid: LaidOut, names: list[str], sample: Arrays) -> Mapping[str, Array]:
    from qhal.quant.oracle import Oracle

    model = QuantModel(laid.graph)
    with np.errstate(all="ignore"):
        found = Oracle(model).run(Adapter.of_model(model).to_artifact(sample), keep=names)
    return {
        name: np.transpose(found[name], np.argsort(laid.perms[name]))
        if name in laid.perms
        else found[name]
        for name in names
    }
