"""Recurrent operators; :mod:`qhal.ir.ops` has all operators."""

from __future__ import annotations

from dataclasses import dataclass

from qhal.ir.op_base import Op, Role, Traits

_ROLES = (Role.ACTIVATION, Role.WEIGHT, Role.WEIGHT, Role.BIAS, Role.ACTIVATION)
_RECURRENT = Traits(recurrent=True)


@dataclass(frozen=True)
class Lstm(Op):
    """LSTM over time-major x (T, N, I), ONNX gate order i o f c.

    Operands x, W (D, 4H, I), R (D, 4H, H), B (D, 8H), initial_h (D, N, H),
    initial_c (D, N, H); outputs Y (T, D, N, H), Y_h, Y_c. An absent operand is "".
    """

    roles = _ROLES
    traits = _RECURRENT
    hidden_size: int
    direction: str = "forward"


@dataclass(frozen=True)
class Gru(Op):
    """GRU over time-major x (T, N, I), ONNX gate order z r h.

    Operands x, W (D, 3H, I), R (D, 3H, H), B (D, 6H), initial_h (D, N, H);
    outputs Y (T, D, N, H), Y_h. An absent operand is "". ``candidate`` is the activation
    of the candidate state: Tanh or Relu.
    """

    roles = _ROLES
    traits = _RECURRENT
    hidden_size: int
    direction: str = "forward"
    linear_before_reset: bool = False
    candidate: str = "Tanh"


@dataclass(frozen=True)
class Rnn(Op):
    """Plain recurrent layer over time-major x (T, N, I): ``h' = activation(W x + R h + b)``.

    Operands x, W (D, H, I), R (D, H, H), B (D, 2H), initial_h (D, N, H); outputs Y (T, D, N, H),
    Y_h. An absent operand is "". ``candidate`` is the activation: Tanh or Relu.
    """

    roles = _ROLES
    traits = _RECURRENT
    hidden_size: int
    direction: str = "forward"
    candidate: str = "Tanh"
