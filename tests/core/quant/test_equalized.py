"""When a target's model is equalized: :func:`qhal.pipeline.prepare.equalized`."""

from __future__ import annotations

import numpy as np

from qhal.decisions import Code
from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.graph import TensorType
from qhal.ir.importer import Imported
from qhal.pipeline.prepare import Prepared, equalized, prepare
from qhal.quant.equalize import Finding, find_chains
from qhal.targets.capability import Capability, KernelRow
from qhal.targets.profile import TargetProfile
from qhal.targets.recipe import RECIPES
from qhal.targets.spec import Derived, PerAxis, PerTensor, QuantSpec
from qhal.targets.target import Target
from tests.core.quant.targets import INT8, WEIGHT, capabilities

PER_TENSOR = QuantSpec(INT8.dtype, PerTensor(), symmetric=True)
PER_CHANNEL = QuantSpec(INT8.dtype, PerAxis())


def ready(activation: QuantSpec = INT8, weight: QuantSpec = WEIGHT) -> tuple[Prepared, Finding]:
    """A convolution and a depthwise one, for a target whose depthwise kernel is as given."""
    builder = GraphBuilder("network")
    x = builder.input("x", TensorType((1, 2, 4, 4)))
    first = builder.constant("w", np.ones((2, 2, 1, 1), np.float32))
    made = builder.one(ops.Conv((1, 1), (0, 0, 0, 0), (1, 1)), [x, first])
    depth = builder.constant("d", np.ones((2, 1, 1, 1), np.float32))
    made = builder.one(ops.DepthwiseConv((1, 1), (0, 0, 0, 0), (1, 1)), [made, depth])
    graph = builder.build(outputs=[made])
    row = KernelRow(activation, INT8, weight=weight, bias=Derived())
    caps = capabilities(extra=(Capability("DepthwiseConv", (row,), "tests"),))
    target = Target(TargetProfile("npu", "toy", "A toy NPU"), caps, RECIPES[0])
    (chain,) = find_chains(graph)
    scale = np.array([1.0, 0.1], np.float32)
    return prepare(target, Imported(graph, (), "", 13, 0)), Finding(chain, scale, scale, 3.0)


def test_the_model_is_prepared_again_and_the_record_says_why() -> None:
    before, finding = ready()
    after = equalized(before, [finding])
    assert [decision.code for decision in after.decisions] == [Code.EQUALIZED]
    assert after.choices.keys() == before.choices.keys()
    assert after.imported.graph is not before.imported.graph


def test_nothing_is_prepared_again_without_a_finding() -> None:
    before, _ = ready()
    assert equalized(before, []) is before


def test_a_kernel_with_a_scale_per_channel_needs_no_help() -> None:
    before, finding = ready(activation=PER_CHANNEL)
    assert equalized(before, [finding]) is before


def test_weights_with_one_scale_are_not_made_less_even() -> None:
    before, finding = ready(weight=PER_TENSOR)
    assert equalized(before, [finding]) is before
