"""Indices, masks and normalizations in models for Cortex-M and Ethos-U, deployed and run.

TFLite Micro's interpreter runs what is for a Cortex-M; what is for an Ethos-U is compiled with Vela
and runs in LiteRT. Either has to compute what the oracle computes, in every bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import qhal
from qhal.errors import RefusedError
from qhal.ir.graph import Array

_NEEDS = {"cortex-m55": "tflite_micro", "ethos-u55-128": "ethosu", "ethos-u85-256": "ethosu"}
_RANDOM = 7

_N = helper.make_node
_FLOAT, _INT32, _INT64 = TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64
_BOOL, _UINT8, _INT8 = TensorProto.BOOL, TensorProto.UINT8, TensorProto.INT8

Nodes = list[onnx.NodeProto]
_DENSE = _N("MatMul", ["x", "W"], ["d"])
_BEST = _N("ArgMax", ["d"], ["k"], axis=-1, keepdims=0)
_LOOK_UP = _N("Gather", ["E", "ids"], ["e"], axis=0)


def _masked(kind: int) -> Nodes:
    return [_DENSE, _N("Cast", ["m"], ["f"], to=_FLOAT), _N("Mul", ["d", "f"], ["y"])]


def _function(op_type: str) -> Nodes:
    return [_N("Sigmoid", ["x"], ["s"]), _N(op_type, ["s"], ["y"])]


_MODELS: Mapping[str, Nodes] = {
    "argmax": [_DENSE, _N("ArgMax", ["d"], ["y"], axis=-1, keepdims=0)],
    "argmax kept": [_DENSE, _N("ArgMax", ["d"], ["y"], axis=-1, keepdims=1)],
    "row of argmax": [_DENSE, _BEST, _N("Gather", ["E", "k"], ["y"], axis=0)],
    "embedding": [_LOOK_UP, _N("MatMul", ["e", "W"], ["y"])],
    "number of argmax": [_DENSE, _BEST, _N("Cast", ["k"], ["y"], to=_FLOAT)],
    "argmax is 3": [_DENSE, _BEST, _N("Equal", ["k", "three"], ["y"])],
    "argmax plus 3": [_DENSE, _BEST, _N("Add", ["k", "three"], ["y"])],
    "mask of int32": _masked(_INT32),
    "mask of int64": _masked(_INT64),
    "mask of bool": _masked(_BOOL),
    "image of uint8": [
        _N("Cast", ["x"], ["i"], to=_INT32),
        _N("Cast", ["i"], ["f"], to=_FLOAT),
        _N("MatMul", ["f", "W"], ["y"]),
    ],
    "image of int8": [_N("Cast", ["x"], ["f"], to=_FLOAT), _N("MatMul", ["f", "W"], ["y"])],
    "layer norm": [_DENSE, _N("LayerNormalization", ["d", "ones"], ["y"], axis=-1)],
    "instance norm": [
        _N("Sigmoid", ["x"], ["s"]),
        _N("InstanceNormalization", ["s", "ones3", "zeros3"], ["y"]),
    ],
    "Sqrt": _function("Sqrt"),
    "Reciprocal": _function("Reciprocal"),
    "Log": _function("Log"),
    "Sin": _function("Sin"),
    "Softsign": _function("Softsign"),
}

_OTHER_INPUT = {"image of uint8": _UINT8, "image of int8": _INT8}
_MASK = {"mask of int32": _INT32, "mask of int64": _INT64, "mask of bool": _BOOL}
_RESULT = {
    **dict.fromkeys(("argmax", "argmax kept", "argmax plus 3"), _INT64),
    "argmax is 3": _BOOL,
}
_RANK = {"instance norm": 4, **dict.fromkeys(("argmax", "number of argmax"), 2)}
_RANK.update(dict.fromkeys(("argmax plus 3", "argmax is 3"), 2))
_REFUSED = {
    ("argmax is 3", "ethos-u55-128"): "Compare",
    ("argmax is 3", "ethos-u85-256"): "Compare",
    ("argmax plus 3", "ethos-u55-128"): "Add",
    ("argmax plus 3", "ethos-u85-256"): "Add",
    ("mask of bool", "ethos-u55-128"): "m is bool, with which Vela fails",
}
_IN_FLOAT = frozenset({"Sqrt", "Reciprocal", "Log", "Sin", "Softsign"})
_ROUNDED = frozenset({"Log", "Sin", "Sqrt", "layer norm", "instance norm"})
"""Where a kernel computes in float, whose last bits differ between libraries."""

_TRIALS = [(n, t) for n in _MODELS for t in _NEEDS if n not in _IN_FLOAT or t != "ethos-u85-256"]


@cache
def _constants() -> Mapping[str, Array]:
    rng = np.random.default_rng(_RANDOM)
    return {
        "W": rng.normal(size=(8, 8)).astype(np.float32),
        "E": rng.normal(size=(8, 8)).astype(np.float32),
        "three": np.asarray(3, np.int64),
        "ones": np.ones(8, np.float32),
        "ones3": np.ones(3, np.float32),
        "zeros3": np.zeros(3, np.float32),
    }


def _model(name: str) -> onnx.ModelProto:
    nodes = _MODELS[name]
    read = {i for node in nodes for i in node.input}
    shape = (1, 3, 6, 6) if name == "instance norm" else (1, 4, 8)
    kinds = {"x": _OTHER_INPUT.get(name, _FLOAT), "m": _MASK.get(name, _BOOL), "ids": _INT64}
    shapes = {"x": shape, "m": shape, "ids": (1, 4)}
    given = [helper.make_tensor_value_info(n, kinds[n], shapes[n]) for n in kinds if n in read]
    result = (None,) * _RANK.get(name, 3)
    made = helper.make_tensor_value_info("y", _RESULT.get(name, _FLOAT), result)
    held = [numpy_helper.from_array(v, n) for n, v in _constants().items() if n in read]
    graph = helper.make_graph(nodes, "net", given, [made], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def _data(model: onnx.ModelProto) -> dict[str, Any]:
    rng = np.random.default_rng(_RANDOM)
    found: dict[str, Any] = {}
    for value in model.graph.input:
        kind = value.type.tensor_type
        shape = (8, *(d.dim_value for d in kind.shape.dim))
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
        most = 2 if value.name == "m" else 8 if value.name == "ids" else 120
        whole = rng.integers(0, most, shape)
        found[value.name] = (rng.normal(size=shape) if kind.elem_type == _FLOAT else whole).astype(
            dtype
        )
    return found


@pytest.mark.parametrize(("name", "target"), _TRIALS)
def test_it_runs_as_the_oracle_says_or_is_refused(name: str, target: str, tmp_path: Path) -> None:
    if find_spec(_NEEDS[target]) is None:
        pytest.skip(f"{_NEEDS[target]} is not installed")
    model = _model(name)
    onnx.save(model, tmp_path / "m.onnx")
    np.savez(tmp_path / "d.npz", **_data(model))

    def deploy() -> qhal.RunRecord:
        files = tmp_path / "m.onnx", tmp_path / "d.npz"
        return qhal.deploy(files[0], target=target, data=files[1], out=tmp_path / "o")

    if (name, target) in _REFUSED:
        with pytest.raises(RefusedError, match=_REFUSED[name, target]):
            deploy()
        return
    record = deploy()
    metrics = {key: metric.value for key, metric in record.metrics.items()}
    kind = "" if target == "cortex-m55" else "reference_"
    equal = metrics.get(f"oracle_{kind}equal[y]")
    if equal is None:
        assert metrics[f"oracle_{kind}sqnr"] >= (120 if name in _ROUNDED else 200)
    else:
        assert equal == 1
    wide = [port for port in (*record.model.inputs, *record.model.outputs) if port.dtype == "int64"]
    assert {port.artifact_dtype for port in wide} <= {"int32"}
