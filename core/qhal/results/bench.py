"""What ``qhal bench`` answers: the numbers of today next to those of the record."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass

from qhal.codec import Json, encode
from qhal.decisions import Decision
from qhal.metric import Metric, Topic, topic_of
from qhal.results.record import RunRecord

SCHEMA_VERSION = 1

PROOF = "emulated_reference_identical"
"""Share of output elements with the host's bits, on kernels that have one right result."""


@dataclass(frozen=True)
class Origin:
    """What was run, and what its record says.

    Attributes:
        model: file name of the model that it was made from.
        target: name of the target.
        recipe: name of the recipe.
        metrics: the record's numbers of the names that were measured again, and all about its
            speed, whether or not they were measured again.
        runtime: what ran it then; empty if nothing did.
        host: the processor that they were taken on.
    """

    model: str
    target: str
    recipe: str
    metrics: Mapping[str, Metric]
    runtime: str
    host: str


@dataclass(frozen=True)
class BenchResult:
    """One artifact.

    Attributes:
        folder: where it lies, as given.
        recorded: what its record says.
        sample: the input that it was run on, in words.
        runtime: what ran it now; empty if nothing could.
        metrics: name -> number of today.
        decisions: what the numbers cannot say.
    """

    folder: str
    recorded: Origin
    sample: str
    runtime: str
    metrics: Mapping[str, Metric]
    decisions: tuple[Decision, ...] = ()

    @property
    def ok(self) -> bool:
        """False if an emulation must agree with this host and does not."""
        return PROOF not in self.metrics or self.metrics[PROOF].value == 1


@dataclass(frozen=True)
class BenchReport:
    """All artifacts, in the order in which they were given.

    Attributes:
        results: one per folder.
        threads: of the runtimes.
        qhal: version of qhal.
        versions: package -> version.
        host: processor, memory, load, operating system.
        schema_version: of this structure.
    """

    results: tuple[BenchResult, ...]
    threads: int
    qhal: str
    versions: Mapping[str, str]
    host: Mapping[str, object]
    schema_version: int = SCHEMA_VERSION

    @property
    def ok(self) -> bool:
        """True if every artifact is what it was proven to be."""
        return all(result.ok for result in self.results)

    def to_json(self) -> dict[str, Json]:
        """Make a JSON object; keys in a fixed order, the schema version first."""
        body: dict[str, Json] = encode(self)
        return {"schema_version": body.pop("schema_version"), "ok": self.ok, **body}


def origin_of(record: RunRecord, names: Container[str]) -> Origin:
    """Take from a record the numbers of these names, and those about its speed."""
    return Origin(
        record.model.file,
        record.target.name,
        record.recipe,
        {
            name: metric
            for name, metric in record.metrics.items()
            if name in names or topic_of(name, metric) is Topic.LATENCY
        },
        record.artifact.runtime,
        str(record.host.get("cpu", "")),
    )
