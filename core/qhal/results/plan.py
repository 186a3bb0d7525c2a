"""The plan: what was decided for every tensor and every node, in the form that records hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np

from qhal.ir.cost import macs
from qhal.ir.dtypes import DType
from qhal.ir.graph import Node, NodeView, TensorType
from qhal.ir.ops import Role
from qhal.metric import Metric
from qhal.quant.choice import Choice, Verdict
from qhal.quant.model import QuantModel, QuantParams
from qhal.targets.capability import KernelRow
from qhal.targets.where import Where, WhereBasis


class Status(Enum):
    """How what really runs compares with the plan."""

    AS_PLANNED = "as planned"
    DIFFERS = "differs"
    ABSORBED = "absorbed"
    """The runtime shows no such node: it became a part of another one."""
    UNKNOWN = "unknown"
    """The runtime does not report what it did."""


@dataclass(frozen=True)
class TensorPlan:
    """One tensor of the artifact's graph.

    Attributes:
        name: the tensor.
        dtype: stored element type.
        shape: in the artifact's order of dimensions.
        constant: True for weights, biases and other constants.
        scale: one per tensor, channel or group; empty if it is not quantized, or derived.
        zero_point: as many as scales, or a single one if all are equal.
        axis: axis of the scales; None per tensor.
        group_size: weights per scale along the other axis; 0 without groups.
        range: smallest and largest real number that it can hold; empty for 32 bits and more.
        derived_from: for a bias, the input and the weight whose scales are multiplied.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    constant: bool = False
    scale: tuple[float, ...] = ()
    zero_point: tuple[int, ...] = ()
    axis: int | None = None
    group_size: int = 0
    range: tuple[float, ...] = ()
    derived_from: tuple[str, ...] = ()


@dataclass(frozen=True)
class NodePlan:
    """One node: declared by qhal, placed by the vendor's compiler, executed by the runtime.

    Attributes:
        name: the node.
        op: canonical operator.
        inputs: operand tensors; "" where one is absent.
        outputs: result tensors.
        declared: what the plan wants: unit, kernel row and element type.
        origin: nodes of the user's model that it comes from.
        verdict: native, fallback, host, or conversion for an inserted node.
        source: where the fact about the declared kernel comes from.
        macs: multiply-accumulates of one run.
        placed: what the vendor's compiler, or a prediction of it, made of it; None if unknown.
        executed: what the runtime executes; None if unknown.
        cost: what it takes, as the compiler or runtime says; None if neither does.
        status: how what runs compares with the plan.
        reason: why it is not native, or how it differs.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    declared: Where
    origin: tuple[str, ...] = ()
    verdict: Verdict = Verdict.NATIVE
    source: str = ""
    macs: int = 0
    placed: Where | None = None
    executed: Where | None = None
    cost: Metric | None = None
    status: Status = Status.UNKNOWN
    reason: str = ""

    @property
    def runs(self) -> Where | None:
        """The best answer to where it really runs, executed before placed; None if unknown."""
        return self.executed or self.placed


@dataclass(frozen=True)
class Plan:
    """The plan of a whole model.

    Attributes:
        tensors: in the order of the graph.
        nodes: in execution order.
        placement_source: how ``placed`` and ``executed`` were found out; empty if they were not.
    """

    tensors: tuple[TensorPlan, ...]
    nodes: tuple[NodePlan, ...]
    placement_source: str = ""


def plan_of(model: QuantModel, choices: Mapping[str, Choice] | None = None) -> Plan:
    """Make the plan of a quantized model, before anything is known of the runtime.

    Args:
        model: the model.
        choices: what the solver chose, for verdicts, reasons and sources.
    """
    weights = _derivations(model)
    tensors = tuple(
        _tensor(model, name, kind, weights.get(name)) for name, kind in model.graph.tensors.items()
    )
    nodes = tuple(_node(model, n, choices or {}) for n in model.graph.nodes)
    return Plan(tensors, nodes)


def storage_of(rows: Iterable[KernelRow]) -> str:
    """Say how weights of few bits are stored, and in how many their kernels compute.

    Returns:
        One phrase, or several with "; " between them; empty if there is no such weight, or if a
        kernel computes with one as it is stored.
    """
    few = [row for row in rows if row.weight is not None and row.weight.few]
    phrases = dict.fromkeys(row.storage for row in few)
    return "; ".join(phrases) if all(phrases) else ""


def declared_type(model: QuantModel, node: Node) -> DType:
    """Return the element type that a node computes in, by its kernel row or its result."""
    row = model.kernels.get(node.name)
    return model.graph.tensors[node.outputs[0]].dtype if row is None else row.activation.dtype


def _node(model: QuantModel, node: Node, choices: Mapping[str, Choice]) -> NodePlan:
    verdict, reason, source = _verdict(model, node, choices.get(node.name))
    return NodePlan(
        name=node.name,
        op=node.op.kind,
        inputs=node.inputs,
        outputs=node.outputs,
        declared=_declared(model, node),
        origin=node.origin,
        verdict=verdict,
        source=source,
        macs=macs(NodeView(model.graph, node)),
        reason=reason,
    )


def _declared(model: QuantModel, node: Node) -> Where:
    row, dtype = model.kernels.get(node.name), declared_type(model, node).value
    if row is None:
        return Where(model.unit_of(node), None, dtype, WhereBasis.DECLARED)
    return Where(row.unit, str(row), dtype, WhereBasis.DECLARED)


def _verdict(model: QuantModel, node: Node, choice: Choice | None) -> tuple[Verdict, str, str]:
    if choice is not None:
        return choice.verdict, choice.reason, choice.source
    return (Verdict.NATIVE if node.name in model.kernels else Verdict.CONVERSION), "", ""


def _derivations(model: QuantModel) -> dict[str, tuple[str, str]]:
    """Map each bias to the (input, weight) whose scales its own scale is the product of."""
    found = {}
    for node in model.graph.nodes:
        roles = {node.op.role(i): name for i, name in reversed(list(enumerate(node.inputs)))}
        bias, weight = roles.get(Role.BIAS), roles.get(Role.WEIGHT)
        if bias and weight and _is_product(model, bias, node.inputs[0], weight):
            found[bias] = (node.inputs[0], weight)
    return found


def _is_product(model: QuantModel, bias: str, operand: str, weight: str) -> bool:
    params = [model.params.get(name) for name in (bias, operand, weight)]
    b, x, w = params
    if b is None or x is None or w is None or b.scale.size != w.scale.size:
        return False
    return bool(np.allclose(b.scale.ravel(), x.scale * w.scale.ravel(), rtol=1e-5, atol=0))


def _tensor(
    model: QuantModel, name: str, kind: TensorType, derived: tuple[str, str] | None
) -> TensorPlan:
    params = model.params.get(name)
    constant = name in model.graph.constants
    if params is None:
        return TensorPlan(name, kind.dtype.value, kind.shape, constant)
    return TensorPlan(
        name,
        params.dtype.value,
        kind.shape,
        constant,
        scale=() if derived else _shortest(params.scale),
        zero_point=_collapsed(params),
        axis=params.axis,
        group_size=params.group_size,
        range=_range(params),
        derived_from=derived or (),
    )


def _shortest(values: np.ndarray) -> tuple[float, ...]:
    """Write each float32 as the shortest decimal that reads back as the same float32."""
    return tuple(float(str(x)) for x in np.asarray(values, np.float32).ravel())


def _collapsed(params: QuantParams) -> tuple[int, ...]:
    values = params.zero_point.ravel().tolist()
    return tuple(values[:1] if len(set(values)) == 1 else values)


def _range(params: QuantParams) -> tuple[float, ...]:
    if params.dtype.bits >= 32:
        return ()
    codebook = params.dtype.codebook
    if codebook is not None:
        low, high = params.scale.max().astype(np.float64) * codebook[[0, -1]]
        return _finite(low, high)
    low = (params.scale * (params.dtype.qmin - params.zero_point)).min()
    high = (params.scale * (params.dtype.qmax - params.zero_point)).max()
    return _finite(low, high)


def _finite(low: float, high: float) -> tuple[float, ...]:
    """Write a range; one end more than the values need may be more than a float32 holds."""
    largest = np.finfo(np.float32).max
    return _shortest(np.clip([low, high], -largest, largest))
