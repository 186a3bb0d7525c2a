"""Every operator with every attribute value on every runtime, against ONNX Runtime and the oracle.

In float, a runtime has to compute what ONNX Runtime computes from the exported graph: that is what
qhal compares every artifact with. In integers, it has to compute what the oracle computes. Results
are those of a repeated run: what a kernel leaves unwritten often is right in fresh memory.
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from qhal.ir.export import to_onnx
from qhal.ir.graph import Array, Arrays
from qhal.plugin.backend import RunOptions
from qhal.quant.arithmetic import quantize
from qhal.quant.model import QuantModel
from qhal.quant.oracle import Oracle
from tests.backends.sweep import FLOAT, KINDS, RECURRENT, Swept, sweep
from tests.core.ir.importing import run as run_onnx

_PACKAGES = {"cpu": "onnxruntime", "tflite": "ai_edge_litert", "openvino-cpu": "openvino"}

INTEGERS = [("cpu", "w8a8"), ("tflite", "w8a8"), ("tflite", "w8a16"), ("openvino-cpu", "w8a8")]

_FEWEST_DB = 90.0
"""Between float results of the same function."""

_MOST_STEPS = {"w8a8": 4.0, "w8a16": 8.0}
"""Between integers: LiteRT 2.3.0 is up to 7 of 32,768 steps off in a 16-bit sigmoid here."""

_SHARE_WITHIN_ONE = 0.97
"""Of an output's 8-bit elements that are at most one step away."""

_SHARE_OF_RECURRENT = 0.85
"""The same of recurrent operators, whose steps add up; a GRU had 0.90."""

_RUNS = 3

_NONE = frozenset({("Erf", "tflite")})
"""Operators of which a target takes no sample at all."""


def _needs(target: str) -> None:
    if find_spec(_PACKAGES[target]) is None:
        pytest.skip(f"{_PACKAGES[target]} is not installed")


def _here(swept: Swept, model: QuantModel) -> Arrays:
    """The first sample as the artifact takes it."""
    given = {n: _moved(model, n, value) for n, value in swept.data.sample(0).items()}
    params = model.params
    return {n: quantize(v, params[n]) if n in params else v for n, v in given.items()}


def _moved(model: QuantModel, name: str, value: Array) -> Array:
    perms = model.graph.permutations
    return np.transpose(value, perms[name]) if name in perms else value


def _found(swept: Swept, inputs: Arrays) -> Arrays:
    subject = swept.subject
    runner = subject.backend.load(subject.artifact, subject.profile, RunOptions())
    assert runner is not None
    runs = [runner.run(inputs) for _ in range(_RUNS)]
    return runs[-1]


def _db(expected: Array, found: Array) -> float:
    wanted = expected.astype(np.float64)
    noise = float(((wanted - found.astype(np.float64)) ** 2).sum())
    signal = max(float((wanted**2).sum()), 1e-12)
    return float("inf") if noise == 0 else float(10 * np.log10(signal / noise))


def _step(model: QuantModel, name: str) -> float | None:
    """The step of an output; None if the output is float by itself."""
    maker = next(node for node in model.graph.nodes if name in node.outputs)
    steps = [model.params[n].scale for n in (name, *maker.inputs[:1]) if n in model.params]
    return float(steps[0].max()) if steps else None


@pytest.mark.parametrize("target", _PACKAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_float_results_are_onnx_runtimes(kind: str, target: str) -> None:
    _needs(target)
    swept = sweep(kind, target, FLOAT)
    if swept is None:
        assert (kind, target) in _NONE
        return
    model = swept.subject.model
    found = _found(swept, _here(swept, model))
    wanted = run_onnx(to_onnx(swept.graph).SerializeToString(), swept.data.sample(0))
    for name, value in zip(swept.graph.outputs, wanted, strict=True):
        expected, label = _moved(model, name, value), swept.labels[name]
        assert (found[name].shape, found[name].dtype) == (expected.shape, expected.dtype), label
        assert _db(expected, found[name]) > _FEWEST_DB, label


@pytest.mark.parametrize(("target", "recipe"), INTEGERS)
@pytest.mark.parametrize("kind", KINDS)
def test_integers_are_the_oracles(kind: str, target: str, recipe: str) -> None:
    _needs(target)
    swept = sweep(kind, target, recipe)
    if swept is None:
        assert (kind, target) in _NONE
        return
    model = swept.subject.model
    inputs = _here(swept, model)
    found, wanted = _found(swept, inputs), Oracle(model).run(inputs)
    for name in swept.graph.outputs:
        if wanted[name].size == 0:
            continue
        label, step = swept.labels[name], _step(model, name)
        assert (found[name].shape, found[name].dtype) == (wanted[name].shape, wanted[name].dtype)
        if step is None:
            assert _db(wanted[name], found[name]) > 60, label
            continue
        unit = 1.0 if wanted[name].dtype.kind in "iu" else step
        gap = np.abs(wanted[name].astype(np.float64) - found[name].astype(np.float64)) / unit
        assert float(gap.max()) < _MOST_STEPS[recipe] + 0.01, label
        share = _SHARE_OF_RECURRENT if kind in RECURRENT else _SHARE_WITHIN_ONE
        assert recipe == "w8a16" or float(np.mean(gap < 1.01)) >= share, label
