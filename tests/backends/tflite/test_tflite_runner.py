"""Running artifacts: kernels, errors, which runtime."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.machinery import ModuleSpec
from importlib.util import find_spec

import numpy as np
import pytest

from qhal.errors import MissingDependencyError, VerificationError
from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.dtypes import DType
from qhal.ir.graph import Graph, TensorType
from qhal.plugin.backend import Artifact, RunOptions
from qhal.quant.model import QuantModel, QuantParams
from qhal.targets.profile import TargetProfile
from qhal_backends.tflite import family, placement, runner
from qhal_backends.tflite.plugin import TfliteBackend

BACKEND = TfliteBackend()
TARGET = TargetProfile("litert", "tflite", "LiteRT")
X = np.asarray([[-1.0, 0.5, 7.0]], np.float32)


def graph(*functions: str) -> Graph:
    builder = GraphBuilder("chain")
    name = builder.input("x", TensorType((1, 3)))
    for function in functions:
        name = builder.one(ops.Unary(function), (name,), name=function)
    builder.one(ops.Relu6(), (name,), output="y")
    return builder.build(outputs=("y",))


def artifact(*functions: str) -> Artifact:
    return BACKEND.lower(QuantModel(graph(*functions)), TARGET)


@pytest.mark.parametrize("reference", [False, True])
def test_run(reference: bool) -> None:
    loaded = BACKEND.load(artifact(), TARGET, RunOptions(threads=2, reference=reference))
    assert loaded.runtime.startswith("ai-edge-litert ")
    assert ("reference" in loaded.runtime) == reference
    np.testing.assert_array_equal(loaded.run({"x": X})["y"], [[0, 0.5, 6]])
    np.testing.assert_array_equal(loaded.run({"x": -X})["y"], [[1, 0, 0]])


def test_native_code_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    BACKEND.load(artifact(), TARGET, RunOptions())
    print("still heard", file=sys.stderr)  # noqa: T201
    assert capfd.readouterr().err == "still heard\n"


def test_results_are_copies() -> None:
    loaded = BACKEND.load(artifact(), TARGET, RunOptions())
    first = loaded.run({"x": X})["y"]
    loaded.run({"x": X * 0})
    np.testing.assert_array_equal(first, [[0, 0.5, 6]])


def test_reference_kernels_are_not_delegated() -> None:
    found = runner.find_runtime()
    content = artifact().files[family.MODEL]
    by_options = {
        options.reference: runner.load_interpreter(
            found, content, options
        ).interpreter._get_ops_details()
        for options in (RunOptions(), RunOptions(reference=True))
    }
    names = {key: {op["op_name"] for op in ops_} for key, ops_ in by_options.items()}
    assert placement.DELEGATE in names[False]
    assert placement.DELEGATE not in names[True]


def test_an_operator_without_reference_kernel_runs_all_the_same() -> None:
    loaded = BACKEND.load(artifact("Ceil"), TARGET, RunOptions(reference=True))
    assert loaded.runtime.endswith(" (builtin kernels)")
    np.testing.assert_array_equal(loaded.run({"x": X})["y"], [[0, 1, 6]])


def test_missing_input() -> None:
    loaded = BACKEND.load(artifact(), TARGET, RunOptions())
    with pytest.raises(VerificationError, match="input 'x' is missing"):
        loaded.run({})


def test_wrong_type() -> None:
    loaded = BACKEND.load(artifact(), TARGET, RunOptions())
    with pytest.raises(VerificationError, match="does not run the artifact"):
        loaded.run({"x": X.astype(np.int8)})


def test_a_broken_file() -> None:
    broken = Artifact({family.MODEL: b"TFL3 and nothing"}, family.MODEL)
    with pytest.raises(VerificationError, match="does not load the artifact"):
        BACKEND.load(broken, TARGET, RunOptions())


def _hide(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    """As if packages were not installed."""
    found = find_spec

    def find(name: str) -> ModuleSpec | None:
        return None if name in packages else found(name)

    monkeypatch.setattr(runner, "find_spec", find)
    monkeypatch.setattr(family, "find_spec", find)


def test_without_a_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    made = artifact()
    _hide(monkeypatch, "ai_edge_litert", "tflite_runtime")
    assert "pip install 'quant-hal[tflite]'" in str(BACKEND.readiness().run)
    assert "pip install 'quant-hal[tflite]'" in str(BACKEND.readiness().lower)
    with pytest.raises(MissingDependencyError, match="no TFLite runtime is installed"):
        BACKEND.load(made, TARGET, RunOptions())


def test_a_runtime_that_does_not_load(monkeypatch: pytest.MonkeyPatch) -> None:
    _hide(monkeypatch, "tflite_runtime")
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(MissingDependencyError, match="ai-edge-litert does not load"):
        runner.find_runtime()


def test_tflite_runtime_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    import ai_edge_litert.interpreter as interpreter

    found = find_spec
    monkeypatch.setattr(
        runner, "find_spec", lambda name: None if name == "ai_edge_litert" else found("sys")
    )
    monkeypatch.setitem(sys.modules, "tflite_runtime.interpreter", interpreter)
    monkeypatch.setattr(runner, "version", lambda name: "2.14.0")
    assert runner.find_runtime().label == "tflite-runtime 2.14.0"


def test_placement() -> None:
    found = BACKEND.placement(artifact("Sign", "Abs"), TARGET)
    assert found.source.startswith("execution plan of ai-edge-litert")
    assert [(n.name, n.where.kernel, n.where.unit, n.where.dtype) for n in found.nodes] == [
        ("Sign", "SIGN", "builtin kernel", "float32"),
        ("Abs", "ABS", "XNNPACK", "float32"),
        ("y", "RELU6", "XNNPACK", "float32"),
    ]


def softmax_model(width: int) -> QuantModel:
    """A softmax of 8 bits over ``width`` scores."""
    kind = TensorType((1, width), DType.INT8)
    builder = GraphBuilder("scores")
    x = builder.input("x", kind)
    builder.one(ops.Softmax(1), (x,), name="softmax", output="y")
    built = builder.build(outputs=("y",))
    row = next(r for c in BACKEND.capabilities(TARGET).of("Softmax") for r in c.rows)
    return QuantModel(
        replace(built, tensors={"x": kind, "y": kind}),
        {
            "x": QuantParams.per_tensor(DType.INT8, 0.1, 0),
            "y": QuantParams.per_tensor(DType.INT8, 1 / 256, -128),
        },
        {"softmax": row},
    )


@pytest.mark.parametrize(("width", "kernels"), [(511, "(reference"), (512, "(builtin")])
def test_equal_scores_do_not_abort_the_process(width: int, kernels: str) -> None:
    lowered = BACKEND.lower(softmax_model(width), TARGET)
    loaded = BACKEND.load(lowered, TARGET, RunOptions(reference=True))
    assert kernels in loaded.runtime
    result = loaded.run({"x": np.zeros((1, width), np.int8)})["y"]
    assert np.unique(result).size == 1
