"""The oracle: what a quantized model must compute, in NumPy.

Two arithmetics (:class:`qhal.targets.capability.Arithmetic`):

* ``FIXED_POINT`` follows LiteRT's *reference* kernels bit for bit where this package has an
  integer kernel for the operator (:mod:`.fixed`).
* ``FLOAT`` follows ONNX Runtime: integer accumulation, float32 rescaling, round half to even
  (:mod:`.mlas`).

An operator without an integer kernel of its own is computed as the definition of quantization
says: dequantize, compute in float32, quantize. Float operators are computed in float32, with the
same formulas for both layouts; a runtime's results differ by its order of summation only.

A node with float activations and integer weights is computed with dequantized weights in
``FLOAT``, and as LiteRT's dynamic-range kernels do in ``FIXED_POINT`` (:mod:`.dynamic`). A node
whose kernel computes in a float type of 16 bits rounds its activations to that type as it reads
them; where else the runtime rounds depends on what it fuses, and is not followed.
"""

from qhal.quant.oracle.executor import Oracle

__all__ = ["Oracle"]
