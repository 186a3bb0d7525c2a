"""Build the record of a run: hashes, versions and the host are determined here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from qhal import host
from qhal.artifact.ports import Port
from qhal.artifact.runnable import Subject
from qhal.decisions import Decision
from qhal.ir.importer import Imported
from qhal.metric import Metric
from qhal.plugin.backend import Artifact
from qhal.plugin.discovery import Provider
from qhal.plugin.registry import Registry
from qhal.results.gate import Gate
from qhal.results.plan import Plan, storage_of
from qhal.results.record import ArtifactInfo, FileInfo, ModelInfo, RunRecord, TargetInfo
from qhal.targets.profile import TargetProfile
from qhal.version import __version__


def build_record(
    *,
    path: Path,
    imported: Imported,
    subject: Subject,
    runtime: str,
    metrics: Mapping[str, Metric],
    decisions: Iterable[Decision],
    plan: Plan,
    options: Mapping[str, object],
    gates: Iterable[Gate],
    data: Mapping[str, object],
    timings_s: Mapping[str, float],
    registry: Registry,
) -> RunRecord:
    """Write down a run; determine hashes, versions and the host.

    Args:
        path: the user's model file.
        imported: what import made of it.
        subject: what was lowered, and what ships.
        runtime: what ran it here; empty if nothing did.
        metrics: of verification, measurement and energy.
        decisions: of all stages; one that was recorded twice is kept once.
        plan: declared and, where known, placed and executed.
        options: what the user asked for; values that JSON lacks are written as text.
        gates: limits that the user set.
        data: calibration and evaluation data.
        timings_s: stage -> seconds.
        registry: the plugins, whose versions belong to the record.
    """
    return RunRecord(
        model=_model_info(path, imported, subject),
        target=_target_info(subject.profile),
        recipe=subject.model.recipe,
        artifact=_artifact_info(subject.artifact, runtime),
        metrics=dict(metrics),
        decisions=tuple(dict.fromkeys(decisions)),
        plan=plan,
        qhal=__version__,
        options=_plain(options),
        gates=tuple(gates),
        data=_plain(data),
        versions=_versions(subject.provider, registry),
        host=host.describe(),
        timings_s={stage: round(seconds, 6) for stage, seconds in timings_s.items()},
        storage=storage_of(subject.model.kernels.values()),
    )


def _versions(provider: Provider | None, registry: Registry) -> dict[str, str]:
    """Collect versions of what qhal and the backends run on, and of the plugin that lowered."""
    lowered_by = () if provider is None else (provider.distribution,)
    return host.versions((*registry.packages, *lowered_by))


def _plain(values: Mapping[str, object]) -> dict[str, object]:
    """Convert values to those of JSON; what it lacks (paths, functions) becomes text."""
    return json.loads(json.dumps(values, default=str))  # type: ignore[no-any-return]


def _model_info(path: Path, imported: Imported, subject: Subject) -> ModelInfo:
    adapter, artifact = subject.adapter, subject.artifact
    return ModelInfo(
        path.name,
        imported.sha256,
        imported.size_bytes,
        imported.opset,
        _named(adapter.inputs, artifact.input_names),
        _named(adapter.outputs, artifact.output_names),
    )


def _named(ports: Iterable[Port], runtime_names: Mapping[str, str]) -> tuple[Port, ...]:
    """Give ports the names that the artifact's runtime has for them."""
    return tuple(
        replace(port, artifact_name=runtime_names.get(port.name, port.name)) for port in ports
    )


def _target_info(profile: TargetProfile) -> TargetInfo:
    return TargetInfo(
        profile.name,
        profile.backend,
        profile.title,
        dict(profile.facts),
        dict(profile.options),
        profile.origin,
    )


def _artifact_info(artifact: Artifact, runtime: str) -> ArtifactInfo:
    names = sorted(artifact.files, key=lambda name: (name != artifact.main, name))
    files = tuple(_file_info(name, artifact) for name in names)
    return ArtifactInfo(artifact.main, files, runtime)


def _file_info(name: str, artifact: Artifact) -> FileInfo:
    content = artifact.files[name]
    return FileInfo(name, sha256(content).hexdigest(), len(content), name in artifact.auxiliary)
