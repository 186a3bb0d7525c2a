"""The samples are sound, and distinct."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from qhal.ir.verify import verify
from qhal.quant.model import QuantModel
from qhal.quant.oracle import Oracle
from qhal.testing.samples import EDGES, SAMPLES, Sample, random_data


def test_each_has_a_name_of_its_own() -> None:
    for samples in (SAMPLES, EDGES):
        names = Counter(map(str, samples))
        assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_each_is_valid_and_runs_in_float(sample: Sample) -> None:
    graph = sample.graph()
    verify(graph)
    data = random_data(graph, sample.low, sample.high)
    found = Oracle(QuantModel(graph)).run(data.sample(0))
    for name in graph.outputs:
        assert found[name].shape == graph.tensors[name].shape


def test_data_repeats_and_keeps_to_its_range() -> None:
    graph = Sample(SAMPLES[0].op, ((1, 8, 7, 9),), SAMPLES[0].constants).graph()
    first, again = (random_data(graph, 0.5, 3.0).sample(1)["x:0"] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert 0.5 <= float(first.min()) < float(first.max()) <= 3.0
