"""Other ways to make a model's inputs from the same data, for a float model that is always wrong.

What is tried is what users mix up: the scale and offset of values, the order of channels, and the
order of dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from qhal.data.dataset import Dataset, with_preprocess
from qhal.data.fit import Fit, is_image
from qhal.data.preprocess import PRESETS, Preprocess
from qhal.errors import QhalError
from qhal.ir.graph import Array, TensorType

_LOOKED_AT = 4
"""Samples whose values say how the data were scaled before they came here."""

_TORCH, _RAW = PRESETS["imagenet-torch"], PRESETS["raw"]
_SAMPLE_SCALES = (1 / 32768, 1 / 128, 1 / 255, 255.0, 32768.0)
"""Of sounds and other values that are no pixels."""


@dataclass(frozen=True, eq=False)
class Variant:
    """The data, prepared in another way.

    Attributes:
        words: how to ask for it.
        dataset: what comes of it.
    """

    words: str
    dataset: Dataset


def variants(dataset: Dataset) -> Iterator[Variant]:
    """List other ways to prepare data that fit the model's inputs; the first sample is tried."""
    for words, preprocess in _candidates(dataset):
        try:
            made = with_preprocess(dataset, preprocess)
            made.sample(0)
        except QhalError:
            continue
        yield Variant(words, made)
    yield from _rearranged(dataset)


def _candidates(dataset: Dataset) -> Iterable[tuple[str, Preprocess]]:
    images = [kind for kind in dataset.inputs.values() if is_image(kind, _RAW)]
    if not images:
        scales = [Preprocess("", scale=factor) for factor in _SAMPLE_SCALES]
        candidates = [PRESETS["unit"], PRESETS["imagenet-tf"], _RAW, *scales]
        return [(_words(preprocess), preprocess) for preprocess in candidates]
    return _image_candidates(images[0], *_pixels_from(_values(dataset)))


def _image_candidates(
    kind: TensorType, factors: tuple[float, ...], offsets: tuple[float, ...]
) -> Iterator[tuple[str, Preprocess]]:
    """Combine presets, orders of channels and layouts, for values that are so related to pixels."""
    gray = 1 in (kind.shape[1], kind.shape[3])
    presets = [preprocess for preprocess in PRESETS.values() if preprocess.channel_order == "rgb"]
    if gray:
        presets = [*presets, Preprocess("inverted", scale=-1 / 255, mean=(-1.0,))]
    either = kind.shape[1] in (1, 3) and kind.shape[3] in (1, 3)
    layouts = ("nchw", "nhwc") if either else (None,)
    for preprocess, order, layout in product(
        presets, ("rgb",) if gray else ("rgb", "bgr"), layouts
    ):
        made = _of_values(_in_order(preprocess, order), *_ordered(order, factors, offsets))
        made = replace(made, layout=layout)
        yield _words(made), made


def _in_order(preprocess: Preprocess, order: str) -> Preprocess:
    """Give means and deviations in the model's order of channels."""
    if order == "rgb":
        return preprocess
    return replace(
        preprocess, channel_order=order, mean=preprocess.mean[::-1], std=preprocess.std[::-1]
    )


def _ordered(
    order: str, factors: tuple[float, ...], offsets: tuple[float, ...]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return (factors, offsets) if order == "rgb" else (factors[::-1], offsets[::-1])


def _of_values(
    preprocess: Preprocess, factors: tuple[float, ...], offsets: tuple[float, ...]
) -> Preprocess:
    """Rewrite preprocessing for values whose pixels are ``value * factor + offset``."""
    if (factors, offsets) == ((1.0,), (0.0,)):
        return preprocess
    factor, offset, mean, std = np.broadcast_arrays(
        factors, offsets, preprocess.mean, preprocess.std
    )
    scale = factor * preprocess.scale
    moved = (mean - offset * preprocess.scale) / scale
    return replace(
        preprocess,
        name="",
        scale=1.0,
        mean=_shortest(moved),
        std=_shortest(std / scale),
        margin=_RAW.margin,
    )


def _shortest(values: Array) -> tuple[float, ...]:
    """Round as they are printed; one value stands for equal ones."""
    rounded = [float(f"{value:.6g}") for value in values]
    return tuple(rounded[:1] if len(set(rounded)) == 1 else rounded)


def _values(dataset: Dataset) -> Array:
    """Read some values of the largest array in the source, as they are there."""
    count = min(_LOOKED_AT, len(dataset))
    found = [dataset.source.read(int(index)) for index in dataset.indices[:count]]
    return np.concatenate([max(arrays.values(), key=np.size).reshape(-1) for arrays in found])


def _pixels_from(values: Array) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Guess factor and offset that make pixels of values: of 0 to 1, of -1 to 1, or normalized."""
    low, high = float(values.min(initial=0)), float(values.max(initial=0))
    if values.dtype.kind != "f" or (low >= 0 and high > 1):
        return (1.0,), (0.0,)
    if low >= 0:
        return (255.0,), (0.0,)
    if low >= -1 and high <= 1:
        return (127.5,), (127.5,)
    if low > -3 and high < 3:
        return tuple(255 * s for s in _TORCH.std), tuple(255 * m for m in _TORCH.mean)
    return (1.0,), (0.0,)


def _words(preprocess: Preprocess) -> str:
    """Say how to ask for preprocessing: by a preset's name, or with what stands in a file."""
    same = (p.name for p in PRESETS.values() if replace(p, name="", margin=1) == _bare(preprocess))
    if name := next(same, None):
        return f"--preprocess {name}"
    shown = [f"scale = {preprocess.scale:.8g}", f"mean = {_listed(preprocess.mean)}"]
    shown += [f"std = {_listed(preprocess.std)}", f'channel_order = "{preprocess.channel_order}"']
    if preprocess.layout is not None:
        shown.append(f'layout = "{preprocess.layout}"')
    return f"--preprocess FILE.toml with {'; '.join(shown)}"


def _bare(preprocess: Preprocess) -> Preprocess:
    return replace(preprocess, name="", margin=1)


def _listed(values: tuple[float, ...]) -> str:
    return f"[{', '.join(f'{value:.6g}' for value in values)}]"


# --- order of dimensions ----------------------------------------------------------


def _rearranged(dataset: Dataset) -> Iterator[Variant]:
    """Swap height and width, or undo a reshape where a transpose was meant."""
    for name, kind in dataset.inputs.items():
        if len(kind.shape) != 4 or not is_image(kind, _RAW):
            continue
        for words, change in _CHANGES.items():
            key, fit = dataset.fits[name]
            made = replace(dataset, fits={**dataset.fits, name: (key, _after(fit, change))})
            if made.sample(0)[name].shape == kind.shape:
                yield Variant(words, made)


def _after(fit: Fit, change: Callable[[Array], Array]) -> Fit:
    return lambda raw: np.ascontiguousarray(change(fit(raw)))


def _swap_sides(values: Array) -> Array:
    return values.swapaxes(2, 3) if values.shape[1] in (1, 3) else values.swapaxes(1, 2)


def _transpose_reshaped(values: Array) -> Array:
    """Read the memory of an input as the other layout, and transpose it."""
    one, a, b, c = values.shape
    if a in (1, 3):
        return values.reshape(one, b, c, a).transpose(0, 3, 1, 2)
    return values.reshape(one, c, a, b).transpose(0, 2, 3, 1)


_CHANGES = {
    "height and width swapped in the data": _swap_sides,
    "channels transposed in the data, and not reshaped": _transpose_reshaped,
}
