"""The type of the values that kernels exchange."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]
"""An array whose element type the graph knows; unlike the graph's own alias it can compute."""
