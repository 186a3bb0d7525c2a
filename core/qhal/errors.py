"""Every error that qhal raises on purpose: one root, one stable code per class.

An error message answers three questions for a tired reader: *what* is wrong (with
the offending value), *where* (file, node, tensor, option), and *what to do*. The
last one is :attr:`QhalError.hint`.

How the command ends after each is an :class:`ExitCode`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """How the command ends; ``meaning`` is what help texts and pages say of it."""

    meaning: str

    def __new__(cls, number: int, meaning: str) -> ExitCode:  # noqa: D102
        code = int.__new__(cls, number)
        code._value_, code.meaning = number, meaning
        return code

    DONE = 0, "done"
    REFUSED = (
        1,
        "the target refuses the model, the artifact is not proven, or a gate is not met",
    )
    BAD_INPUT = 2, "bad input, or not enough disk or memory"
    MISSING = 3, "something that is needed is not installed"
    BUG = 70, "a bug in qhal"
    INTERRUPTED = 130, "interrupted (Ctrl-C, SIGINT)"
    NOBODY_READS = 141, "the reader of the result has gone (a closed pipe)"
    TERMINATED = 143, "terminated (SIGTERM)"


class QhalError(Exception):
    """Root of all deliberate errors."""

    code: ClassVar[str] = "QH000"
    exit_code: ClassVar[int] = ExitCode.BAD_INPUT

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


def text_of(error: BaseException) -> str:
    """Return the text of another library's exception; its type if it has none, or fails to say."""
    try:
        return str(error).strip() or type(error).__name__
    except Exception:  # noqa: BLE001 - whatever its __str__ does
        return type(error).__name__


def in_one_line(error: BaseException) -> str:
    """Return type and text of another library's exception, such as ``KeyError: 'x'``."""
    kind, text = type(error).__name__, " ".join(text_of(error).split())
    return kind if text == kind else f"{kind}: {text}"


# --- QH1xx: the model ---------------------------------------------------------


class ModelFileError(QhalError):
    """The model file is missing, empty, truncated or not ONNX."""

    code = "QH101"


class ModelInvalidError(QhalError):
    """The file is ONNX, but the graph in it is not valid."""

    code = "QH102"


class ModelShapeError(QhalError):
    """A dimension is free or does not fit; set it with ``--shape``."""

    code = "QH103"


class ModelWeightsError(QhalError):
    """A weight holds NaN or Inf, or an external weight file leaves the model's folder."""

    code = "QH104"


# --- QH2xx: calibration and evaluation data -----------------------------------


class DataFileError(QhalError):
    """The data path is missing, empty, unreadable or of an unknown kind."""

    code = "QH201"


class DataShapeError(QhalError):
    """The names, shapes or dtypes of the data do not fit the model's inputs."""

    code = "QH202"


class DataValueError(QhalError):
    """The data hold NaN, Inf, or values that the input's type or the float model cannot take."""

    code = "QH203"


class LabelError(QhalError):
    """Labels are missing, malformed or out of range."""

    code = "QH204"


class PreprocessError(QhalError):
    """The preprocessing is unknown, malformed or does not fit the data."""

    code = "QH205"


# --- QH3xx: options -----------------------------------------------------------


class OptionError(QhalError):
    """An option has a value that is not allowed."""

    code = "QH301"


class UnknownTargetError(QhalError):
    """No installed plugin knows the target."""

    code = "QH302"


class UnknownRecipeError(QhalError):
    """The recipe does not exist or the target has no kernels for it."""

    code = "QH303"


class CatalogError(QhalError):
    """A ``targets.toml`` is malformed."""

    code = "QH304"


# --- QH4xx: output ------------------------------------------------------------


class OutputError(QhalError):
    """The output folder exists, cannot be written, or the disk is full."""

    code = "QH401"


class RecordError(QhalError):
    """A record cannot be read, or its schema version is unknown."""

    code = "QH402"


class ArtifactError(QhalError):
    """The files in an output folder are not those that its record lists."""

    code = "QH403"


# --- QH5xx: gates -------------------------------------------------------------


class RefusedError(QhalError):
    """The target cannot run the model: at least one node has no kernel."""

    code = "QH501"
    exit_code = ExitCode.REFUSED


class FallbackGateError(QhalError):
    """More nodes fall back than ``--max-fallback`` allows."""

    code = "QH502"
    exit_code = ExitCode.REFUSED


class AccuracyGateError(QhalError):
    """The accuracy dropped by more than ``--max-drop`` percentage points (1 by default)."""

    code = "QH503"
    exit_code = ExitCode.REFUSED


class VerificationError(QhalError):
    """The artifact does not run, or does not compute what the oracle computes."""

    code = "QH504"
    exit_code = ExitCode.REFUSED


class FloatModelError(QhalError):
    """The float model itself is right no more often than by chance; see ``--allow-chance``."""

    code = "QH505"
    exit_code = ExitCode.REFUSED


class CrashError(QhalError):
    """A runtime crashed, or the system ended the process."""

    code = "QH506"
    exit_code = ExitCode.REFUSED


class LoopGateError(QhalError):
    """With its own states fed back, the artifact's outputs leave those of the float model."""

    code = "QH507"
    exit_code = ExitCode.REFUSED


# --- QH6xx: what is not installed ---------------------------------------------


class MissingDependencyError(QhalError):
    """A package or program that this needs is not installed."""

    code = "QH601"
    exit_code = ExitCode.MISSING


# --- QH7xx: plugins -----------------------------------------------------------


class PluginError(QhalError):
    """A plugin broke its contract; the message names its distribution."""

    code = "QH701"


# --- QH8xx: the machine -------------------------------------------------------


class OutOfMemoryError(QhalError):
    """The machine has not enough memory for the model with these data."""

    code = "QH801"


class LimitError(QhalError):
    """The system lets the process open no more files, or start no more threads or processes."""

    code = "QH802"


# --- QH9xx: bugs --------------------------------------------------------------


class InternalError(QhalError):
    """An invariant of qhal does not hold. This is a bug in qhal, not in the input."""

    code = "QH901"
    exit_code = ExitCode.BUG
