"""Every error that qhal raises on purpose: one root, one stable code per class.

An error message answers three questions for a tired reader: *what* is wrong (with
the offending value), *where* (file, node, tensor, option), and *what to do*. The
last one is :attr:`QhalError.hint`.

Exit codes follow the command line contract: 1 the target refuses the model, its artifact is not
proven, or a gate was not met, 2 bad input, 3 something that is needed is not installed, 70 a bug
in qhal.
"""

from __future__ import annotations

from typing import ClassVar


class QhalError(Exception):
    """Root of all deliberate errors."""

    code: ClassVar[str] = "QH000"
    exit_code: ClassVar[int] = 2

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


def in_one_line(error: BaseException) -> str:
    """Return type and text of another library's exception, such as ``KeyError: 'x'``."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}".removesuffix(": ")


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
    exit_code = 1


class FallbackGateError(QhalError):
    """More nodes fall back than ``--max-fallback`` allows."""

    code = "QH502"
    exit_code = 1


class AccuracyGateError(QhalError):
    """The accuracy dropped by more than ``--max-drop`` percentage points (1 by default)."""

    code = "QH503"
    exit_code = 1


class VerificationError(QhalError):
    """The artifact does not run, or does not compute what the oracle computes."""

    code = "QH504"
    exit_code = 1


class FloatModelError(QhalError):
    """The float model itself is right no more often than by chance; see ``--allow-chance``."""

    code = "QH505"
    exit_code = 1


class LoopGateError(QhalError):
    """With its own states fed back, the artifact's outputs leave those of the float model."""

    code = "QH506"
    exit_code = 1


# --- QH6xx: what is not installed ---------------------------------------------


class MissingDependencyError(QhalError):
    """A package or program that this step needs is not installed."""

    code = "QH601"
    exit_code = 3


# --- QH7xx: plugins -----------------------------------------------------------


class PluginError(QhalError):
    """A plugin broke its contract; the message names its distribution."""

    code = "QH701"


# --- QH9xx: bugs --------------------------------------------------------------


class InternalError(QhalError):
    """An invariant of qhal does not hold. This is a bug in qhal, not in the input."""

    code = "QH901"
    exit_code = 70
