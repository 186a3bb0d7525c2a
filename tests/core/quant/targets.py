"""Invented capabilities for tests of the solver."""

from __future__ import annotations

from qhal.ir.dtypes import DType
from qhal.ir.graph import NodeView
from qhal.targets.capability import Capabilities, Capability, KernelRow
from qhal.targets.limit import limit
from qhal.targets.spec import (
    FLOAT,
    Derived,
    FixedQParams,
    PerAxis,
    QuantSpec,
    SameAsInput,
)

INT8 = QuantSpec(DType.INT8)
INT16 = QuantSpec(DType.INT16, symmetric=True)
WEIGHT = QuantSpec(DType.INT8, PerAxis(), symmetric=True, narrow_range=True)


@limit()
def small(view: NodeView) -> str | None:
    """Tensors have at most 4,096 elements."""
    count = view.output().elements
    return None if count <= 4096 else f"the result has {count} elements; allowed: 4096"


def weighted(*, unit: str = "", activation: QuantSpec = INT8) -> KernelRow:
    """An integer row of a weighted operator."""
    return KernelRow(activation, activation, weight=WEIGHT, bias=Derived(), unit=unit)


def capabilities(
    *, floats: bool = True, integer_io: bool = False, extra: tuple[Capability, ...] = ()
) -> Capabilities:
    """A few operators in int8, with float as fallback."""
    fallback = (KernelRow(FLOAT, FLOAT, weight=FLOAT, bias=FLOAT),) if floats else ()
    moves = (KernelRow(INT8, SameAsInput()), *fallback)
    shares = (KernelRow(INT8, SameAsInput(every=True)), *fallback)
    fixed = (KernelRow(INT8, FixedQParams(DType.INT8, 1 / 256, -128)), *fallback)
    kernels = (
        Capability("Conv", (weighted(), *fallback), "tests", limits=(small,)),
        Capability("FullyConnected", (weighted(), *fallback), "tests"),
        Capability("Add", (KernelRow(INT8, INT8), *fallback), "tests"),
        Capability("Concat", shares, "tests"),
        Capability("Reshape", moves, "tests"),
        Capability("Sigmoid", fixed, "tests"),
        Capability("Erf", fallback, "tests"),
        *extra,
    )
    return Capabilities(kernels, integer_io=integer_io)
