"""Indices of 64 bits become 32 bits, and the user's type of inputs and outputs is kept."""

from __future__ import annotations

import numpy as np
import pytest

from qhal.artifact.ports import Adapter
from qhal.decisions import Code
from qhal.errors import DataValueError
from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.dtypes import DType
from qhal.ir.graph import Graph, TensorType
from qhal.ir.verify import verify
from qhal.legal.indices import narrow_indices
from qhal.quant.model import QuantModel
from qhal.quant.oracle import Oracle


def counting(offset: int) -> Graph:
    """The place of the largest element of the rows that were asked for, plus a number."""
    builder = GraphBuilder("net")
    table = builder.constant("table", np.eye(5, dtype=np.float32)[::-1].copy())
    ids = builder.input("ids", TensorType((3,), DType.INT64))
    rows = builder.one(ops.Gather(0), (table, ids))
    best = builder.one(ops.ArgMax(1, keepdims=False), (rows,))
    short = builder.one(ops.Cast(DType.INT32), (best,))
    wide = builder.one(ops.Cast(DType.INT64), (short,))
    offset_name = builder.constant("offset", np.asarray(offset, np.int64))
    return builder.build(outputs=(builder.one(ops.Add(), (wide, offset_name), output="y"),))


def test_every_index_is_int32_and_the_users_types_are_known() -> None:
    made = narrow_indices(counting(2), DType.INT32)
    verify(made.graph)
    assert DType.INT64 not in {kind.dtype for kind in made.graph.tensors.values()}
    assert made.graph.user_types == {"ids": DType.INT64, "y": DType.INT64}
    assert [node.op.kind for node in made.graph.nodes] == ["Gather", "ArgMax", "Add"]
    assert [(d.code, d.subject) for d in made.decisions] == [
        (Code.INDEX_TYPE, "ids"),
        (Code.INDEX_TYPE, "y"),
    ]


def test_ports_take_and_give_the_users_type() -> None:
    model = QuantModel(narrow_indices(counting(2), DType.INT32).graph)
    adapter = Adapter.of_model(model)
    given = adapter.to_artifact({"ids": np.array([0, 4, 1])})
    assert given["ids"].dtype == np.int32
    found = Oracle(model).run(given)
    assert found["y"].dtype == np.int32
    (port,) = adapter.outputs
    assert (port.dtype, port.artifact_dtype) == ("int64", "int32")
    real = adapter.to_user(found)["y"]
    assert real.dtype == np.int64
    assert real.tolist() == [6, 2, 5]


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1])
def test_an_index_beyond_int32_is_refused(value: int) -> None:
    adapter = Adapter.of_model(QuantModel(narrow_indices(counting(2), DType.INT32).graph))
    with pytest.raises(DataValueError, match=f"ids holds {value}, but the artifact takes it as"):
        adapter.to_artifact({"ids": np.array([0, value, 1])})


@pytest.mark.parametrize(
    ("graph", "to"), [(counting(2), DType.INT64), (counting(2**31), DType.INT32)]
)
def test_what_stays_as_it_is(graph: Graph, to: DType) -> None:
    """A target that takes int64, and a constant that int32 cannot hold."""
    assert narrow_indices(graph, to).graph is graph
