"""The bundled example on ``cpu`` without labels: whatever is wrong with it is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import qhal
from qhal.errors import PluginError, VerificationError
from qhal.ir.graph import Array, Arrays
from qhal.plugin.backend import Artifact, Runner, RunOptions
from qhal.plugin.registry import Registry, registry
from qhal.quant.model import QuantModel
from qhal.targets.profile import TargetProfile
from qhal_backends.cpu.plugin import CpuBackend
from tests.paths import ROOT

EXAMPLE = ROOT / "examples" / "digits"
Floats = npt.NDArray[np.float32]
Mutation = Callable[[list[Floats]], Any]
"""Makes an output of all that were computed so far, the true one of this sample last."""


class Mutant:
    """A runner with wrong outputs."""

    def __init__(self, runner: Runner, mutate: Mutation) -> None:
        self.runtime = runner.runtime
        self._runner, self._mutate = runner, mutate
        self._seen: dict[str, list[Floats]] = {}

    def run(self, inputs: Arrays) -> dict[str, Array]:
        for name, array in self._runner.run(inputs).items():
            self._seen.setdefault(name, []).append(array.astype(np.float32))
        return {name: self._mutate(seen) for name, seen in self._seen.items()}


class MutantCpu(CpuBackend):
    """The cpu backend with wrong outputs."""

    def __init__(self, mutate: Mutation) -> None:
        self._mutate = mutate

    def load(self, artifact: Artifact, target: TargetProfile, options: RunOptions) -> Any:
        return Mutant(super().load(artifact, target, options), self._mutate)


def deploy(backend: CpuBackend, out: Path, samples: int = 8) -> Mapping[str, object]:
    """Deploy the example without its labels."""
    with np.load(EXAMPLE / "calibration.npz") as data:
        images = data["image"][:64]
    np.savez(out / "data.npz", image=images)
    known = registry()
    mine: Registry = replace(known, backends={**known.backends, "cpu": backend})
    record = qhal.deploy(
        EXAMPLE / "digits.onnx",
        target="cpu",
        data=out / "data.npz",
        eval_samples=samples,
        out=out / "digits",
        cache=False,
        registry=mine,
    )
    return record.metrics


def step_of(array: Floats) -> np.float32:
    """About one of 255 steps of an output."""
    return np.float32(np.ptp(array) / 255)


MUTATIONS: dict[str, Mutation] = {
    "zeros": lambda seen: np.zeros_like(seen[-1]),
    "a constant": lambda seen: np.full_like(seen[-1], seen[-1].mean()),
    "the mean of what was seen": lambda seen: np.mean(seen, 0),
    "the first sample": lambda seen: seen[0],
    "the sample before": lambda seen: seen[max(0, len(seen) - 2)],
    "off by 2 steps": lambda seen: seen[-1] + 2 * step_of(seen[-1]),
    "saturated": lambda seen: np.minimum(seen[-1], np.float32(np.quantile(seen[-1], 0.5))),
    "NaN": lambda seen: seen[-1] * np.float32(np.nan),
    "one NaN": lambda seen: np.where(seen[-1] == seen[-1].max(), np.nan, seen[-1]).astype("f4"),
    "reversed": lambda seen: seen[-1][..., ::-1].copy(),
    "negated": lambda seen: -seen[-1],
    "doubled": lambda seen: 2 * seen[-1],
    "transposed": lambda seen: seen[-1].T,
    "of another type": lambda seen: seen[-1].astype(np.float64),
    "a list": lambda seen: seen[-1].tolist(),
}


def test_as_it_is_the_example_is_deployed(tmp_path: Path) -> None:
    metrics = deploy(MutantCpu(lambda seen: seen[-1]), tmp_path)
    assert "top1" not in metrics


@pytest.mark.parametrize("what", MUTATIONS)
def test_wrong_outputs_are_refused(what: str, tmp_path: Path) -> None:
    with pytest.raises(VerificationError):
        deploy(MutantCpu(MUTATIONS[what]), tmp_path)
    assert not (tmp_path / "digits").exists()


class LateMutant(Mutant):
    """Right on the eight samples that it sees first, whenever it sees them."""

    def __init__(self, runner: Runner, mutate: Mutation) -> None:
        super().__init__(runner, mutate)
        self._first: set[bytes] = set()

    def run(self, inputs: Arrays) -> dict[str, Array]:
        key = next(iter(inputs.values())).tobytes()
        if len(self._first) < 8:
            self._first.add(key)
        true, wrong = self._runner.run(inputs), super().run(inputs)
        return true if key in self._first else wrong


class LateCpu(MutantCpu):
    """The cpu backend with wrong outputs for all but the samples that the oracle judges first."""

    def load(self, artifact: Artifact, target: TargetProfile, options: RunOptions) -> Any:
        return LateMutant(CpuBackend.load(self, artifact, target, options), self._mutate)


LATE: dict[str, Mutation] = {
    "zeros": lambda seen: np.zeros_like(seen[-1]),
    "a constant": lambda seen: np.full_like(seen[-1], seen[-1].mean()),
    "a stale output": lambda seen: seen[min(8, len(seen) - 1)],
    "the sample before": MUTATIONS["the sample before"],
    "reversed": lambda seen: seen[-1][..., ::-1].copy(),
    "one bad call": lambda seen: seen[-1] if len(seen) != 17 else np.zeros_like(seen[-1]),
    "one stale call": lambda seen: seen[-1] if len(seen) != 17 else seen[8],
}


@pytest.mark.parametrize("what", LATE)
def test_outputs_that_are_wrong_later_are_refused(what: str, tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match="not compute what the plan says"):
        deploy(LateCpu(LATE[what]), tmp_path, samples=24)
    assert not (tmp_path / "digits").exists()


def test_a_call_that_goes_well_the_next_time_is_refused(tmp_path: Path) -> None:
    once = MutantCpu(lambda seen: seen[-1] if len(seen) != 3 else np.zeros_like(seen[-1]))
    with pytest.raises(VerificationError, match="not compute what the plan says"):
        deploy(once, tmp_path, samples=24)


class Halving(CpuBackend):
    """Halves weights before it writes them."""

    def __init__(self, force: bool) -> None:
        self._force = force

    def lower(self, model: QuantModel, target: TargetProfile) -> Artifact:
        for array in model.graph.constants.values():
            owner = array
            while self._force and isinstance(owner.base, np.ndarray):
                owner = owner.base
            owner.flags.writeable = self._force or owner.flags.writeable
            owner //= 2  # type: ignore[misc]
        return super().lower(model, target)


@pytest.mark.parametrize("force", [False, True])
def test_a_backend_that_halves_its_weights_in_place_is_refused(force: bool, tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"broke in lower: (it changed|ValueError: .*read-only)"):
        deploy(Halving(force), tmp_path)
    assert not (tmp_path / "digits").exists()
