"""Array files are read sample by sample, and nothing in them is ever unpickled."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from qhal.data import load_dataset
from qhal.data.arrayfile import open_npy, open_npz
from qhal.errors import DataFileError, DataShapeError
from qhal.ir.dtypes import DType
from qhal.ir.graph import TensorType

INPUT = {"input": TensorType((1, 3, 4, 5))}
VALUES = np.arange(6 * 60, dtype=np.float32).reshape(6, 3, 4, 5)


class Bomb:
    """Writes a file when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return (os.system, ("touch exploded",))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_gives_its_samples_one_by_one(tmp_path: Path, save: Callable[..., None]) -> None:
    save(tmp_path / "d.npz", input=VALUES, y=np.arange(6))
    data = load_dataset(tmp_path / "d.npz", INPUT)
    assert len(data) == 6
    for i in (5, 0, 3):
        sample = data.sample(i)["input"]
        assert sample.shape == (1, 3, 4, 5)
        assert sample.dtype == np.float32
        np.testing.assert_array_equal(sample[0], VALUES[i])
    assert data.labels is not None
    np.testing.assert_array_equal(data.labels, np.arange(6))


def test_a_sample_may_carry_the_batch_dimension(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", anything=VALUES[:, None])
    np.testing.assert_array_equal(
        load_dataset(tmp_path / "d.npz", INPUT).sample(2)["input"], VALUES[2:3]
    )


def test_a_leading_dimension_that_is_no_batch_belongs_to_every_sample(tmp_path: Path) -> None:
    inputs = {"input": TensorType((1, 8)), "state": TensorType((2, 1, 4))}
    np.savez(tmp_path / "d.npz", input=np.zeros((5, 8), "f4"), state=np.ones((5, 2, 1, 4), "f4"))
    sample = load_dataset(tmp_path / "d.npz", inputs).sample(4)
    assert {name: array.shape for name, array in sample.items()} == {
        "input": (1, 8),
        "state": (2, 1, 4),
    }
    np.savez(tmp_path / "d.npz", input=np.zeros((2, 8), "f4"), state=np.ones((2, 1, 4), "f4"))
    with pytest.raises(DataShapeError, match=r"'state' takes shape \(2, 1, 4\)"):
        load_dataset(tmp_path / "d.npz", inputs)


def test_a_npy_file_is_one_array_of_samples(tmp_path: Path) -> None:
    np.save(tmp_path / "d.npy", VALUES.astype(">f8"))
    sample = load_dataset(tmp_path / "d.npy", INPUT).sample(1)["input"]
    np.testing.assert_array_equal(sample[0], VALUES[1])


def test_reading_needs_no_memory_for_the_other_samples(tmp_path: Path) -> None:
    np.save(tmp_path / "d.npy", VALUES)
    array = open_npy(tmp_path / "d.npy")
    assert array.sample_bytes == VALUES[0].nbytes
    assert array[3].nbytes == VALUES[0].nbytes


def _npz_of_objects(path: Path) -> None:
    np.savez(path, input=np.array([Bomb(), Bomb()], object))


def _npy_of_objects(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.array([Bomb(), Bomb()], object), allow_pickle=True)


def _plain_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps(Bomb()))


@pytest.mark.parametrize("write", [_npz_of_objects, _npy_of_objects, _plain_pickle])
def test_pickles_are_refused_and_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], None]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "d.npz")
    with pytest.raises(DataFileError) as caught:
        load_dataset(tmp_path / "d.npz", INPUT)
    assert "never loaded" in str(caught.value)
    assert not (tmp_path / "exploded").exists()


def test_a_folder_of_pickled_arrays_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    _npy_of_objects(tmp_path / "data" / "a.npy")
    with pytest.raises(DataFileError, match="never loaded"):
        load_dataset(tmp_path / "data", INPUT)
    assert not (tmp_path / "exploded").exists()


def _claim(shape: tuple[int, ...]) -> bytes:
    header = io.BytesIO()
    form = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, form)
    return header.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not data at all",
        b"PK\x03\x04garbage",
        b"\x93NUMPY\x01\x00",
        _claim((1 << 20, 3, 4, 5)),
    ],
    ids=["empty", "text", "torn zip", "torn npy", "claims 240 MB"],
)
def test_damaged_files_are_one_clear_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "d.npz").write_bytes(content)
    with pytest.raises(DataFileError, match=r"d\.npz"):
        load_dataset(tmp_path / "d.npz", INPUT)


def test_a_member_that_claims_more_than_it_has_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        archive.writestr("input.npy", _claim((1 << 30, 3, 4, 5)))
    with pytest.raises(DataFileError, match="declares shape"):
        open_npz(tmp_path / "d.npz")


def test_a_broken_compressed_array_is_one_clear_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez_compressed(tmp_path / "d.npz", input=rng.normal(size=(50, 3, 4, 5)).astype("f4"))
    content = bytearray((tmp_path / "d.npz").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "d.npz").write_bytes(content)
    with pytest.raises(DataFileError, match="cannot be unpacked"):
        load_dataset(tmp_path / "d.npz", INPUT)


LIMITED = """
import resource, sys
from pathlib import Path
from qhal.data.arrayfile import open_npz
from qhal.errors import OutputError
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
for array in open_npz(Path(sys.argv[1])).values():
    try:
        array[0]
    except OutputError as error:
        print(error.message, error.hint)
"""


def test_a_copy_that_is_larger_than_allowed_is_no_fault_of_the_file(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "d.npz", input=np.zeros((50, 3, 4, 5), "f4"))
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "d.npz")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("Cannot write a temporary copy of 'input.npy' in "), done.stderr
    assert done.stdout.endswith("larger than allowed. Raise the limit (ulimit -f).\n")


def test_other_refusals_name_the_mend(tmp_path: Path) -> None:
    np.save(tmp_path / "f.npy", np.asfortranarray(VALUES))
    with pytest.raises(DataFileError, match="ascontiguousarray"):
        load_dataset(tmp_path / "f.npy", INPUT)
    np.save(tmp_path / "s.npy", np.array(["a", "b"]))
    with pytest.raises(DataFileError, match="not numbers"):
        load_dataset(tmp_path / "s.npy", INPUT)
    np.save(tmp_path / "none.npy", VALUES[:0])
    with pytest.raises(DataFileError, match="no sample"):
        load_dataset(tmp_path / "none.npy", INPUT)
    np.savez(tmp_path / "odd.npz", a=VALUES, input=VALUES[:4])
    with pytest.raises(DataShapeError, match="different numbers of samples"):
        load_dataset(tmp_path / "odd.npz", INPUT)
    with pytest.raises(DataFileError, match="There is no file"):
        load_dataset(tmp_path / "absent.npz", INPUT)
    with pytest.raises(DataShapeError, match="single number"):
        np.savez(tmp_path / "zero.npz", input=np.float32(1))
        load_dataset(tmp_path / "zero.npz", INPUT)


def test_folders_of_arrays_are_sorted_by_name(tmp_path: Path) -> None:
    for i in (2, 0, 1):
        np.save(tmp_path / f"{i}.npy", VALUES[i])
    np.save(tmp_path / "labels.npy", np.array([7, 8, 9]))
    data = load_dataset(tmp_path, INPUT, label_offset=1)
    np.testing.assert_array_equal(data.sample(2)["input"][0], VALUES[2])
    assert data.labels is not None
    assert data.labels.tolist() == [8, 9, 10]


def test_a_folder_of_npz_has_an_array_per_input(tmp_path: Path) -> None:
    inputs = {"ids": TensorType((1, 4), DType.INT64), "mask": TensorType((1, 4))}
    for i in range(3):
        np.savez(tmp_path / f"{i}.npz", ids=np.full(4, i, np.int32), mask=np.ones((1, 4), "f4"))
    sample = load_dataset(tmp_path, inputs).sample(1)
    assert sample["ids"].dtype == np.int64
    assert sample["ids"].tolist() == [[1, 1, 1, 1]]


def test_folders_without_samples_or_with_a_mixture_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match="There is no sample"):
        load_dataset(tmp_path, INPUT)
    np.save(tmp_path / "a.npy", VALUES[0])
    (tmp_path / "b.png").write_bytes(b"x")
    with pytest.raises(DataFileError, match="mixes images and npy"):
        load_dataset(tmp_path, INPUT)


def test_an_array_that_fits_no_sample_shape_says_both_shapes(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", input=VALUES.transpose(0, 2, 3, 1).copy())
    with pytest.raises(DataShapeError, match=r"\(1, 3, 4, 5\).*\(4, 5, 3\)"):
        load_dataset(tmp_path / "d.npz", INPUT)
