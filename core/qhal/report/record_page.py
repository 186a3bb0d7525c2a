"""The page of a record: what it says, in the order in which people ask."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import PurePath

from qhal.artifact.ports import Port
from qhal.decisions import Code, Decision, Severity
from qhal.metric import Metric, counted, format_value
from qhal.quant.choice import Verdict
from qhal.report.headline import output_figures, output_words, target_words, timed_words
from qhal.report.metrics import metric_sections
from qhal.report.page import Page, Section, Table
from qhal.results.gate import Gate
from qhal.results.plan import NodePlan, Plan, Status
from qhal.results.record import RunRecord
from qhal.targets.where import Where

_EXAMPLES_PER_CODE = 3
_COSTLIEST = 12
"""How many nodes are listed with their costs."""


def record_page(record: RunRecord) -> Page:
    """Lay out the report of a run: headline first, what to run next last."""
    sections = (
        _summary(record),
        *metric_sections(record.metrics),
        _ports(record),
        decision_section(record.decisions),
        _operators(record.plan),
        _costs(record.plan),
        Section("What to run next", items=tuple(_next_steps(record))),
    )
    title = f"{record.model.file} for {record.target.name}, {record.recipe_words}"
    return Page(title, _headline(record), sections)


# --- headline and summary ---------------------------------------------------------


def _headline(record: RunRecord) -> str:
    metrics = record.metrics
    failed = [gate for gate in record.gates if not gate.passed]
    if failed:
        return f"Gate not met: {failed[0].sentence}."
    speed = f"{own} on the target" if (own := target_words(metrics)) else timed_words(metrics)
    parts = [_accuracy_words(metrics), speed, _size_words(metrics)]
    warnings = sum(d.severity is Severity.WARNING for d in record.decisions)
    noted = f" {counted(warnings, 'warning')}, listed below." if warnings else ""
    return f"Done: {'; '.join(filter(None, parts))}.{noted}"


def _accuracy_words(metrics: Mapping[str, Metric]) -> str:
    if "top1" not in metrics:
        return output_words(metrics)
    ours, theirs = (format_value(metrics[n].value, "fraction") for n in ("top1", "top1_float"))
    words = f"top-1 {ours} (float {theirs})"
    return f"{words}; {output_words(metrics)}" if len(output_figures(metrics)) > 1 else words


def _size_words(metrics: Mapping[str, Metric]) -> str:
    if "size_artifact" not in metrics:
        return ""
    words = str(metrics["size_artifact"])
    if "size_ratio" not in metrics:
        return words
    ratio = metrics["size_ratio"].value
    times = format_value(max(ratio, 1 / ratio), "ratio")
    if times == format_value(1, "ratio"):
        return f"{words}, the same size as float"
    return f"{words}, {times} {'smaller' if ratio > 1 else 'larger'} than float"


def _summary(record: RunRecord) -> Section:
    rows = [
        ("model", f"{record.model.file}, opset {record.model.opset}, {record.model.sha256[:12]}"),
        ("target", f"{record.target.name}: {record.target.title}"),
        ("recipe", record.recipe_words),
        ("artifact", _files(record)),
        ("ran on", record.artifact.runtime or "not run on this machine"),
        ("nodes", _node_counts(record.plan)),
        *((key.replace("_", " "), text) for key, text in _data_rows(record.data)),
        *((f"gate {gate.name}", _gate_words(gate)) for gate in record.gates),
        ("host", host_words(record.host, record.versions, record.qhal)),
        ("time", _time_words(record.timings_s)),
    ]
    return Section("Summary", table=Table(("", ""), tuple(row for row in rows if row[1])))


def _files(record: RunRecord) -> str:
    files = record.artifact.files
    return ", ".join(f"{f.name} ({format_value(f.size_bytes, 'bytes')})" for f in files)


def _node_counts(plan: Plan) -> str:
    counts = Counter(node.verdict for node in plan.nodes)
    words = {
        Verdict.NATIVE: "in the recipe's types",
        Verdict.FALLBACK: "in float",
        Verdict.HOST: "on another unit",
        Verdict.CONVERSION: "inserted conversions",
    }
    return ", ".join(f"{counts[key]} {text}" for key, text in words.items() if counts[key])


_FEW_STARTS = 4
"""Beginnings of sequences that a summary lists; the record has more."""


def _data_rows(data: Mapping[str, object]) -> Iterable[tuple[str, str]]:
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield key, _dataset_words(value)
        elif value:
            yield key, str(value)


def _dataset_words(dataset: Mapping[str, object]) -> str:
    """Describe data: ``128 samples of digits.npz, preprocess unit, with labels, …``."""
    preprocess = dataset.get("preprocess")
    name = preprocess.get("name") if isinstance(preprocess, Mapping) else preprocess
    parts = (
        f"{dataset.get('samples', '?')} samples of {PurePath(str(dataset.get('source'))).name}",
        f"preprocess {name}" if name else "",
        "with labels" if dataset.get("labels") else "",
        _sequence_words(dataset) if "sequences" in dataset else "",
        f"fingerprint {str(dataset.get('fingerprint'))[:12]}",
    )
    return ", ".join(filter(None, parts))


def _sequence_words(dataset: Mapping[str, object]) -> str:
    starts = dataset.get("sequence_starts")
    listed = starts if isinstance(starts, list) and len(starts) <= _FEW_STARTS else []
    where = f" beginning at frame {', '.join(str(start) for start in listed)}" if listed else ""
    return f"{dataset.get('frames')} frames in {dataset['sequences']} sequences{where}"


def _gate_words(gate: Gate) -> str:
    return f"{'met' if gate.passed else 'NOT MET'}: {gate.sentence}"


def host_words(host: Mapping[str, object], versions: Mapping[str, str], qhal: str) -> str:
    """Describe a machine and its software on one line."""
    parts = [str(host[key]) for key in ("cpu", "system") if key in host]
    if "cores" in host:
        parts.append(f"{host['cores']} cores")
    if "load_average" in host:
        parts.append(f"load {host['load_average']}")
    if "python" in versions:
        parts.append(f"Python {versions['python']}")
    return ", ".join([*parts, f"qhal {qhal}"])


def _time_words(timings_s: Mapping[str, float]) -> str:
    if not timings_s:
        return ""
    stages = ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in timings_s.items())
    return f"{sum(timings_s.values()):.2f} s ({stages})"


# --- inputs and outputs -----------------------------------------------------------


def _ports(record: RunRecord) -> Section:
    rows = [
        (kind, *_port_cells(port))
        for kind, ports in (("in", record.model.inputs), ("out", record.model.outputs))
        for port in ports
    ]
    columns = ("", "name", "in the model", "in the artifact", "how to convert")
    return Section("Inputs and outputs", table=Table(columns, tuple(rows)))


def _port_cells(port: Port) -> tuple[str, str, str, str]:
    name = port.name
    if port.artifact_name != name:
        name = f"{name} (artifact: {port.artifact_name})"
    conversions = []
    if port.permutation:
        conversions.append(f"transpose({', '.join(map(str, port.permutation))})")
    if port.scale is not None:
        conversions.append(_real(port.scale, port.zero_point or 0))
    theirs = _type(port.dtype, port.shape)
    ours = _type(port.artifact_dtype, port.artifact_shape)
    return name, theirs, ours, "; ".join(conversions) or "nothing to convert"


def _real(scale: float, zero_point: int) -> str:
    """Write how an integer becomes a real number, such as ``real = 0.5 * (q + 3)``."""
    if not zero_point:
        return f"real = {scale:.6g} * q"
    return f"real = {scale:.6g} * (q {'-' if zero_point > 0 else '+'} {abs(zero_point)})"


def _type(dtype: str, shape: tuple[int, ...]) -> str:
    return f"{dtype}[{'x'.join(map(str, shape))}]"


# --- decisions --------------------------------------------------------------------

_SEVERITIES = (Severity.REFUSAL, Severity.WARNING, Severity.INFO)


def decision_section(decisions: Iterable[Decision]) -> Section:
    """Lay out one row per code: how often, what it means, the first sentences."""
    groups: dict[tuple[Severity, Code], list[str]] = {}
    for decision in decisions:
        groups.setdefault((decision.severity, decision.code), []).append(decision.sentence)
    ordered = sorted(groups.items(), key=lambda g: (_SEVERITIES.index(g[0][0]), g[0][1].id))
    rows = tuple(
        (code.id, severity.value, str(len(sentences)), code.meaning, _examples(severity, sentences))
        for (severity, code), sentences in ordered
    )
    columns = ("code", "severity", "count", "meaning", "for example")
    return Section("Decisions", table=Table(columns, rows))


def _examples(severity: Severity, sentences: list[str]) -> str:
    shown = 1 if severity is Severity.INFO else _EXAMPLES_PER_CODE
    more = len(sentences) - shown
    text = " ".join(sentences[:shown])
    return f"{text} (and {more} more)" if more > 0 else text


# --- operators --------------------------------------------------------------------


def _operators(plan: Plan) -> Section:
    """Group nodes by what was declared, placed and executed."""
    counts = Counter(_operator_cells(node) for node in plan.nodes)
    ordered = sorted(counts.items(), key=lambda item: (item[0][-1] != _DIFFERS, -item[1], item[0]))
    rows = tuple((cells[0], str(count), *cells[1:]) for cells, count in ordered)
    sentences = (
        f"Where and how each node runs, according to: {plan.placement_source}."
        if plan.placement_source
        else "No runtime here reported how it runs each node: the table shows the plan.",
    )
    columns = ("operator", "nodes", "verdict", "declared", "placed", "runs as", "status")
    return Section("Operators", sentences if rows else (), Table(columns, rows))


_DIFFERS = Status.DIFFERS.value


def _operator_cells(node: NodePlan) -> tuple[str, ...]:
    return (
        node.op,
        node.verdict.value,
        _declared_words(node.declared),
        *_runs(node),
        node.status.value,
    )


def _declared_words(declared: Where) -> str:
    words = declared.kernel or declared.dtype or ""
    return f"{words} on {declared.unit}" if declared.unit else words


def _runs(node: NodePlan) -> tuple[str, str]:
    """Return the unit that a node runs on, and how it runs; empty if unknown."""
    return ("", "") if node.runs is None else (node.runs.unit or "", node.runs.as_what)


def _costs(plan: Plan) -> Section:
    """Lay out the nodes that cost most, where the runtime or compiler reports costs."""
    costs = [(node, node.cost) for node in plan.nodes if node.cost is not None]
    total = sum(cost.value for _, cost in costs)
    if not total:
        return Section("Costs")
    first = sorted(costs, key=lambda pair: -pair[1].value)[:_COSTLIEST]
    rows = tuple(
        (node.name, node.op, _runs(node)[0], *_cost_words(cost, total)) for node, cost in first
    )
    sentence = f"The {len(rows)} most costly of {counted(len(costs), 'node')}; record.json has all."
    return Section(
        "Costs", (sentence,), Table(("node", "operator", "placed", "cost", "share"), rows)
    )


def _cost_words(cost: Metric, total: float) -> tuple[str, str]:
    """Write the cost of a node, and its share of the total."""
    return str(cost), format_value(cost.value / total, "fraction")


# --- what next --------------------------------------------------------------------


def _next_steps(record: RunRecord) -> Iterable[str]:
    by_code = {decision.code: decision for decision in record.decisions}
    for code in (Code.NOT_COMPILED, Code.COMPILER_FAILED):
        if code in by_code:
            yield by_code[code].sentence
    if Code.NOT_RUNNABLE in by_code:
        yield (
            "Run `qhal bench FOLDER` on a machine that has the runtime; `qhal doctor` lists what "
            "is missing here."
        )
    command = f"qhal explain FOLDER {_argument(_most_interesting(record))}"
    yield f"`{command}` shows all about a node or tensor (FOLDER: this output folder)."


def _argument(name: str) -> str:
    """Quote a name for a command; NAME stands for one that a shell or report would change."""
    plain = name.isprintable() and "`" not in name and not name.startswith("-")
    return shlex.quote(name) if name and plain else "NAME"


def _most_interesting(record: RunRecord) -> str:
    """Return a node that differs from the plan, else one that fell back."""
    nodes = record.plan.nodes
    differing = [n.name for n in nodes if n.status is Status.DIFFERS]
    fallen = [n.name for n in nodes if n.verdict in (Verdict.FALLBACK, Verdict.HOST)]
    return next(iter((*differing, *fallen)), "")
