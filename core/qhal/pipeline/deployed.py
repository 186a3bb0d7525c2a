"""Read an output folder back: the record, and the artifact that it describes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from qhal.artifact.ports import Adapter, Port
from qhal.artifact.runnable import Runnable
from qhal.errors import ArtifactError, MissingDependencyError, PluginError, RecordError
from qhal.plugin.backend import Artifact
from qhal.plugin.provided import Provided
from qhal.plugin.registry import Registry, given_or_installed
from qhal.results.record import FileInfo, RunRecord
from qhal.system.files import is_folder, plain

_FIX = (
    "Copy the whole folder again, or run `qhal deploy` again: only unchanged files have a record."
)


@dataclass(frozen=True, eq=False)
class Deployed:
    """An output folder of ``qhal deploy``.

    Attributes:
        record: what is known about it.
        runnable: the artifact for the record's own target, whatever the catalog here says.
    """

    record: RunRecord
    runnable: Runnable

    @property
    def folder(self) -> Path:
        """Where it lies, as given."""
        return self.runnable.folder


def open_deployed(folder: str | Path, *, registry: Registry | None = None) -> Deployed:
    """Read an output folder, and check that its files are those of its record, byte for byte.

    Args:
        folder: the output folder.
        registry: where the backend is looked up; None for what is installed here.

    Raises:
        RecordError: it is not a folder, or there is no record in it that this qhal understands.
        ArtifactError: a file of the artifact is missing, or is not the one in the record.
        MissingDependencyError: the backend that wrote it is not installed.
    """
    path = Path(folder)
    if not is_folder(path):
        raise RecordError(f"{path} is not a folder.", "Give an output folder of `qhal deploy`.")
    record = RunRecord.load(path)
    _check_handed_out(path, record)
    adapter = Adapter(record.model.inputs, record.model.outputs)
    artifact = _artifact(path, record, adapter)
    found, profile = _provided(path, record, registry), record.target.profile
    runnable = Runnable(
        artifact, found.backend, profile, adapter, folder=path, provider=found.provider
    )
    return Deployed(record, runnable)


def _check_handed_out(folder: Path, record: RunRecord) -> None:
    failed = [gate.sentence for gate in record.gates if not gate.passed]
    if failed:
        raise ArtifactError(
            f"{folder} holds the record of an artifact that was refused: {failed[0]}.",
            "There is nothing to run: `report.md` there says why.",
        )


def _provided(folder: Path, record: RunRecord, registry: Registry | None) -> Provided:
    try:
        return given_or_installed(registry).provided(record.target.backend)
    except MissingDependencyError as error:
        raise MissingDependencyError(f"{folder}: {error.message}", error.hint) from error


def _artifact(folder: Path, record: RunRecord, adapter: Adapter) -> Artifact:
    infos = record.artifact.files
    files = {info.name: _content(folder, info) for info in infos}
    try:
        return Artifact(
            files,
            record.artifact.main,
            input_names=_names(adapter.inputs),
            output_names=_names(adapter.outputs),
            auxiliary=frozenset(info.name for info in infos if info.auxiliary),
        )
    except PluginError as error:  # whoever wrote this record, it was not qhal
        raise ArtifactError(f"{folder}: {error.message}", _FIX) from error


def _content(folder: Path, info: FileInfo) -> bytes:
    """Read a file, and check that its bytes are those that were recorded."""
    if Path(info.name).name != info.name:
        raise ArtifactError(
            f"{folder}: the record's file {info.name!r} is outside the folder.", _FIX
        )
    path = folder / info.name
    try:
        content = plain(path).read_bytes()
    except FileNotFoundError:
        raise ArtifactError(f"{path} is missing, but the record lists it.", _FIX) from None
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror or error}.") from error
    if len(content) != info.size_bytes:
        raise ArtifactError(
            f"{path} was changed: it has {len(content):,} bytes; "
            f"the record says {info.size_bytes:,}.",
            _FIX,
        )
    found = sha256(content).hexdigest()
    if found != info.sha256:
        raise ArtifactError(
            f"{path} was changed: its sha256 is {found}; the record says {info.sha256}.", _FIX
        )
    return content


def _names(ports: Iterable[Port]) -> dict[str, str]:
    return {port.name: port.artifact_name for port in ports}
