"""How a ``.tflite`` file for the Edge TPU compiler differs from one for LiteRT."""

from __future__ import annotations

from qhal_backends.tflite.emitter import Flavor

EDGE_TPU = Flavor(
    # Version 6 of CONV_2D makes the compiler abort (google-coral/edgetpu issue 631).
    groups_apart=True,
    # The Edge TPU lacks SPLIT_V, and has STRIDED_SLICE only with strides of 1.
    uneven_parts_by_slices=True,
    steps_by_pooling=True,
    # Resizing one pixel may be refused "to avoid loss in precision"; TILE was seen mapped.
    upsample_points_by_tile=True,
)
