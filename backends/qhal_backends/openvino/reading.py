"""Whether OpenVINO computes an operator that qhal keeps as it is as ONNX says.

Operators without a canonical form reach OpenVINO as the user's own ONNX nodes. What becomes of one
is tried before anything else is done: the node alone is written, compiled for the processor, run on
drawn numbers, and compared with ONNX Runtime.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import sha256
from importlib.util import find_spec
from weakref import ref

import numpy as np

from qhal.ir.graph import Array, Arrays, Graph, Node, NodeView
from qhal.ir.ops import Opaque
from qhal.quant.model import QuantModel
from qhal.quant.oracle import Oracle

_TOLERANCE = 1e-3
"""Of the largest magnitude of a result: far above the rounding of float32."""

_REMEMBERED = 256

_FRAME = re.compile(
    r"Exception from|Check |FrontEnd API|Model wasn't|While validating|Summary|To facilitate"
    r"|-- .* with a message|-- Conversion is failed"
)
"""How lines of OpenVINO's messages begin that say where, not what."""

_LONGEST = 200


def why_misread(view: NodeView) -> str | None:
    """Say why OpenVINO does not compute a node as ONNX Runtime does; None if it does.

    None too where OpenVINO is not installed, or ONNX Runtime does not run the node by itself.
    """
    if find_spec("openvino") is None:
        return None
    graph = _alone(view)
    return _verdict(_Question(_digest(graph), ref(graph)))


@dataclass(frozen=True)
class _Question:
    """A node by itself; questions about equal nodes are equal.

    Attributes:
        key: digest of all that decides.
        graph: of the node, which lives no longer than the question is being answered.
    """

    key: bytes
    graph: ref[Graph] = field(compare=False)


def _alone(view: NodeView) -> Graph:
    """Cut a node with its constants out of its graph, under names that do not depend on it."""
    around, node = view.graph, view.node
    used = dict.fromkeys(filter(None, node.inputs))
    names = {name: f"x{index}" for index, name in enumerate(used)}
    outputs = [f"y{index}" if name else "" for index, name in enumerate(node.outputs)]
    inputs = [names.get(name, "") for name in node.inputs]
    op = _renamed(node.op, inputs, outputs) if isinstance(node.op, Opaque) else node.op
    made = Node("node", op, tuple(inputs), tuple(outputs))
    pairs = [*names.items(), *zip(node.outputs, outputs, strict=True)]
    return Graph(
        "alone",
        tuple(inner for name, inner in names.items() if name not in around.constants),
        tuple(filter(None, outputs)),
        (made,),
        {inner: around.tensors[name] for name, inner in pairs if name},
        {inner: around.constants[name] for name, inner in pairs if name in around.constants},
    )


def _renamed(op: Opaque, inputs: Sequence[str], outputs: Sequence[str]) -> Opaque:
    """Leave out what an ONNX node is called, and why it is kept."""
    from onnx import NodeProto

    proto = NodeProto.FromString(op.proto)
    proto.name = proto.doc_string = ""
    proto.input[:], proto.output[:] = inputs, outputs
    return replace(op, proto=proto.SerializeToString(deterministic=True), reason="")


def _digest(graph: Graph) -> bytes:
    found = sha256(repr((graph.nodes, graph.tensors)).encode())
    for name, value in graph.constants.items():
        found.update(name.encode() + np.ascontiguousarray(value).tobytes())
    return found.digest()


@lru_cache(_REMEMBERED)
def _verdict(question: _Question) -> str | None:
    from qhal.ir.onnx.alone import drawn

    graph = question.graph()
    assert graph is not None
    draws = list(drawn({name: graph.tensors[name] for name in graph.inputs}))
    expected = _meant(graph, draws)
    try:
        found = _run(graph, draws)
    except Exception as error:  # noqa: BLE001 - whatever OpenVINO raises, the node is not usable
        return f"OpenVINO cannot read it ({_plain(error)})"
    if expected is None or all(map(_agree, expected, found)):
        return None
    return "OpenVINO computes it otherwise than ONNX Runtime"


def _meant(graph: Graph, draws: list[dict[str, Array]]) -> list[dict[str, Array]] | None:
    """Run the node in ONNX Runtime; None if it does not run, or gives another result each time."""
    oracle = Oracle(QuantModel(graph))
    try:  # both by one session: another one would draw the same random numbers
        first, again = ([oracle.run(draw) for draw in draws] for _ in range(2))
    except Exception:  # noqa: BLE001 - whatever it is, such as an index that no drawn number meets
        return None
    return first if all(map(_agree, first, again)) else None


def _run(graph: Graph, draws: list[dict[str, Array]]) -> list[Arrays]:
    from qhal_backends.openvino.lower import compose
    from qhal_backends.openvino.runner import load_core
    from qhal_backends.openvino.settings import FLOAT32, PRECISION

    core = load_core()
    model = core.read_model(compose(QuantModel(graph)).onnx.SerializeToString())
    request = core.compile_model(model, "CPU", {PRECISION: FLOAT32}).create_infer_request()
    found: list[Arrays] = []
    for draw in draws:
        request.infer(draw)
        found.append({n: np.array(request.get_tensor(n).data) for n in graph.outputs})
    return found


def _agree(expected: Arrays, found: Arrays) -> bool:
    return all(_equal(value, found[name]) for name, value in expected.items())


def _equal(expected: Array, found: Array) -> bool:
    if expected.shape != found.shape:
        return False
    if expected.dtype.kind != "f":
        return bool((expected == found).all())
    largest = float(np.abs(expected[np.isfinite(expected)]).max(initial=0))
    allowed = _TOLERANCE * largest
    return np.allclose(found, expected, rtol=_TOLERANCE, atol=allowed, equal_nan=True)


def _plain(error: Exception) -> str:
    """Return the first line of an error of OpenVINO that says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    spoken = [line for line in lines if not _FRAME.match(line)] or lines or [type(error).__name__]
    return spoken[0].removeprefix("-- ").rstrip(".")[:_LONGEST]
