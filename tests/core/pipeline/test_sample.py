"""The sample that an artifact is run on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qhal.artifact.ports import Adapter, Port
from qhal.errors import DataShapeError
from qhal.pipeline.sample import first_sample, random_sample
from qhal.results.plan import Plan, plan_of
from tests.core.conftest import Toys


def _port(name: str, dtype: str) -> Port:
    return Port(name, (2, 500), dtype, name, (2, 500), dtype)


def test_integer_inputs_are_filled_to_the_ends(toys: Toys) -> None:
    adapter, plan = Adapter.of_model(toys.integer_model), plan_of(toys.integer_model)
    wide = replace(adapter.inputs[0], shape=(1, 4000), artifact_shape=(1, 4000))
    inputs = random_sample((wide,), plan).inputs
    integers = Adapter((wide,), ()).to_artifact(inputs)["x"]
    assert (integers.min(), integers.max()) == (-128, 127)
    assert len(np.unique(integers)) == 256


def test_float_inputs_are_filled_as_what_is_behind_them_can_hold(toys: Toys) -> None:
    adapter, plan = Adapter.of_model(toys.model), plan_of(toys.model)
    found = random_sample(adapter.inputs, plan)
    assert found.origin == "x random from -2 to 1.98438"
    assert found.inputs["x"].dtype == np.float32
    assert np.abs(found.inputs["x"]).max() <= 2


def test_what_the_plan_does_not_know() -> None:
    ports = (_port("real", "float32"), _port("index", "int64"), _port("switch", "bool"))
    found = random_sample(ports, Plan((), ()))
    assert found.origin == "real random from -1 to 1, index zero, switch zero"
    assert not found.inputs["index"].any()
    assert found.inputs["index"].dtype == np.int64
    assert found.inputs["switch"].dtype == np.bool_
    assert -1 < found.inputs["real"].min() < -0.9
    assert 0.9 < found.inputs["real"].max() < 1


def test_it_is_the_same_every_time() -> None:
    ports = (_port("real", "float32"),)
    one, two = (random_sample(ports, Plan((), ())).inputs["real"] for _ in range(2))
    assert np.array_equal(one, two)


def test_the_users_first_sample(toys: Toys, tmp_path: Path) -> None:
    values = np.arange(8, dtype=np.float32).reshape(2, 4)
    np.savez(tmp_path / "data.npz", x=values)
    adapter = Adapter.of_model(toys.model)
    found = first_sample(tmp_path / "data.npz", adapter.inputs, None)
    assert found.inputs["x"].tolist() == [[0, 1, 2, 3]]
    assert found.origin == f"sample 0 of {tmp_path / 'data.npz'}"
    with pytest.raises(DataShapeError):
        first_sample({"x": np.zeros((2, 5), np.float32)}, adapter.inputs, None)
