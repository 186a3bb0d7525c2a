"""Vela on small models: placement, figures, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from qhal.decisions import Code, Severity
from qhal.errors import RefusedError
from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.graph import Graph, TensorType
from qhal.metric import Basis
from qhal.plugin.backend import RunOptions, Trial
from qhal.quant.arithmetic import quantize
from qhal.quant.model import QuantModel
from qhal.quant.oracle import Oracle
from qhal.results.plan import Status, plan_of
from qhal.results.reconcile import reconcile
from qhal.targets.capability import HOST
from qhal.targets.profile import TargetProfile
from qhal.targets.recipe import RECIPES
from qhal.targets.where import Where, WhereBasis
from qhal.testing.samples import random_data
from qhal_backends.arm.ethosu import compiler
from qhal_backends.arm.ethosu.backend import EthosUBackend
from qhal_backends.arm.ethosu.compiler import explain_failure
from qhal_backends.arm.ethosu.configuration import Configuration
from qhal_backends.vendor_compiler import CompilerRun
from tests.backends.arm.vela_runs import U55, U85, profile
from tests.backends.one_node import deploy, lay_out

pytest.importorskip("ethosu.vela", reason="ethos-u-vela is not installed: quant-hal[arm]")

BACKEND = EthosUBackend()
TARGET = profile(U55)


def graph(*, conv: bool = True, tail: bool = False) -> Graph:
    """A convolution, and an operator that no NPU of the generation has."""
    builder = GraphBuilder("net")
    x = builder.input("x", TensorType((1, 4, 6, 6)))
    if conv:
        weight = np.linspace(-1, 1, 4 * 4, dtype=np.float32).reshape(4, 4, 1, 1)
        convolution = ops.Conv((1, 1), (0,) * 4, (1, 1))
        x = builder.one(convolution, (x, builder.constant("w", weight)), name="conv")
    if tail:
        x = builder.one(ops.SpaceToDepth(2), (x,), name="tail")
    return builder.build(outputs=(x,))


def model(net: Graph, target: TargetProfile = TARGET) -> QuantModel:
    return deploy(net, BACKEND.capabilities(target), RECIPES[0], random_data(net)).model


def test_everything_on_the_npu() -> None:
    quantized = model(graph())
    artifact = BACKEND.lower(quantized, TARGET)
    assert artifact.main == "model_vela.tflite"
    assert artifact.size_bytes == len(artifact.files["model_vela.tflite"])
    assert set(artifact.files) == {
        *("model.tflite", "model_vela.tflite", "model_vela.log"),
        *("model_vela_summary.csv", "model_vela_layers.csv"),
    }
    placement = BACKEND.placement(artifact, TARGET)
    assert placement is not None
    assert placement.source.startswith("Vela ")
    (conv,) = placement.nodes
    assert (conv.name, conv.where.kernel, conv.where.unit) == ("conv", "CONV_2D", "NPU")
    assert conv.where.dtype == "int8"
    (decision,) = [d for d in artifact.decisions if d.code is Code.COMPILED]
    assert "put 1 of 1 operators, with 100 % of the multiply-accumulates" in decision.sentence


def test_lowering_twice_gives_the_same_bytes() -> None:
    quantized = model(graph())
    assert BACKEND.lower(quantized, TARGET).files == BACKEND.lower(quantized, TARGET).files


def test_what_stays_on_the_cpu() -> None:
    artifact = BACKEND.lower(model(graph(tail=True)), TARGET)
    placement = BACKEND.placement(artifact, TARGET)
    assert placement is not None
    assert [(n.name, n.where.kernel, n.where.unit) for n in placement.nodes] == [
        ("conv", "CONV_2D", "NPU"),
        ("tail", "SPACE_TO_DEPTH (Unsupported opType)", "host"),
    ]
    (decision,) = [d for d in artifact.decisions if d.code is Code.COMPILED]
    assert decision.sentence.endswith("; its cycle counts leave out 1 operator on the CPU.")
    metrics = BACKEND.examine(Trial(artifact, {}), None, TARGET).metrics
    assert metrics["latency"].omits == "1 operator on the CPU"


def test_a_model_without_anything_for_the_npu_is_foreseen() -> None:
    net = graph(tail=True)
    kernels = deploy(net, BACKEND.capabilities(TARGET), RECIPES[0], random_data(net)).model.kernels
    assert BACKEND.foresee(QuantModel(net, kernels=kernels), TARGET) == ()
    hosted = {name: row for name, row in kernels.items() if row.unit == HOST}
    (refused,) = BACKEND.foresee(QuantModel(net, kernels=hosted), TARGET)
    assert BACKEND.foresee(QuantModel(net, kernels={}), TARGET) == ()
    assert (refused.code, refused.severity) == (Code.UNFIT, Severity.REFUSAL)


@pytest.mark.parametrize(
    ("shape", "compiles"),
    [((1, 4, 4, 8), True), ((2, 4, 4, 8), False), ((2, 4, 8), True), ((2, 4, 4, 200), True)],
)
def test_vela_and_what_is_foreseen_agree_on_argmax(shape: tuple[int, ...], compiles: bool) -> None:
    """Batches are the cause: with one of them, or where Vela leaves it on the CPU, it compiles."""
    b = GraphBuilder("most")
    y = b.one(ops.ArgMax(len(shape) - 1), [b.one(ops.Relu(), [b.input("x", TensorType(shape))])])
    net = b.build(outputs=[y])
    made = deploy(net, BACKEND.capabilities(TARGET), RECIPES[0], random_data(net)).model
    refused = BACKEND.foresee(made, TARGET)
    assert [(d.code, d.severity) for d in refused] == [(Code.UNFIT, Severity.REFUSAL)] * (
        not compiles
    )
    if compiles:
        assert BACKEND.lower(made, TARGET).main
    else:
        with pytest.raises(RefusedError):
            BACKEND.lower(made, TARGET)


def test_figures() -> None:
    found = BACKEND.examine(Trial(BACKEND.lower(model(graph()), TARGET), {}), None, TARGET).metrics
    assert {m.basis for m in found.values()} == {Basis.ESTIMATED_COMPILER}
    cycles = found["cycles"].value
    assert cycles > 0
    assert found["latency"].value == pytest.approx(cycles / 500e6 * 1e9)
    assert found["inferences_per_second"].value == pytest.approx(500e6 / cycles)
    assert "dram_bytes" not in found
    assert "ethos-u55-128, Ethos_U55_High_End_Embedded, Shared_Sram at 500 MHz" in str(
        found["latency"].note
    )


def test_a_node_on_the_cpu_is_one_decision() -> None:
    """The plan tells of it; what Vela does as planned is not news."""
    net = graph(tail=True)
    deployed = deploy(net, BACKEND.capabilities(TARGET), RECIPES[0], random_data(net))
    artifact = BACKEND.lower(deployed.model, TARGET)
    executed = reconcile(plan_of(deployed.model), BACKEND.placement(artifact, TARGET))
    tail = next(node for node in executed.plan.nodes if node.name == "tail")
    kernel = "SPACE_TO_DEPTH (Unsupported opType)"
    assert tail.placed == Where("host", kernel, "int8", WhereBasis.REPORTED)
    assert (tail.executed, tail.status) == (None, Status.AS_PLANNED)
    reported = [d for d in (*artifact.decisions, *executed.decisions) if d.subject == "tail"]
    assert reported == []


def test_cycles_of_nodes_add_up_to_those_of_the_model() -> None:
    """Vela cuts a softmax and a mean into many layers of names of its own."""
    builder = GraphBuilder("net")
    x = builder.input("x", TensorType((1, 4, 6, 6)))
    weight = builder.constant("w", np.linspace(-1, 1, 64, dtype=np.float32).reshape(16, 4, 1, 1))
    x = builder.one(ops.Conv((1, 1), (0,) * 4, (1, 1)), (x, weight), name="conv")
    x = builder.one(ops.Reduce("Mean", (2, 3), keepdims=False), (x,), name="mean")
    net = builder.build(outputs=(builder.one(ops.Softmax(1), (x,), name="softmax"),))
    quantized = model(net)
    artifact = BACKEND.lower(quantized, TARGET)
    executed = reconcile(plan_of(quantized), BACKEND.placement(artifact, TARGET))
    costs = {node.name: node.cost for node in executed.plan.nodes if node.cost is not None}
    assert set(costs) == {"conv", "mean", "softmax"}
    assert {(cost.unit, cost.basis) for cost in costs.values()} == {
        ("cycles", Basis.ESTIMATED_COMPILER)
    }
    metrics = BACKEND.examine(Trial(artifact, {}), None, TARGET).metrics
    assert sum(cost.value for cost in costs.values()) == metrics["cycles"].value


def test_nothing_on_the_npu_is_refused() -> None:
    with pytest.raises(RefusedError) as caught:
        BACKEND.lower(model(graph(conv=False, tail=True)), TARGET)
    assert "and leaves 1 operator on the CPU:" in str(caught.value)
    assert "tail: SPACE_TO_DEPTH (Unsupported opType)" in str(caught.value)


def test_the_host_runs_what_was_compiled() -> None:
    net = graph(tail=True)
    deployed = deploy(net, BACKEND.capabilities(TARGET), RECIPES[0], random_data(net))
    artifact = BACKEND.lower(deployed.model, TARGET)
    inputs = {n: quantize(v, deployed.model.params[n]) for n, v in deployed.here().items()}
    found = BACKEND.load(artifact, TARGET, RunOptions(reference=True)).run(inputs)
    for name, wanted in Oracle(deployed.model).run(inputs).items():
        assert np.array_equal(found[name], wanted)


def test_a_float_model_is_the_hosts_baseline() -> None:
    artifact = BACKEND.lower(QuantModel(lay_out(graph()).graph), TARGET)
    assert set(artifact.files) == {"model.tflite"}
    assert BACKEND.placement(artifact, TARGET) is None
    assert not BACKEND.examine(Trial(artifact, {}), None, TARGET).metrics


@pytest.mark.parametrize(
    "wrong",
    [
        Configuration("ethos-u99-1", U55.system_config, U55.memory_mode),
        Configuration(U55.accelerator, "No_Such_System", U55.memory_mode),
        Configuration(U55.accelerator, U55.system_config, "No_Such_Mode"),
        Configuration(U55.accelerator, U55.system_config, U55.memory_mode, "no/such/file.ini"),
    ],
    ids=["accelerator", "system", "memory", "file"],
)
def test_a_configuration_that_vela_does_not_have(wrong: Configuration) -> None:
    content = BACKEND.lower(model(graph()), TARGET).files["model.tflite"]
    with pytest.raises(RefusedError, match="does not compile the model for"):
        compiler.compile_model(content, wrong)


# --- failures ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("log", "code", "words"),
    [
        ("", -11, "it crashed with signal 11"),
        ("", 1, "it ended with exit code 1"),
        ("reading\nError: Invalid arguments.\nbye\n", 1, "and printed: Error: Invalid arguments"),
        ("one\ntwo.\n", 2, "ended with exit code 2 and printed: two"),
    ],
)
def test_failures_in_words(log: str, code: int, words: str) -> None:
    assert explain_failure(CompilerRun(log, code)).endswith(words)


def test_a_crash_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    crashed = CompilerRun("", -11)
    monkeypatch.setattr(compiler, "run_compiler", lambda command, folder, timeout_s: crashed)
    with pytest.raises(RefusedError, match="it crashed with signal 11"):
        compiler.compile_model(b"", U85)


def test_without_vela(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "find_spec", lambda name: None)
    assert "pip install 'quant-hal[arm]'" in str(BACKEND.readiness().lower)
    assert BACKEND.readiness().run is None
    assert BACKEND.capabilities(TARGET).has("Conv")
