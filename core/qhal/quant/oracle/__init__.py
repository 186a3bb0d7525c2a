"""The oracle: what a quantized model must compute, in NumPy.

Two arithmetics (:class:`qhal.target.capability.Arithmetic`):

* ``FIXED_POINT`` follows LiteRT's *reference* kernels bit for bit where this package has an
  integer kernel for the operator (:mod:`.fixed`).
* ``FLOAT`` follows ONNX Runtime: integer accumulation, float32 rescaling, round half to even.

An operator without an integer kernel of its own is computed as the definition of quantization
says: dequantize, compute in float32, quantize. Operators in float are computed in float32, with
the same formulas for both layouts; the sums of a runtime differ from these by its order of
summation only. A node with float activations and integer weights (dynamic-range kernels) is
computed with dequantized weights: runtimes that quantize such activations on the fly lie up to
half a step of that dynamic quantization beside it.
"""

from qhal.quant.oracle.executor import Oracle

__all__ = ["Oracle"]
