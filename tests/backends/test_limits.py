"""The limits of the built-in backends are values, and their bounds are those that they check.

``pytest --update-goldens tests/backends/test_limits.py`` writes the list of them again.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from qhal.ir import ops
from qhal.ir.graph import NodeView
from qhal.plugin.registry import registry
from qhal.targets import catalog
from qhal.targets.capability import Capabilities
from qhal.targets.limit import Above, Bound, Limit, OneOf, Range
from qhal_backends.arm.cortexm import limits as cortex_m
from qhal_backends.arm.ethosu import limits as ethos_u
from qhal_backends.edgetpu import limits as edge_tpu
from qhal_backends.tflite import limits as tflite
from tests.backends.tflite.test_tflite_limits import view_of
from tests.conftest import Golden


def limits_of(found: Capabilities) -> Iterator[Limit]:
    yield from found.native.values()
    if isinstance(found.opaque, Limit):
        yield found.opaque
    for capability in found.kernels:
        yield from capability.limits
        for row in capability.rows:
            yield from row.limits


def built_in() -> dict[tuple[str, str, str], Limit]:
    """All of them, by backend, name and rule."""
    known = registry()
    return {
        (profile.backend, limit.name, limit.rule): limit
        for profile in catalog.builtin().values()
        for limit in limits_of(known.backends[profile.backend].capabilities(profile))
    }


BUILT_IN = built_in()
NAMES = ["-".join(key) for key in BUILT_IN]


def test_there_are_many() -> None:
    assert len(BUILT_IN) > 80
    assert sum(bool(limit.bounds) for limit in BUILT_IN.values()) > 50


def test_names_rules_and_bounds(golden: Golden) -> None:
    """The list as a program would print it: whoever changes a bound, changes it there too."""
    entries = [
        f"{backend} {limit.name} {json.dumps(limit.to_json()['bounds'])}\n  {limit.rule}\n"
        for (backend, *_), limit in sorted(BUILT_IN.items())
    ]
    golden("limits.txt", "".join(entries))


@pytest.mark.parametrize("limit", BUILT_IN.values(), ids=NAMES)
def test_every_limit_is_a_value(limit: Limit) -> None:
    assert limit.name.isidentifier()
    assert limit.rule.endswith(".")
    assert limit.rule[:1].isupper() or limit.rule[:1].isdigit()
    assert not {"{", "}"} & set(limit.rule)
    assert json.loads(json.dumps(limit.to_json()))["bounds"].keys() == limit.bounds.keys()


@pytest.mark.parametrize("limit", BUILT_IN.values(), ids=NAMES)
def test_every_bound_is_one_that_is_checked(limit: Limit) -> None:
    view, *bounds = inspect.signature(limit.function).parameters
    assert view == "view"
    assert tuple(bounds) == tuple(limit.bounds)
    body = inspect.getsource(limit.function).rpartition('"""')[2]
    assert [name for name in bounds if name not in body] == []


def test_a_program_can_enumerate_what_is_allowed() -> None:
    """Every bound holds its own edges, and values beside them are outside."""
    for limit in BUILT_IN.values():
        for bound in limit.bounds.values():
            if isinstance(bound, OneOf):
                assert all(value in bound for value in bound.values)
            if isinstance(bound, Range):
                edges = [edge for edge in (bound.least, bound.most) if edge is not None]
                assert edges
                assert all(edge in bound for edge in edges)
            if isinstance(bound, Above):
                assert bound.number not in bound


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


def transposed(*shape: int) -> NodeView:
    return view_of(ops.Transpose((1, 0, *range(2, len(shape)))), shape)


def product(rank: int) -> NodeView:
    return view_of(ops.MatMul(), (1,) * rank, (1,) * rank)


EDGES: list[tuple[Limit, str, Callable[[int], NodeView]]] = [
    (ethos_u.kernel_is_small, "rows", pool),
    (ethos_u.kernel_is_small, "elements", lambda n: pool(16, n // 16)),
    (ethos_u.same_kernel_is_small, "kernel", same_pool),
    (ethos_u.u55_strides_up_to_three, "strides", depthwise),
    (ethos_u.u55_strides_of_conv, "strides", conv),
    (ethos_u.u55_argmax_over_depth, "elements", lambda n: view_of(ops.ArgMax(1, False), (1, n))),
    (ethos_u.u55_transposes_small_planes, "elements", lambda n: transposed(n, 2)),
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


FOUR = (2, 2, 2, 2)
LOOSER: list[tuple[Limit, NodeView, dict[str, Bound]]] = [
    (edge_tpu.three_innermost, view_of(ops.Relu(), FOUR), {"outer": 2}),
    (edge_tpu.reduces_no_batch, view_of(ops.Reduce("Max", (0,)), FOUR), {"axes": Range(least=0)}),
    (edge_tpu.pads_no_batch, view_of(ops.Pad((1, 0) * 2), (2, 2)), {"pads": 1}),
    (edge_tpu.softmax_is_small, view_of(ops.Softmax(1), (2, 10)), {"outer": 2}),
    (
        ethos_u.u55_transposes_small_planes,
        transposed(300, 300, 300, 300),
        {"alone": Range(most=4)},
    ),
    (
        ethos_u.mean_has_one_batch,
        view_of(ops.Reduce("Mean", (1,)), FOUR),
        {"rank": Range(least=5)},
    ),
    (
        ethos_u.strides_in_height_and_width,
        view_of(ops.Slice((0,), (2,), (2,)), (4,)),
        {"strides": 2},
    ),
]


@pytest.mark.parametrize(
    ("limit", "view", "bounds"), LOOSER, ids=[limit.name for limit, *_ in LOOSER]
)
def test_the_check_goes_by_the_bound_it_is_given(
    limit: Limit, view: NodeView, bounds: dict[str, Bound]
) -> None:
    assert limit.check(view) is not None
    assert replace(limit, bounds={**limit.bounds, **bounds}).check(view) is None
