"""Operators that exporters write as several: recognized, and only if nothing reads inside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import NodeProto, helper

from qhal.ir import ops
from tests.core.ir.importing import floats, imported, kinds, model, only, read

SHAPE = (1, 4, 6, 6)


def parse(text: str) -> list[NodeProto]:
    """Nodes from lines such as ``s = Sigmoid(x)`` or ``m = ReduceMean(x) axes=[-1]``."""
    nodes = []
    for line in text.strip().splitlines():
        output, call = line.strip().split(" = ")
        op, rest = call.split("(", 1)
        operands, attributes = rest.split(")", 1)
        given = dict(item.split("=") for item in attributes.split(";") if item.strip())
        values = {key.strip(): eval(value) for key, value in given.items()}
        names = [name.strip() for name in operands.split(",")]
        nodes.append(helper.make_node(op, names, [output], name=f"n_{output}", **values))
    return nodes


def scalar(value: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.array(value, np.float32)


SIX, THREE, ZERO, HALF, ONE = scalar(6), scalar(3), scalar(0), scalar(0.5), scalar(1)
CONSTANTS: Mapping[str, Any] = {
    "zero": ZERO,
    "half": HALF,
    "one": ONE,
    "two": scalar(2),
    "three": THREE,
    "six": SIX,
    "sixth": scalar(1 / 6),
    "root2": scalar(np.sqrt(2)),
    "rootpi": scalar(np.sqrt(2 / np.pi)),
    "cubic": scalar(0.044715),
    "epsilon": scalar(1e-5),
    "gamma": floats(6),
    "beta": floats(6),
}

PATTERNS = {
    "silu": ("Silu", "s = Sigmoid(x)\ny = Mul(x, s)"),
    "silu swapped": ("Silu", "s = Sigmoid(x)\ny = Mul(s, x)"),
    "hardswish of torch": (
        "HardSwish",
        "a = Add(x, three)\nc = Clip(a, zero, six)\nm = Mul(x, c)\ny = Div(m, six)",
    ),
    "hardswish of keras": (
        "HardSwish",
        "a = Add(x, three)\nc = Clip(a, zero, six)\nm = Mul(c, sixth)\ny = Mul(m, x)",
    ),
    "hardswish of hardsigmoid": (
        "HardSwish",
        "h = HardSigmoid(x) alpha=1/6; beta=0.5\ny = Mul(x, h)",
    ),
    "hardswish of relu and min": (
        "HardSwish",
        "a = Add(x, three)\nr = Relu(a)\nc = Min(r, six)\nm = Mul(x, c)\ny = Mul(m, sixth)",
    ),
    "hardsigmoid": ("HardSigmoid", "a = Add(x, three)\nc = Clip(a, zero, six)\ny = Div(c, six)"),
    "relu6 of min and max": ("Relu6", "a = Max(x, zero)\ny = Min(a, six)"),
    "gelu of torch": (
        "Gelu",
        "d = Div(x, root2)\ne = Erf(d)\na = Add(e, one)\nm = Mul(x, a)\ny = Mul(m, half)",
    ),
    "gelu of bert": (
        "Gelu",
        "h = Mul(x, half)\nd = Div(x, root2)\ne = Erf(d)\na = Add(one, e)\ny = Mul(h, a)",
    ),
    "gelu by tanh": (
        "Gelu",
        "p = Pow(x, three)\nc = Mul(p, cubic)\ns = Add(x, c)\nr = Mul(s, rootpi)\n"
        "t = Tanh(r)\na = Add(t, one)\nm = Mul(x, a)\ny = Mul(m, half)",
    ),
    "gelu by tanh with products": (
        "Gelu",
        "q = Mul(x, x)\np = Mul(x, q)\nc = Mul(cubic, p)\ns = Add(x, c)\nr = Mul(s, rootpi)\n"
        "t = Tanh(r)\na = Add(one, t)\nh = Mul(half, x)\ny = Mul(h, a)",
    ),
    "layernorm of torch": (
        "LayerNorm",
        "m = ReduceMean(x) axes=[-1]\nd = Sub(x, m)\np = Pow(d, two)\nv = ReduceMean(p) axes=[-1]\n"
        "a = Add(v, epsilon)\nr = Sqrt(a)\nq = Div(d, r)\ns = Mul(q, gamma)\ny = Add(s, beta)",
    ),
    "layernorm of tensorflow": (
        "LayerNorm",
        "m = ReduceMean(x) axes=[-1]\nd = Sub(x, m)\ne = Sub(x, m)\np = Mul(e, e)\n"
        "v = ReduceMean(p) axes=[-1]\na = Add(v, epsilon)\nr = Sqrt(a)\ni = Reciprocal(r)\n"
        "q = Mul(d, i)\ny = Mul(q, gamma)",
    ),
    "layernorm over three axes": (
        "LayerNorm",
        "m = ReduceMean(x) axes=[1,2,3]\nd = Sub(x, m)\np = Mul(d, d)\n"
        "v = ReduceMean(p) axes=[1,2,3]\na = Add(v, epsilon)\nr = Sqrt(a)\ny = Div(d, r)",
    ),
}


@pytest.mark.parametrize("name", PATTERNS)
def test_pattern(tmp_path: Path, name: str) -> None:
    kind, text = PATTERNS[name]
    nodes = parse(text)
    graph = imported(tmp_path, model(nodes, {"x": SHAPE}, constants=CONSTANTS))
    node = only(graph)
    assert node.op.kind == kind
    assert set(node.origin) == {n.name for n in nodes}
    if kind == "Gelu":
        assert node.op == ops.Gelu(approximate="tanh" in name)


KEPT = {
    "gate is read elsewhere": "s = Sigmoid(x)\nz = Neg(s)\ny = Mul(x, s)",
    "other operand": "n = Neg(x)\ns = Sigmoid(n)\ny = Mul(x, s)\nz = Abs(x)",
    "other shift": (
        "a = Add(x, two)\nc = Clip(a, zero, six)\nm = Mul(x, c)\ny = Div(m, six)\nz = Abs(x)"
    ),
    "other axes": (
        "m = ReduceMean(x) axes=[-1]\nd = Sub(x, m)\np = Mul(d, d)\nv = ReduceMean(p) axes=[-2]\n"
        "a = Add(v, epsilon)\nr = Sqrt(a)\ny = Div(d, r)\nz = Abs(x)"
    ),
}


@pytest.mark.parametrize("name", KEPT)
def test_near_miss_stays(tmp_path: Path, name: str) -> None:
    nodes = parse(KEPT[name])
    graph = imported(tmp_path, model(nodes, {"x": SHAPE}, ("y", "z"), constants=CONSTANTS))
    assert not {"Silu", "HardSwish", "Gelu", "LayerNorm"} & set(kinds(graph))


def test_gate_that_is_an_output_stays(tmp_path: Path) -> None:
    graph = imported(
        tmp_path, model(parse("s = Sigmoid(x)\ny = Mul(x, s)"), {"x": SHAPE}, ("y", "s"))
    )
    assert kinds(graph) == ["Sigmoid", "Mul"]


# --- folding into weights ---------------------------------------------------------

NORM = {"scale": floats(4), "shift": floats(4), "mean": floats(4), "var": np.abs(floats(4)) + 0.5}

FOLDED = {
    "conv and batchnorm": (
        "Conv",
        "c = Conv(x, w, b)\ny = BatchNormalization(c, scale, shift, mean, var)",
        {"w": floats(4, 4, 3, 3), "b": floats(4), **NORM},
    ),
    "conv without bias and batchnorm": (
        "Conv",
        "c = Conv(x, w)\ny = BatchNormalization(c, scale, shift, mean, var)",
        {"w": floats(4, 4, 3, 3), **NORM},
    ),
    "depthwise convolution and batchnorm": (
        "DepthwiseConv",
        "c = Conv(x, w) group=4\ny = BatchNormalization(c, scale, shift, mean, var)",
        {"w": floats(4, 1, 3, 3), **NORM},
    ),
    "transposed convolution in groups and batchnorm": (
        "ConvTranspose",
        "c = ConvTranspose(x, w) group=2\ny = BatchNormalization(c, scale, shift, mean, var)",
        {"w": floats(4, 2, 3, 3), **NORM},
    ),
    "conv and bias": (
        "Conv",
        "c = Conv(x, w)\ny = Add(c, b)",
        {"w": floats(3, 4, 2, 2), "b": floats(3, 1, 1)},
    ),
    "conv and scalar": (
        "Conv",
        "c = Conv(x, w)\ny = Mul(c, b)",
        {"w": floats(3, 4, 2, 2), "b": floats(1)},
    ),
    "matmul and bias": (
        "FullyConnected",
        "c = MatMul(x, w)\ny = Add(b, c)",
        {"w": floats(6, 5), "b": floats(5)},
    ),
    "matmul, scale and two biases": (
        "FullyConnected",
        "c = MatMul(x, w)\nd = Add(c, b)\ne = Mul(d, s)\ny = Sub(e, b)",
        {"w": floats(6, 5), "b": floats(5), "s": floats(5)},
    ),
}


@pytest.mark.parametrize("name", FOLDED)
def test_folds_into_weights(tmp_path: Path, name: str) -> None:
    kind, text, constants = FOLDED[name]
    graph = imported(tmp_path, model(parse(text), {"x": SHAPE}, constants=constants))
    node = only(graph)
    assert node.op.kind == kind
    assert node.outputs == ("y",)
    assert set(graph.constants) == set(node.inputs[1:])


def test_weight_that_two_convolutions_share_is_scaled_for_one(tmp_path: Path) -> None:
    text = "a = Conv(x, w)\ny = Mul(a, s)\nz = Conv(x, w)"
    constants = {"w": floats(3, 4, 2, 2), "s": floats(3, 1, 1)}
    graph = imported(tmp_path, model(parse(text), {"x": SHAPE}, ("y", "z"), constants=constants))
    assert kinds(graph) == ["Conv", "Conv"]
    assert np.array_equal(graph.constants["w"], constants["w"])


def test_bias_that_varies_over_pixels_stays(tmp_path: Path) -> None:
    constants = {"w": floats(3, 4, 1, 1), "b": floats(6, 6)}
    text = "c = Conv(x, w)\ny = Add(c, b)"
    graph = imported(tmp_path, model(parse(text), {"x": SHAPE}, constants=constants))
    assert kinds(graph) == ["Conv", "Add"]


def test_convolution_that_is_read_twice_keeps_its_bias_apart(tmp_path: Path) -> None:
    constants = {"w": floats(3, 4, 1, 1), "b": floats(3, 1, 1)}
    text = "c = Conv(x, w)\ny = Add(c, b)\nz = Neg(c)"
    graph = imported(tmp_path, model(parse(text), {"x": SHAPE}, ("y", "z"), constants=constants))
    assert sorted(kinds(graph)) == ["Add", "Conv", "Neg"]


def test_normalization_before_a_convolution_is_one_scale_and_one_shift(tmp_path: Path) -> None:
    text = (
        "n = BatchNormalization(x, scale, shift, mean, var)\nm = Mul(n, a)\ns = Add(m, b)\n"
        "y = Relu(s)"
    )
    constants = {**NORM, "a": floats(4, 1, 1), "b": floats(4, 1, 1)}
    graph = imported(tmp_path, model(parse(text), {"x": SHAPE}, constants=constants))
    assert kinds(graph) == ["Mul", "Add", "Relu"]


def test_a_scale_that_would_overflow_a_weight_stays(tmp_path: Path) -> None:
    constants = {"w": np.full((3, 4, 1, 1), 1e30, np.float32), "s": np.array(1e30, np.float32)}
    proto = model(parse("c = Conv(x, w)\ny = Mul(c, s)"), {"x": SHAPE}, constants=constants)
    assert kinds(read(tmp_path, proto).graph) == ["Conv", "Mul"]
