"""Folders with one file per sample: arrays or images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from qhal.data.arrayfile import read_arrays
from qhal.data.image import decode_image
from qhal.data.labels import CSV_NAME
from qhal.data.source import LABEL_NAMES, UNNAMED, SampleSource
from qhal.errors import DataFileError
from qhal.ir.graph import Array
from qhal.system.files import plain

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
)
_KINDS: Mapping[str, frozenset[str]] = {
    "images": IMAGE_SUFFIXES,
    "npy": frozenset({".npy"}),
    "npz": frozenset({".npz"}),
}


class FileSource(SampleSource):
    """Samples that are files, sorted by name."""

    def __init__(self, kind: str, folder: Path, files: Sequence[Path]) -> None:
        """Take the files; they are opened one at a time, when read."""
        self.kind, self.name = kind, str(folder)
        self.folder, self.files = folder, tuple(files)

    def __len__(self) -> int:
        return len(self.files)

    def content(self, index: int) -> Iterable[bytes | memoryview]:
        """Yield the bytes of the file."""
        try:
            return (plain(self.files[index]).read_bytes(),)
        except OSError as error:
            raise _unreadable(self.files[index], error) from error

    def where(self, index: int) -> str:
        """Return the path of the file."""
        return str(self.files[index])


class ImageFolder(FileSource):
    """One image per sample, uint8 (height, width, channels) with 1 or 3 channels."""

    names = (UNNAMED,)

    def read(self, index: int) -> Mapping[str, Array]:
        """Decode the image."""
        return {UNNAMED: decode_image(self.files[index])}


class NpyFolder(FileSource):
    """One ``.npy`` per sample, for models with one input."""

    names = (UNNAMED,)

    def read(self, index: int) -> Mapping[str, Array]:
        """Read the array in the file."""
        arrays = _load(self.files[index])
        if UNNAMED not in arrays:
            raise DataFileError(
                f"{self.files[index]} is an .npz archive, but its name ends in .npy."
            )
        return {UNNAMED: arrays[UNNAMED]}


class NpzFolder(FileSource):
    """One ``.npz`` per sample, with an array per input."""

    def __init__(self, kind: str, folder: Path, files: Sequence[Path]) -> None:
        """Take the names of the arrays from the first file."""
        super().__init__(kind, folder, files)
        self.names = tuple(_load(files[0]))

    def read(self, index: int) -> Mapping[str, Array]:
        """Read the arrays in the file."""
        return _load(self.files[index])


def open_folder(folder: Path) -> FileSource:
    """Open the samples in a folder; skip labels and hidden files.

    Raises:
        DataFileError: there are no samples, or samples of several kinds.
    """
    names = sorted(path for path in folder.iterdir() if path.is_file() and _is_sample(path))
    kinds = {kind: [p for p in names if p.suffix.lower() in ends] for kind, ends in _KINDS.items()}
    found = {kind: files for kind, files in kinds.items() if files}
    if not found:
        raise DataFileError(
            f"There is no sample in {folder}.",
            "A data folder holds images (.jpg, .png …), .npy files (one per sample), or .npz files "
            "(one per sample, with an array per input); subfolders are not searched.",
        )
    if len(found) > 1:
        raise DataFileError(
            f"{folder} mixes {' and '.join(found)}.", "Keep one kind of sample in a folder."
        )
    [(kind, files)] = found.items()
    sources: Mapping[str, Callable[[str, Path, Sequence[Path]], FileSource]]
    sources = {"images": ImageFolder, "npy": NpyFolder, "npz": NpzFolder}
    return sources[kind](kind, folder, files)


def label_file(folder: Path) -> Path | None:
    """Find ``labels.csv``, or an array of labels such as ``labels.npy``."""
    candidates = [folder / CSV_NAME, *(folder / f"{name}.npy" for name in LABEL_NAMES)]
    return next((path for path in candidates if path.is_file()), None)


def _is_sample(path: Path) -> bool:
    hidden = path.name.startswith(".")
    return not hidden and not (path.suffix == ".npy" and path.stem in LABEL_NAMES)


def _load(path: Path) -> dict[str, Array]:
    """Load the arrays in a ``.npy`` or ``.npz`` file of one sample."""
    try:
        return read_arrays(path)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> DataFileError:
    return DataFileError(f"{path} cannot be read: {error.strerror or error}.")
