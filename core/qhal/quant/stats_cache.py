"""Calibration statistics kept between runs, by content.

A tensor is identified by a digest of *how it is computed*: the operators, weights and inputs that
lead to it. Names do not matter, and an activation that one target fuses and another does not
leads to the same digest. Statistics are stored per set of tensors and data; whoever asks for the
same set gets back exactly what a fresh run would find, so that a cache never changes an artifact.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np

from qhal.ir.graph import Array, Graph, Node
from qhal.ir.ops import Activation, Op, Relu, Relu6
from qhal.quant.collectors import Floats, Histogram, TensorStats
from qhal.system.files import plain

_VERSION = "6"
"""Changes whenever the same graph and data would give other statistics."""
_CHECKSUM = "checksum"
"""Of all other arrays in the file and of the key that it is stored under."""
_ALONE: Mapping[Activation, Op] = {Activation.RELU: Relu(), Activation.RELU6: Relu6()}


def tensor_digests(graph: Graph) -> dict[str, str]:
    """Map each tensor to a digest of the computation that it is the result of."""
    found: dict[str, str] = {"": ""}
    for name in graph.inputs:
        found[name] = _digest("input", name, str(graph.tensors[name]))
    for name, value in graph.constants.items():
        found[name] = _digest("constant", str(graph.tensors[name]), content=value)
    for node in graph.nodes:
        operands = [found[name] for name in node.inputs]
        found.update(zip(node.outputs, _node_digests(node, operands), strict=True))
    del found[""]
    return found


def cache_key(entries: Iterable[str], fingerprint: str, runtime: str) -> str:
    """Name a set of statistics over some data, as it is stored.

    Args:
        entries: what identifies each statistic: digest of the tensor and what is kept of it.
        fingerprint: of the data.
        runtime: name and version of what runs the float model.
    """
    return _digest("statistics", _VERSION, fingerprint, runtime, *sorted(entries))


@dataclass(frozen=True, eq=False)
class Remembered:
    """What a cache holds under a key.

    Attributes:
        stats: statistics by entry; None if there are none that may be used.
        damaged: the file that is there and is not what was stored; None if all is well.
    """

    stats: Mapping[str, TensorStats] | None = None
    damaged: Path | None = None


def load(folder: Path, key: str, entries: Collection[str]) -> Remembered:
    """Load statistics of at least these entries, if the file is the one that was stored."""
    path = _file(folder, key)
    try:
        content = plain(path).read_bytes()
    except OSError:
        return Remembered()
    try:
        stats = _unpack(_proven(content, key))
        return Remembered({entry: stats[entry] for entry in entries})
    except Exception:  # noqa: BLE001 - a file that anybody may have written fails in any way
        return Remembered(damaged=path)


def store(folder: Path, key: str, stats: Mapping[str, TensorStats]) -> None:
    """Write statistics by entry, atomically.

    A folder that cannot be written, or a full disk, only means that nothing is remembered.
    """
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        _write_atomically(_file(folder, key), _pack(stats, key))


def _proven(content: bytes, key: str) -> dict[str, Array]:
    """Read the arrays of a file, if they are those that were stored under the key.

    Raises:
        ValueError: they are not.
        Exception: whatever else comes up in a damaged file.
    """
    with ZipFile(BytesIO(content)) as archive:
        if sum(info.file_size for info in archive.infolist()) > len(content):
            raise ValueError("it unpacks to more than its own size, so qhal did not write it")
    arrays = dict(np.load(BytesIO(content), allow_pickle=False))
    if str(arrays.pop(_CHECKSUM)) != _checksum(arrays, key):
        raise ValueError("the content was changed")
    return arrays


def _checksum(arrays: Mapping[str, Array], key: str) -> str:
    parts = (_digest(n, str(a.dtype), str(a.shape), content=a) for n, a in sorted(arrays.items()))
    return _digest("content", key, *parts)


def _file(folder: Path, key: str) -> Path:
    return folder / f"calibration-{key}.npz"


def _write_atomically(target: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".calibration-")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _node_digests(node: Node, operands: list[str]) -> list[str]:
    """Compute a digest per output; a fused activation counts as a node of its own."""
    op = node.op
    if op.fused is Activation.NONE:
        return [_digest(repr(op), str(i), *operands) for i in range(len(node.outputs))]
    before = _digest(repr(op.with_activation(Activation.NONE)), "0", *operands)
    return [_digest(repr(_ALONE[op.fused]), "0", before)]


def _digest(*parts: str, content: Array | None = None) -> str:
    found = blake2b("\0".join(parts).encode(), digest_size=16)
    if content is not None:
        found.update(np.ascontiguousarray(content).reshape(-1).view(np.uint8).data)
    return found.hexdigest()


def _pack(stats: Mapping[str, TensorStats], key: str) -> bytes:
    """Pack all statistics into a handful of arrays; join ragged ones, with their lengths."""
    kept = [stats[entry] for entry in sorted(stats)]
    counts = [s.histogram.counts for s in kept]
    means = [np.zeros(0) if s.channel_mean is None else s.channel_mean for s in kept]
    extremes = [np.zeros(0) if (e := s.channel_extremes) is None else e.ravel() for s in kept]
    covariances = [(i, w, c) for i, s in enumerate(kept) for w, c in s.covariances.items()]
    others = [(i, axis, m) for i, s in enumerate(kept) for axis, m in s.other_means.items()]
    arrays: dict[str, Array] = {
        "entry": np.array(sorted(stats), np.str_),
        "minimum": np.array([s.minimum for s in kept], np.float64),
        "maximum": np.array([s.maximum for s in kept], np.float64),
        "exponent": np.array([s.histogram.exponent for s in kept], np.int64),
        "first": np.array([s.histogram.first for s in kept], np.int64),
        "counts": np.concatenate([np.zeros(0, np.int64), *counts]),
        "counts_length": np.array([len(c) for c in counts], np.int64),
        "means": np.concatenate([np.zeros(0), *means]),
        "means_length": np.array([len(m) for m in means], np.int64),
        "others": np.concatenate([np.zeros(0), *(mean for _, _, mean in others)]),
        "others_length": np.array([len(mean) for _, _, mean in others], np.int64),
        "others_entry": np.array([i for i, _, _ in others], np.int64),
        "others_axis": np.array([axis for _, axis, _ in others], np.int64),
        "extremes": np.concatenate([np.zeros(0), *extremes]),
        "extremes_length": np.array([len(e) for e in extremes], np.int64),
        "covariances": np.concatenate([np.zeros(0), *(c.ravel() for _, _, c in covariances)]),
        "covariances_length": np.array([c.size for _, _, c in covariances], np.int64),
        "covariances_weights": np.array([c.shape[-1] for _, _, c in covariances], np.int64),
        "covariances_entry": np.array([i for i, _, _ in covariances], np.int64),
        "covariances_window": np.array([w for _, w, _ in covariances], np.str_),
    }
    file = BytesIO()
    proven: dict[str, Any] = {**arrays, _CHECKSUM: np.array(_checksum(arrays, key), np.str_)}
    np.savez(file, **proven)
    return file.getvalue()


def _unpack(arrays: Mapping[str, Array]) -> dict[str, TensorStats]:
    counts = [part.astype(np.int64) for part in _parts(arrays, "counts")]
    means = [part.astype(np.float64) for part in _parts(arrays, "means")]
    extremes = [part.astype(np.float64) for part in _parts(arrays, "extremes")]
    covariances, others = _covariances(arrays), _other_means(arrays)
    return {
        str(entry): TensorStats(
            float(arrays["minimum"][i]),
            float(arrays["maximum"][i]),
            Histogram(int(arrays["exponent"][i]), int(arrays["first"][i]), counts[i]),
            means[i] if len(means[i]) else None,
            extremes[i].reshape(2, -1) if len(extremes[i]) else None,
            covariances.get(i, {}),
            others.get(i, {}),
        )
        for i, entry in enumerate(arrays["entry"])
    }


def _other_means(arrays: Mapping[str, Array]) -> dict[int, dict[int, Floats]]:
    """Map the number of an entry to axis to means."""
    found: dict[int, dict[int, Floats]] = {}
    facts = zip(arrays["others_entry"].tolist(), arrays["others_axis"].tolist(), strict=True)
    for (entry, axis), part in zip(facts, _parts(arrays, "others"), strict=False):
        found.setdefault(entry, {})[axis] = part.astype(np.float64)
    return found


def _covariances(arrays: Mapping[str, Array]) -> dict[int, dict[str, Floats]]:
    """Map the number of an entry to receptive field to covariances (groups, K, K)."""
    found: dict[int, dict[str, Floats]] = {}
    names = ("covariances_entry", "covariances_window", "covariances_weights")
    facts = zip(*(arrays[name].tolist() for name in names), strict=True)
    for (entry, window, size), part in zip(facts, _parts(arrays, "covariances"), strict=False):
        found.setdefault(entry, {})[window] = part.astype(np.float64).reshape(-1, size, size)
    return found


def _parts(arrays: Mapping[str, Array], name: str) -> list[Array]:
    """Split the ragged arrays that were joined under a name."""
    return np.split(arrays[name], np.cumsum(arrays[f"{name}_length"])[:-1])
