"""What became of each target of a run for several."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qhal.codec import Json
from qhal.errors import QhalError
from qhal.results.record import RunRecord

SCHEMA_VERSION = 1
"""Of the JSON of a fleet; the records in it have their own."""


@dataclass(frozen=True)
class Outcome:
    """What became of one target: a record, or the error that stopped it.

    Attributes:
        target: name of the target.
        folder: where its output is; None if nothing was written.
        record: the record, None if it failed.
        error: why it failed, None if it did not.
    """

    target: str
    folder: Path | None = None
    record: RunRecord | None = None
    error: QhalError | None = None

    def to_json(self) -> dict[str, Json]:
        """Make a JSON object of the record, or of the error's code and message."""
        body: dict[str, Json] = {"target": self.target, "ok": self.record is not None}
        if self.record is not None:
            return {**body, "folder": str(self.folder), "record": self.record.to_json()}
        assert self.error is not None
        return {**body, "code": self.error.code, "error": str(self.error)}


@dataclass(frozen=True)
class Fleet:
    """The outcomes of all targets, in the order that they were asked for.

    Attributes:
        model: file name of the model.
        outcomes: one per target.
    """

    model: str
    outcomes: tuple[Outcome, ...]

    @property
    def exit_code(self) -> int:
        """0 if all targets are done, else the exit code of the worst failure."""
        return max((o.error.exit_code for o in self.outcomes if o.error is not None), default=0)

    def to_json(self) -> dict[str, Json]:
        """Make a JSON object of all outcomes; the schema version first."""
        return {
            "schema_version": SCHEMA_VERSION,
            "ok": not self.exit_code,
            "model": self.model,
            "outcomes": [outcome.to_json() for outcome in self.outcomes],
        }
