"""Windows over three dimensions, written for targets that have them over two."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from qhal.ir import ops
from qhal.ir.graph import Array
from qhal.legal.planar import to_planar
from tests.core.ir_graphs import run
from tests.core.legal.test_forms import array, single

VOLUME = (2, 4, 5, 6, 4)
_PADS = (1, 0, 2, 0, 1, 1)
_STRIDES = (2, 1, 2)

CASES: tuple[tuple[ops.Op, Sequence[Array]], ...] = (
    (ops.Conv(_STRIDES, _PADS, (1, 2, 1)), [array(6, 4, 3, 2, 3, seed=1), array(6, seed=2)]),
    (ops.Conv(_STRIDES, _PADS, (2, 1, 1), 2), [array(6, 2, 3, 2, 3, seed=1)]),
    (ops.Conv((1, 1, 1), (0,) * 6, (1, 1, 1)), [array(3, 4, 1, 1, 1, seed=1)]),
    (ops.DepthwiseConv(_STRIDES, _PADS, (1, 1, 1), 2), [array(8, 1, 2, 3, 3, seed=1)]),
    *(
        (
            ops.ConvTranspose(_STRIDES, (1, 0, 1, 0, 1, 0), (1, 2, 1), (1, 0, 1), groups),
            [array(4, 3, 3, 2, 3, seed=1), array(3 * groups, seed=2)],
        )
        for groups in (1, 2)
    ),
    (ops.MaxPool((3, 2, 3), _STRIDES, _PADS), []),
    (ops.AveragePool((3, 2, 3), _STRIDES, _PADS), []),
    (ops.AveragePool((3, 2, 3), _STRIDES, _PADS, count_include_pad=True), []),
)


@pytest.mark.parametrize(("op", "constants"), CASES, ids=lambda v: str(v)[:40])
def test_the_plane_computes_what_the_volume_computes(
    op: ops.Op, constants: Sequence[Array]
) -> None:
    graph, values = single(op, [array(*VOLUME), *constants])
    other, decisions = to_planar(graph)
    windows = (ops.Conv, ops.DepthwiseConv, ops.ConvTranspose, ops.MaxPool, ops.AveragePool)
    ranks = [
        len(other.tensors[node.inputs[0]].shape)
        for node in other.nodes
        if isinstance(node.op, windows)
    ]
    assert decisions
    assert set(ranks) == {4}
    wanted, found = run(graph, values), run(other, values)
    for name in graph.outputs:
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-4, atol=1e-4)
