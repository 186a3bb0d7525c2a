"""``qhal.bench``: numbers of today beside those of the record."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import qhal
from qhal.decisions import Code, Decision
from qhal.errors import DataShapeError, MissingDependencyError, OptionError, VerificationError
from qhal.metric import Basis, Metric
from qhal.plugin.backend import Artifact, Findings, Runner, RunOptions
from qhal.plugin.readiness import Lack, Readiness
from qhal.plugin.registry import registry
from qhal.report import to_text
from qhal.report.bench_page import bench_page
from qhal.results.bench import PROOF, BenchReport
from qhal.results.record import RunRecord
from qhal.targets.profile import TargetProfile
from qhal_backends.cpu.plugin import CpuBackend
from tests.paths import ROOT

DIGITS = ROOT / "examples" / "digits"
MODEL = DIGITS / "digits.onnx"
QUICK: dict[str, Any] = {"budget_s": 0.05}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The bundled example for ONNX Runtime, in two recipes."""
    root = tmp_path_factory.mktemp("deployed")
    found = (root / "int8", root / "half")
    for out, recipe in zip(found, ("w8a8", "fp16"), strict=True):
        qhal.deploy(
            MODEL,
            target="cpu",
            recipe=recipe,
            data=DIGITS / "calibration.npz",
            eval=DIGITS / "evaluation.npz",
            out=out,
        )
    return found


@pytest.fixture(scope="module")
def report(folders: tuple[Path, Path]) -> BenchReport:
    """Both, with their float model."""
    return qhal.bench(*folders, model=MODEL, **QUICK)


def test_every_folder_is_measured_beside_its_record(
    report: BenchReport, folders: tuple[Path, Path]
) -> None:
    for result, folder in zip(report.results, folders, strict=True):
        record = RunRecord.load(folder)
        assert result.folder == str(folder)
        assert result.recorded.host == record.host["cpu"]
        assert result.runtime == result.recorded.runtime == record.artifact.runtime
        now, then = result.metrics, result.recorded.metrics
        assert now["latency_host_p50"].basis is Basis.MEASURED_HOST
        assert then["latency_host_p50"] == record.metrics["latency_host_p50"]
        assert {"latency_host_float_p50", "speedup_host", "peak_memory_float"} <= set(then)
        assert set(then) == set(now) - {"speedup_first"}


def test_later_folders_are_compared_with_the_first(report: BenchReport) -> None:
    first, second = (result.metrics for result in report.results)
    assert "speedup_first" not in first
    p50s = (metrics["latency_host_p50"].value for metrics in (first, second))
    quotient = next(p50s) / next(p50s)
    assert second["speedup_first"].value == pytest.approx(quotient)


def test_the_input_is_made_from_the_plan_or_taken_from_the_data(folders: tuple[Path, Path]) -> None:
    made_up = qhal.bench(*folders, **QUICK)
    assert [r.sample for r in made_up.results] == [
        "image random from 0 to 1",
        "image random from -1 to 1",
    ]
    taken = qhal.bench(folders[0], data=DIGITS / "evaluation.npz", **QUICK).results[0]
    assert taken.sample == f"sample 0 of {DIGITS / 'evaluation.npz'}"
    assert "latency_host_float_p50" not in taken.metrics


def test_the_report_is_json_and_text(report: BenchReport, folders: tuple[Path, Path]) -> None:
    body = report.to_json()
    assert json.loads(json.dumps(body)) == body
    assert next(iter(body)) == "schema_version"
    assert (body["schema_version"], body["ok"], body["threads"]) == (1, True, 1)
    p50 = body["results"][0]["metrics"]["latency_host_p50"]
    assert {"value", "unit", "basis", "low", "high", "note", "label", "topic", "omits"} == set(p50)
    text = to_text(report, 200)
    for words in ("Bench of 2 folders", "p50 here", "speed vs. first", "speed vs. float"):
        assert words in text
    assert "int8: " in text
    assert all(str(folder) in text.replace("\n", "") for folder in folders)
    alone = replace(report, results=report.results[:1])
    assert "speed vs. first" not in to_text(alone, 200)


def test_folders_of_one_name_keep_their_paths(report: BenchReport) -> None:
    one, two = (replace(r, folder=f"{i}/out") for i, r in enumerate(report.results))
    page = bench_page(replace(report, results=(one, two)))
    assert [section.title for section in page.sections[1:3]] == ["0/out", "1/out"]


def test_nothing_in_the_folder_changes(folders: tuple[Path, Path]) -> None:
    def state() -> dict[str, tuple[int, bytes]]:
        return {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in folders[0].iterdir()}

    before = state()
    qhal.bench(folders[0], model=MODEL, **QUICK)
    assert state() == before


def test_a_users_own_target_needs_no_catalog(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text('[targets.my-server]\nextends = "cpu"\ntitle = "Mine"\n')
    data = DIGITS / "calibration.npz"
    qhal.deploy(MODEL, target="my-server", data=data, targets_file=mine, out=tmp_path / "out")
    assert "my-server" not in registry().targets
    result = qhal.bench(tmp_path / "out", model=MODEL, **QUICK).results[0]
    assert result.recorded.target == "my-server"
    assert "speedup_host" in result.metrics


def test_a_record_of_a_policy_has_a_float_baseline_too(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    mixed = Path(shutil.copytree(folders[0], tmp_path / "mixed"))
    made = replace(RunRecord.load(mixed), recipe="mixed by hand")
    (mixed / "record.json").write_text(made.dumps())
    (result,) = qhal.bench(mixed, model=MODEL, **QUICK).results
    assert result.recorded.recipe == "mixed by hand"
    assert "speedup_host" in result.metrics


# --- what cannot be done --------------------------------------------------------------


def test_folders_are_given_once(folders: tuple[Path, Path]) -> None:
    with pytest.raises(OptionError, match="No folder is given"):
        qhal.bench()
    with pytest.raises(OptionError, match="given twice"):
        qhal.bench(folders[0], folders[0] / "..", folders[0] / ".." / folders[0].name)


def test_options_that_make_no_sense(folders: tuple[Path, Path]) -> None:
    with pytest.raises(OptionError, match="preprocess is unit, but no data"):
        qhal.bench(folders[0], preprocess="unit")
    with pytest.raises(OptionError, match="threads is 0"):
        qhal.bench(folders[0], threads=0)


def _variant(path: Path, *, rename: str = "") -> Path:
    """The example's model with another description, or with another name of its input."""
    import onnx

    proto = onnx.load(MODEL)
    proto.doc_string = "changed"
    if rename:
        proto.graph.input[0].name = rename
        for node in proto.graph.node:
            node.input[:] = [rename if name == "image" else name for name in node.input]
    onnx.save(proto, path)
    return path


def test_the_float_model_must_be_the_one_in_the_record(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    recorded = RunRecord.load(folders[0]).model.sha256
    with pytest.raises(OptionError, match=f"its sha256 is .*; the record says {recorded}"):
        qhal.bench(folders[0], model=_variant(tmp_path / "other.onnx"))
    other = _variant(tmp_path / "renamed.onnx", rename="picture")
    with pytest.raises(OptionError, match=r"is not the model of .* no input 'image'"):
        qhal.bench(folders[0], model=other)


def test_a_backend_without_a_float_form(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    info = replace(CpuBackend.info, lowers_float=False)
    monkeypatch.setattr(CpuBackend, "info", info)
    with pytest.raises(OptionError, match="backend 'cpu' does not lower float models"):
        qhal.bench(folders[0], model=MODEL)


def test_data_of_another_shape(folders: tuple[Path, Path]) -> None:
    with pytest.raises(DataShapeError):
        qhal.bench(folders[0], data={"image": np.zeros((3, 1, 9, 9), np.float32)})


def test_an_artifact_that_does_not_run(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(CpuBackend, "load", fail)
    with pytest.raises(
        VerificationError,
        match=r"cannot load .*int8/model\.onnx\. .* broke in load: RuntimeError: no such kernel",
    ):
        qhal.bench(folders[0])


@pytest.fixture
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without the runtime."""
    absent = Readiness(run=Lack("not here", "pip install it"))
    monkeypatch.setattr(CpuBackend, "readiness", lambda self, target=None: absent)


def test_an_artifact_that_cannot_run_here(folders: tuple[Path, Path], nothing_runs: None) -> None:
    with pytest.raises(MissingDependencyError, match="int8: the artifact for cpu cannot") as caught:
        qhal.bench(folders[0])
    assert caught.value.hint == "not here: pip install it"


def test_what_is_known_without_running_is_told(
    folders: tuple[Path, Path], nothing_runs: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    estimate = Metric(7e3, "ns", Basis.ESTIMATED_COMPILER)
    monkeypatch.setattr(CpuBackend, "examine", lambda *_: Findings({"latency": estimate}))
    report = qhal.bench(folders[0], **QUICK)
    (result,) = report.results
    assert dict(result.metrics) == {"latency": estimate}
    (decision,) = result.decisions
    assert decision.code is Code.NOT_RUNNABLE
    assert "has no latency here: not here: pip install it." in decision.sentence
    text = to_text(report, 200)
    assert "not timed on this host, 7 us (estimated by the compiler) on the target" in text
    speed_then = next(line for line in text.splitlines() if line.startswith("on this host, p50"))
    assert re.match(r"on this host, p50 +– +\S+ us .*only in the record", speed_then)


def test_a_float_model_that_does_not_run_here(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    load = CpuBackend.load
    quantized = RunRecord.load(folders[0]).artifact.files[0].size_bytes

    def only_quantized(
        self: CpuBackend, artifact: Artifact, target: TargetProfile, options: RunOptions
    ) -> Runner | None:
        return load(self, artifact, target, options) if artifact.size_bytes == quantized else None

    monkeypatch.setattr(CpuBackend, "load", only_quantized)
    (result,) = qhal.bench(folders[0], model=MODEL, **QUICK).results
    assert "speedup_host" not in result.metrics
    assert [d.code for d in result.decisions] == [Code.NOT_RUNNABLE]


@pytest.mark.parametrize(("share", "proven"), [(1.0, True), (0.99, False)])
def test_an_emulation_with_other_bits_is_a_failed_proof(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, share: float, proven: bool
) -> None:
    metric = Metric(share, "fraction", Basis.COUNTED_EMULATED)
    note = Decision(Code.EMULATION_DIFFERS, "The last bit.")
    found = Findings({PROOF: metric}, () if proven else (note,))
    monkeypatch.setattr(CpuBackend, "examine", lambda *_: found)
    report = qhal.bench(folders[0], **QUICK)
    assert report.ok is report.to_json()["ok"] is proven
    text = to_text(report, 400)
    assert ("Not proven: int8 gives different results" in text) is not proven
    assert ("int8: The last bit. (QD521, info)" in text) is not proven
