"""The canonical operators: what every backend sees, instead of twenty opsets of ONNX.

Each operator is a frozen dataclass of static attributes. Tensors are the operands of the
:class:`~qhal.ir.graph.Node`; ONNX's constant operands (axes, pads …) are attributes here.

Conventions
    * Weights: Conv ``(O, I/groups, *k)`` in NCHW, ``(O, *k, I/groups)`` in NHWC.
      DepthwiseConv ``(C*m, 1, *k)`` in NCHW, ``(1, *k, C*m)`` in NHWC; output channel
      ``c*m + j`` belongs to input channel ``c`` in both.
      ConvTranspose ``(I, O/groups, *k)`` in NCHW, ``(O, *k, I)`` in NHWC (groups 1).
      FullyConnected ``(N, K)``.
    * ``pads``: all begins, then all ends, over the spatial dimensions. Axes are non-negative.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from qhal.ir.dtypes import DType
from qhal.ir.op_base import FUNCTION, PAIR
from qhal.ir.op_base import Activation as Activation
from qhal.ir.op_base import Ints as Ints
from qhal.ir.op_base import Layout as Layout
from qhal.ir.op_base import Op as Op
from qhal.ir.op_base import Role as Role
from qhal.ir.op_base import Traits as Traits
from qhal.ir.ops_moves import REARRANGING as REARRANGING
from qhal.ir.ops_moves import Cast as Cast
from qhal.ir.ops_moves import Concat as Concat
from qhal.ir.ops_moves import Dequantize as Dequantize
from qhal.ir.ops_moves import Expand as Expand
from qhal.ir.ops_moves import Gather as Gather
from qhal.ir.ops_moves import Pad as Pad
from qhal.ir.ops_moves import Quantize as Quantize
from qhal.ir.ops_moves import Requantize as Requantize
from qhal.ir.ops_moves import Reshape as Reshape
from qhal.ir.ops_moves import Slice as Slice
from qhal.ir.ops_moves import Split as Split
from qhal.ir.ops_moves import Tile as Tile
from qhal.ir.ops_moves import Transpose as Transpose
from qhal.ir.ops_recurrent import Gru as Gru
from qhal.ir.ops_recurrent import Lstm as Lstm
from qhal.ir.ops_recurrent import Rnn as Rnn

_WEIGHTED = (Role.ACTIVATION, Role.WEIGHT, Role.BIAS)
_NONNEGATIVE = replace(FUNCTION, nonnegative=True)

# --- weighted operators -------------------------------------------------------


@dataclass(frozen=True)
class Conv(Op):
    """Convolution; operands x, weight, bias (optional)."""

    roles = _WEIGHTED
    strides: Ints
    pads: Ints
    dilations: Ints
    groups: int = 1
    activation: Activation = Activation.NONE
    layout: Layout = Layout.NCHW


@dataclass(frozen=True)
class DepthwiseConv(Op):
    """Convolution with one group per input channel; operands x, weight, bias (optional)."""

    roles = _WEIGHTED
    strides: Ints
    pads: Ints
    dilations: Ints
    multiplier: int = 1
    activation: Activation = Activation.NONE
    layout: Layout = Layout.NCHW


@dataclass(frozen=True)
class ConvTranspose(Op):
    """Transposed convolution; operands x, weight, bias (optional)."""

    roles = _WEIGHTED
    strides: Ints
    pads: Ints
    dilations: Ints
    output_padding: Ints
    groups: int = 1
    activation: Activation = Activation.NONE
    layout: Layout = Layout.NCHW


@dataclass(frozen=True)
class FullyConnected(Op):
    """``x @ weight.T + bias`` over the last axis; operands x (…, K), weight (N, K), bias (N)."""

    roles = _WEIGHTED
    activation: Activation = Activation.NONE


@dataclass(frozen=True)
class MatMul(Op):
    """Matrix product of two activations, broadcast over leading axes as NumPy does."""


# --- element-wise, two operands -----------------------------------------------


@dataclass(frozen=True)
class Add(Op):
    """``a + b`` with NumPy broadcasting."""

    traits = PAIR
    activation: Activation = Activation.NONE


@dataclass(frozen=True)
class Sub(Op):
    """``a - b`` with NumPy broadcasting."""

    traits = PAIR
    activation: Activation = Activation.NONE


@dataclass(frozen=True)
class Mul(Op):
    """``a * b`` with NumPy broadcasting."""

    traits = PAIR
    activation: Activation = Activation.NONE


@dataclass(frozen=True)
class Div(Op):
    """``a / b`` with NumPy broadcasting."""

    traits = PAIR
    activation: Activation = Activation.NONE


@dataclass(frozen=True)
class Pow(Op):
    """``a ** b`` with NumPy broadcasting."""

    traits = PAIR


@dataclass(frozen=True)
class Mod(Op):
    """Remainder of ``a / b``, with NumPy broadcasting.

    It has the sign of the divisor, or with ``truncates`` that of the dividend, as C's ``fmod``.
    """

    traits = PAIR
    truncates: bool = False


@dataclass(frozen=True)
class Maximum(Op):
    """Element-wise maximum of two operands."""

    traits = PAIR


@dataclass(frozen=True)
class Minimum(Op):
    """Element-wise minimum of two operands."""

    traits = PAIR


@dataclass(frozen=True)
class Compare(Op):
    """``a <relation> b`` -> bool; relation is one of ``== < <= > >=``."""

    traits = Traits(elementwise=True, operands=2)
    relation: str = "=="


@dataclass(frozen=True)
class Logical(Op):
    """``a <function> b`` of booleans; function is one of ``And Or Xor``."""

    traits = PAIR
    function: str = "And"


@dataclass(frozen=True)
class Where(Op):
    """``condition ? a : b``; operands condition (bool), a, b."""

    roles = (Role.INDEX, Role.ACTIVATION)
    traits = Traits(elementwise=True, operands=3)


# --- element-wise, one operand ------------------------------------------------


@dataclass(frozen=True)
class Relu(Op):
    """``max(x, 0)``."""

    traits = _NONNEGATIVE


@dataclass(frozen=True)
class Relu6(Op):
    """``min(max(x, 0), 6)``."""

    traits = _NONNEGATIVE


@dataclass(frozen=True)
class Clip(Op):
    """``min(max(x, low), high)``; either bound may be infinite."""

    traits = FUNCTION
    low: float
    high: float


@dataclass(frozen=True)
class LeakyRelu(Op):
    """``x if x >= 0 else alpha * x``."""

    traits = FUNCTION
    alpha: float = 0.01


@dataclass(frozen=True)
class PRelu(Op):
    """``x if x >= 0 else slope * x``; operands x, slope (broadcast to x)."""

    traits = PAIR


@dataclass(frozen=True)
class Elu(Op):
    """``x if x >= 0 else alpha * (exp(x) - 1)``."""

    traits = FUNCTION
    alpha: float = 1.0


@dataclass(frozen=True)
class Sigmoid(Op):
    """``1 / (1 + exp(-x))``."""

    traits = _NONNEGATIVE


@dataclass(frozen=True)
class Tanh(Op):
    """Hyperbolic tangent."""

    traits = FUNCTION


@dataclass(frozen=True)
class HardSwish(Op):
    """``x * min(max(x + 3, 0), 6) / 6``."""

    traits = FUNCTION


@dataclass(frozen=True)
class HardSigmoid(Op):
    """``min(max(alpha * x + beta, 0), 1)``."""

    traits = _NONNEGATIVE
    alpha: float = 0.2
    beta: float = 0.5


@dataclass(frozen=True)
class Silu(Op):
    """``x * sigmoid(x)``."""

    traits = FUNCTION


@dataclass(frozen=True)
class Gelu(Op):
    """``x * Phi(x)``, or its tanh approximation."""

    traits = FUNCTION
    approximate: bool = False


@dataclass(frozen=True)
class Unary(Op):
    """Another function of one operand: one of :attr:`functions`, by its ONNX name."""

    traits = FUNCTION
    functions: ClassVar[tuple[str, ...]] = (
        *("Abs", "Neg", "Exp", "Log", "Sqrt", "Rsqrt", "Reciprocal", "Erf", "Sin", "Cos"),
        *("Floor", "Ceil", "Round", "Sign", "Softplus", "Not"),
    )
    function: str

    @property
    def kind(self) -> str:
        """The function's name."""
        return self.function


# --- normalization and reduction ----------------------------------------------


@dataclass(frozen=True)
class Softmax(Op):
    """Softmax over one axis."""

    traits = Traits(nonnegative=True)
    axis: int


@dataclass(frozen=True)
class LogSoftmax(Op):
    """Logarithm of softmax over one axis."""

    axis: int


@dataclass(frozen=True)
class LayerNorm(Op):
    """Normalize over the axes from ``axis`` on; operands x, scale, bias (optional)."""

    axis: int
    epsilon: float = 1e-5


@dataclass(frozen=True)
class InstanceNorm(Op):
    """Normalize each channel over its spatial dimensions; operands x, scale (C), bias (C)."""

    epsilon: float = 1e-5
    layout: Layout = Layout.NCHW


@dataclass(frozen=True)
class Reduce(Op):
    """Mean, Sum, Max, Min or Prod over ``axes``; global average pooling is a Mean with keepdims."""

    functions: ClassVar[tuple[str, ...]] = ("Mean", "Sum", "Max", "Min", "Prod")
    function: str
    axes: Ints
    keepdims: bool = True

    @property
    def kind(self) -> str:
        """``ReduceMean``, ``ReduceSum``, ``ReduceMax``, ``ReduceMin`` or ``ReduceProd``."""
        return f"Reduce{self.function}"


@dataclass(frozen=True)
class ArgMax(Op):
    """Index of the largest element along an axis, the first one where equal, as type ``to``."""

    axis: int
    keepdims: bool = True
    to: DType = DType.INT64


@dataclass(frozen=True)
class TopK(Op):
    """The ``count`` largest elements along an axis, the largest and first ones first.

    Results values, indices (of type ``to``).
    """

    axis: int
    count: int
    to: DType = DType.INT64


# --- pooling and resampling ---------------------------------------------------


@dataclass(frozen=True)
class MaxPool(Op):
    """Maximum over windows; padding never wins."""

    kernel: Ints
    strides: Ints
    pads: Ints
    layout: Layout = Layout.NCHW


@dataclass(frozen=True)
class AveragePool(Op):
    """Mean over windows; ``count_include_pad`` says whether padding counts."""

    kernel: Ints
    strides: Ints
    pads: Ints
    count_include_pad: bool = False
    layout: Layout = Layout.NCHW


@dataclass(frozen=True)
class Resize(Op):
    """Resample the spatial dimensions to ``sizes``.

    ``mode``: nearest or linear. ``coordinates``: half_pixel, pytorch_half_pixel, align_corners or
    asymmetric. ``nearest``: floor, ceil, round_prefer_floor or round_prefer_ceil.
    """

    mode: str
    sizes: Ints
    coordinates: str = "half_pixel"
    nearest: str = "round_prefer_floor"
    layout: Layout = Layout.NCHW


@dataclass(frozen=True)
class DepthToSpace(Op):
    """Move channels to space; ``mode`` is DCR or CRD as in ONNX."""

    block: int
    mode: str = "DCR"
    layout: Layout = Layout.NCHW


@dataclass(frozen=True)
class SpaceToDepth(Op):
    """Move space to channels (ONNX order: block row, block column, channel)."""

    block: int
    layout: Layout = Layout.NCHW


# --- what has no canonical form -----------------------------------------------


@dataclass(frozen=True)
class Opaque(Op):
    """An ONNX node kept as it is, in float.

    Attributes:
        domain: operator set; empty for ai.onnx.
        op_type: ONNX operator.
        opset: version of that domain.
        proto: the serialized ``onnx.NodeProto`` (its tensor names are not significant).
        reason: why it has no canonical form, one sentence.
    """

    domain: str
    op_type: str
    opset: int
    proto: bytes
    reason: str

    @property
    def kind(self) -> str:
        """The ONNX operator with its domain."""
        return f"{self.domain}::{self.op_type}" if self.domain else self.op_type


OPERATORS: tuple[type[Op], ...] = tuple(
    kind
    for kind in tuple(globals().values())
    if isinstance(kind, type) and issubclass(kind, Op) and kind is not Op
)
"""Every canonical operator, those of the modules that this one imports first."""


def kinds_of(operator: type[Op]) -> tuple[str, ...]:
    """Return the names under which capabilities know an operator; none for :class:`Opaque`."""
    if operator is Opaque:
        return ()
    if operator is Unary:
        return Unary.functions
    if operator is Reduce:
        return tuple(Reduce(function, ()).kind for function in Reduce.functions)
    return (operator.__name__,)
