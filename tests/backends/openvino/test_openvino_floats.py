"""nf4 weights, bfloat16, and the settings with which an artifact computes as planned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import qhal
from qhal.decisions import Code
from qhal.ir import ops
from qhal.ir.dtypes import NORMAL_FLOAT, DType
from qhal.ir.graph import Graph
from qhal.plugin.backend import Artifact, PlacedNode, RunOptions, Trial
from qhal.quant.arithmetic import rounded
from qhal.quant.oracle import Oracle
from qhal.results.plan import Status, plan_of
from qhal.results.reconcile import reconcile
from qhal_backends.openvino import runner
from qhal_backends.openvino.lower import to_ir
from qhal_backends.openvino.plugin import OpenVinoBackend
from tests.backends.openvino.openvino_models import (
    Constant,
    Quantized,
    Shape,
    quantize,
    single,
    sqnr_db,
)
from tests.backends.openvino.test_openvino_rows import CPU, ONE, WEIGHTED, X

openvino = pytest.importorskip("openvino", reason="pip install 'quant-hal[openvino]'")

BACKEND = OpenVinoBackend()
CORE = runner.load_core()

in_bfloat16 = pytest.mark.skipif(
    "BF16" not in CORE.get_property("CPU", "OPTIMIZATION_CAPABILITIES"),
    reason="this processor has no bfloat16",
)
"""What only a processor with AVX512_BF16 or AMX can show."""


def layer(depth: int = 64) -> Graph:
    return single(ops.FullyConnected(), [(2, depth), Constant((10, depth)), Constant((10,))])


def gap_db(made: Quantized, artifact: Artifact) -> float:
    """How close the artifact is to the oracle on a processor, on the worst sample."""
    loaded = BACKEND.load(artifact, CPU, RunOptions())
    assert loaded is not None
    (name,), found = made.graph.outputs, []
    for index in range(len(made.data)):
        sample = made.data.sample(index)
        found.append(sqnr_db(Oracle(made.model).run(sample)[name], loaded.run(sample)[name]))
    return min(found)


def placed(artifact: Artifact) -> PlacedNode:
    placement = BACKEND.placement(artifact, CPU)
    assert placement is not None
    return next(node for node in placement.nodes if node.name == "node")


class TestNormalFloat:
    """Weights as codes."""

    def test_the_codebook_is_openvinos(self) -> None:
        codes = openvino.Tensor(openvino.Type.nf4, openvino.Shape([16]))
        codes.data[:] = [low | (low + 1) << 4 for low in range(0, 16, 2)]
        real = openvino.opset13.convert(openvino.op.Constant(codes), "f32")
        unused = openvino.opset13.parameter([1], np.float32)
        compiled = CORE.compile_model(openvino.Model([real], [unused], "codes"), "CPU")
        assert np.array_equal(compiled(np.zeros(1, np.float32))[0], NORMAL_FLOAT)

    @pytest.mark.parametrize(
        ("recipe", "weights"), [("nf4", "nf4"), ("w4", "int4"), ("w8", "int8")]
    )
    def test_weights_stay_packed_until_the_product(self, recipe: str, weights: str) -> None:
        made = quantize(layer(), recipe)
        artifact = BACKEND.lower(made.model, CPU)
        assert gap_db(made, artifact) > 90
        node = placed(artifact)
        assert str(node.where.kernel).startswith("FullyConnected")
        assert str(node.where.kernel).endswith(f" x {weights}")
        assert node.where.dtype == "float32"

    def test_one_scale_per_channel_as_npus_want_it(self) -> None:
        made = quantize(layer(40), "nf4", "openvino-npu")
        assert made.model.params["c1"].scale.shape == (10,)
        assert gap_db(made, BACKEND.lower(made.model, CPU)) > 90

    def test_groups_of_128_or_channels_on_an_npu(self) -> None:
        groups = (quantize(layer(depth), "w4", "openvino-npu").model for depth in (256, 64))
        assert [model.params["c1"].group_size for model in groups] == [128, 0]

    def test_same_model_same_bytes_and_no_numbered_names(self) -> None:
        model = quantize(layer(), "nf4").model
        xml, weights = to_ir(model)
        assert (xml, weights) == to_ir(model)
        read = CORE.read_model(xml, weights)
        constants = {op.get_friendly_name(): op.get_element_type() for op in read.get_ops()}
        assert constants["c1__groups"] == openvino.Type.nf4


class TestBfloat16:
    """Products in bfloat16."""

    @in_bfloat16
    @pytest.mark.parametrize(
        ("op", "operands"),
        [case for case in WEIGHTED if not isinstance(case[0], ops.ConvTranspose)]
        + [
            (ops.Lstm(6), [(5, 1, 8), Constant((1, 24, 8)), Constant((1, 24, 6))]),
            (ops.Gru(6), [(5, 1, 8), Constant((1, 18, 8)), Constant((1, 18, 6))]),
        ],
    )
    def test_products_run_in_bfloat16(self, op: ops.Op, operands: list[Shape | Constant]) -> None:
        made = quantize(single(op, operands), "bf16")
        made = replace(made, graph=replace(made.graph, outputs=made.graph.outputs[:1]))
        artifact = BACKEND.lower(made.model, CPU)
        # Convolutions and recurrent layers round their results too, which the oracle leaves out.
        exact = isinstance(op, ops.FullyConnected | ops.MatMul)
        assert gap_db(made, artifact) > (120 if exact else 50)
        assert placed(artifact).where.dtype == "bfloat16"

    @in_bfloat16
    def test_but_for_the_last_rounding_a_convolution_equals_the_oracle(self) -> None:
        made = quantize(single(ops.Conv(*ONE), [X, Constant((8, 8, 3, 3)), Constant((8,))]), "bf16")
        loaded = BACKEND.load(BACKEND.lower(made.model, CPU), CPU, RunOptions())
        assert loaded is not None
        sample, (name,) = made.data.sample(0), made.graph.outputs
        expected = rounded(Oracle(made.model).run(sample)[name], DType.BFLOAT16)
        assert sqnr_db(expected, loaded.run(sample)[name]) > 70

    def test_a_transposed_convolution_has_no_such_kernel(self) -> None:
        op, operands = next(case for case in WEIGHTED if isinstance(case[0], ops.ConvTranspose))
        made = quantize(single(op, operands), "bf16")
        assert "no bf16 kernel for ConvTranspose" in made.choices["node"].reason
        artifact = BACKEND.lower(made.model, CPU)
        assert gap_db(made, artifact) > 90
        assert placed(artifact).where.dtype == "float32"

    def test_without_bfloat16_it_runs_in_float32_and_says_so(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(runner, "_capabilities", lambda core: ["FP32", "INT8"])
        made = quantize(layer(), "bf16")
        artifact = BACKEND.lower(made.model, CPU)
        assert placed(artifact).where.dtype == "float32"
        found = reconcile(plan_of(made.model), BACKEND.placement(artifact, CPU))
        assert {node.status for node in found.plan.nodes} == {Status.DIFFERS}
        (decision,) = BACKEND.examine(Trial(artifact, {}), None, CPU).decisions
        assert decision.code is Code.PLACEMENT_DIFFERS
        assert "no bfloat16 (OpenVINO finds FP32, INT8)" in decision.sentence

    def test_only_bfloat16_is_missed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(runner, "_capabilities", lambda core: ["FP32"])
        artifact = BACKEND.lower(quantize(layer(), "nf4").model, CPU)
        assert BACKEND.examine(Trial(artifact, {}), None, CPU).decisions == ()


class TestSettings:
    """What the file says of how to run it."""

    @pytest.mark.parametrize(("recipe", "precision"), [("w8a8", "f32"), ("bf16", "bf16")])
    def test_they_are_in_the_file_and_what_is_not_read_is_a_decision(
        self, recipe: str, precision: str
    ) -> None:
        artifact = BACKEND.lower(quantize(layer(), recipe).model, CPU)
        model = CORE.read_model(artifact.files["model.xml"], artifact.files["model.bin"])
        compiled = CORE.compile_model(model, "CPU")
        assert int(compiled.get_property("DYNAMIC_QUANTIZATION_GROUP_SIZE")) == 0
        (decision,) = (d for d in artifact.decisions if d.code is Code.RUNTIME_SETTING)
        assert f"INFERENCE_PRECISION_HINT {precision}" in decision.sentence

    def test_other_devices_keep_their_defaults(self) -> None:
        npu = replace(CPU, options={"device": "NPU"})
        artifact = BACKEND.lower(quantize(layer(), "w8a8", "openvino-npu").model, npu)
        assert artifact.decisions == ()
        assert b"runtime_options" not in artifact.files["model.xml"]


def deployed(zoo: Path, folder: Path, recipe: str) -> qhal.RunRecord:
    """The autoencoder of MLPerf Tiny, ten fully-connected layers, on random data."""
    data = np.random.default_rng(0).normal(0, 1, (16, 1, 640)).astype(np.float32)
    np.savez(folder / "data.npz", input_1=data)
    return qhal.deploy(
        zoo / "models" / "mlperf_tiny_ad.onnx",
        target="openvino-cpu",
        recipe=recipe,
        data=folder / "data.npz",
        out=folder / recipe,
    )


def test_a_real_model_in_codes_loses_less_than_in_four_bit_integers(
    zoo: Path, tmp_path: Path
) -> None:
    codes, integers = (deployed(zoo, tmp_path, recipe) for recipe in ("nf4", "w4"))
    assert codes.metrics["sqnr"].value > integers.metrics["sqnr"].value > 10
    assert codes.metrics["oracle_sqnr"].value > 90
    assert codes.metrics["stored_bits_per_weight"].value < 4.5


@in_bfloat16
def test_a_real_model_in_bfloat16(zoo: Path, tmp_path: Path) -> None:
    record = deployed(zoo, tmp_path, "bf16")
    assert record.metrics["sqnr"].value > 35
    assert record.metrics["oracle_sqnr"].value > 45
    products = [node for node in record.plan.nodes if node.op == "FullyConnected"]
    assert {(n.declared.dtype, n.status) for n in products} == {("bfloat16", Status.AS_PLANNED)}
    assert Code.PLACEMENT_DIFFERS not in {d.code for d in record.decisions}
