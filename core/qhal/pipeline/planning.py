"""From the model file to a quantized model: the part of the line that only computes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from qhal.decisions import Decision
from qhal.ir.graph import NodeView
from qhal.ir.states import States
from qhal.pipeline.float_passes import FLOAT_PASSES, run_float_passes
from qhal.pipeline.gates import fallback_gate
from qhal.pipeline.options import Options
from qhal.pipeline.prepare import Prepared
from qhal.pipeline.served import Served, find_target
from qhal.pipeline.session import Session
from qhal.pipeline.stages import Stages
from qhal.plugin.calls import naming
from qhal.progress import SILENT, Progress
from qhal.quant.assign import Assignment, assign
from qhal.quant.calibrate import Calibration, calibrate
from qhal.quant.carry import carry_in_float
from qhal.quant.constraints import Constraints, constrain, refuse
from qhal.quant.model import QuantModel
from qhal.quant.repair import Refit
from qhal.quant.settle import Settled, settle
from qhal.results.gate import Gate
from qhal.targets.recipe import recipes_of, wider_recipes


@dataclass(frozen=True, eq=False)
class PlannedModel:
    """A quantized model, and what it was made from.

    Attributes:
        served: the target and its backend.
        prepared: the model as it was quantized, with the kernel of every node.
        float_model: the float model in the target's layout.
        constraints: where integers are, and which share their parameters.
        calibration: statistics of the float model's tensors.
        refit: what weights of few bits were fitted to.
        model: the quantized model.
        gates: limits so far.
        decisions: in the order of the line.
    """

    served: Served
    prepared: Prepared
    float_model: QuantModel
    constraints: Constraints
    calibration: Calibration
    refit: Refit
    model: QuantModel
    gates: tuple[Gate, ...]
    decisions: tuple[Decision, ...]

    @cached_property
    def wider_recipes(self) -> tuple[str, ...]:
        """Recipes of the target that keep more of each node whose own recipe is narrow."""
        target, graph = self.prepared.target, self.prepared.laid.graph
        given = {target.policy.recipe_for(NodeView(graph, node)) for node in graph.nodes}
        wider = [wider_recipes(recipe, target.caps) for recipe in given if recipe.narrow]
        shared = (recipe for recipe in recipes_of(target.caps) if all(recipe in w for w in wider))
        return tuple(recipe.name for recipe in shared) if wider else ()

    @cached_property
    def other_recipes(self) -> tuple[str, ...]:
        """Recipes of the target that keep as much of weights, the nearest in size first.

        Where nodes have recipes of their own, only wider ones count.
        """
        target, graph = self.prepared.target, self.prepared.laid.graph
        given = {target.policy.recipe_for(NodeView(graph, node)) for node in graph.nodes}
        if len(given) != 1:
            return self.wider_recipes
        (recipe,) = given
        others = (other for other in recipes_of(target.caps) if other != recipe)
        kept = [other for other in others if other.weight_bits >= recipe.weight_bits]
        return tuple(other.name for other in sorted(kept, key=lambda other: other.weight_bits))

    def with_observer(self, observer: str) -> QuantModel:
        """Choose ranges with another range estimator, from the same statistics."""
        made_from = (self.prepared, self.constraints, self.calibration)
        return _assigned(*made_from, observer, self.refit).model


def plan_line(
    session: Session, name: str, options: Options, stages: Stages, progress: Progress = SILENT
) -> PlannedModel:
    """Run the line from the model file to the quantized model.

    Args:
        session: the model and its data.
        name: of the target.
        options: what the user asked for.
        stages: times each part.
        progress: who shows the progress of long stages.
    """
    with stages("import"):
        served = find_target(name, options.recipe, registry=session.load_plugins())
        served.check_can_lower()
        provided, target = served.provided, served.target
        imported = session.load_model()
    with stages("prepare"):
        ready = served.prepare(imported, keep_layout=options.keep_layout)
        served.refuse(ready)
    with stages("data"):
        states, data = session.find_states(), session.load_data()
        constant = session.find_constant()
    with stages("check float"):
        floats = session.check_float(progress)
        floats.refuse(options.keep_refused is None)
    with naming(provided, "capabilities"):
        fitted = run_float_passes(ready, session, stages, FLOAT_PASSES)
        fitted = _with_carry(fitted, states)
    with stages("prepare"):
        constraints = constrain(fitted.laid.graph, target.caps, target.policy, fitted.choices)
    with stages("calibrate"):
        calibration = _calibrated(session, fitted, constraints, progress)
    with stages("assign"):
        settled = _settled(fitted, constraints, calibration, options.observer)
        fitted = replace(fitted, choices=settled.constraints.choices)
        gates = (*floats.gates, *fallback_gate(fitted.choices, options.max_fallback))
        refit = _refit(session, fitted, progress)
        assigned = _assigned(fitted, settled.constraints, calibration, options.observer, refit)
    made_by = (fitted, states, data, floats, settled.constraints, settled, calibration, assigned)
    decisions = (*(d for made in made_by for d in made.decisions), *constant)
    return PlannedModel(
        served,
        fitted,
        ready.float_model,
        settled.constraints,
        calibration,
        refit,
        assigned.model,
        gates,
        decisions,
    )


def _with_carry(fitted: Prepared, states: States) -> Prepared:
    """Keep in float what carries a state, where the target can."""
    graph, choices = fitted.laid.graph, fitted.choices
    return replace(fitted, choices=carry_in_float(graph, fitted.target, choices, states.pairs))


def _calibrated(
    session: Session, fitted: Prepared, constraints: Constraints, progress: Progress
) -> Calibration:
    """Collect the statistics that the constraints ask for; of other tensors what is known."""
    return calibrate(
        fitted.legal.graph,
        session.load_data().calibration,
        fitted.laid.sources_of(constraints.to_observe),
        fitted.laid.sources_of(constraints.to_average),
        also=fitted.legal.graph.tensors,
        cache=session.cache,
        progress=progress,
    )


def _settled(
    fitted: Prepared, constraints: Constraints, calibration: Calibration, observer: str
) -> Settled:
    """Choose again where measured ranges say so."""
    graph, target = fitted.laid.graph, fitted.target
    stats = fitted.laid.with_sources(calibration.stats)
    computed = fitted.imported.computed
    settled = settle(graph, target.caps, constraints, stats, observer, computed)
    refuse(settled.constraints.choices, graph, target.profile.name)
    return settled


def _refit(session: Session, fitted: Prepared, progress: Progress) -> Refit:
    """Name what weights of few bits are fitted to: the float graph that calibration ran."""
    samples = session.load_data().calibration
    return Refit(fitted.legal.graph, samples, fitted.laid.sources, progress)


def _assigned(
    fitted: Prepared,
    constraints: Constraints,
    calibration: Calibration,
    observer: str,
    refit: Refit,
) -> Assignment:
    stats, order = fitted.laid.with_sources(calibration.stats), fitted.laid.element_order
    return assign(constraints, stats, observer, order, refit)
