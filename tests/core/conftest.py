"""A toy model with everything around it: small enough to check by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from qhal.artifact.ports import Adapter
from qhal.artifact.runnable import Subject
from qhal.decisions import Code, Decision, Severity
from qhal.ir.build import GraphBuilder
from qhal.ir.dtypes import DType
from qhal.ir.graph import Array, Graph, TensorType
from qhal.ir.ops import Dequantize, FullyConnected, Quantize
from qhal.metric import Basis, Metric
from qhal.pipeline.recording import build_record
from qhal.plugin.backend import Artifact, Backend, PlacedNode, Placement, Runner, RunOptions
from qhal.plugin.info import BackendInfo
from qhal.plugin.readiness import Lack, Readiness
from qhal.plugin.registry import registry
from qhal.quant.arithmetic import quantize
from qhal.quant.model import QuantModel, QuantParams
from qhal.quant.oracle import Oracle
from qhal.results.gate import Gate
from qhal.results.plan import plan_of
from qhal.results.reconcile import reconcile
from qhal.results.record import RunRecord
from qhal.targets.capability import Capabilities, KernelRow
from qhal.targets.profile import Sourced, TargetProfile
from qhal.targets.spec import FLOAT, Derived, PerAxis, QuantSpec
from qhal.targets.where import Where, WhereBasis

INT8 = QuantSpec(DType.INT8)
ROW = KernelRow(
    INT8, INT8, QuantSpec(DType.INT8, PerAxis(), True, True), Derived(), name="int8 per-axis"
)
FLOAT_ROW = KernelRow(FLOAT, FLOAT, FLOAT, FLOAT, name="float")
WEIGHT = np.array([[1, 0, 0, 0], [0, 2, 0, 0], [0, 0, 4, -4]], np.float32)
BIAS = np.array([0, 0.5, -0.5], np.float32)
IN = QuantParams.per_tensor(DType.INT8, 1 / 64, 0)
OUT = QuantParams.per_tensor(DType.INT8, 1 / 8, -3)


def float_graph(name: str = "toy") -> Graph:
    """``y = x @ W.T + b`` with x (1, 4), y (1, 3)."""
    builder = GraphBuilder(name)
    x = builder.input("x", TensorType((1, 4)))
    weight, bias = builder.constant("w", WEIGHT), builder.constant("b", BIAS)
    builder.add(FullyConnected(), (x, weight, bias), name="fc", outputs=("y",), origin=("Gemm_0",))
    return builder.build(outputs=("y",))


def int8_model(integer_io: bool = False) -> QuantModel:
    """The same in int8, weights per axis."""
    w = QuantParams(
        DType.INT8, np.array([1, 2, 4], np.float32) / np.float32(127), np.zeros(3, np.int64), axis=0
    )
    b = QuantParams(DType.INT32, w.scale * IN.scale, np.zeros(3, np.int64), axis=0)
    x8, y8 = TensorType((1, 4), DType.INT8), TensorType((1, 3), DType.INT8)
    first, last = ("x", "y") if integer_io else ("x__quantized", "y__quantized")
    builder = GraphBuilder("toy")
    x = builder.input("x", x8 if integer_io else TensorType((1, 4)))
    weight = builder.constant("w", quantize(WEIGHT, w))
    bias = builder.constant("b", quantize(BIAS, b))
    if not integer_io:
        builder.declare(first, x8)
        builder.add(Quantize(), (x,), name="x__quantized/step", outputs=(first,))
    builder.declare(last, y8)
    builder.add(
        FullyConnected(), (first, weight, bias), name="fc", outputs=(last,), origin=("Gemm_0",)
    )
    if not integer_io:
        builder.add(Dequantize(), (last,), name="y/step", outputs=("y",))
    graph = builder.build(outputs=("y",))
    params = {first: IN, "w": w, "b": b, last: OUT}
    return QuantModel(graph, params, {"fc": ROW}, recipe="w8a8")


@dataclass
class OracleRunner:
    """Computes what the oracle computes, spoilt on purpose by ``spoil``."""

    model: QuantModel
    spoil: Callable[[Array], Array]
    runtime: str = "toy 1.0"

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run once."""
        outputs = Oracle(self.model).run(inputs)
        return {name: self.spoil(array) for name, array in outputs.items()}


@dataclass
class ToyBackend(Backend):
    """Runs models in the oracle."""

    info: ClassVar = BackendInfo("toy")
    model: QuantModel | None = None
    spoil: Callable[[Array], Array] = np.asarray
    missing: str | None = None
    placed: Placement | None = None

    def readiness(self, target: TargetProfile | None = None) -> Readiness:
        """Lack what the test wants."""
        return Readiness(run=Lack(self.missing) if self.missing else None)

    def capabilities(self, target: TargetProfile) -> Capabilities:
        """None."""
        return Capabilities(())

    def lower(self, model: QuantModel, target: TargetProfile) -> Artifact:
        """A file with the weights."""
        return artifact_of(model)

    def load(self, artifact: Artifact, target: TargetProfile, options: RunOptions) -> Runner:
        """The oracle."""
        assert self.model is not None
        runtime = "toy 1.0 (reference kernels)" if options.reference else "toy 1.0"
        return OracleRunner(self.model, self.spoil, runtime)


def artifact_of(model: QuantModel) -> Artifact:
    """Constants, one after the other."""
    body = b"".join(array.tobytes() for array in model.graph.constants.values())
    return Artifact({"model.toy": body, "notes.txt": b"hi"}, "model.toy")


def subject_of(model: QuantModel, **backend: object) -> Subject:
    """A lowered model with a backend that runs it."""
    profile = TargetProfile("toy-target", "toy", "A toy")
    toy = ToyBackend(model=model, **backend)  # type: ignore[arg-type]
    return Subject(artifact_of(model), toy, profile, Adapter.of_model(model), model)


@dataclass
class Samples:
    """Random samples of ``x``."""

    count: int = 16
    labels: Array | None = None
    shape: tuple[int, ...] = (1, 4)
    values: Array = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(0)
        self.values = rng.uniform(-1, 1, (self.count, *self.shape)).astype(np.float32)

    def __len__(self) -> int:
        return self.count

    def sample(self, index: int) -> dict[str, Array]:
        """One sample."""
        return {"x": self.values[index]}


@dataclass(frozen=True)
class Toys:
    """What tests take."""

    float_graph: Graph
    model: QuantModel
    integer_model: QuantModel
    baseline: QuantModel
    samples: type[Samples] = Samples

    @staticmethod
    def subject(model: QuantModel, **backend: object) -> Subject:
        """A lowered model with a backend that runs it."""
        return subject_of(model, **backend)

    def transposed(self) -> QuantModel:
        """The integer model with an input of shape (4, 1) at the user's side."""
        graph = replace(self.integer_model.graph, permutations={"x": (1, 0)})
        return replace(self.integer_model, graph=graph)


@pytest.fixture
def toys() -> Toys:
    """A toy model in float and in int8."""
    graph = float_graph()
    return Toys(
        graph,
        int8_model(),
        int8_model(integer_io=True),
        QuantModel(graph, kernels={"fc": FLOAT_ROW}),
    )


@dataclass(frozen=True)
class ToyImport:
    """What :func:`qhal.ir.importer.import_model` returns."""

    graph: Graph
    sha256: str = "ab" * 32
    opset: int = 17
    size_bytes: int = 1234


@pytest.fixture
def record(toys: Toys) -> RunRecord:
    """A record with something in every part."""
    model = toys.transposed()
    user = replace(toys.float_graph, tensors={**toys.float_graph.tensors, "x": TensorType((4, 1))})
    fallback = Decision(
        Code.FLOAT_FALLBACK, "Softmax sm: runs in float.", "sm", severity=Severity.WARNING
    )
    split = Decision(Code.CALIBRATION_SPLIT, "8 of 24 samples calibrate.")
    placement = Placement(
        (PlacedNode("fc", Where("host", "FULLY_CONNECTED", "int8", WhereBasis.READ)),),
        "the toy plan",
    )
    host_ns = Basis.MEASURED_HOST
    artifact = replace(
        artifact_of(model),
        input_names={"x": "serving_default_x:0"},
        auxiliary=frozenset({"notes.txt"}),
    )
    profile = TargetProfile(
        "npu", "toy", "A toy | NPU", facts={"clock_hz": Sourced(1e9, "Hz", "a book")}
    )
    dataset = {
        "source": "some/data.npz",
        "samples": 8,
        "labels": True,
        "preprocess": {"name": "unit"},
        "fingerprint": "cd" * 32,
    }
    return build_record(
        path=Path("some/toy_v2.onnx"),
        imported=ToyImport(user),  # type: ignore[arg-type]
        subject=Subject(artifact, ToyBackend(), profile, Adapter.of_model(model), model),
        runtime="toy 1.0",
        metrics={
            "top1": Metric(0.875, "fraction", host_ns, note="16 labeled samples"),
            "top1_float": Metric(0.9, "fraction", host_ns),
            "top1_drop": Metric(2.5, "points", host_ns, -4.0, 8.5, "95 % band"),
            "sqnr": Metric(31.42, "dB", host_ns),
            "sqnr[y]": Metric(31.42, "dB", host_ns),
            "latency": Metric(2e6, "ns", Basis.MODELED, 1e6, 3e6, "published figures"),
            "latency_host_p50": Metric(3.1e6, "ns", host_ns, 3e6, 3.3e6, "1 thread"),
            "speedup_host": Metric(2.26, "ratio", host_ns, 2.1, 2.4),
            "size_artifact": Metric(26, "bytes", Basis.COUNTED),
            "size_ratio": Metric(2.38, "ratio", Basis.COUNTED),
            "energy_proxy": Metric(4e9, "pJ", Basis.MODELED, 2e9, 6e9),
            "strange": Metric(1, "", Basis.COUNTED),
        },
        decisions=(fallback, split, fallback),
        plan=reconcile(plan_of(model), placement).plan,
        options={"data": Path("some/data.npz"), "max_drop": None},
        gates=(Gate("max-drop", "top-1 dropped by 2.5 points; the limit is 3", True),),
        data={"calibration": dataset, "evaluation": None},
        timings_s={"import": 0.1, "verify": 0.25},
        registry=registry(),
    )
