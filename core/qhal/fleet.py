"""One calibration, many targets: the same line for each, and one summary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from qhal.codec import Json
from qhal.data import Source
from qhal.errors import InternalError, OptionError, QhalError
from qhal.line import run_line
from qhal.options import Options, Wishes
from qhal.output import default_folder
from qhal.plugin.registry import registry
from qhal.progress import SILENT, Progress
from qhal.record import RunRecord
from qhal.session import Session, open_session

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
        """The record, or code and message of the error."""
        body: dict[str, Json] = {"target": self.target, "ok": self.record is not None}
        if self.record is not None:
            return {**body, "folder": str(self.folder), "record": self.record.to_json()}
        assert self.error is not None
        return {**body, "code": self.error.code, "error": str(self.error)}


@dataclass(frozen=True)
class Fleet:
    """The outcomes of all targets, in the order that they were asked for."""

    outcomes: tuple[Outcome, ...]

    @property
    def exit_code(self) -> int:
        """0 if all targets are done, else the exit code of the worst failure."""
        return max((o.error.exit_code for o in self.outcomes if o.error is not None), default=0)

    def to_json(self) -> dict[str, Json]:
        """All outcomes; the schema version first."""
        return {
            "schema_version": SCHEMA_VERSION,
            "ok": not self.exit_code,
            "outcomes": [outcome.to_json() for outcome in self.outcomes],
        }


def deploy_all(
    model: str | Path,
    *,
    targets: Sequence[str],
    data: Source,
    progress: Progress = SILENT,
    **options: Unpack[Wishes],
) -> Fleet:
    """Deploy a model for several targets; import, data and calibration happen once.

    A target that fails does not stop the others. Each one gets a folder of its own: in ``out``
    if it is given, beside each other in the working folder otherwise.

    Args:
        model: path of an ONNX file.
        targets: names of devices, each once.
        data: calibration data, see :class:`qhal.options.Options`.
        progress: who shows the progress of long steps.
        **options: the other fields of :class:`qhal.options.Options`.

    Raises:
        QhalError: the model or the data are not usable by any target.
        UnknownTargetError: there is no target of one of the names; nothing was run.
    """
    if len(set(targets)) < len(targets) or not all(targets):
        raise OptionError(
            f"The targets {','.join(targets)!r} are not different names.",
            "Give each target once, separated by commas.",
        )
    asked = Options(data, **options)
    known = registry(asked.targets_file)
    for name in targets:
        known.profile(name)
    with open_session(Path(model), asked, several=True) as session:
        _ = session.imported, session.data
        return Fleet(tuple(_outcome(session, name, progress) for name in targets))


def _outcome(session: Session, name: str, progress: Progress) -> Outcome:
    out, recipe = session.options.out, session.options.recipe
    folder = Path(out) / name if out is not None else default_folder(session.model, name, recipe)
    try:
        return Outcome(name, folder, run_line(session, name, folder, progress))
    except QhalError as error:
        return Outcome(name, error=error)
    except Exception as error:  # noqa: BLE001 - a bug met by one target must not cost the others
        return Outcome(name, error=_bug(name, error))


def _bug(name: str, error: Exception) -> InternalError:
    found = InternalError(
        f"Target {name} met an unexpected {type(error).__name__}: {error}.",
        "This is a bug in qhal; deploy this target alone for the details.",
    )
    found.__cause__ = error
    return found
