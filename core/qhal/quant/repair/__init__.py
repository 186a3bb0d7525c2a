"""Repair of what few-bit weights lose, in closed form, layer after layer.

Each layer is fitted to what it really sees: the outputs of the layers in front of it, which are
quantized already. Nothing is trained; memory is bounded by one layer.

* :mod:`qhal.quant.repair.streams` runs the float model and the quantized one side by side.
* :mod:`qhal.quant.repair.moments` holds what a layer sees in both.
* :mod:`qhal.quant.repair.fit` moves float weights to where they make up for earlier errors.
* :mod:`qhal.quant.repair.grid` chooses steps and integers for them.
* :mod:`qhal.quant.repair.layer` does both for one layer.
"""

from __future__ import annotations

from qhal.quant.repair.fitting_site import FittingSite
from qhal.quant.repair.streams import Refit, Streams, open_streams

__all__ = ["FittingSite", "Refit", "Streams", "open_streams"]
