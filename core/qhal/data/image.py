"""Decoding, scaling and cropping of images."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qhal.errors import DataFileError
from qhal.ir.graph import Array
from qhal.system.files import plain

if TYPE_CHECKING:
    from PIL import Image

Size = tuple[int, int]
"""Height and width in pixels."""

_DEEP_MODES = ("I", "F")  # also I;16, I;16B …: more than 8 bits per channel


def decode_image(path: Path) -> Array:
    """Read an image as uint8 (height, width, channels).

    Gray images have 1 channel, all others become RGB: palettes are resolved, CMYK is converted,
    alpha is dropped (not blended), and the EXIF orientation is applied. Of an animation, the
    first frame is taken.

    Raises:
        DataFileError: it is not an image, damaged, unreasonably large, or deeper than 8 bits.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings(), Image.open(plain(path)) as image:
            warnings.simplefilter("ignore")  # of metadata that nobody needs, and of large images
            return _pixels(image, path)
    except DataFileError:
        raise
    except Exception as error:  # its decoders raise anything for damaged files
        raise DataFileError(
            f"{path} cannot be read as an image: {error}.", "Remove the file or repair it."
        ) from error


def _pixels(image: Image.Image, path: Path) -> Array:
    from PIL import ImageOps

    if image.mode.startswith(_DEEP_MODES):
        raise DataFileError(
            f"{path} has more than 8 bits per channel (mode {image.mode}).",
            "Convert it to 8 bits, or give the values as .npy arrays.",
        )
    upright = ImageOps.exif_transpose(image)
    gray = upright.mode in ("1", "L", "LA")
    pixels = np.asarray(upright.convert("L" if gray else "RGB"))
    return pixels[..., None] if gray else pixels


def resize(pixels: Array, size: Size, interpolation: str) -> Array:
    """Scale a uint8 image (height, width, channels), with antialiasing as Pillow does it."""
    from PIL import Image

    height, width = size
    filters = Image.Resampling
    planes = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    scaled = Image.fromarray(np.ascontiguousarray(planes)).resize(
        (width, height), filters[interpolation.upper()]
    )
    return np.asarray(scaled).reshape(height, width, -1)


def center_crop(pixels: Array, size: Size) -> Array:
    """Cut the middle out of an image at least as large."""
    top, left = (
        round((have - want) / 2) for have, want in zip(pixels.shape[:2], size, strict=True)
    )
    return pixels[top : top + size[0], left : left + size[1]]


def to_gray(pixels: Array) -> Array:
    """Convert RGB uint8 to one channel with the weights of ITU-R 601-2, as Pillow does."""
    from PIL import Image

    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).convert("L"))[..., None]


def covering_size(image: Size, target: Size, margin: float) -> Size:
    """Return the size at which an image of the same aspect ratio just covers the target.

    For a square target that makes the shorter side ``margin`` times the target's side.
    """
    factor = max(want * margin / have for want, have in zip(target, image, strict=True))
    return round(image[0] * factor), round(image[1] * factor)


def shorter_side_size(image: Size, side: int) -> Size:
    """Return the size at which the shorter side has the given length, at the same aspect ratio."""
    factor = side / min(image)
    return max(side, round(image[0] * factor)), max(side, round(image[1] * factor))
