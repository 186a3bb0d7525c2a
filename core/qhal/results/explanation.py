"""What ``qhal explain`` answers: everything that a record says about one node or tensor."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from qhal.codec import Json, encode
from qhal.decisions import Decision
from qhal.errors import OptionError
from qhal.results.plan import NodePlan, TensorPlan
from qhal.results.record import RunRecord


@dataclass(frozen=True)
class Explanation:
    """What a record says about a name.

    Attributes:
        name: as it was asked for.
        nodes: nodes of that name, nodes that come from a node of that name, or, for a tensor, the
            nodes that produce and read it.
        tensors: the tensor of that name, or those of the nodes.
        decisions: about any of these.
    """

    name: str
    nodes: tuple[NodePlan, ...]
    tensors: tuple[TensorPlan, ...]
    decisions: tuple[Decision, ...]

    def to_json(self) -> dict[str, Json]:
        """Make a JSON object."""
        return {
            "name": self.name,
            "nodes": encode(self.nodes),
            "tensors": encode(self.tensors),
            "decisions": encode(self.decisions),
        }


def explain(record: RunRecord | str | Path, name: str) -> Explanation:
    """Collect everything about a node or tensor.

    Args:
        record: a record, its file, or an output folder.
        name: of a node or tensor of the artifact, or of a node of the user's model.

    Raises:
        RecordError: the record cannot be read.
        OptionError: it has no such name; the hint lists near ones.
    """
    run = record if isinstance(record, RunRecord) else RunRecord.load(record)
    nodes = [n for n in run.plan.nodes if name == n.name or name in n.origin]
    if nodes:
        wanted = {t for node in nodes for t in (*node.inputs, *node.outputs)}
    else:
        wanted = {name}
        nodes = [n for n in run.plan.nodes if name in (*n.outputs, *n.inputs)]
    tensors = tuple(t for t in run.plan.tensors if t.name in wanted)
    if not nodes and not tensors:
        raise _unknown(run, name)
    subjects = {name, *(n.name for n in nodes), *(t.name for t in tensors)}
    decisions = tuple(d for d in run.decisions if d.subject in subjects)
    return Explanation(name, tuple(nodes), tensors, decisions)


def _unknown(run: RunRecord, name: str) -> OptionError:
    plan = run.plan
    known = dict.fromkeys(
        [*(n.name for n in plan.nodes), *(o for n in plan.nodes for o in n.origin)]
        + [t.name for t in plan.tensors]
    )
    near = get_close_matches(name, known, 5, 0.5) or [k for k in known if name in k][:5]
    hint = f"Did you mean {' or '.join(near)}?" if near else "report.md lists the operators."
    return OptionError(f"The record has no node or tensor named {name!r}.", hint)
