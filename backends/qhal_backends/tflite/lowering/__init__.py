"""From canonical operators to TFLite's builtin ones, one module per topic."""

from qhal_backends.tflite.lowering.dispatch import LOWERINGS, Lowered, lower_model

__all__ = ["LOWERINGS", "Lowered", "lower_model"]
