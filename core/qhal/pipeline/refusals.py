"""What a refusal leaves behind where the user asks for it: the record and the report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from qhal.decisions import Code, Decision, Severity
from qhal.errors import OptionError, OutputError, QhalError
from qhal.output import REPORT, OutputFolder, check_free
from qhal.report import to_markdown
from qhal.results.record import FILE_NAME, RunRecord

_OPTION = "--keep-refused"


def check_place(kept: str | Path | None, folder: Path, force: bool) -> None:
    """Check that evidence could be written: call it before the long work.

    Raises:
        OptionError: it would stand where the artifact is to stand.
        OutputError: the folder cannot be written.
    """
    if kept is None:
        return
    if Path(kept).absolute() == folder.absolute():
        raise OptionError(
            f"{_OPTION} and --out are both {folder}.",
            "What was refused stands beside no artifact: choose another folder.",
        )
    check_free(Path(kept), force, _OPTION)


def keep_refused(
    kept: str | Path | None, record: RunRecord, refusal: QhalError, force: bool
) -> QhalError:
    """Write the record and the report of what was refused, without the artifact.

    Args:
        kept: the folder, which appears whole or not at all; None writes nothing.
        record: of the run; at least one of its gates is not met.
        refusal: why the artifact is not handed out.
        force: replace a folder that qhal wrote.

    Returns:
        The error to raise: the refusal, which says where the evidence is or why there is none.
    """
    if kept is None:
        return refusal
    record = replace(record, decisions=(*record.decisions, _in_full(refusal)))
    try:
        with OutputFolder(kept, force=force, option=_OPTION) as output:
            output.write(FILE_NAME, record.dumps())
            output.write(REPORT, to_markdown(record))
        kept_where = (
            f"The record and the report of what was refused are in {kept}, without the artifact."
        )
    except OutputError as error:
        kept_where = f"The record of what was refused could not be kept: {error}"
    return type(refusal)(refusal.message, f"{refusal.hint}\n{kept_where}".lstrip())


def _in_full(refusal: QhalError) -> Decision:
    """Write the refusal into the record, with what was measured to help."""
    return Decision(Code.NOT_HANDED_OUT, str(refusal), severity=Severity.REFUSAL)
