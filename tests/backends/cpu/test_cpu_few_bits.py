"""Weights of few bits: what ONNX Runtime folds, what it breaks, and what the record says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import qhal
from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.dtypes import DType
from qhal.ir.export import to_onnx
from qhal.ir.graph import NodeView, TensorType
from qhal.quant.choice import Verdict
from qhal.quant.select import select
from qhal.report.pages import page_of
from qhal.report.text import to_text
from qhal.targets.profile import TargetProfile
from qhal.targets.recipe import find_recipe
from qhal_backends.cpu import limits, saturating_sums
from qhal_backends.cpu.capabilities import capabilities
from qhal_backends.cpu.plugin import CpuBackend
from tests.backends.cpu.cpu_models import Bias, Operand, Weight, quantized
from tests.backends.cpu.test_cpu_fusion import check, require

TARGET = TargetProfile("cpu", backend="cpu", title="")
DIGITS = Path(__file__).parents[3] / "examples/digits"
X = (1, 8, 12, 12)
SAME = ((1, 1), (1, 1, 1, 1), (1, 1))
WEIGHTED: dict[str, tuple[ops.Op, list[tuple[int, ...]]]] = {
    "Conv": (ops.Conv(*SAME), [X, (16, 8, 3, 3), (16,)]),
    "DepthwiseConv": (ops.DepthwiseConv(*SAME), [X, (8, 1, 3, 3), (8,)]),
    "FullyConnected": (ops.FullyConnected(), [(2, 20), (10, 20), (10,)]),
    "ConvTranspose": (
        ops.ConvTranspose((2, 2), (0, 0, 0, 0), (1, 1), (0, 0)),
        [X, (8, 16, 2, 2), (16,)],
    ),
}


def minimal(stored: TensorProto.DataType, opset: int) -> bytes:
    """A quantized convolution whose weight is dequantized as it is stored, without a Cast."""
    bits = {TensorProto.INT4: 4, TensorProto.INT2: 2}[stored]
    weight = TensorProto(name="w", data_type=stored, dims=(4, 2, 3, 3))
    weight.raw_data = bytes(4 * 2 * 9 * bits // 8)
    scalars = {"xs": np.float32(0.02), "xz": np.uint8(121), "ws": np.float32(0.1)}
    dequantize, quantize = "DequantizeLinear", "QuantizeLinear"
    nodes = [
        helper.make_node(quantize, ["x", "xs", "xz"], ["xq"]),
        helper.make_node(dequantize, ["xq", "xs", "xz"], ["xf"]),
        helper.make_node(dequantize, ["w", "ws"], ["wf"]),
        helper.make_node("Conv", ["xf", "wf"], ["c"], "conv"),
        helper.make_node(quantize, ["c", "xs", "xz"], ["yq"]),
        helper.make_node(dequantize, ["yq", "xs", "xz"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "minimal",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 2, 8, 8))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 4, 6, 6))],
        [weight, *(numpy_helper.from_array(np.asarray(v), n) for n, v in scalars.items())],
    )
    imports = [helper.make_opsetid("", opset)]
    version = helper.find_min_ir_version_for(imports)
    model = helper.make_model(graph, opset_imports=imports, ir_version=version)
    return bytes(model.SerializeToString())


def optimized(model: bytes, path: Path) -> list[str]:
    """The kernels that ONNX Runtime makes of a model."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(path), 4
    onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(path).graph.node]


# --- faults of ONNX Runtime --------------------------------------------------------


def test_int2_without_a_cast_is_an_invalid_graph(tmp_path: Path) -> None:
    require(DType.INT2)
    try:
        kernels = optimized(minimal(TensorProto.INT2, 25), tmp_path / "optimized.onnx")
    except Exception as error:  # noqa: BLE001 - ONNX Runtime exports none of its own
        assert "int2" in str(error)
    else:
        pytest.skip(f"onnxruntime {onnxruntime.__version__} loads it, as {kernels}")


def test_int4_without_a_cast_is_multiplied_in_float(tmp_path: Path) -> None:
    kernels = optimized(minimal(TensorProto.INT4, 21), tmp_path / "optimized.onnx")
    if "QLinearConv" in kernels:
        pytest.skip(f"onnxruntime {onnxruntime.__version__} multiplies it as integers")
    assert {"Conv", "DequantizeLinear"} <= set(kernels)


@pytest.mark.parametrize(("version", "few"), [((1, 22), ()), ((1, 23), (4,)), ((1, 24), (4, 2))])
def test_rows_refuse_what_older_versions_lack(
    version: tuple[int, int], few: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "installed", lambda: version)
    model = quantized(ops.FullyConnected(), [(2, 32), Weight((10, 32))])
    view = NodeView(model.graph, model.graph.nodes[1])
    rules = {4: limits.casts_int4, 2: limits.casts_int2}
    assert tuple(bits for bits, rule in rules.items() if rule.check(view) is None) == few


def test_a_node_keeps_8_bits_where_the_runtime_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "installed", lambda: (1, 20))
    builder = GraphBuilder("g")
    x = builder.input("x", TensorType(X))
    weight = builder.constant("w", np.ones((16, 8, 3, 3), np.float32))
    y = builder.one(ops.Conv(*SAME), (x, weight), name="node")
    caps = capabilities()
    choice = select(builder.build(outputs=[y]), caps, find_recipe("w4a8", caps, "cpu"))["node"]
    assert choice.widened and choice.verdict is Verdict.NATIVE
    assert choice.row is not None and choice.row.weight is not None
    assert choice.row.weight.dtype is DType.INT8
    assert "the installed ONNX Runtime is 1.20; allowed: 1.23 or more" in choice.reason


# --- sums of products --------------------------------------------------------------


@pytest.mark.parametrize("dtype", [DType.INT4, DType.INT2])
def test_exact_kernels_take_weights_of_few_bits(
    dtype: DType, monkeypatch: pytest.MonkeyPatch
) -> None:
    require(dtype)
    monkeypatch.setattr(saturating_sums, "sums_saturate", lambda: True)
    operands: list[Operand] = [X, Weight((16, 8, 3, 3), dtype), Bias(16)]
    check(quantized(ops.Conv(*SAME), operands), "QLinearConv")


@pytest.mark.parametrize(
    ("dtype", "saturates"), [(DType.INT8, True), (DType.INT4, False), (DType.INT2, False)]
)
def test_two_products_with_few_bits_fit_16_bits(dtype: DType, saturates: bool) -> None:
    assert (2 * 255 * -dtype.qmin > 2**15 - 1) is saturates
    model = quantized(ops.FullyConnected(), [(2, 32), Weight((10, 32), dtype), Bias(10)])
    artifact = CpuBackend().lower(model, TARGET)
    assert saturating_sums.may_saturate(artifact.files[artifact.main]) is saturates


# --- whole deployments -------------------------------------------------------------


@pytest.mark.parametrize("kind", WEIGHTED)
def test_float_kernels_take_stored_int4(kind: str, tmp_path: Path) -> None:
    """The weight is folded into float32 as the model is loaded."""
    require(DType.INT4)
    op, (shape, *constants) = WEIGHTED[kind]
    builder, random = GraphBuilder("g"), np.random.default_rng(0)
    names = [builder.input("x", TensorType(shape))]
    names += [builder.constant("c", random.normal(0, 1, s).astype(np.float32)) for s in constants]
    graph = builder.build(outputs=[builder.one(op, names, name="node")])
    path, data = tmp_path / "model.onnx", tmp_path / "data.npz"
    onnx.save(to_onnx(graph), path)
    np.savez(data, x=random.normal(0, 1, (8, *shape)[: len(shape) + 1]).astype(np.float32))
    record = qhal.deploy(path, target="cpu", recipe="w4", data=data, out=tmp_path / "out")
    (node,) = record.plan.nodes
    assert node.declared.kernel == "float32 x int4 per axis (stored 4 bits, computes in float32)"
    assert record.metrics["stored_bits_per_weight"].value == 4
    artifact = (tmp_path / "out/model.onnx").read_bytes()
    assert {"Cast", "Mul", "DequantizeLinear"}.isdisjoint(optimized(artifact, tmp_path / "o.onnx"))


def test_fewer_bits_are_a_smaller_file_and_the_record_says_so(tmp_path: Path) -> None:
    require(DType.INT4)
    records = {
        recipe: qhal.deploy(
            DIGITS / "digits.onnx",
            target="cpu",
            recipe=recipe,
            data=DIGITS / "calibration.npz",
            eval=DIGITS / "evaluation.npz",
            out=tmp_path / recipe,
        )
        for recipe in ("w8a8", "w4a8", "w8", "w4")
    }
    size = {name: record.metrics["size_artifact"].value for name, record in records.items()}
    assert size["w4a8"] < 0.65 * size["w8a8"] and size["w4"] < 0.65 * size["w8"]
    few = records["w4a8"]
    assert few.storage == "stored 4 bits, computes 8"
    assert list(few.to_json())[:4] == ["schema_version", "qhal", "recipe", "storage"]
    assert to_text(page_of(few)).startswith(
        "digits.onnx for cpu, w4a8 (stored 4 bits, computes 8)\n"
    )
    assert records["w8a8"].storage == ""
    products = [n for n in few.plan.nodes if n.op in ("Conv", "DepthwiseConv", "FullyConnected")]
    assert products
    for node in products:
        assert "stored 4 bits, computes 8" in str(node.declared.kernel)
        assert node.executed is not None and node.executed.dtype == "uint8"


def test_a_node_that_stays_as_it_is_is_written_in_the_newer_opset(tmp_path: Path) -> None:
    """GridSample calls its mode "linear" from opset 20 on, and int4 needs opset 21."""
    require(DType.INT4)
    random = np.random.default_rng(0)
    constants = {
        "w": random.normal(0, 0.2, (8, 4, 3, 3)).astype(np.float32),
        "grid": random.uniform(-1, 1, (1, 6, 6, 2)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("GridSample", ["c", "grid"], ["y"], "sample", mode="bilinear"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 4, 8, 8))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 8, 6, 6))],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    imports = [helper.make_opsetid("", 16)]
    path, data = tmp_path / "model.onnx", tmp_path / "data.npz"
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), path)
    np.savez(data, x=random.normal(0, 1, (8, 1, 4, 8, 8)).astype(np.float32)[:, 0])
    record = qhal.deploy(path, target="cpu", recipe="w4a8", data=data, out=tmp_path / "out")
    assert record.metrics["sqnr"].value > 15
