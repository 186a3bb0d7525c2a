"""One calibration, many targets: the same line for each, and one summary."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from qhal.data import Source
from qhal.errors import InternalError, OptionError, QhalError
from qhal.output import default_folder
from qhal.pipeline.deploy import run_line
from qhal.pipeline.options import Options, Wishes
from qhal.pipeline.session import Session, open_session
from qhal.plugin.registry import registry
from qhal.progress import SILENT, Progress
from qhal.results.fleet import Fleet, Outcome


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
        data: calibration data, see :class:`qhal.pipeline.options.Options`.
        progress: who shows the progress of long steps.
        **options: the other fields of :class:`qhal.pipeline.options.Options`.

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
        return Fleet(Path(model).name, tuple(_outcome(session, name, progress) for name in targets))


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
