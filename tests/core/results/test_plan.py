"""What the plan holds of tensors and nodes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qhal.ir.dtypes import DType
from qhal.quant.choice import Choice, Verdict
from qhal.quant.model import QuantParams
from qhal.results.plan import Plan, TensorPlan, plan_of
from qhal.targets.where import Where, WhereBasis
from tests.core.conftest import Toys


def _tensor(plan: Plan, name: str) -> TensorPlan:
    return next(t for t in plan.tensors if t.name == name)


def test_nodes_tell_verdict_kernel_and_type(toys: Toys) -> None:
    quantize, fc, _ = plan_of(toys.model).nodes
    assert quantize.verdict is Verdict.CONVERSION
    assert fc.verdict is Verdict.NATIVE
    assert fc.declared == Where("", "int8 per-axis", "int8", WhereBasis.DECLARED)
    assert quantize.declared == Where("", None, "int8", WhereBasis.DECLARED)
    assert (fc.placed, fc.executed, fc.runs) == (None, None, None)
    assert fc.origin == ("Gemm_0",)


def test_choices_give_reason_and_source(toys: Toys) -> None:
    choice = Choice("fc", Verdict.HOST, toys.model.kernels["fc"], "a book", "it is large")
    fc = plan_of(toys.model, {"fc": choice}).nodes[1]
    assert (fc.verdict, fc.source, fc.reason) == (Verdict.HOST, "a book", "it is large")


def test_activation_has_scale_zero_point_and_range(toys: Toys) -> None:
    tensor = _tensor(plan_of(toys.model), "y__quantized")
    assert (tensor.scale, tensor.zero_point, tensor.axis) == ((0.125,), (-3,), None)
    assert tensor.range == ((-128 + 3) / 8, (127 + 3) / 8)


def test_every_scale_of_a_weight_reads_back_exactly(toys: Toys) -> None:
    tensor = _tensor(plan_of(toys.model), "w")
    assert tensor.axis == 0
    assert tensor.zero_point == (0,)
    assert np.array_equal(np.array(tensor.scale, np.float32), toys.model.params["w"].scale)


def test_bias_names_what_it_is_derived_from(toys: Toys) -> None:
    tensor = _tensor(plan_of(toys.model), "b")
    assert (tensor.scale, tensor.range) == ((), ())
    assert tensor.derived_from == ("x__quantized", "w")


def test_float_tensors_have_no_parameters(toys: Toys) -> None:
    tensor = _tensor(plan_of(toys.baseline), "x")
    assert (tensor.dtype, tensor.scale, tensor.shape) == ("float32", (), (1, 4))


@pytest.mark.parametrize("dtype", [DType.INT8, DType.NF4])
def test_a_range_ends_where_float32_does(toys: Toys, dtype: DType) -> None:
    """One step below what the values need, -128 steps may be more than a float32 holds."""
    largest = float(np.finfo(np.float32).max)
    scale = np.float32(largest / 127 if dtype is DType.INT8 else largest)
    params = {
        **toys.model.params,
        "w": QuantParams(dtype, np.array([scale]), np.zeros(1, np.int64)),
    }
    low, high = _tensor(plan_of(replace(toys.model, params=params)), "w").range
    assert np.float32(low) == -np.float32(largest)
    assert 0.999 * largest < np.float32(high) <= largest
