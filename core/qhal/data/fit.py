"""From an array of the source to exactly what a model's input takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from qhal.data.image import (
    Size,
    center_crop,
    covering_size,
    resize,
    shorter_side_size,
    to_gray,
)
from qhal.data.preprocess import Preprocess
from qhal.errors import DataShapeError, DataValueError, PreprocessError
from qhal.ir.graph import Array, TensorType

Fit = Callable[[Array], Array]
"""Turns an array of the source into the input's shape and type, or raises."""

_CHANNELS = (1, 3)
_MOST_PIXELS = 1 << 28
_FAMILIES = {"f": "float", "i": "integer", "u": "integer", "b": "bool"}


@dataclass(frozen=True)
class AsIs:
    """The array is the input: only a leading dimension of 1 may be missing.

    Attributes:
        name: of the input.
        type: of the input.
        masks: the input masks scores, so that it may be infinite.
    """

    name: str
    type: TensorType
    masks: bool = False

    def __call__(self, raw: Array) -> Array:
        """Convert the array to the input's shape and type.

        Raises:
            DataShapeError: it has another shape or family of types.
            DataValueError: it holds NaN, Inf, or an integer that the type cannot hold.
        """
        self._check_type(raw)
        return converted(with_batch(raw, self.name, self.type), self.name, self.type, self.masks)

    def _check_type(self, raw: Array) -> None:
        wanted = self.type.dtype.numpy
        have, want = _FAMILIES.get(raw.dtype.kind), _FAMILIES[wanted.kind]
        if have is None or have != want:
            hint = f"Save the array as {wanted}."
            if have == "integer" and want == "float":
                hint = (
                    "Pixels need --preprocess: raw keeps their values, unit divides by 255, "
                    "imagenet-torch and imagenet-tf normalize. Save other integers as float32."
                )
            raise DataShapeError(
                f"Input {self.name!r} takes {self.type.dtype.value}, but the data are {raw.dtype}.",
                hint,
            )


@dataclass(frozen=True)
class Scaled:
    """Values are scaled one by one; the shape is the input's."""

    name: str
    type: TensorType
    preprocess: Preprocess

    def __call__(self, raw: Array) -> Array:
        """Compute ``(raw * scale - mean) / std`` in the input's shape and type."""
        values = with_batch(raw, self.name, self.type)
        if not self.preprocess.is_identity:
            factor, shift = _affine(self.preprocess, 1, self.name)
            values = np.multiply(values, factor, dtype=np.float32) + shift
        return converted(values, self.name, self.type)


@dataclass(frozen=True)
class Picture:
    """An image (height, width, channels) of any size becomes an input of rank 4.

    Attributes:
        name: of the input.
        type: of the input.
        preprocess: the operations.
        layout: ``nchw`` or ``nhwc``.
    """

    name: str
    type: TensorType
    preprocess: Preprocess
    layout: str

    @cached_property
    def size(self) -> Size:
        """Height and width of the input."""
        _, a, b, c = self.type.shape
        return (b, c) if self.layout == "nchw" else (a, b)

    @cached_property
    def channels(self) -> int:
        """Channels of the input."""
        return self.type.shape[1 if self.layout == "nchw" else 3]

    @cached_property
    def _line(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        factor, shift = _affine(self.preprocess, self.channels, self.name)
        return (
            (factor[:, None, None], shift[:, None, None])
            if self.layout == "nchw"
            else (factor, shift)
        )

    def __call__(self, raw: Array) -> Array:
        """Preprocess the image.

        Raises:
            DataShapeError: the array is not an image.
            PreprocessError: the operations do not fit the image or the input.
        """
        image = self._to_size(self._to_channels(_as_image(raw, self.name)))
        if self.preprocess.channel_order == "bgr" and self.channels == 3:
            image = image[..., ::-1]
        if self.layout == "nchw":
            image = np.ascontiguousarray(image.transpose(2, 0, 1))
        return converted(self._normalized(image)[None], self.name, self.type)

    def _normalized(self, image: Array) -> Array:
        if self.preprocess.is_identity:
            return image
        factor, shift = self._line
        values = np.multiply(image, factor, dtype=np.float32)
        values += shift
        return values

    def _to_channels(self, image: Array) -> Array:
        have = image.shape[-1]
        if have == 4 and self.channels == 3:
            return image[..., :3]
        if have == 1 and self.channels == 3:
            return np.repeat(image, 3, axis=-1)
        if have == 3 and self.channels == 1:
            return to_gray(_pixels_of(image, "turned gray"))
        if have != self.channels:
            raise DataShapeError(
                f"Input {self.name!r} has {self.channels} channels, but the image has {have}."
            )
        return image

    def _to_size(self, image: Array) -> Array:
        have = (image.shape[0], image.shape[1])
        scaled = self._scaled_size(have)
        if scaled[0] * scaled[1] > _MOST_PIXELS:
            raise PreprocessError(
                f"Preprocessing {self.preprocess.name} would scale an image from "
                f"{have[0]}x{have[1]} to {scaled[0]}x{scaled[1]} pixels.",
                f"The limit is {_MOST_PIXELS:,} pixels: give a smaller size, or leave it out.",
            )
        if scaled != have:
            image = resize(_pixels_of(image, "scaled"), scaled, self.preprocess.interpolation)
        if min(s - want for s, want in zip(scaled, self.size, strict=True)) < 0:
            raise PreprocessError(
                f"Preprocessing {self.preprocess.name} scales images to {scaled[0]}x{scaled[1]}, "
                f"but input {self.name!r} takes {self.size[0]}x{self.size[1]}.",
                "Resize to at least the input's height and width.",
            )
        return center_crop(image, self.size)

    def _scaled_size(self, have: Size) -> Size:
        preprocess = self.preprocess
        if isinstance(preprocess.resize, int):
            return shorter_side_size(have, preprocess.resize)
        if preprocess.resize is not None:
            return preprocess.resize
        return have if have == self.size else covering_size(have, self.size, preprocess.margin)


def fit_for(name: str, kind: TensorType, preprocess: Preprocess | None, *, image: bool) -> Fit:
    """Choose how arrays become an input.

    Args:
        name: of the input.
        kind: type of the input.
        preprocess: what the user asked for, or None.
        image: treat it as an image; else values are scaled one by one.

    Raises:
        PreprocessError: the preprocessing does not fit the input.
    """
    if preprocess is None:
        return AsIs(name, kind)
    if not kind.dtype.is_float and not preprocess.is_identity:
        raise PreprocessError(
            f"Input {name!r} takes {kind.dtype.value}; {preprocess.name} produces fractions.",
            "Use --preprocess raw.",
        )
    if not image:
        _affine(preprocess, 1, name)
        return Scaled(name, kind, preprocess)
    picture = Picture(name, kind, preprocess, _layout(name, kind, preprocess))
    _affine(preprocess, picture.channels, name)
    _check_crop(picture)
    return picture


def is_image(kind: TensorType, preprocess: Preprocess) -> bool:
    """Return True if an input has the shape of one image in either layout."""
    if len(kind.shape) != 4 or kind.shape[0] != 1:
        return False
    return preprocess.layout is not None or kind.shape[1] in _CHANNELS or kind.shape[3] in _CHANNELS


def with_batch(raw: Array, name: str, kind: TensorType) -> Array:
    """Put the array in the input's shape, which may have one more leading dimension of 1.

    Raises:
        DataShapeError: it has another shape.
    """
    if raw.shape == kind.shape:
        return raw
    if kind.shape and kind.shape[0] == 1 and raw.shape == kind.shape[1:]:
        return raw[None]
    per_sample = " or ".join(
        str(shape) for shape in dict.fromkeys((kind.shape[kind.shape[:1] == (1,) :], kind.shape))
    )
    raise DataShapeError(
        f"Input {name!r} takes shape {kind.shape}, but a sample of the data has shape {raw.shape}.",
        f"Give {per_sample} per sample (an array of samples has one more axis in front); "
        "images in another layout or size need --preprocess.",
    )


def converted(values: Array, name: str, kind: TensorType, masks: bool = False) -> Array:
    """Convert values to the input's type, contiguous.

    Args:
        values: of a sample.
        name: of the input.
        kind: of the input.
        masks: True if the values may be infinite.

    Raises:
        DataValueError: NaN, Inf, or an integer that the type cannot hold.
    """
    wanted = kind.dtype.numpy
    if wanted.kind == "f":
        with np.errstate(over="ignore"):
            result = np.asarray(values, wanted, order="C")
        sound = ~np.isnan(result) if masks else np.isfinite(result)
        if values.dtype.kind == "f" and not sound.all():
            raise DataValueError(f"The values for input {name!r} hold NaN or Inf.")
        return result
    if wanted.kind in "iu" and values.size and not _holds(wanted, values):
        raise DataValueError(
            f"The values for input {name!r} go from {values.min()} to {values.max()}, "
            f"which {wanted} cannot hold."
        )
    return np.asarray(values, wanted, order="C")


def _holds(wanted: np.dtype[np.generic], values: Array) -> bool:
    if np.can_cast(values.dtype, wanted, "safe"):
        return True
    limits = np.iinfo(wanted.name)
    whole = values.dtype.kind in "iu" or bool((values == np.floor(values)).all())
    return whole and int(values.min()) >= limits.min and int(values.max()) <= limits.max


def _as_image(raw: Array, name: str) -> Array:
    """Convert the array to (height, width, channels)."""
    image = raw[0] if raw.ndim == 4 and raw.shape[0] == 1 else raw
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.dtype.kind not in "uif" or not image.size:
        raise DataShapeError(
            f"Input {name!r} takes an image, but a sample of the data is {raw.dtype} {raw.shape}.",
            "Images have shape (height, width), (height, width, channels) or "
            "(channels, height, width).",
        )
    channels_first = image.shape[0] in _CHANNELS and image.shape[2] not in (*_CHANNELS, 4)
    return image.transpose(1, 2, 0) if channels_first else image


def _pixels_of(image: Array, verb: str) -> Array:
    if image.dtype != np.uint8:
        raise PreprocessError(
            f"Only uint8 images can be {verb}; these are {image.dtype} {image.shape}.",
            "Give them as uint8, or with the size and channels of the model's input.",
        )
    return image


def _layout(name: str, kind: TensorType, preprocess: Preprocess) -> str:
    if preprocess.layout is not None:
        return preprocess.layout
    first, last = kind.shape[1] in _CHANNELS, kind.shape[3] in _CHANNELS
    if first == last:
        raise PreprocessError(
            f"Input {name!r} has shape {kind.shape}, from which it is unclear which axis holds "
            "the channels.",
            'State it in a preprocessing file: layout = "nchw" or layout = "nhwc".',
        )
    return "nchw" if first else "nhwc"


def _check_crop(picture: Picture) -> None:
    crop = picture.preprocess.crop
    if crop is not None and crop != picture.size:
        raise PreprocessError(
            f"Preprocessing {picture.preprocess.name} crops to {crop[0]}x{crop[1]}, but input "
            f"{picture.name!r} takes {picture.size[0]}x{picture.size[1]}."
        )


def _affine(
    preprocess: Preprocess, channels: int, name: str
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return factor and shift per channel: ``x * factor + shift`` is the normalized value."""
    for key, values in (("mean", preprocess.mean), ("std", preprocess.std)):
        if len(values) not in (1, channels):
            raise PreprocessError(
                f"Preprocessing {preprocess.name} has {len(values)} values of {key}, "
                f"but input {name!r} has {channels} channel{'s' if channels > 1 else ''}.",
                "Give one value, or one per channel.",
            )
    mean, std = np.array(preprocess.mean), np.array(preprocess.std)
    factor = np.broadcast_to(preprocess.scale / std, channels)
    shift = np.broadcast_to(-mean / std, channels)
    return factor.astype(np.float32), shift.astype(np.float32)
