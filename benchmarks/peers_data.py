"""The data of the comparison: the zoo's models and samples, the same files for every tool."""

from __future__ import annotations

import csv
import os
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

CALIBRATION_SAMPLES = 100
EVALUATION_SAMPLES = 300

MODELS = (
    "mobilenet_v2",
    "squeezenet1_1",
    "resnet20_cifar10",
    "mlperf_tiny_ic",
    "mlperf_tiny_kws",
    "mlperf_tiny_vww",
    "mnist",
    "yolox_nano",
    "yunet_n_320",
)

Arrays = dict[str, np.ndarray]

_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
PREPROCESS = {
    "imagenet-torch": lambda x: (x / 255 - _MEAN) / _DEVIATION,
    "imagenet-tf": lambda x: x / 127.5 - 1,
    "unit": lambda x: x / 255,
    "raw": lambda x: x,
    "raw-bgr": lambda x: x[..., ::-1],
}


def prepare(model: str, folder: Path) -> dict[str, float]:
    """Write a model with a fixed batch, the samples, labels and float outputs.

    Returns:
        The float model's own p50 and top-1.
    """
    zoo = Path(os.environ["QHAL_ZOO"]) / "zoo"
    entry = tomllib.loads((zoo / "manifest.toml").read_text())["models"][model]
    shape, name = _fix_batch(zoo / entry["file"], folder / "model.onnx")
    arrays, found = _load(zoo / entry["data"], shape)
    order = np.random.default_rng(0).permutation(len(arrays))
    parts = {
        "calibration": order[:CALIBRATION_SAMPLES],
        "evaluation": order[CALIBRATION_SAMPLES:][:EVALUATION_SAMPLES],
    }
    for part, indices in parts.items():
        (folder / part).mkdir()
        for position, index in enumerate(indices):
            sample = PREPROCESS[entry["preprocess"]](arrays[index].astype(np.float32))
            _save(folder / part / f"{position:04}.npy", sample, shape)
    (folder / "input.txt").write_text(name)
    if found is not None and "float_top1" in entry:
        np.save(folder / "labels.npy", found[parts["evaluation"]] + entry["label_offset"])
    return _reference_outputs(folder)


def samples(folder: Path) -> Iterator[Arrays]:
    """Yield the samples of one part, one after the other."""
    name = (folder.parent / "input.txt").read_text()
    for path in sorted(folder.iterdir()):
        yield {name: np.load(path)}


def labels(folder: Path) -> np.ndarray | None:
    """Class indices of the evaluation samples."""
    path = folder / "labels.npy"
    return np.load(path) if path.is_file() else None


def reference(folder: Path, index: int) -> list[np.ndarray]:
    """Return the float model's outputs for one evaluation sample."""
    with np.load(folder / "reference" / f"{index:04}.npz") as found:
        return [found[f"arr_{i}"] for i in range(len(found.files))]


def session(model: Path) -> Any:
    """Open an ONNX Runtime session with one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def peak_memory_mb() -> float:
    """Peak resident memory of this process, in 1e6 bytes."""
    status = Path("/proc/self/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024 / 1e6


def _fix_batch(source: Path, target: Path) -> tuple[tuple[int, ...], str]:
    import onnx
    from onnxruntime.tools.onnx_model_utils import make_dim_param_fixed

    model = onnx.load(source)
    first = model.graph.input[0]
    for dimension in first.type.tensor_type.shape.dim:
        if dimension.dim_param:
            make_dim_param_fixed(model.graph, dimension.dim_param, 1)
    onnx.save(model, target)
    return tuple(d.dim_value for d in first.type.tensor_type.shape.dim), first.name


def _load(path: Path, shape: tuple[int, ...]) -> tuple[Any, np.ndarray | None]:
    if path.is_dir():
        return _images(path, shape)
    with np.load(path) as found:
        values = next(found[key] for key in ("x", "images") if key in found)
        return values, next(found[key] for key in ("y", "labels") if key in found)


def _images(folder: Path, shape: tuple[int, ...]) -> tuple[list[np.ndarray], np.ndarray]:
    from PIL import Image

    side = max(shape[2:]) if shape[1] <= 4 else shape[1]
    rows = list(csv.DictReader((folder / "labels.csv").open(encoding="utf-8")))
    rows = rows[: CALIBRATION_SAMPLES + EVALUATION_SAMPLES]
    images = [
        np.asarray(Image.open(folder / row["file"]).convert("RGB").resize((side, side)))
        for row in rows
    ]
    return images, np.array([int(row["class_index"]) for row in rows])


def _save(path: Path, sample: np.ndarray, shape: tuple[int, ...]) -> None:
    """One sample with its batch dimension, in the model's order of dimensions."""
    if sample.ndim == 3 and shape[1:] == (sample.shape[2], *sample.shape[:2]):
        sample = sample.transpose(2, 0, 1)
    np.save(path, np.ascontiguousarray(sample.reshape(shape), np.float32))


def _reference_outputs(folder: Path) -> dict[str, float]:
    model = session(folder / "model.onnx")
    (folder / "reference").mkdir()
    known, hits, times = labels(folder), [], []
    for index, inputs in enumerate(samples(folder / "evaluation")):
        started = time.perf_counter()
        outputs = model.run(None, inputs)
        times.append(time.perf_counter() - started)
        np.savez(folder / "reference" / f"{index:04}.npz", *outputs)
        if known is not None:
            hits.append(int(outputs[0].argmax()) == known[index])
    top1 = {"top1": float(np.mean(hits))} if hits else {}
    return {"p50_ms": 1e3 * float(np.median(times)), **top1}
