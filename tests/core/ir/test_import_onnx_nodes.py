"""The test suite of ONNX itself: what every operator shall compute.

Each case is one node with inputs and wanted outputs. The first input stays an input; the
others become constants, as in real models. A case may be refused with a deliberate error or
stay opaque; what is imported into canonical operators computes what ONNX says.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from qhal.errors import InternalError, QhalError
from qhal.ir.dtypes import DType
from qhal.ir.export import to_onnx
from qhal.ir.graph import Graph
from qhal.ir.importer import import_model
from qhal.ir.ops import Opaque
from tests.core.ir.importing import run

DIFFERS_IN_ONNXRUNTIME = {
    "test_resize_downsample_scales_linear_align_corners",  # the same for the original model
}

NUMBERS = {DType.FLOAT32, DType.INT32, DType.INT64, DType.BOOL}
"""Element types that onnxruntime has most operators for."""

LEAST_CANONICAL_CASES = 500


def cases() -> list[Any]:
    """The cases with tensors of numbers, without those that only repeat another one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases  # it computes at import

        found = collect_testcases(None)
    return [case for case in found if "_expanded" not in case.name and _is_numeric(case)]


def _is_numeric(case: Any) -> bool:
    if any(o.domain.startswith("ai.onnx.") for o in case.model.opset_import):
        return False
    values = [value for group in case.data_sets[0] for value in group]
    return all(isinstance(v, np.ndarray) and v.size and v.dtype.kind in "fiub" for v in values)


def with_constants(case: Any) -> onnx.ModelProto:
    """The model of a case with all inputs but the first as constants."""
    proto = onnx.ModelProto()
    proto.CopyFrom(case.model)
    inputs = list(proto.graph.input)
    for info, value in list(zip(inputs, case.data_sets[0][0], strict=False))[1:]:
        proto.graph.initializer.append(numpy_helper.from_array(value, info.name))
        proto.graph.input.remove(info)
    return proto


def is_checked(graph: Graph) -> bool:
    """True if the graph is canonical, of types that onnxruntime computes with."""
    opaque = any(isinstance(node.op, Opaque) for node in graph.nodes)
    return not opaque and all(t.dtype in NUMBERS for t in graph.tensors.values())


def is_same(graph: Graph, case: Any) -> bool:
    """True if the graph computes what the case wants."""
    inputs, wanted = case.data_sets[0]
    feeds = {n: inputs[0].astype(graph.tensors[n].dtype.numpy) for n in graph.inputs}
    got = run(to_onnx(graph).SerializeToString(), feeds)
    return all(
        w.shape == g.shape and np.allclose(g, w, rtol=1e-3, atol=1e-3, equal_nan=True)
        for w, g in zip(wanted, got, strict=True)
    )


def test_operators_compute_what_onnx_says(tmp_path: Path) -> None:
    path, same, wrong = tmp_path / "model.onnx", 0, []
    for case in cases():
        path.write_bytes(with_constants(case).SerializeToString())
        try:
            graph = import_model(path, {}).graph
        except QhalError as error:
            assert not isinstance(error, InternalError), case.name
            continue
        if not is_checked(graph) or case.name in DIFFERS_IN_ONNXRUNTIME:
            continue
        if is_same(graph, case):
            same += 1
        else:
            wrong.append(case.name)
    assert wrong == []
    assert same >= LEAST_CANONICAL_CASES
