"""What every operator means after import is what ONNX Runtime computes, in every opset."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from qhal.errors import InternalError, QhalError
from qhal.ir.export import to_onnx
from qhal.ir.graph import Graph
from qhal.ir.importer import import_model
from qhal.quant.model import QuantModel
from qhal.quant.oracle import Oracle
from tests.core.ir.importing import run
from tests.operators.cases import Case
from tests.operators.running import by_kind, close, expected, first, newest, some

_IN_OLDER_OPSETS = 8
"""Cases of an operator that are tried in every opset in which it changed."""


def _read(model: onnx.ModelProto, folder: Path) -> Graph | None:
    """The imported graph; None if it is refused with a reason."""
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    try:
        return import_model(path, {}).graph
    except InternalError:
        raise
    except QhalError as error:
        assert error.message
        return None


def _check(case: Case, opset: int, folder: Path) -> bool:
    """Compare one case; False if it cannot be compared."""
    model, feeds = case.model(opset), first(case)
    wanted, graph = expected(model, feeds), _read(model, folder)
    if wanted is None or graph is None:
        return False
    given = {name: feeds[name] for name in graph.inputs}
    exported = run(to_onnx(graph).SerializeToString(), given)
    oracle = Oracle(QuantModel(graph)).run(given)
    for value, found, name in zip(wanted, exported, graph.outputs, strict=True):
        assert close(value, found), f"opset {opset}: {case}"
        assert close(value, oracle[name]), f"opset {opset}, in the oracle: {case}"
    return True


@pytest.mark.parametrize("kind", by_kind())
def test_import_keeps_the_meaning(kind: str, tmp_path: Path, whole_sweep: bool) -> None:
    cases = by_kind()[kind]
    compared = [_check(case, newest(case), tmp_path) for case in cases]
    for case in some(cases, _IN_OLDER_OPSETS, whole_sweep):
        compared += [_check(case, opset, tmp_path) for opset in case.opsets()]
    assert any(compared)
