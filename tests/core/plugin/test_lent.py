"""What a backend is handed cannot be changed by it without a word."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from qhal.artifact.ports import Adapter
from qhal.artifact.runnable import Subject, run_raw
from qhal.errors import PluginError
from qhal.ir.export import to_onnx
from qhal.ir.graph import Array, Arrays
from qhal.measure.timing import Pair
from qhal.pipeline.served import Served
from qhal.plugin.backend import Artifact, Backend, Findings, Runner, RunOptions, Trial
from qhal.plugin.calls import call
from qhal.plugin.lent import Seal, lend
from qhal.plugin.provided import Provided
from qhal.quant.model import QuantModel
from qhal.targets.capability import Capabilities
from qhal.targets.profile import TargetProfile
from qhal.targets.recipe import Recipe
from qhal.targets.target import Target
from qhal.verify import Evaluation, FloatReference, verify
from tests.core.conftest import OracleRunner, ToyBackend, Toys, artifact_of

PROFILE = TargetProfile("toy-target", "toy", "A toy", options={"mode": "fast"})


def halve(array: Array) -> None:
    """Halve an array in place, whatever its owner has forbidden."""
    owner: Any = array
    while owner.base is not None:
        owner = owner.base
    owner.flags.writeable = True
    np.floor_divide(owner, 2, out=owner)


@dataclass
class Tampering(ToyBackend):
    """Does something to the model that it lowers."""

    tamper: Callable[[QuantModel], object] = lambda model: None
    late: bool = False

    def lower(self, model: QuantModel, target: TargetProfile) -> Artifact:
        """Tamper now, or when the artifact is loaded."""
        self.model = model
        if not self.late:
            self.tamper(model)
        return artifact_of(model)

    def load(self, artifact: Artifact, target: TargetProfile, options: RunOptions) -> Runner:
        """Run what is left of the model."""
        assert self.model is not None
        if self.late:
            self.tamper(self.model)
        return OracleRunner(self.model, np.asarray)


@pytest.fixture
def toys(toys: Toys) -> Toys:
    """Toys of a test's own, since it breaks them."""
    return copy.deepcopy(toys)


def served(backend: Backend) -> Served:
    return Served(
        backend,
        Target(PROFILE, Capabilities(()), Recipe("w8a8", "8 bits", frozenset(), frozenset())),
    )


IN_PLACE: dict[str, Callable[[QuantModel], object]] = {
    "the constant w": lambda model: halve(model.graph.constants["w"]),
    "the constant b": lambda model: halve(model.graph.constants["b"]),
    "the scale of w": lambda model: halve(model.params["w"].scale),
    "the zero point of y": lambda model: halve(model.params["y"].zero_point),
}


@pytest.mark.parametrize("what", IN_PLACE)
def test_a_backend_that_edits_the_model_in_place_is_blamed(toys: Toys, what: str) -> None:
    backend = Tampering(tamper=IN_PLACE[what])
    with pytest.raises(PluginError, match=f"broke in lower: it changed {what}, which it may only"):
        served(backend).lower(toys.integer_model)


def test_a_backend_that_edits_the_model_later_is_blamed(toys: Toys) -> None:
    reference = FloatReference(to_onnx(toys.float_graph).SerializeToString(), ["y"])
    subject = served(Tampering(tamper=IN_PLACE["the constant w"], late=True)).lower(toys.model)
    with pytest.raises(PluginError, match="it changed the constant w"):
        verify(subject, Evaluation(toys.samples(), reference))


def assign(array: Any) -> None:
    array[...] = 0


def add_to(mapping: Any) -> None:
    mapping["more"] = 1


WRITES: dict[str, Callable[[QuantModel], object]] = {
    "a constant": lambda model: assign(model.graph.constants["w"]),
    "a scale": lambda model: assign(model.params["x"].scale),
    "the constants": lambda model: add_to(model.graph.constants),
    "the types": lambda model: add_to(model.graph.tensors),
    "the parameters": lambda model: add_to(model.params),
    "the kernels": lambda model: add_to(model.kernels),
}


@pytest.mark.parametrize("where", WRITES)
def test_plain_writes_fail_at_once(toys: Toys, where: str) -> None:
    seal = Seal.of_model(toys.integer_model)
    with pytest.raises(PluginError, match=r"broke in lower: (ValueError|TypeError)"):
        served(Tampering(tamper=WRITES[where])).lower(toys.integer_model)
    assert not seal.broken_by(Seal.of_model(toys.integer_model))


def test_what_is_lent_is_the_same_model(toys: Toys) -> None:
    lent = lend(toys.model)
    assert artifact_of(lent) == artifact_of(toys.model)
    assert all(lent.params[name].same_as(params) for name, params in toys.model.params.items())
    assert np.shares_memory(lent.graph.constants["w"], toys.model.graph.constants["w"])


class Greedy:
    """A runner that edits its inputs in place."""

    runtime = "greedy 1.0"

    def __init__(self, model: QuantModel, force: bool) -> None:
        self.model = model
        self.force = force

    def run(self, inputs: Arrays) -> dict[str, Array]:
        outputs = OracleRunner(self.model, np.asarray).run(inputs)
        halve(inputs["x"]) if self.force else assign(inputs["x"])
        return outputs


def test_a_runner_that_edits_its_inputs_is_blamed(toys: Toys) -> None:
    profile, adapter = PROFILE, Adapter.of_model(toys.model)
    subject = Subject(artifact_of(toys.model), ToyBackend(), profile, adapter, toys.model)
    sample = {"x": np.ones((1, 4), np.float32)}
    with pytest.raises(PluginError, match="broke in run: it changed the input x"):
        run_raw(Greedy(toys.model, force=True), subject, sample)
    with pytest.raises(ValueError, match="read-only"):
        run_raw(Greedy(toys.model, force=False), subject, sample)


def test_what_is_converted_for_an_artifact_does_not_give_the_users_array_away(toys: Toys) -> None:
    mine = np.ones((1, 4), np.float32)
    inputs = Adapter.of_model(toys.model).to_artifact({"x": mine})
    with pytest.raises(ValueError, match="read-only"):
        assign(inputs["x"])
    assert mine.flags.writeable


class Nosy(ToyBackend):
    """Tries to write to what it examines, and to the facts of the device."""

    def examine(self, quantized: Trial, baseline: Trial | None, target: TargetProfile) -> Findings:
        for mapping in (quantized.inputs, target.options):
            with pytest.raises(TypeError):
                add_to(mapping)
        assign(quantized.inputs["x"])
        return Findings()


def test_trials_and_profiles_are_lent_too(toys: Toys) -> None:
    subject = replace(toys.subject(toys.model), backend=Nosy())
    with pytest.raises(PluginError, match=r"broke in examine: ValueError: .*read-only"):
        Pair(subject, None, {"x": np.ones((1, 4), np.float32)}).examine()


class Swapping(ToyBackend):
    """Exchanges the files when they are loaded."""

    def load(self, artifact: Artifact, target: TargetProfile, options: RunOptions) -> Runner:
        artifact.files[artifact.main] = b"another"  # type: ignore[index]
        return super().load(artifact, target, options)


def test_the_files_that_were_lowered_are_the_ones_that_ship(toys: Toys) -> None:
    with pytest.raises(PluginError, match="broke in load: TypeError"):
        call(Provided(Swapping()), Backend.load, artifact_of(toys.model), PROFILE, RunOptions())
