"""Make a canonical graph legal for a target: only operators that it has, where possible.

The order matters: ONNX operators that are none of qhal's and that the target refuses are written
as some of qhal's, windows are rewritten in the dimensions that the target has, what it lacks is
then written as other operators (recurrent ones are unrolled), data movement that moves
nothing is dropped, and activations are fused last, because decompositions make new ones (and
moves that stood around an activation meet then).
"""

from __future__ import annotations

from dataclasses import dataclass

from qhal.decisions import Decision
from qhal.ir.graph import Graph
from qhal.ir.ops import Layout
from qhal.ir.recognize.affine import AFFINE_RULES
from qhal.ir.recognize.depth_to_space import recognize_depth_to_space
from qhal.ir.recognize.rewrite import rewrite
from qhal.ir.simplify import pools_as_means, simplify
from qhal.legal.decompose import decompose, open_opaque
from qhal.legal.fuse import fuse_activations
from qhal.legal.planar import to_planar
from qhal.legal.rsqrt import use_rsqrt
from qhal.targets.capability import Capabilities


@dataclass(frozen=True)
class Legalized:
    """A graph that a target can execute as far as operators go.

    Attributes:
        graph: still NCHW; tensors of the original nodes keep their names.
        decisions: what was unrolled and decomposed.
    """

    graph: Graph
    decisions: tuple[Decision, ...]


def legalize(graph: Graph, caps: Capabilities) -> Legalized:
    """Rewrite ``graph`` with the operators that ``caps`` has.

    A node for which there is no form stays as it is; the constraints will refuse it with
    the reason.
    """
    graph = recognize_depth_to_space(simplify(graph))
    if caps.has("ReduceMean"):
        graph = pools_as_means(graph)
    graph, opened = open_opaque(graph, caps)
    planar: tuple[Decision, ...] = ()
    if caps.layout is Layout.NHWC:
        graph, planar = to_planar(graph)
    graph, decompositions = decompose(use_rsqrt(graph, caps), caps)
    if decompositions:  # the new scales and shifts may belong into the weights before them
        graph = rewrite(graph, AFFINE_RULES)
    fused = fuse_activations(simplify(graph), caps)
    return Legalized(simplify(fused), (*opened, *planar, *decompositions))
