"""How a ``.tflite`` file for the Edge TPU compiler differs from one for LiteRT."""

from __future__ import annotations

from qhal_backends.tflite.emitter import Flavor

EDGE_TPU = Flavor(
    # Version 6 of CONV_2D makes the compiler abort (google-coral/edgetpu issue 631).
    groups_apart=True,
    # SPLIT_V is not among the operations, and STRIDED_SLICE is with strides of 1 only.
    uneven_parts_by_slices=True,
    steps_by_pooling=True,
    # Resizing one pixel may be refused "to avoid loss in precision"; TILE was seen mapped.
    upsample_points_by_tile=True,
)
