"""Where a runtime begins to differ is named by its node, or reported as unknown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from qhal.artifact.ports import Adapter
from qhal.artifact.runnable import Subject
from qhal.ir.build import GraphBuilder
from qhal.ir.dtypes import DType
from qhal.ir.graph import Array, Arrays, TensorType
from qhal.ir.ops import Dequantize, FullyConnected, Quantize
from qhal.plugin.backend import Artifact, Runner, RunOptions
from qhal.quant.arithmetic import quantize
from qhal.quant.model import QuantModel, QuantParams
from qhal.quant.oracle import Oracle
from qhal.targets.profile import TargetProfile
from qhal.verify.origin import where_it_begins
from tests.core.conftest import IN, ROW, ToyBackend, artifact_of

Change = Callable[[dict[str, Array]], None]
SAMPLE = {"x": np.array([[0.1, -0.4, 0.7, 0.9]], np.float32)}


def chain() -> QuantModel:
    """Three layers of four by four."""
    w = QuantParams(DType.INT8, np.full(4, 1 / 127, np.float32), np.zeros(4, np.int64), axis=0)
    wide = TensorType((1, 4), DType.INT8)
    b = GraphBuilder("chain")
    b.declare(last := "x8", wide)
    b.add(Quantize(), (b.input("x", TensorType((1, 4))),), name="in", outputs=("x8",))
    params, kernels = {"x8": IN}, {}
    for index, (scale, zero) in enumerate(((1 / 40, 3), (1 / 30, -5), (1 / 20, 0))):
        name, weight = f"h{index}", np.random.default_rng(index).uniform(-1, 1, (4, 4))
        params |= {
            f"w{index}": w,
            f"b{index}": QuantParams(
                DType.INT32, w.scale * params[last].scale, np.zeros(4, np.int64), axis=0
            ),
            name: QuantParams.per_tensor(DType.INT8, scale, zero),
        }
        operands = (
            last,
            b.constant(f"w{index}", quantize(weight.astype(np.float32), w)),
            b.constant(f"b{index}", np.zeros(4, np.int32)),
        )
        b.declare(name, wide)
        b.add(FullyConnected(), operands, name=f"fc{index}", outputs=(name,))
        kernels[f"fc{index}"], last = ROW, name
    b.add(Dequantize(), (last,), name="out", outputs=("y",))
    return QuantModel(b.build(outputs=("y",)), params, kernels, recipe="w8a8")


@dataclass
class Runtime:
    """Computes another model than it was given."""

    model: QuantModel
    runtime: str = "toy 1.0"

    def run(self, inputs: Arrays) -> dict[str, Array]:
        return Oracle(self.model).run(inputs)


@dataclass
class Wrong(ToyBackend):
    """Changes the constants that its runtime computes with."""

    change: Change = lambda constants: None
    hides: bool = False
    lowered: dict[str, QuantModel] = field(default_factory=dict)

    def lower(self, model: QuantModel, target: TargetProfile) -> Artifact:
        name = ",".join(model.graph.outputs)
        self.lowered[name] = model
        return Artifact({"model.toy": name.encode()}, "model.toy")

    def load(self, artifact: Artifact, target: TargetProfile, options: RunOptions) -> Runner:
        model = self.lowered[artifact.files["model.toy"].decode()]
        constants = {name: array.copy() for name, array in model.graph.constants.items()}
        if not (self.hides and len(model.graph.outputs) > 1):
            self.change(constants)
        return Runtime(replace(model, graph=replace(model.graph, constants=constants)))


def begins(change: Change, *, hides: bool = False) -> str:
    model, profile = chain(), TargetProfile("toy-target", "toy", "A toy")
    backend = Wrong(change=change, hides=hides)
    artifact = backend.lower(model, profile)
    subject = Subject(artifact, backend, profile, Adapter.of_model(model), model)
    return where_it_begins(subject, RunOptions(), SAMPLE)


def change_bias(name: str, by: int) -> Change:
    def change(constants: dict[str, Array]) -> None:
        constants[name] = constants[name].astype(np.int32) + np.int32(by)

    return change


def test_the_node_that_computes_something_else_is_named() -> None:
    reported = begins(change_bias("b1", 4000))
    assert reported.startswith("It begins at node fc1 (FullyConnected): from the same operands its")
    assert reported.endswith("steps.")


def test_nodes_before_and_after_it_are_not() -> None:
    assert "node fc0 " in begins(change_bias("b0", 4000))
    assert "node fc2 " in begins(change_bias("b2", 4000))


def test_rounding_that_adds_up_has_no_node() -> None:
    reported = begins(change_bias("b1", 130))
    assert reported == (
        "No single node is off by more than one quantization step; the rounding errors from fc1 "
        "on add up."
    )
    assert begins(lambda constants: None) == "No node alone differs."


def test_where_looking_changes_the_result_it_is_said() -> None:
    reported = begins(change_bias("b1", 4000), hides=True)
    assert reported.startswith(
        "Where it begins could not be found: with its tensors as outputs the"
    )


def test_where_the_backend_cannot_it_is_said() -> None:
    model, profile = chain(), TargetProfile("toy-target", "toy", "A toy")
    backend = ToyBackend(model=model)
    subject = Subject(artifact_of(model), backend, profile, Adapter.of_model(model), model)
    reported = where_it_begins(subject, RunOptions(), SAMPLE)
    assert reported == (
        "Where it begins could not be found, since no tensor in between is known: Output x8 of "
        "model.toy is missing."
    )
