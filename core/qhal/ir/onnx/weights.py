"""Values of ONNX tensors: slices of memory-mapped files, checked before they are touched."""

from __future__ import annotations

import hashlib
import mmap
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from qhal.errors import ModelFileError, ModelInvalidError, ModelWeightsError
from qhal.ir.graph import Array
from qhal.system.files import is_folder, plain, real

_CHECKED_ELEMENTS = 1 << 20


class WeightFiles:
    """The files that hold a model's weights, each mapped once.

    Args:
        path: the model file; other files must lie in its folder.
        mapped: content of the model file.
    """

    def __init__(self, path: Path, mapped: memoryview) -> None:
        self._folder = path.parent
        self._mapped: dict[str, memoryview] = {location_of(path): mapped}

    def read(self, tensor: ir.TensorProtocol) -> Array:
        """Read the elements of a tensor, without a copy where the file's form allows it.

        Raises:
            ModelInvalidError: the elements do not fit the declared shape.
            ModelWeightsError: an external file is missing, too short or outside the folder.
        """
        name = tensor.name or "a constant"
        if tensor.dtype in (ir.DataType.STRING, ir.DataType.UNDEFINED):
            raise ModelInvalidError(
                f"Tensor {name!r} has the type {tensor.dtype.name.lower()}.",
                "qhal works on numbers; remove text processing from the model.",
            )
        if any(not isinstance(size, int) or size < 0 for size in tensor.shape):
            raise ModelInvalidError(f"Tensor {name!r} has the shape {tensor.shape}.")
        if isinstance(tensor, ir.ExternalTensor):
            return self._read_slice(tensor, name)
        return _read_embedded(tensor, name)

    def _read_slice(self, tensor: ir.ExternalTensor, name: str) -> Array:
        data = self._file(str(tensor.location), name)
        offset = tensor.offset or 0
        wanted = -(-tensor.size * tensor.dtype.bitwidth // 8)
        length = wanted if tensor.length is None else tensor.length
        if length != wanted:
            raise ModelInvalidError(
                f"Tensor {name!r} with shape {tuple(tensor.shape)} needs {wanted:,} bytes, "
                f"but {length:,} are stored.",
                "The file is damaged; export it again.",
            )
        if offset < 0 or offset + length > len(data):
            raise ModelWeightsError(
                f"Tensor {name!r} should lie at bytes {offset:,} to {offset + length:,} of "
                f"{str(tensor.location)!r}, which has only {len(data):,}.",
                "The weight file is truncated or belongs to another model.",
            )
        return _decode(tensor, data[offset : offset + length])

    def _file(self, location: str, name: str) -> memoryview:
        if location not in self._mapped:
            self._mapped[location] = map_file(self._inside(location, name))
        return self._mapped[location]

    def _inside(self, location: str, name: str) -> Path:
        """Return the path of an external file, if it lies in the model's folder."""
        folder, path = real(self._folder), real(self._folder / location)
        if not path.is_relative_to(folder):
            raise ModelWeightsError(
                f"Tensor {name!r} refers to weights in {location!r}, outside of the model's "
                f"folder.",
                "Export again with the weight files beside the model.",
            )
        if not path.is_file():
            raise ModelWeightsError(
                f"The weight file {location!r} of tensor {name!r} is missing.",
                f"Put it into {self._folder}.",
            )
        return path

    def sha256(self) -> str:
        """Hash all files read so far: the model first, the others by name."""
        model, *others = self._mapped
        digest = hashlib.sha256(self._mapped[model])
        for location in sorted(others):
            digest.update(self._mapped[location])
        return digest.hexdigest()

    @property
    def size_bytes(self) -> int:
        """Bytes of all files read so far."""
        return sum(map(len, self._mapped.values()))


def location_of(path: Path) -> str:
    """Return the name by which references call the model's own file; it may not be UTF-8."""
    return path.name.encode(errors="backslashreplace").decode()


def map_file(path: Path) -> memoryview:
    """Map a file into memory for reading.

    Raises:
        ModelFileError: the file is missing, empty, a folder or not readable.
    """
    if is_folder(path):
        raise ModelFileError(f"{str(path)!r} is a folder.", "Give the path of an .onnx file.")
    try:
        with plain(path).open("rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except FileNotFoundError:
        raise ModelFileError(f"There is no file {str(path)!r}.", "Check the path.") from None
    except ValueError:  # an empty file cannot be mapped
        raise ModelFileError(f"{str(path)!r} is empty.", "Export or download it again.") from None
    except OSError as error:
        raise ModelFileError(f"{str(path)!r} cannot be read: {error.strerror}.") from error


def _decode(tensor: ir.ExternalTensor, data: memoryview) -> Array:
    shape = tuple(tensor.shape.numpy())
    if tensor.dtype.bitwidth < 8:
        proto = onnx.TensorProto(dims=shape, data_type=int(tensor.dtype), raw_data=bytes(data))
        return np.asarray(onnx.numpy_helper.to_array(proto))
    return np.frombuffer(data, tensor.dtype.numpy().newbyteorder("<")).reshape(shape)


def _read_embedded(tensor: ir.TensorProtocol, name: str) -> Array:
    stored = tensor.raw.ByteSize() if isinstance(tensor, ir.TensorProtoTensor) else None
    # Two 4-bit elements per byte is the densest form: more elements cannot be there.
    if stored is not None and tensor.size > 2 * stored:
        raise ModelInvalidError(
            f"Tensor {name!r} declares {tensor.size:,} elements, but its data are missing.",
            "The file is damaged; export it again.",
        )
    try:
        return np.asarray(tensor.numpy())
    except (ValueError, TypeError, AssertionError) as error:
        raise ModelInvalidError(f"Tensor {name!r} cannot be read: {error}.") from error


def as_float32(value: Array) -> Array:
    """Convert other float types; finite values beyond float32's range become its largest."""
    if value.dtype == np.float64:
        limit = float(np.finfo(np.float32).max)
        finite = np.clip(value, -limit, limit, dtype=np.float64)
        return np.where(np.isinf(value), value, finite).astype(np.float32)
    if value.dtype == np.float16 or value.dtype.name == "bfloat16":
        return value.astype(np.float32)
    return value


def _all_finite(value: Array) -> bool:
    """Return True without NaN and Inf; read large arrays in parts, so that no copy is made."""
    flat = value.ravel(order="K")
    starts = range(0, flat.size, _CHECKED_ELEMENTS)
    return all(np.isfinite(flat[i : i + _CHECKED_ELEMENTS]).all() for i in starts)


def check_finite(name: str, value: Array, allow_infinite: bool = False) -> None:
    """Refuse NaN and Inf in float32 constants.

    Masks are allowed: constants of which all but zeros are infinite. So are, with
    ``allow_infinite``, other infinities: what a mask was added to.

    Raises:
        ModelWeightsError: naming the tensor.
    """
    if value.dtype != np.float32:
        return
    if not any(value.strides):  # one element, or one that is repeated
        value = value.reshape(-1)[:1]
    if _all_finite(value):
        return
    broken = int(np.count_nonzero(~np.isfinite(value)))
    mask = allow_infinite or np.count_nonzero(value) == broken
    if mask and not np.isnan(value).any():
        return
    raise ModelWeightsError(
        f"Tensor {name!r} holds {broken:,} NaN or Inf among {value.size:,} values.",
        "Training diverged or the export is damaged; such a model cannot be quantized.",
    )
