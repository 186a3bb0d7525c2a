"""What the user may ask of a deployment, in one value."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypedDict

from qhal.data import DEFAULT_CALIB_SAMPLES, Source
from qhal.data.function import depends_on_process
from qhal.errors import OptionError
from qhal.host import too_many_threads
from qhal.ir.graph import Shapes
from qhal.quant.range_estimators import DEFAULT_RANGE_ESTIMATOR, RANGE_ESTIMATORS


class OptionKeywords(TypedDict, total=False):
    """The fields of :class:`Options` but ``data``, as the keywords that functions take."""

    eval: Source | None
    eval_samples: int | None
    recipe: str
    out: str | Path | None
    shapes: Shapes | None
    outputs: Sequence[str]
    state: Mapping[str, str] | None
    preprocess: str | Path | None
    labels: str | None
    label_offset: int
    calib_samples: int
    observer: str
    max_fallback: int | None
    max_drop: float | None
    allow_chance: bool
    keep_refused: str | Path | None
    force: bool
    cache: bool
    keep_layout: bool
    threads: int
    targets_file: str | Path | None


@dataclass(frozen=True)
class Options:
    """What the user may ask for.

    Attributes:
        data: calibration data: an ``.npz``, a folder of ``.npy`` or of images,
            ``package.module:function``, a callable, or a mapping of arrays.
        eval: evaluation data; without it, what calibration does not use.
        eval_samples: samples to evaluate on, spread evenly; None takes all, or fewer where the
            runtime is slow.
        recipe: name of a recipe, such as ``w8a8``.
        out: the output folder; None names it after model, target and recipe.
        shapes: input name -> shape, where the model leaves dimensions free.
        outputs: tensors at which the model ends, instead of at its own outputs, such as the
            operands of a detector's last Concat; empty takes the model as it is.
        state: output -> input that it feeds in the next frame, for models with states; None
            recognizes them by type and name, an empty mapping says that there are none.
        preprocess: how raw data become inputs: a preset or a TOML file; None takes them as is.
        labels: a ``labels.csv``, or the name of the array of labels.
        label_offset: added to every label.
        calib_samples: samples to calibrate with, spread evenly.
        observer: how ranges are chosen: minmax, percentile or mse.
        max_fallback: at most so many nodes may run in float or on another unit; None allows any
            number.
        max_drop: top-1 may drop by so many percentage points; None allows 1 where there are
            labels, or more if so few samples are lost that chance may explain it. In a model
            with states, so many points of its decisions may differ in the loop; None allows 3.
        allow_chance: deploy a float model, too, that is right no more often than by chance.
        keep_refused: a folder for the record and the report where the artifact is refused.
        force: replace an output folder that qhal wrote.
        cache: keep calibration statistics for the next run.
        keep_layout: keep the model's order of dimensions at inputs and outputs.
        threads: threads to measure with.
        targets_file: a ``targets.toml`` with further devices.
    """

    data: Source
    eval: Source | None = None
    eval_samples: int | None = None
    recipe: str = "w8a8"
    out: str | Path | None = None
    shapes: Shapes | None = None
    outputs: Sequence[str] = ()
    state: Mapping[str, str] | None = None
    preprocess: str | Path | None = None
    labels: str | None = None
    label_offset: int = 0
    calib_samples: int = DEFAULT_CALIB_SAMPLES
    observer: str = DEFAULT_RANGE_ESTIMATOR
    max_fallback: int | None = None
    max_drop: float | None = None
    allow_chance: bool = False
    keep_refused: str | Path | None = None
    force: bool = False
    cache: bool = True
    keep_layout: bool = False
    threads: int = 1
    targets_file: str | Path | None = None

    def __post_init__(self) -> None:
        """Refuse values that no stage could use.

        Raises:
            OptionError: with the option, its value and what is allowed.
        """
        if self.observer not in RANGE_ESTIMATORS:
            raise OptionError(
                f"--observer: there is no range estimator {self.observer!r}.",
                f"Known are: {', '.join(RANGE_ESTIMATORS)}.",
            )
        check_outputs(self.outputs)
        least_of = {"calib_samples": 1, "eval_samples": 1, "max_fallback": 0}
        for name, least in least_of.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise OptionError(f"{name} is {value}.", f"Use at least {least}.")
        check_threads(self.threads)

    def __getstate__(self) -> dict[str, object]:
        """Return the fields to pickle; refuse data that no other process could import.

        Raises:
            OptionError: they are a function that cannot be pickled.
        """
        for name in ("data", "eval"):
            if callable(getattr(self, name)):
                _check_pickles(name, getattr(self, name))
        return dict(vars(self))

    @property
    def by_value(self) -> bool:
        """True if they mean the same in a process with modules of its own."""
        return not (depends_on_process(self.data) or depends_on_process(self.eval))

    def as_given(self) -> dict[str, object]:
        """Return the fields by name, for the record."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def check_outputs(names: Sequence[str]) -> None:
    """Refuse one text where a list of names is meant.

    Raises:
        OptionError: it would be taken for a list of letters.
    """
    if isinstance(names, str):
        raise OptionError(f"outputs is the text {names!r}.", f"Give a list: [{names!r}].")


def check_threads(count: int) -> None:
    """Refuse a number of threads that cannot be measured with here.

    Raises:
        OptionError: it is below 1, or too many for this machine.
    """
    why = "Use at least 1." if count < 1 else too_many_threads(count)
    if why:
        raise OptionError(f"threads is {count}.", why)


def _check_pickles(option: str, function: object) -> None:
    """Refuse a lambda or a nested function: functions are pickled by their names."""
    try:
        pickle.dumps(function)
    except Exception as error:  # whatever its parts raise
        raise OptionError(
            f"{option} is a function that cannot be sent to another process: {error}.",
            "Give it as package.module:function.",
        ) from error
