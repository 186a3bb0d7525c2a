"""What Vela made of a model, in qhal's terms: placement, figures and decisions.

The host of the NPU, which Vela calls the CPU, is the Cortex-M that drives it.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

from qhal.decisions import Code, Decision
from qhal.errors import RefusedError
from qhal.ir.cost import macs
from qhal.ir.graph import Graph, NodeView
from qhal.metric import Basis, Metric, Topic, counted
from qhal.plugin.backend import PlacedNode, Placement
from qhal.targets.capability import HOST
from qhal.targets.where import Where, WhereBasis
from qhal_backends.arm.ethosu.compiler import (
    COMPILED,
    LAYERS,
    LOG,
    SOURCE,
    SUMMARY,
    read_cpu_count,
    read_cycles,
    read_reasons,
    read_summary,
    vela,
)
from qhal_backends.arm.ethosu.configuration import Configuration
from qhal_backends.tflite.operators import CUSTOM, Operator, read_operators

Files = Mapping[str, bytes]

NPU = "NPU"
"""The unit that Vela compiles for; what stays on its CPU is on the host."""


def read_placement(files: Files) -> Placement:
    """Compare a file with its compiled form: unchanged operators run on the CPU.

    Every operator is reported under the name of its result, with the cycles that Vela estimates
    for it on the NPU. Vela estimates none for the CPU.
    """
    operators = read_operators(files[SOURCE])
    compiled = read_operators(files[COMPILED])
    left = {operator.result for operator in compiled if operator.builtin != CUSTOM}
    reasons = read_reasons(files[LOG].decode(errors="replace"))
    cycles = read_cycles(files[LAYERS], {operator.result for operator in operators})
    placed = (
        _on_cpu(op, reasons) if op.result in left else _on_npu(op, cycles) for op in operators
    )
    return Placement(tuple(placed), vela(), by_result=True)


def _on_npu(operator: Operator, cycles: Mapping[str, float]) -> PlacedNode:
    found = cycles.get(operator.result)
    cost = None if found is None else Metric(found, "cycles", Basis.ESTIMATED_COMPILER)
    where = Where(NPU, operator.builtin, operator.dtype, WhereBasis.REPORTED)
    return PlacedNode(operator.result, where, cost)


def _on_cpu(operator: Operator, reasons: Mapping[str, str]) -> PlacedNode:
    reason = reasons.get(operator.result)
    kernel = f"{operator.builtin} ({reason})" if reason else operator.builtin
    return PlacedNode(operator.result, Where(HOST, kernel, operator.dtype, WhereBasis.REPORTED))


def check_uses_npu(placement: Placement, configuration: Configuration) -> None:
    """Refuse a model that leaves the NPU idle: it is not one for this target.

    For such a model Vela itself reports 0 cycles and an infinite speed.

    Raises:
        RefusedError: every operator stays on the CPU; the message lists them with reasons.
    """
    if any(node.where.unit != HOST for node in placement.nodes):
        return
    listed = "\n".join(f"  {node.name}: {node.where.kernel}." for node in placement.nodes)
    raise RefusedError(
        f"{placement.source} puts nothing on the NPU of {configuration.accelerator} and leaves "
        f"{counted(len(placement.nodes), 'operator')} on the CPU:\n{listed}\n",
        "Deploy to a Cortex-M target instead.",
    )


# --- figures ----------------------------------------------------------------------

_CYCLES = {
    "cycles": ("cycles_total", "cycles on the target"),
    "cycles_npu": ("cycles_npu", "cycles of the NPU"),
    "cycles_sram": ("cycles_sram_access", "cycles of the SRAM"),
    "cycles_dram": ("cycles_dram_access", "cycles of the DRAM"),
    "cycles_on_chip_flash": ("cycles_on_chip_flash_access", "cycles of the flash on the chip"),
    "cycles_off_chip_flash": ("cycles_off_chip_flash_access", "cycles of the flash off the chip"),
}
_MEMORIES = {
    "sram_bytes": ("sram_memory_used", "SRAM"),
    "dram_bytes": ("dram_memory_used", "DRAM"),
    "on_chip_flash_bytes": ("on_chip_flash_memory_used", "flash on the chip"),
    "off_chip_flash_bytes": ("off_chip_flash_memory_used", "flash off the chip"),
}
"""Figure -> column of Vela's summary, and what reports call it."""

_ALWAYS = frozenset({"cycles", "cycles_npu", "sram_bytes"})
_NS_PER_S = 1e9
_BYTES_PER_KIB = 1024


def metrics_of(files: Files, configuration: Configuration) -> dict[str, Metric]:
    """Report Vela's estimates; a memory that the system does not have is left out.

    All of them are in the files: neither Vela nor LiteRT has to be installed.
    """
    summary = {key: _number(value) for key, value in read_summary(files[SUMMARY]).items()}
    left = read_cpu_count(files[LOG].decode(errors="replace"))
    note = f"Vela for {configuration} at {summary['core_clock'] / 1e6:g} MHz"
    seconds = summary["inference_time"]
    basis, topic, omits = Basis.ESTIMATED_COMPILER, Topic.LATENCY, _omits(left)
    found = {"latency": Metric(seconds * _NS_PER_S, "ns", basis, note=note, omits=omits)}
    if seconds > 0:
        label = "inferences on the target"
        found["inferences_per_second"] = Metric(
            1 / seconds, "1/s", basis, note=note, label=label, topic=topic, omits=omits
        )
    for name, (column, label) in _CYCLES.items():
        if summary[column] or name in _ALWAYS:
            count = summary[column]
            found[name] = Metric(
                count, "cycles", basis, note=note, label=label, topic=topic, omits=omits
            )
    for name, (column, label) in _MEMORIES.items():
        if summary[column] or name in _ALWAYS:
            size = summary[column] * _BYTES_PER_KIB
            found[name] = Metric(size, "bytes", basis, label=label, topic=Topic.SIZE)
    return found


def _number(text: str) -> float:
    """Read a column as a number; 0 for words, and for the NaN of what never runs."""
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if isfinite(value) else 0.0


def _omits(left: int | None) -> str:
    """Name what Vela estimates no cycles for; for None it does not say how much that is."""
    if left is None:
        return "any operators on the CPU"
    return f"{counted(left, 'operator')} on the CPU" if left else ""


# --- decisions --------------------------------------------------------------------


def decision_about(
    placement: Placement, graph: Graph, owners: Mapping[str, str], configuration: Configuration
) -> Decision:
    """Say what Vela did with the model; plan and placement report on single nodes.

    Args:
        placement: of the operators.
        graph: what was lowered.
        owners: first result of each operator -> the node that it belongs to.
        configuration: what was compiled for.
    """
    left = [node for node in placement.nodes if node.where.unit == HOST]
    share = share_on_npu(graph, {owners[node.name] for node in left})
    rest = f"; its cycle counts leave out {counted(len(left), 'operator')} on the CPU"
    return Decision(
        Code.COMPILED,
        f"{placement.source} put {len(placement.nodes) - len(left)} of {len(placement.nodes)} "
        f"operators, with {100 * share:.4g} % of the multiply-accumulates, on the NPU "
        f"({configuration}){rest if left else ''}.",
    )


def share_on_npu(graph: Graph, on_cpu: set[str]) -> float:
    """Compute the share of multiply-accumulates not on the CPU; 1 if there are none at all."""
    counts = {node.name: macs(NodeView(graph, node)) for node in graph.nodes}
    total = sum(counts.values())
    return 1 - sum(counts[name] for name in on_cpu if name in counts) / total if total else 1.0
