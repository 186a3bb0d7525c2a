"""Rules that a node must meet to run on integers in OpenVINO."""

from __future__ import annotations

from qhal.ir.graph import NodeView
from qhal.quant.spec import PerGroup

GROUPS = PerGroup(32)
"""Weights that share a scale where a kernel takes weights in groups."""


def whole_groups(view: NodeView) -> str | None:
    """The weights of an output are whole groups of 32."""
    depth = view.input(1).shape[1]
    if depth % GROUPS.size == 0:
        return None
    return f"an output has {depth} weights, which is no multiple of {GROUPS.size}"
