"""A job: everything that one deployment depends on, as a value that another process can take."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from qhal.errors import InternalError, QhalError, in_one_line
from qhal.output import default_folder
from qhal.pipeline.line import run_line
from qhal.pipeline.options import Options
from qhal.pipeline.session import Session, open_session
from qhal.plugin.registry import Registry
from qhal.progress import SILENT, Progress
from qhal.results.fleet import Outcome
from qhal.results.record import RunRecord
from qhal.system.blas import one_blas_thread
from qhal.system.shortage import shortage


@dataclass(frozen=True)
class Job:
    """One model for one target.

    It can be pickled, unless its data are a function that no other process could import.

    Attributes:
        model: path of the user's model.
        target: name of the target.
        options: what the user asked for; ``out`` and ``keep_refused`` are folders of this job
            alone.
    """

    model: Path
    target: str
    options: Options

    @property
    def folder(self) -> Path:
        """The output folder: the one that was asked for, else one in the working folder."""
        name = default_folder(self.model, self.target, self.options.recipe)
        return Path(self.options.out or name)

    @property
    def folders(self) -> tuple[Path, ...]:
        """All folders that it may write."""
        refused = self.options.keep_refused
        return (self.folder,) if refused is None else (self.folder, Path(refused))


def run_or_raise(job: Job, session: Session, progress: Progress = SILENT) -> RunRecord:
    """Run a job and write its folder.

    Args:
        job: what to do.
        session: of the same model and data; other jobs may share it.
        progress: shows the progress of long stages.

    Raises:
        QhalError: something in the input is not usable, a gate was not met, or something that
            is needed is not installed. Nothing is written then.
    """
    with one_blas_thread():
        return run_line(session, job.target, job.options, job.folder, progress)


def run(
    job: Job,
    session: Session | None = None,
    progress: Progress = SILENT,
    *,
    registry: Registry | None = None,
) -> Outcome:
    """Run a job as :func:`run_or_raise` does, and return its outcome, whatever goes wrong.

    Args:
        job: what to do.
        session: of the same model and data; other jobs may share it. None opens one.
        progress: shows the progress of long stages.
        registry: backends and targets of the session that is opened; None for those that are
            installed here.
    """
    try:
        with _opened(job, session, registry) as used:
            return Outcome(job.target, job.folder, run_or_raise(job, used, progress))
    except QhalError as error:
        return Outcome(job.target, error=error)
    except Exception as error:  # noqa: BLE001 - a bug met by one job must not cost the others
        return Outcome(job.target, error=shortage(error) or _bug(job.target, error))


def _opened(
    job: Job, session: Session | None, registry: Registry | None
) -> AbstractContextManager[Session]:
    if session is not None:
        return nullcontext(session)
    return open_session(job.model, job.options, registry=registry)


def _bug(name: str, error: Exception) -> InternalError:
    found = InternalError(
        f"Target {name} failed with an unexpected {in_one_line(error)}.",
        "This is a bug in qhal; deploy this target alone to see the details.",
    )
    found.__cause__ = error
    return found
