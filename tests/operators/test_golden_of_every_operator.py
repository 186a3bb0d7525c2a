"""What each target makes of every operator and attribute, by planning alone: a list to review."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from qhal.errors import InternalError, QhalError
from qhal.ir.importer import Imported, import_model
from qhal.ir.ops import Opaque
from qhal.pipeline.prepare import Prepared, prepare
from qhal.pipeline.served import find_target
from qhal.quant.choice import Verdict
from qhal.targets.target import Target
from tests.conftest import Golden
from tests.operators.cases import CASES, Case
from tests.operators.running import newest

_TARGETS = (
    *("cpu", "tflite", "openvino-cpu", "edgetpu"),
    *("ethos-u55-128", "cortex-m7", "cortex-a72"),
)
_RECIPE = "w8a8"

_HEADER = """\
# What {target} makes of every sample of tests/operators in {recipe}: an operator's most frequent
# verdict, and below it the samples that have another one. "mixed" computes partly in float, "host"
# runs on another unit, "kept" is left to the runtime as it is, "refused by import" no target takes.
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where models are written for the importer."""
    return tmp_path_factory.mktemp("models")


@cache
def _imported(case: Case, folder: Path) -> Imported | None:
    """Import a case once for all targets; None if it is refused with a reason."""
    path = folder / "model.onnx"
    path.write_bytes(case.model(newest(case)).SerializeToString())
    try:
        return import_model(path, {})
    except InternalError:
        raise
    except QhalError as error:
        assert error.message
        return None


def _target(name: str) -> Target:
    """Find a target; what only a run of its runtime tells of opaque operators is not asked."""
    target = find_target(name, _RECIPE).target
    opaque = target.caps.opaque
    caps = replace(target.caps, opaque=opaque if isinstance(opaque, str) else None)
    return replace(target, caps=caps)


def _verdict(ready: Prepared) -> str:
    """Sum up what became of an operator; movement counts only where there is nothing else."""
    graph, choices = ready.laid.graph, ready.choices
    verdicts = {choice.verdict for choice in choices.values()}
    if Verdict.REFUSED in verdicts:
        return "refused"
    if Verdict.HOST in verdicts:
        return "host"
    if any(isinstance(node.op, Opaque) for node in graph.nodes):
        return "kept"
    computing = [c for c in choices.values() if not (c.moves or c.follows)]
    quantized = {choice.quantized for choice in computing or choices.values()}
    if len(quantized) == 2:
        return "mixed"
    return "quantized" if True in quantized else "float" if quantized else "constant"


def _verdicts(name: str, folder: Path) -> Mapping[str, Mapping[str, str]]:
    """Operator -> sample -> verdict; samples that print alike have all their verdicts."""
    target = _target(name)
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for case in CASES:
        imported = _imported(case, folder)
        verdict = _verdict(prepare(target, imported)) if imported else "refused by import"
        found[case.kind][str(case)].add(verdict)
    return {
        kind: {sample: ", ".join(sorted(verdicts)) for sample, verdicts in samples.items()}
        for kind, samples in found.items()
    }


def _lines(kind: str, verdicts: Mapping[str, str]) -> Iterator[str]:
    usual = _most_frequent(sorted(verdicts.values()))
    yield f"{kind}: {usual}\n"
    for sample, verdict in sorted(verdicts.items()):
        if verdict != usual:
            yield f"    {sample}: {verdict}\n"


def _most_frequent(verdicts: Sequence[str]) -> str:
    return Counter(verdicts).most_common(1)[0][0]


@pytest.mark.parametrize("target", _TARGETS)
def test_nothing_becomes_refused_unseen(target: str, golden: Golden, folder: Path) -> None:
    """A reviewer sees each change, as ``pytest -k golden --update-goldens`` writes the lists."""
    found = sorted(_verdicts(target, folder).items())
    lines = (line for kind, verdicts in found for line in _lines(kind, verdicts))
    text = _HEADER.format(target=target, recipe=_RECIPE) + "".join(lines)
    golden(f"sweep/{target}.txt", text)
