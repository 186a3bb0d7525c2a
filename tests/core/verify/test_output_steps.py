"""Which outputs a gap to the oracle is counted in steps of."""

from __future__ import annotations

import pytest

from qhal.ir.build import GraphBuilder
from qhal.ir.dtypes import DType
from qhal.ir.graph import TensorType
from qhal.ir.ops import Dequantize, Op, Reduce, Reshape, Softmax, Unary
from qhal.quant.model import QuantModel, QuantParams
from qhal.verify.oracle_gap import output_steps


def steps(*after: Op, scale: float = 0.5) -> dict[str, float | None]:
    """The steps of a graph that dequantizes (1, 4, 2) integers and goes on in float."""
    b = GraphBuilder("g")
    x = b.input("q", TensorType((1, 4, 2), DType.INT8))
    x = b.one(Dequantize(), (x,), name="real")
    for index, op in enumerate(after):
        x = b.one(op, (x,), name=f"n{index}")
    params = {"q": QuantParams.per_tensor(DType.INT8, scale, 0)}
    return output_steps(QuantModel(b.build(outputs=[x]), params))


@pytest.mark.parametrize(
    "after",
    [(), (Reshape((1, 8)),), (Reduce("Mean", (1,)),), (Reduce("Mean", (1,)), Reshape((2,)))],
)
def test_what_enlarges_no_difference_keeps_the_step(after: tuple[Op, ...]) -> None:
    assert list(steps(*after).values()) == [0.5]


def test_probabilities_have_the_step_that_8_bits_would_give_them() -> None:
    assert list(steps(Softmax(2)).values()) == [1 / 256]
    assert list(steps(Softmax(2), scale=0.001).values()) == [pytest.approx(0.001)]


@pytest.mark.parametrize("op", [Reduce("Sum", (1,)), Unary("Exp")])
def test_what_may_enlarge_a_difference_has_no_steps(op: Op) -> None:
    assert steps(op) == {}
