"""Which samples are evaluated, and in which order."""

from __future__ import annotations

import numpy as np
import pytest

from qhal.data.spool import Spool
from qhal.ir.export import to_onnx
from qhal.verify import Evaluation, FloatReference
from tests.core.conftest import Toys


@pytest.fixture
def evaluation(toys: Toys) -> Evaluation:
    reference = FloatReference(to_onnx(toys.float_graph).SerializeToString(), ["y"])
    return Evaluation(toys.samples(10, labels=np.arange(10)), reference)


def test_all_samples_in_order(toys: Toys, evaluation: Evaluation) -> None:
    assert len(evaluation) == 10
    assert evaluation.labels is not None
    assert evaluation.labels.ravel().tolist() == list(range(10))
    np.testing.assert_array_equal(evaluation.sample(3)["x"], toys.samples(10).sample(3)["x"])


@pytest.mark.parametrize(
    ("count", "chosen"), [(1, [0]), (3, [0, 3, 6]), (10, [*range(10)]), (99, [*range(10)])]
)
def test_a_spread_keeps_samples_and_labels_together(
    toys: Toys, evaluation: Evaluation, count: int, chosen: list[int]
) -> None:
    few = evaluation.spread(count)
    assert len(few) == len(chosen)
    assert few.labels is not None
    assert few.labels.ravel().tolist() == chosen
    for index, number in enumerate(chosen):
        np.testing.assert_array_equal(few.sample(index)["x"], toys.samples(10).sample(number)["x"])


def test_spools_are_shared_by_whoever_takes_other_samples(
    toys: Toys, evaluation: Evaluation
) -> None:
    with Spool() as inputs, Spool() as outputs:
        shared = Evaluation(evaluation.dataset, evaluation.reference, inputs, outputs)
        few = shared.spread(3)
        for index in range(3):
            few.expected(index, few.sample(index))
        for index in range(10):
            sample = shared.sample(index)
            np.testing.assert_array_equal(sample["x"], toys.samples(10).sample(index)["x"])
            expected = evaluation.reference.run(sample)["y"]
            np.testing.assert_array_equal(shared.expected(index, sample)["y"], expected)
