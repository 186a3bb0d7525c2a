"""The vendor's compiler: a stand-in that says what the real one says.

The logs are in the form of edgetpu_compiler 16.0; the stand-in is a shell script.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from qhal.decisions import Code, Severity
from qhal.errors import InternalError
from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.graph import Graph, TensorType
from qhal.plugin.backend import Artifact, RunOptions
from qhal.quant.model import QuantModel
from qhal.targets.profile import TargetProfile
from qhal.targets.recipe import RECIPES
from qhal.testing.samples import random_data
from qhal_backends.edgetpu import compiler
from qhal_backends.edgetpu.plugin import EdgeTpuBackend
from qhal_backends.tflite.plugin import TfliteBackend
from tests.backends.one_node import deploy

BACKEND = EdgeTpuBackend()
TARGET = TargetProfile("coral", "edgetpu", "Coral")

SUCCESS = """\
Edge TPU Compiler version 16.0.384591198
Started a compilation timeout timer of 180 seconds.

Model compiled successfully in 40 ms.

Input model: model.tflite
Output model: model_edgetpu.tflite
Number of Edge TPU subgraphs: 1
Total number of operations: 3
Operation log: model_edgetpu.log

Model successfully compiled but not all operations are supported by the Edge TPU.
Number of operations that will run on Edge TPU: 2
Number of operations that will run on CPU: 1

Operator                       Count      Status

CONV_2D                        1          Mapped to Edge TPU
ARG_MAX                        1          Operation not supported
RESHAPE                        1          Mapped to Edge TPU
Compilation child process completed within timeout period.
Compilation succeeded!
"""

FAILURE = """\
Edge TPU Compiler version 16.0.384591198
Started a compilation timeout timer of 180 seconds.
{reason}
Compilation child process completed within timeout period.
Compilation failed!
"""


def graph() -> Graph:
    builder = GraphBuilder("net")
    x = builder.input("x", TensorType((1, 3, 1, 1)))
    weight = np.linspace(-1, 1, 4 * 3, dtype=np.float32).reshape(4, 3, 1, 1)
    conv = ops.Conv((1, 1), (0,) * 4, (1, 1))
    made = builder.one(conv, (x, builder.constant("w", weight)), name="conv")
    flat = builder.one(ops.Reshape((1, 4)), (made,), name="flat")
    builder.one(ops.ArgMax(1, keepdims=False), (flat,), output="best")
    return builder.build(outputs=("best",))


def model() -> QuantModel:
    net = graph()
    return deploy(net, BACKEND.capabilities(TARGET), RECIPES[0], random_data(net)).model


@dataclass(frozen=True)
class StandIn:
    """A folder on PATH with a script in place of the compiler."""

    folder: Path

    def says(self, log: str, compiled: bytes | None = None, code: int = 0) -> None:
        """Let the script print a log, write a file, and end with a code."""
        (self.folder / "log.txt").write_text(log)
        lines = ["#!/bin/sh", f"/bin/cat {self.folder}/log.txt"]
        if compiled is not None:
            (self.folder / "compiled").write_bytes(compiled)
            # Options: -s -t SECONDS -o FOLDER FILE
            lines.append(f'/bin/cp {self.folder}/compiled "$5/{compiler.COMPILED}"')
        self.script("\n".join([*lines, f"exit {code}", ""]))

    def script(self, text: str) -> None:
        path = self.folder / compiler.PROGRAM
        path.write_text(text)
        path.chmod(0o755)


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    monkeypatch.setenv("PATH", str(tmp_path))
    return StandIn(tmp_path)


def compiled_form(content: bytes) -> bytes:
    """What the compiler would make: one custom operator, and the last operator as it was."""
    tree = schema.ModelT.InitFromPackedBuf(content, 0)
    (subgraph,) = tree.subgraphs
    last = subgraph.operators[-1]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = "edgetpu-custom-op"
    custom = schema.OperatorT()
    custom.opcodeIndex = len(tree.operatorCodes)
    custom.inputs, custom.outputs = subgraph.inputs, last.inputs[:1]
    tree.operatorCodes.append(code)
    subgraph.operators = [custom, last]
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(tree.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def lower() -> Artifact:
    return BACKEND.lower(model(), TARGET)


def decisions(artifact: Artifact, code: Code) -> list[str]:
    return [d.sentence for d in artifact.decisions if d.code is code]


def test_without_the_compiler(stand_in: StandIn) -> None:
    artifact = lower()
    (sentence,) = decisions(artifact, Code.NOT_COMPILED)
    assert "edgetpu_compiler is not on PATH" in sentence
    assert "`edgetpu_compiler -s model.tflite`" in sentence
    assert set(artifact.files) == {"model.tflite"}
    assert artifact.main == "model.tflite"
    assert BACKEND.placement(artifact, TARGET) is None


def test_compiled(stand_in: StandIn) -> None:
    compiled = compiled_form(lower().files["model.tflite"])
    stand_in.says(SUCCESS, compiled)
    artifact = lower()
    assert artifact.files["model_edgetpu.tflite"] == compiled
    assert artifact.files["model_edgetpu.log"].decode() == SUCCESS
    assert artifact.main == "model_edgetpu.tflite"
    assert artifact.auxiliary == {"model.tflite", "model_edgetpu.log"}
    assert artifact.size_bytes == len(compiled)
    assert decisions(artifact, Code.COMPILED) == [
        "edgetpu_compiler 16.0.384591198 mapped 2 of 3 operators to the Edge TPU."
    ]
    assert decisions(artifact, Code.UNIT_FALLBACK) == [
        "The compiler left 1 ARG_MAX on the host: Operation not supported."
    ]


def test_placement_of_a_compiled_artifact(stand_in: StandIn) -> None:
    stand_in.says(SUCCESS, compiled_form(lower().files["model.tflite"]))
    found = BACKEND.placement(lower(), TARGET)
    assert found is not None
    assert found.source == "edgetpu_compiler 16.0.384591198"
    assert [(n.name, n.where.kernel, n.where.unit) for n in found.nodes] == [
        ("conv", "CONV_2D", "Edge TPU"),
        ("flat", "RESHAPE", "Edge TPU"),
        ("best", "ARG_MAX (Operation not supported)", "host"),
    ]


def test_a_compiled_artifact_still_runs_on_the_host(stand_in: StandIn) -> None:
    stand_in.says(SUCCESS, b"not for this processor")
    runner = BACKEND.load(lower(), TARGET, RunOptions())
    assert runner.run({"x": np.zeros((1, 1, 1, 3), np.int8)})["best"].shape == (1,)


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (
            "Compilation failed due to large activation tensors in model.",
            "the activations are too large",
        ),
        ("Internal compiler error. Aborting!", "failed with an internal error"),
        (
            "ERROR: Didn't find op for builtin opcode 'CONV_2D' version '6'.",
            "newer than the compiler",
        ),
        ("ERROR: Attempting to use a delegate with dynamic-sized tensors.", "dynamic size"),
        (
            "Something else went wrong.",
            "ended with exit code 1 and printed: Something else went wrong",
        ),
    ],
)
def test_failures_in_words(stand_in: StandIn, reason: str, words: str) -> None:
    stand_in.says(FAILURE.format(reason=reason), code=1)
    artifact = lower()
    (decision,) = [d for d in artifact.decisions if d.code is Code.COMPILER_FAILED]
    assert not decisions(artifact, Code.NOT_COMPILED)
    assert words in decision.sentence
    assert decision.severity is Severity.WARNING
    assert artifact.main == "model.tflite"
    assert artifact.auxiliary == {"model_edgetpu.log"}


def test_a_compiler_that_takes_too_long(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "TIMEOUT_S", -19.5)
    stand_in.script("#!/bin/sh\n/bin/sleep 5\n")
    (sentence,) = decisions(lower(), Code.COMPILER_FAILED)
    assert "did not end within" in sentence


def test_a_compiler_that_does_not_start(stand_in: StandIn) -> None:
    stand_in.script("#!/no/such/interpreter\n")
    (sentence,) = decisions(lower(), Code.COMPILER_FAILED)
    assert "does not start" in sentence


def test_a_float_model_is_the_hosts_baseline(stand_in: StandIn) -> None:
    net = deploy(graph(), BACKEND.capabilities(TARGET), RECIPES[0], random_data(graph()))
    artifact = BACKEND.lower(net.float_model, TARGET)
    assert not artifact.decisions


def test_a_float_tensor_is_a_bug(stand_in: StandIn) -> None:
    net = graph()
    caps = TfliteBackend().capabilities(TARGET)
    mixed = deploy(net, caps, RECIPES[0], random_data(net)).model
    with pytest.raises(InternalError, match="tensors are float"):
        BACKEND.lower(mixed, TARGET)
