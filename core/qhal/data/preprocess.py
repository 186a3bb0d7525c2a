"""Preprocessing: presets, and TOML files that spell out the same operations.

The operations, in this order: channels (gray, RGB), resize, center crop, channel order,
``(x * scale - mean) / std``, layout. See :class:`Preprocess` for each.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from fractions import Fraction
from pathlib import Path

from qhal.data.image import Size
from qhal.errors import PreprocessError
from qhal.system.files import plain
from qhal.words import shortened

INTERPOLATIONS = ("bilinear", "bicubic", "lanczos", "nearest")
CHANNEL_ORDERS = ("rgb", "bgr")
LAYOUTS = ("nchw", "nhwc")

_FRACTION = re.compile(r"[+-]?[0-9]{1,20}(\.[0-9]{1,20})?(/[0-9]{1,20}(\.[0-9]{1,20})?)?")
_WANTED = 'a number such as 0.5, or a fraction such as "1/255", is wanted'
_SMALLEST, _LARGEST = 1e-15, 1e15
"""Of what is not zero: quotients of two are numbers that float32 has."""


@dataclass(frozen=True)
class Preprocess:
    """How an image becomes a model input.

    Attributes:
        name: of the preset or file.
        scale: factor on the pixel values 0–255, applied first.
        mean: subtracted after ``scale``; one value, or one per channel in the model's order.
        std: divisor after that; one value, or one per channel.
        channel_order: what the model wants, ``rgb`` or ``bgr``.
        layout: of the model's input, ``nchw`` or ``nhwc``; None to infer it from the shape (the
            axis with 1 or 3 elements holds the channels).
        resize: an int scales the shorter side to that length, a pair to that height and width.
            None: nothing if the image has the input's size; otherwise it is scaled, with its
            aspect ratio, until it covers ``margin`` times the input's size.
        crop: size of the center crop; it has to be the input's. None: the input's.
        interpolation: one of :data:`INTERPOLATIONS`, with antialiasing.
        margin: see ``resize``; 256/224 is what ImageNet classifiers are evaluated with.
    """

    name: str
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    channel_order: str = "rgb"
    layout: str | None = None
    resize: int | Size | None = None
    crop: Size | None = None
    interpolation: str = "bilinear"
    margin: float = 1.0

    @property
    def is_identity(self) -> bool:
        """True if pixel values stay as they are."""
        return (self.scale, set(self.mean), set(self.std)) == (1.0, {0.0}, {1.0})

    def to_json(self) -> dict[str, object]:
        """Return the fields, for the record."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


_IMAGENET_MARGIN = 256 / 224

PRESETS: Mapping[str, Preprocess] = {
    preset.name: preset
    for preset in (
        Preprocess(
            "imagenet-torch",
            scale=1 / 255,
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
            margin=_IMAGENET_MARGIN,
        ),
        Preprocess("imagenet-tf", scale=1 / 127.5, mean=(1.0,), margin=_IMAGENET_MARGIN),
        Preprocess("unit", scale=1 / 255),
        Preprocess("raw"),
        Preprocess("raw-bgr", channel_order="bgr"),
    )
}
"""The presets by name."""


def load_preprocess(choice: str | Path) -> Preprocess:
    """Load a preset by its name, or a TOML file.

    Raises:
        PreprocessError: there is no such preset or file, or the file is malformed.
    """
    if str(choice) in PRESETS:
        return PRESETS[str(choice)]
    path = Path(choice)
    if path.suffix != ".toml":
        near = get_close_matches(str(choice), PRESETS, n=1)
        raise PreprocessError(
            f"There is no preprocessing {str(choice)!r}.",
            (f"Did you mean {near[0]}? " if near else "")
            + f"Use one of {', '.join(PRESETS)}, or a .toml file.",
        )
    try:
        table = tomllib.loads(plain(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise PreprocessError(f"{path} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:  # not UTF-8, not TOML, or integers with thousands of digits
        raise PreprocessError(f"{path} is not valid TOML: {error}.") from error
    except RecursionError as error:
        raise PreprocessError(f"{path} is nested too deeply.") from error
    return _parse(path, table)


# --- TOML ---------------------------------------------------------------------


def _parse(path: Path, table: Mapping[str, object]) -> Preprocess:
    unknown = [key for key in table if key not in _FIELDS]
    if unknown:
        raise PreprocessError(
            f"{path} has the unknown key {unknown[0]!r}.", f"Allowed are {', '.join(_FIELDS)}."
        )
    if "scale" not in table and table.keys() & {"mean", "std"}:
        raise PreprocessError(
            f"{path} has mean or std, but no scale.",
            'They apply to scaled values; write scale = "1/255" or scale = 1.0.',
        )
    fields: dict[str, object] = {}
    for key, value in table.items():
        try:
            fields[key] = _FIELDS[key](value)
        except (ValueError, TypeError, ZeroDivisionError, OverflowError) as error:
            shown = f"{key} = {shortened(value)}"
            raise PreprocessError(f"{path}: {shown} is not allowed; {error}.") from error
    return Preprocess(path.name, **fields)  # type: ignore[arg-type]


def _number(value: object) -> float:
    if isinstance(value, str):
        if not _FRACTION.fullmatch(value.strip()):
            raise ValueError(_WANTED)
        value = float(Fraction(value))
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(_WANTED)
    if value and not _SMALLEST <= abs(value) <= _LARGEST:  # also false for NaN
        raise ValueError(f"a number from {_SMALLEST:g} to {_LARGEST:g}, or its negative, is needed")
    return float(value)


def _factor(value: object) -> float:
    number = _number(value)
    if number == 0:
        raise ValueError("it must not be 0")
    return number


def _list_of(item: Callable[[object], float]) -> Callable[[object], tuple[float, ...]]:
    def parse(value: object) -> tuple[float, ...]:
        values = value if isinstance(value, list) else [value]
        if not values:
            raise ValueError("expected one number, or one per channel")
        return tuple(item(v) for v in values)

    return parse


def _pixels(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1 << 16:
        raise ValueError("expected a number of pixels, such as 256, or [height, width]")
    return value


def _side_or_size(value: object) -> int | Size:
    return _size(value) if isinstance(value, list) else _pixels(value)


def _size(value: object) -> Size:
    sides = value if isinstance(value, list) else [value, value]
    if len(sides) != 2:
        raise ValueError("expected [height, width]")
    return _pixels(sides[0]), _pixels(sides[1])


def _one_of(*words: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        if not isinstance(value, str) or value not in words:
            raise ValueError(f"expected one of {', '.join(words)}")
        return value

    return parse


_FIELDS: Mapping[str, Callable[[object], object]] = {
    "resize": _side_or_size,
    "crop": _size,
    "interpolation": _one_of(*INTERPOLATIONS),
    "channel_order": _one_of(*CHANNEL_ORDERS),
    "scale": _factor,
    "mean": _list_of(_number),
    "std": _list_of(_factor),
    "layout": _one_of(*LAYOUTS),
}
