"""Runtimes that report their use: not in the processes of the command ``qhal``.

``import qhal`` changes nothing in the process of somebody else's program. It may call
:func:`turn_off` itself, before it loads a runtime.
"""

from __future__ import annotations

import os
import sys

_SWITCHES = ("ORT_DISABLE_TELEMETRY",)
"""ONNX Runtime from 1.25 on writes an identifier and a database into ~/.cache/Microsoft."""
_REPORTERS = ("openvino_telemetry",)
"""OpenVINO does without this package; with it, ``import openvino`` writes into ~/intel."""


def turn_off() -> None:
    """Keep runtimes from writing into the user's home and from sending anything.

    The switches hold for child processes, too. A switch that the user has set stays.
    """
    for switch in _SWITCHES:
        os.environ.setdefault(switch, "1")
    for package in _REPORTERS:
        if package not in sys.modules:
            sys.modules[package] = None  # type: ignore[assignment]
