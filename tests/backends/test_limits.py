"""The limits of the built-in backends are values, and their bounds are those that they check."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from qhal.ir import ops
from qhal.ir.graph import NodeView
from qhal.plugin.registry import registry
from qhal.targets import catalog
from qhal.targets.capability import Capabilities
from qhal.targets.limit import Limit, Range
from qhal_backends.arm.cortexm import limits as cortex_m
from qhal_backends.arm.ethosu import limits as ethos_u
from qhal_backends.edgetpu import limits as edge_tpu
from qhal_backends.tflite import limits as tflite
from tests.backends.tflite.test_tflite_limits import view_of


def limits_of(found: Capabilities) -> Iterator[Limit]:
    yield from found.native.values()
    if isinstance(found.opaque, Limit):
        yield found.opaque
    for capability in found.kernels:
        yield from capability.limits
        for row in capability.rows:
            yield from row.limits


def built_in() -> dict[str, Limit]:
    """All of them, by backend, name and rule."""
    known = registry()
    return {
        f"{profile.backend}-{limit.name}-{limit.rule}": limit
        for profile in catalog.builtin().values()
        for limit in limits_of(known.backends[profile.backend].capabilities(profile))
    }


BUILT_IN = built_in()


def test_there_are_many() -> None:
    assert len(BUILT_IN) > 80
    assert sum(bool(limit.bounds) for limit in BUILT_IN.values()) > 50


@pytest.mark.parametrize("limit", BUILT_IN.values(), ids=BUILT_IN)
def test_every_limit_is_a_value(limit: Limit) -> None:
    assert limit.name.isidentifier()
    assert limit.rule.endswith(".")
    assert limit.rule[:1].isupper() or limit.rule[:1].isdigit()
    assert not {"{", "}"} & set(limit.rule)
    assert json.loads(json.dumps(limit.to_json()))["bounds"].keys() == limit.bounds.keys()


@pytest.mark.parametrize("limit", BUILT_IN.values(), ids=BUILT_IN)
def test_every_bound_is_one_that_is_checked(limit: Limit) -> None:
    view, *bounds = inspect.signature(limit.function).parameters
    assert view == "view"
    assert tuple(bounds) == tuple(limit.bounds)
    body = inspect.getsource(limit.function).rpartition('"""')[2]
    assert [name for name in bounds if name not in body] == []


def pool(rows: int, columns: int = 1) -> NodeView:
    op = ops.MaxPool((rows, columns), (1, 1), (0,) * 4)
    return view_of(op, (1, 4, rows + 1, columns + 1))


def same_pool(kernel: int) -> NodeView:
    begin, end = (kernel - 1) // 2, kernel // 2
    op = ops.AveragePool((kernel, kernel), (1, 1), (begin, begin, end, end))
    return view_of(op, (1, 4, 32, 32))


def depthwise(stride: int) -> NodeView:
    op = ops.DepthwiseConv((stride, stride), (0,) * 4, (1, 1))
    return view_of(op, (1, 4, 16, 16), np.ones((4, 1, 3, 3), np.float32))


def conv(stride: int) -> NodeView:
    op = ops.Conv((stride, stride), (1,) * 4, (2, 2))
    return view_of(op, (1, 2, 16, 16), np.ones((4, 2, 3, 3), np.float32))


def softmax(size: int) -> NodeView:
    return view_of(ops.Softmax(1), (1, size))


def concat(count: int) -> NodeView:
    return view_of(ops.Concat(1), *[(1, 2)] * count)


def ranked(rank: int) -> NodeView:
    return view_of(ops.Relu(), (1,) * rank)


def product(rank: int) -> NodeView:
    return view_of(ops.MatMul(), (1,) * rank, (1,) * rank)


EDGES: list[tuple[Limit, str, Callable[[int], NodeView]]] = [
    (ethos_u.kernel_is_small, "rows", pool),
    (ethos_u.kernel_is_small, "elements", lambda n: pool(16, n // 16)),
    (ethos_u.same_kernel_is_small, "kernel", same_pool),
    (ethos_u.u55_strides_up_to_three, "strides", depthwise),
    (ethos_u.u55_strides_of_conv, "strides", conv),
    (ethos_u.u55_argmax_over_depth, "elements", lambda n: view_of(ops.ArgMax(1, False), (1, n))),
    (cortex_m.softmax_is_narrow, "elements", softmax),
    (cortex_m.joins_few, "operands", concat),
    (cortex_m.multiplies_in_four_dimensions, "dimensions", product),
    (cortex_m.pads_four_dimensions, "dimensions", ranked),
    (edge_tpu.softmax_is_small, "elements", softmax),
    (tflite.rank_at_most(4), "rank", ranked),
    (tflite.rank_between(2, 5), "rank", ranked),
]


@pytest.mark.parametrize(
    ("limit", "bound", "node"), EDGES, ids=[f"{limit.name}-{name}" for limit, name, _ in EDGES]
)
def test_the_bound_is_where_the_check_begins_to_refuse(
    limit: Limit, bound: str, node: Callable[[int], NodeView]
) -> None:
    stated = limit.bounds[bound]
    assert isinstance(stated, Range)
    assert stated.most is not None
    most = int(stated.most)
    assert limit.check(node(most)) is None
    step = 16 if bound == "elements" and "kernel" in limit.name else 1
    said = limit.check(node(most + step))
    assert said is not None
    assert str(most) in said
