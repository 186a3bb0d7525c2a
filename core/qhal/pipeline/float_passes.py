"""Passes over the float graph: each makes another with the same function, which is prepared again.

They are what changes the model itself for the sake of its integers, before anything is quantized.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from qhal.ir.graph import Graph, Node, NodeView
from qhal.pipeline.prepare import Prepared, prepare
from qhal.pipeline.session import Session
from qhal.pipeline.stages import Stages
from qhal.quant.equalize import Chain, equalize
from qhal.quant.rewritten import Rewritten
from qhal.targets.capability import KernelRow
from qhal.targets.recipe import Recipe
from qhal.targets.spec import PerAxis, PerTensor
from qhal.targets.target import Target


@dataclass(frozen=True)
class FloatPass:
    """One pass.

    Attributes:
        name: of its stage in the timings.
        applies: False where the pass can gain nothing; it is not run then.
        run: makes another graph of ``ready.imported.graph``. The session has the data and what
            several targets share.
    """

    name: str
    applies: Callable[[Prepared], bool]
    run: Callable[[Prepared, Session], Rewritten]


def run_float_passes(
    ready: Prepared, session: Session, stages: Stages, passes: Iterable[FloatPass]
) -> Prepared:
    """Run passes in order, each on what the one before it made.

    Args:
        ready: a model made ready.
        session: the model, its data, and what the user asked for.
        stages: times each pass under its name.
        passes: :data:`FLOAT_PASSES`, or others.

    Returns:
        The model, prepared again after each pass that changed its graph.
    """
    for each in passes:
        with stages(each.name):
            if each.applies(ready):
                ready = _prepared_again(ready, each.run(ready, session))
    return ready


def _prepared_again(ready: Prepared, made: Rewritten) -> Prepared:
    if made.graph is ready.imported.graph:
        return ready
    decisions = (*ready.imported.decisions, *made.decisions)
    imported = replace(ready.imported, graph=made.graph, decisions=decisions)
    return prepare(ready.target, imported, keep_layout=ready.keep_layout)


# --- equalization -----------------------------------------------------------------


def _has_narrow_nodes(ready: Prepared) -> bool:
    graph, policy = ready.imported.graph, ready.target.policy
    return any(policy.recipe_for(NodeView(graph, node)).narrow for node in graph.nodes)


def _equalize(ready: Prepared, session: Session) -> Rewritten:
    """Equalize channels wherever the kernels of a chain lose less afterwards.

    It is exact in float, but for values that a ReLU6 cuts off, far above all that were seen.
    Targets that come here with the same graph share the findings.
    """
    graph, target = ready.imported.graph, ready.target
    fitting = [found for found in session.survey(graph) if _fits(graph, found.chain, target)]
    return equalize(graph, fitting)


def _fits(graph: Graph, chain: Chain, target: Target) -> bool:
    """Return True if scales are free around a chain and its SiLUs can use other operators."""
    recipes = _recipes_of(graph, (chain.producer, *chain.readers), target)
    gates = _recipes_of(graph, chain.gates, target)
    return all(recipe.narrow and _scales_are_free(target, recipe) for recipe in recipes) and all(
        _rows(target, kind, recipe) for recipe in gates for kind in ("Mul", "Sigmoid")
    )


def _recipes_of(graph: Graph, nodes: Iterable[Node], target: Target) -> Iterator[Recipe]:
    return (target.policy.recipe_for(NodeView(graph, node)) for node in nodes)


def _scales_are_free(target: Target, recipe: Recipe) -> bool:
    """Return True if weights have a scale per channel, and depthwise inputs have only one."""
    rows = [row for kind in ("Conv", "DepthwiseConv") for row in _rows(target, kind, recipe)]
    return not any(
        row.activation.granularity != PerTensor()
        or row.weight is None
        or row.weight.granularity != PerAxis()
        for row in rows
    )


def _rows(target: Target, kind: str, recipe: Recipe) -> list[KernelRow]:
    """List the kernel rows that a target has for an operator and that a recipe accepts."""
    rows = [row for capability in target.caps.of(kind) for row in capability.rows]
    weighted = any(row.weight is not None for row in rows)
    return [row for row in rows if any(r.accepts(row, weighted) for r in recipe.in_order)]


EQUALIZATION = FloatPass("equalize", _has_narrow_nodes, _equalize)

FLOAT_PASSES: tuple[FloatPass, ...] = (EQUALIZATION,)
"""The passes of a deployment, in order."""
