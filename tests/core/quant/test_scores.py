from __future__ import annotations

from math import inf

import numpy as np
import pytest

from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.graph import Graph, TensorType
from qhal.quant.scores import MASK_LOW, AttentionScores, raise_masked


def attention(mask: float, *, softmax: bool = True) -> Graph:
    """Scores of which some are masked, by a sum with ``keep * mask``."""
    builder = GraphBuilder("attention")
    scores, drop = (builder.input(n, TensorType((1, 8))) for n in ("scores", "drop"))
    product = builder.one(
        ops.Mul(), (drop, builder.constant("mask", np.array(mask, np.float32))), output="m"
    )
    masked = builder.one(ops.Add(), (scores, product), output="masked")
    last = ops.Softmax(1) if softmax else ops.Tanh()
    return builder.build(outputs=[builder.one(last, (masked,))])


def test_a_mask_reaches_no_further_than_scores_lie_apart() -> None:
    graph = attention(-np.inf)
    found = AttentionScores.of(graph)
    assert found.ranges == dict.fromkeys(("scores", "m", "mask"), (MASK_LOW, inf))
    assert found.axes == {"masked": 1}
    other = AttentionScores.of(attention(-np.inf, softmax=False))
    assert not other.ranges and not other.axes


@pytest.mark.parametrize("mask", [-np.inf, np.finfo(np.float32).min, -1e4])
def test_masked_scores_do_not_count(mask: float) -> None:
    scores = np.array([[1, 2, 3, 40], [5, mask, 7, mask], [mask] * 4], np.float32)
    found = raise_masked(scores, 1)
    assert np.isfinite(found).all()
    assert -20 < found.min() < 0
    assert found.max() == 40
    shares = [np.exp(x - x.max(1, keepdims=True)) for x in (found[:2], scores[:2])]
    got, wanted = (x / x.sum(1, keepdims=True) for x in shares)
    np.testing.assert_allclose(got, wanted, atol=2.0**-17)
    np.testing.assert_array_equal(found[2], 0)
