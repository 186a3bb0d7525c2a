"""Legalized graphs compute what they did, for random targets."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from qhal.ir.layout.laid_out import to_layout
from qhal.ir.ops import Activation, Layout
from qhal.legal.forms.table import FORMS
from qhal.legal.legalize import legalize
from qhal.targets.capability import Capabilities, Capability, KernelRow
from qhal.targets.spec import FLOAT
from tests.core.ir_graphs import RandomGraph, floats, run, run_permuted

_OTHERS = (
    *("Conv", "ConvTranspose", "Add", "Mul", "Softmax", "MaxPool", "Resize", "Reshape"),
    *("Transpose", "Concat", "Slice", "Pad", "Exp", "Log", "Erf"),
)


def random_target(random: Random) -> Capabilities:
    """A target with about half of the operators."""
    row = (KernelRow(FLOAT, FLOAT),)
    kinds = [kind for kind in (*_OTHERS, *FORMS) if random.random() < 0.6]
    fused = frozenset({Activation.RELU, Activation.RELU6})
    return Capabilities(
        tuple(Capability(kind, row, "test") for kind in kinds),
        random.choice(tuple(Layout)),
        fused={kind: fused for kind in ("Conv", "Add", "Mul") if random.random() < 0.5},
    )


@pytest.mark.parametrize("seed", range(120))
def test_legal_graphs_compute_the_same(seed: int) -> None:
    random = Random(seed)
    graph = RandomGraph(random).grow(random.randrange(1, 12))
    caps = random_target(random)
    legal = legalize(graph, caps)
    laid = to_layout(legal.graph, caps.layout)
    x = {"x": floats(random, *graph.tensors["x"].shape)}
    expected, found = run(graph, x), run_permuted(laid.graph, x)
    assert legal.graph.outputs == graph.outputs
    for name, value in expected.items():
        tolerance = 2e-3 * (1 + np.abs(value).max())
        np.testing.assert_allclose(found[name], value, rtol=2e-3, atol=tolerance)
