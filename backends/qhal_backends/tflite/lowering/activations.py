"""Fused activations."""

from __future__ import annotations

from qhal.ir.ops import Activation
from qhal_backends.tflite.flat import FlatActivation, OptionValue

_FUSED = {
    Activation.NONE: FlatActivation.NONE,
    Activation.RELU: FlatActivation.RELU,
    Activation.RELU6: FlatActivation.RELU6,
}


def fused(activation: Activation) -> dict[str, OptionValue]:
    """Make the option that states a fused activation."""
    return {"fusedActivationFunction": _FUSED[activation]}
