"""What OpenVINO makes of weights of few bits that are not converted to int8 first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qhal.ir import ops
from tests.backends.openvino.openvino_models import Constant, quantize, single

openvino = pytest.importorskip("openvino", reason="pip install 'quant-hal[openvino]'")
operators = pytest.importorskip("openvino.opset13")

INSTALLED = openvino.__version__.split("-")[0]


def stored(kind: str, shape: list[int], as_bytes: bool, centered: bool) -> Any:
    """A weight of codes behind Convert, Subtract where it is unsigned, and Multiply."""
    tensor = openvino.Tensor(getattr(openvino.Type, kind), shape)
    tensor.data.ravel()[:] = np.random.default_rng(0).integers(0, 256, tensor.data.size)
    weight = openvino.op.Constant(tensor)
    middle = 1 << (int(kind[1]) - 1)
    if as_bytes:
        weight = operators.convert(weight, "i8")
        weight = operators.subtract(weight, np.int8(middle)) if kind[0] == "u" else weight
    weight = operators.convert(weight, "f32")
    if kind[0] == "u" and not as_bytes and centered:
        weight = operators.subtract(weight, np.float32(middle))
    scale = np.full((shape[0], *(1 for _ in shape[1:])), 0.02, np.float32)
    return operators.multiply(weight, scale)


def compiled(
    kind: str, shape: list[int], as_bytes: bool, hint: str = "f32", centered: bool = True
) -> list[str]:
    """The primitives of a product of integers with such a weight."""
    x = operators.parameter([1, shape[1], 8, 8] if len(shape) == 4 else [4, shape[1]], np.float32)
    ends = [np.float32(end) for end in (-2.5, 2.6)]
    integers = operators.fake_quantize(x, *ends, *ends, levels=256)
    weight = stored(kind, shape, as_bytes, centered)
    if len(shape) == 4:
        product = operators.convolution(integers, weight, [1, 1], [0, 0], [0, 0], [1, 1])
    else:
        product = operators.matmul(integers, weight, False, True)
    config = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": 1}
    model = openvino.Model([product], [x])
    graph = openvino.Core().compile_model(model, "CPU", config).get_runtime_model()
    infos = [
        {key: str(value.astype(str)) for key, value in layer.get_rt_info().items()}
        for layer in graph.get_ordered_ops()
    ]
    return [f"{info.get('layerType')} {info.get('primitiveType')}" for info in infos]


@pytest.mark.parametrize("kind", ["i4", "u4", "u2"])
@pytest.mark.parametrize("shape", [[16, 8, 3, 3], [16, 8, 1, 1], [16, 32]])
def test_behind_a_conversion_to_bytes_all_run_on_integers(kind: str, shape: list[int]) -> None:
    (product,) = (n for n in compiled(kind, shape, True) if n.startswith(("Convo", "Fully")))
    assert product.endswith("_I8")


@pytest.mark.parametrize("kind", ["i4", "u4", "u2"])
def test_without_it_a_1x1_convolution_converts_at_every_inference(kind: str) -> None:
    found = compiled(kind, [16, 8, 1, 1], False)
    if any(name.startswith("Convolution") and name.endswith("_I8") for name in found):
        pytest.skip(f"OpenVINO {INSTALLED} multiplies it as integers")
    assert any(name.startswith("Convert") for name in found)


def test_without_it_a_product_with_u2_is_refused_in_bfloat16() -> None:
    """It is the default of processors that have bfloat16; the plan has the row with the Convert."""
    try:
        compiled("u2", [16, 32], False, "bf16", centered=False)
    except RuntimeError as error:
        assert "primitive descriptor for the inner product" in str(error)
    else:
        pytest.skip(f"OpenVINO {INSTALLED} compiles it")


@pytest.mark.parametrize("hint", ["f32", "bf16"])
def test_what_is_written_compiles_with_either_hint(hint: str) -> None:
    assert any(name.endswith("_I8") for name in compiled("u2", [16, 32], True, hint))


def test_no_row_multiplies_2_bits_as_they_are_stored() -> None:
    made = quantize(single(ops.FullyConnected(), [(2, 32), Constant((10, 32))]), "w2a8")
    row = made.model.kernels["node"]
    assert row.weight is not None and row.weight.dtype.bits == 2
    assert row.computes is not None and row.computes.bits == 8
