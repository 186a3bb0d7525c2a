"""The data set: a source of samples fitted to a model's inputs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from qhal.data.arrayfile import StoredArray, open_npy, open_npz
from qhal.data.fit import AsIs, Fit, fit_for, is_image
from qhal.data.folder import FileSource, label_file, open_folder
from qhal.data.frames import open_frames
from qhal.data.function import find_function, open_function, open_mapping
from qhal.data.labels import Labels, labels_of_array, labels_of_files, shifted
from qhal.data.preprocess import PRESETS, Preprocess, load_preprocess
from qhal.data.room import check_samples
from qhal.data.source import UNNAMED, ArraySource, SampleSource, split_labels
from qhal.errors import DataFileError, DataShapeError, DataValueError, LabelError, PreprocessError
from qhal.ir.graph import Array, TensorType
from qhal.system.files import exists, is_file, is_folder, plain

Source = str | Path | Callable[[], object] | Mapping[str, Array]
"""What the user may give as data: a path, ``package.module:function``, a function or arrays."""

Inputs = Mapping[str, TensorType]

_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_VERSION = "1"  # changes when the same data and preprocessing would give other inputs


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples in exactly the form that a model takes; each is read when it is asked for.

    Attributes:
        source: where they come from.
        inputs: the model's inputs.
        fits: input -> name of the array in the source, and how it becomes the input.
        preprocess: the operations, or None if arrays are taken as they are.
        indices: the samples of the source that are in this data set, intp (n,).
        source_labels: labels of all samples of the source in the model's numbering, or None.
    """

    source: SampleSource
    inputs: Inputs
    fits: Mapping[str, tuple[str, Fit]]
    preprocess: Preprocess | None
    indices: npt.NDArray[np.intp]
    source_labels: Labels | None = None

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.indices)

    def sample(self, index: int) -> dict[str, Array]:
        """Return the model's inputs for one sample, in their shapes (batch included) and types.

        Raises:
            DataFileError: it cannot be read.
            DataShapeError: its arrays do not fit.
            DataValueError: it holds NaN or Inf.
            PreprocessError: the preprocessing does not fit it.
        """
        return self._fitted(int(self.indices[index]), self.fits)

    def _fitted(self, number: int, names: Iterable[str]) -> dict[str, Array]:
        """Return some of the inputs for a sample of the source."""
        arrays, fits = self.source.read(number), self.fits
        try:
            return {name: fits[name][1](_named(arrays, fits[name][0])) for name in names}
        except (DataShapeError, DataValueError, PreprocessError) as error:
            message = f"{self.source.where(number)}: {error.message}"
            raise type(error)(message, error.hint) from error

    def where(self, index: int) -> str:
        """Name a sample as messages do."""
        return self.source.where(int(self.indices[index]))

    @property
    def labels(self) -> Labels | None:
        """The class index of every sample, int64 (n,), or None."""
        return None if self.source_labels is None else self.source_labels[self.indices]

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the samples' content, of the preprocessing and of the inputs' types."""
        digest = blake2b(digest_size=16)
        digest.update(json.dumps(self._form()).encode())
        for index in self._content_of():
            for part in self.source.content(int(index)):
                digest.update(part)
        return digest.hexdigest()

    def _content_of(self) -> npt.NDArray[np.intp]:
        """Return the samples of the source that the inputs are made of."""
        return self.indices

    def select(self, indices: Sequence[int] | npt.NDArray[np.intp]) -> Self:
        """Return the data set of some of the samples."""
        return replace(self, indices=self.indices[np.asarray(indices, np.intp)])

    def describe(self) -> dict[str, object]:
        """Describe the data set for a record, in JSON values only."""
        return {
            "source": self.source.name,
            "kind": self.source.kind,
            "samples": len(self),
            "labels": self.source_labels is not None,
            "preprocess": self.preprocess.to_json() if self.preprocess else None,
            "fingerprint": self.fingerprint,
        }

    def _form(self) -> list[object]:
        """List what turns content into inputs; data sets that agree on it agree on the inputs."""
        operations = self.preprocess.to_json() if self.preprocess else {}
        operations.pop("name", None)
        types = {n: [self.fits[n][0], str(t)] for n, t in self.inputs.items() if n in self.fits}
        return [_VERSION, _decoder_version(self.source.kind), types, operations]


def load_dataset(
    source: Source,
    inputs: Inputs,
    *,
    preprocess: str | Path | None = None,
    labels: str | None = None,
    label_offset: int = 0,
    masks: Collection[str] = (),
    states: Collection[str] = (),
) -> Dataset:
    """Open data for a model; the first sample is read to see whether it fits.

    Args:
        source: an ``.npz`` or ``.npy`` file, a folder of arrays or images,
            ``package.module:function``, a function (see :mod:`qhal.data.function`), or arrays
            by input name.
        inputs: type of every input of the model. The first axis of an array of the source counts
            the samples; where an input's leading dimension is 1, a sample may leave it out.
        preprocess: a preset or a TOML file, see :mod:`qhal.data.preprocess`; None takes arrays as
            they are.
        labels: name of the array of labels, or a ``.csv`` or ``.npy`` file; None looks for
            ``labels.csv``, ``labels`` or ``y``.
        label_offset: added to every label.
        masks: inputs that mask scores and may be infinite.
        states: inputs that hold states: data need not have them, and a sample may be a whole
            sequence, with one axis more in front of its arrays; its frames are the samples then.

    Raises:
        DataFileError: there are no data, or they cannot be read.
        DataShapeError: names, shapes or types do not fit the inputs.
        DataValueError: the first sample holds NaN or Inf.
        LabelError: the labels are malformed.
        PreprocessError: the preprocessing is unknown or does not fit.
    """
    operations = load_preprocess(preprocess) if preprocess is not None else None
    found = _open(source, inputs, labels)
    if found.kind == "images" and operations is None:
        raise PreprocessError(
            f"{found.name} holds images, but no preprocessing was given.",
            f"Give --preprocess: {', '.join(PRESETS)} or a .toml file.",
        )
    check_samples(len(found), found.name)
    arrays = _match(found, inputs, states)
    taken = {key: inputs[name] for name, key in arrays.items()}
    if states:
        found = open_frames(found, taken, [arrays[n] for n in states if n in arrays])
        check_samples(len(found), found.name)
    fits = {
        **_fits(arrays, {n: inputs[n] for n in arrays if n not in states}, operations, masks),
        **_fits(arrays, {n: inputs[n] for n in arrays if n in states}, None, masks),
    }
    indices = np.arange(len(found))
    dataset = Dataset(
        found, inputs, fits, operations, indices, _labels(found, labels, label_offset)
    )
    dataset.sample(0)
    return dataset


def with_preprocess(dataset: Dataset, preprocess: Preprocess) -> Dataset:
    """Prepare the same samples by other operations.

    Raises:
        PreprocessError: they do not fit the inputs.
    """
    arrays = {name: key for name, (key, _) in dataset.fits.items()}
    known = (fit for _, fit in dataset.fits.values())
    masks = {fit.name for fit in known if isinstance(fit, AsIs) and fit.masks}
    fits = _fits(arrays, dataset.inputs, preprocess, masks)
    return replace(dataset, fits=fits, preprocess=preprocess)


# --- opening ------------------------------------------------------------------


def _open(source: Source, inputs: Inputs, labels: str | None) -> SampleSource:
    names = tuple(inputs)
    if isinstance(source, Mapping):
        return open_mapping(source, "arrays", "the given arrays", names, labels)
    if callable(source):
        name = getattr(source, "__qualname__", type(source).__name__)
        return open_function(source, f"{name}()", names, labels)
    path = Path(source)
    if not exists(path) and _FUNCTION.fullmatch(str(source)):
        return open_function(find_function(str(source)), str(source), names, labels)
    try:
        return open_folder(path) if is_folder(path) else _open_file(path, names, labels)
    except OSError as error:
        raise DataFileError(f"{path} cannot be read: {error.strerror or error}.") from error


def _open_file(path: Path, inputs: Sequence[str], labels: str | None) -> SampleSource:
    try:
        with plain(path).open("rb") as file:
            start = file.read(6)
    except FileNotFoundError as error:
        sentence = f"There is no file or folder {path}."
        raise DataFileError(sentence, "Check the path of the data.") from error
    if not start:
        raise DataFileError(f"{path} is empty.")
    if start == b"\x93NUMPY":
        return ArraySource("npy", str(path), {UNNAMED: open_npy(path)})
    if start[:2] != b"PK":
        raise DataFileError(
            f"{path} is neither an .npz nor an .npy file.",
            "Data are .npz or .npy files, folders of images or .npy files, or "
            "package.module:function; pickled files are never loaded.",
        )
    arrays = open_npz(path)
    rest, label_name = split_labels(arrays, inputs, labels)
    source = ArraySource("npz", str(path), rest)
    if label_name:
        source.labels = _whole_labels(arrays[label_name], len(source), str(path))
    return source


def _whole_labels(array: StoredArray, samples: int, name: str) -> Array:
    """Read an array of labels, unless it cannot belong to these samples."""
    if len(array.shape) not in (1, 2):
        raise LabelError(
            f"The labels in {name} have shape {array.shape}.",
            "Give one class index (an integer) per sample.",
        )
    if array.shape[0] != samples:
        raise LabelError(f"There are {array.shape[0]} labels in {name} for {samples} samples.")
    return array.whole()


def _labels(source: SampleSource, choice: str | None, offset: int) -> Labels | None:
    found = _find_labels(source, choice)
    if found is not None:
        return shifted(found, offset)
    if offset:
        raise LabelError(
            f"--label-offset {offset} was given, but {source.name} has no labels.",
            "Add a labels.csv (file,class_index) or an array named labels.",
        )
    return None


def _find_labels(source: SampleSource, choice: str | None) -> Labels | None:
    if source.labels is not None:
        return labels_of_array(source.labels, len(source), source.name)
    path = Path(choice) if choice else None
    if path is None and isinstance(source, FileSource):
        path = label_file(source.folder)
    if path is None:
        return None
    if not is_file(path):
        raise LabelError(
            f"There are no labels {choice!r}: {source.name} has no such array, "
            "and there is no such file."
        )
    if path.suffix.lower() == ".npy":
        try:
            array = _whole_labels(open_npy(path), len(source), str(path))
        except OSError as error:
            raise LabelError(f"{path} cannot be read: {error.strerror or error}.") from error
        return labels_of_array(array, len(source), str(path))
    if not isinstance(source, FileSource):
        raise LabelError(
            f"{path} labels files, but {source.name} is not a folder of files.",
            "Put an array named labels beside the data, or give a .npy file.",
        )
    return labels_of_files(source.files, path)


# --- fitting ------------------------------------------------------------------


def _match(source: SampleSource, inputs: Inputs, states: Collection[str] = ()) -> dict[str, str]:
    """Map each input to the name of the array that it takes; states may have none."""
    data = [name for name in inputs if name not in states]
    if len(data) == 1 and len(source.names) == 1:
        return {data[0]: source.names[0]}
    missing = [name for name in data if name not in source.names]
    if missing:
        have = ", ".join(map(repr, source.names)) if any(source.names) else "one unnamed array"
        want = ", ".join(f"{name!r} {kind}" for name, kind in inputs.items())
        raise DataShapeError(
            f"The data have no array for input {missing[0]!r}: {source.name} has {have}.",
            f"The model's inputs are {want}; give the arrays these names.",
        )
    return {name: name for name in inputs if name in source.names}


def _fits(
    arrays: Mapping[str, str],
    inputs: Inputs,
    preprocess: Preprocess | None,
    masks: Collection[str],
) -> dict[str, tuple[str, Fit]]:
    """Choose how each input is made.

    With preprocessing, inputs that have the shape of an image are preprocessed and the others
    taken as they are; if there is none of that shape, the values of float inputs are scaled.
    """
    images = {n for n, kind in inputs.items() if preprocess and is_image(kind, preprocess)}
    fits: dict[str, tuple[str, Fit]] = {}
    for name, kind in inputs.items():
        wanted = name in images or (not images and (kind.dtype.is_float or len(inputs) == 1))
        operations = preprocess if wanted else None
        fit = fit_for(name, kind, operations, image=name in images)
        if isinstance(fit, AsIs):
            fit = replace(fit, masks=name in masks)
        fits[name] = (arrays[name], fit)
    return fits


def _named(arrays: Mapping[str, Array], key: str) -> Array:
    if key not in arrays:
        raise DataShapeError(f"there is no array {key!r} in it.")
    return arrays[key]


def _decoder_version(kind: str) -> str:
    """Name the image decoder: its version affects the decoded images."""
    if kind != "images":
        return ""
    import PIL

    return f"pillow {PIL.__version__}"
