"""The run record: the single source of every report.

``record.json`` is a :class:`RunRecord` written by annotation (:mod:`qhal.codec`). With the same
inputs and versions it is the same byte for byte, but for times, what is measured with a clock,
and the state of the host.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from qhal.artifact.ports import Port
from qhal.codec import Json, decode, dumps, encode, loads
from qhal.decisions import Decision
from qhal.errors import InternalError, RecordError
from qhal.metric import Metric
from qhal.output import MARKER
from qhal.results.gate import Gate
from qhal.results.plan import Plan
from qhal.system.files import is_folder, plain
from qhal.targets.profile import Sourced, TargetProfile

SCHEMA_VERSION = 1
FILE_NAME = MARKER

_WHAT_TO_GIVE = "Give the record.json, or the output folder, of `qhal deploy`."


@dataclass(frozen=True)
class ModelInfo:
    """The user's model file."""

    file: str
    sha256: str
    size_bytes: int
    opset: int
    inputs: tuple[Port, ...] = ()
    outputs: tuple[Port, ...] = ()


@dataclass(frozen=True)
class TargetInfo:
    """The target, with every fact that its profile states."""

    name: str
    backend: str
    title: str
    facts: Mapping[str, Sourced] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    origin: str = ""

    @property
    def profile(self) -> TargetProfile:
        """The target, as backends take it."""
        return TargetProfile(
            self.name,
            self.backend,
            self.title,
            facts=self.facts,
            options=self.options,
            origin=self.origin,
        )


@dataclass(frozen=True)
class FileInfo:
    """One file of the artifact.

    Attributes:
        name: in the output folder.
        sha256: hash of the content.
        size_bytes: size of the content.
        auxiliary: True if it only describes the artifact, or holds it in another form.
    """

    name: str
    sha256: str
    size_bytes: int
    auxiliary: bool = False


@dataclass(frozen=True)
class ArtifactInfo:
    """What ships.

    Attributes:
        main: the file that the runtime loads.
        files: all files, the main one first.
        runtime: name and version of the runtime that ran it here; empty if none did.
    """

    main: str
    files: tuple[FileInfo, ...]
    runtime: str = ""


@dataclass(frozen=True)
class RunRecord:
    """All that is known about one run of ``qhal deploy``.

    Attributes:
        schema_version: of this structure.
        qhal: version of qhal.
        model: the user's model.
        target: the target.
        recipe: name of the recipe.
        storage: such as "stored 4 bits, computes 8", where every weight of few bits is widened
            before a kernel computes with it; else empty.
        options: what the user asked for, as given.
        artifact: what ships.
        metrics: name -> number with its basis.
        decisions: every decision, in the order of the line.
        gates: limits that the user set.
        data: calibration and evaluation data: source, counts, fingerprint, preprocessing.
        versions: package -> version.
        host: processor, memory, load, operating system.
        timings_s: stage -> seconds.
        plan: per tensor and per node.
    """

    model: ModelInfo
    target: TargetInfo
    recipe: str
    artifact: ArtifactInfo
    metrics: Mapping[str, Metric]
    decisions: tuple[Decision, ...]
    plan: Plan
    qhal: str
    options: Mapping[str, object] = field(default_factory=dict)
    gates: tuple[Gate, ...] = ()
    data: Mapping[str, object] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    host: Mapping[str, object] = field(default_factory=dict)
    timings_s: Mapping[str, float] = field(default_factory=dict)
    storage: str = ""
    schema_version: int = SCHEMA_VERSION

    @property
    def recipe_words(self) -> str:
        """The recipe, with how its weights are stored where kernels compute with more bits."""
        return f"{self.recipe} ({self.storage})" if self.storage else self.recipe

    @property
    def ok(self) -> bool:
        """True if every gate was met."""
        return all(gate.passed for gate in self.gates)

    def to_json(self) -> dict[str, Json]:
        """Make a JSON object; keys in a fixed order, the schema version first."""
        body: dict[str, Json] = encode(self)
        first = ("schema_version", "qhal", "recipe", "storage")
        return {key: body.pop(key) for key in first} | body

    def dumps(self) -> str:
        """Write the text of ``record.json``."""
        return dumps(self.to_json())

    @staticmethod
    def from_json(value: Json, where: str = "record") -> RunRecord:
        """Read a record from a JSON object.

        Raises:
            RecordError: another schema version, or something in it is missing or malformed.
        """
        _check_version(value, where)
        try:
            return decode(RunRecord, value, "record")
        except (ValueError, InternalError) as error:
            raise RecordError(
                f"{where} is not a valid record: {error}.",
                "The file was changed or truncated. Run `qhal deploy` again.",
            ) from error

    @staticmethod
    def load(path: str | Path) -> RunRecord:
        """Read a record file, or the one in an output folder.

        Raises:
            RecordError: missing, not JSON, of another schema version, or malformed.
        """
        path = Path(path)
        path = path / FILE_NAME if is_folder(path) else path
        try:
            value = loads(plain(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise RecordError(
                f"Cannot read the record {path}: {error.strerror or error}.",
                _WHAT_TO_GIVE,
            ) from error
        except ValueError as error:
            raise RecordError(
                f"{path} is not JSON: {error}.",
                _WHAT_TO_GIVE,
            ) from error
        return RunRecord.from_json(value, str(path))


def _check_version(value: Json, where: str) -> None:
    version = value.get("schema_version") if isinstance(value, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise RecordError(
            f"{where} has no schema_version, so it is not a qhal record.",
            _WHAT_TO_GIVE,
        )
    if version > SCHEMA_VERSION:
        raise RecordError(
            f"{where} has schema version {version}; this qhal reads {SCHEMA_VERSION}.",
            "A newer qhal wrote it. Run: pip install --upgrade quant-hal",
        )
    if version < SCHEMA_VERSION:
        raise RecordError(
            f"{where} has schema version {version}; this qhal reads {SCHEMA_VERSION}.",
            "An older qhal wrote it. Run `qhal deploy` again.",
        )
