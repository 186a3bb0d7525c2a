"""Proves that tflite-runtime 2.14 runs what qhal writes and computes what LiteRT computes.

``make FOLDER [ZOO]`` runs beside qhal: it deploys the example, and models of the zoo where there is
one, and records inputs and outputs.
``check FOLDER`` runs in a virtual environment of its own, with tflite-runtime and numpy < 2 only.

Reference kernels must agree to one quantization step (MEAN rounds differently in 2.14). The default
ones (XNNPACK) change from version to version: there nine of ten samples must keep their class.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import qhal

DIGITS = Path(__file__).parents[1] / "examples" / "digits"
SAMPLES = 20
KERNELS = ("BUILTIN_REF", "AUTO")


Job = tuple[Path, Path, str | None]
"""Model, data and preprocessing."""


def make(folder: Path, zoo: Path | None = None) -> None:
    """Deploy the example and models of the zoo for both LiteRT-like targets."""
    jobs: dict[str, Job] = {"digits": (DIGITS / "digits.onnx", DIGITS / "evaluation.npz", None)}
    jobs.update(_zoo_jobs(zoo) if zoo else {})
    for name, (model, data, preprocess) in jobs.items():
        for target in ("tflite", "edgetpu"):
            _record(folder / f"{name}-{target}", model, target, data, preprocess)


def _zoo_jobs(zoo: Path) -> dict[str, Job]:
    models, cifar = zoo / "models", zoo / "data" / "cifar10_test_1000.npz"
    return {
        "resnet20": (models / "resnet20_cifar10.onnx", cifar, "imagenet-torch"),
        "ic": (models / "mlperf_tiny_ic.onnx", cifar, "raw"),
        "kws": (models / "mlperf_tiny_kws.onnx", zoo / "data" / "kws_500.npz", None),
    }


def _record(out: Path, model: Path, target: str, data: Path, preprocess: str | None) -> None:
    from ai_edge_litert import interpreter as litert

    import qhal

    record = qhal.deploy(
        model, target=target, data=data, preprocess=preprocess, out=out, calib_samples=32
    )
    inputs = _inputs(record, data, preprocess)
    found: dict[str, Any] = {
        k: _run(litert, out / record.artifact.main, k, inputs) for k in KERNELS
    }
    np.savez(out / "recorded.npz", inputs=inputs, **found)


def _inputs(record: qhal.RunRecord, data: Path, preprocess: str | None) -> np.ndarray:
    """Real samples in the order and type of the artifact's input, stacked."""
    from qhal.data import load_dataset
    from qhal.ir.dtypes import DType
    from qhal.ir.graph import TensorType

    [port] = record.model.inputs
    kinds = {port.name: TensorType(port.shape, DType(port.dtype))}
    dataset = load_dataset(data, kinds, preprocess=preprocess, labels=None, label_offset=0)
    samples = [dataset.sample(i)[port.name] for i in range(SAMPLES)]
    if port.permutation:
        samples = [np.transpose(sample, port.permutation) for sample in samples]
    stacked: np.ndarray = np.stack(samples)
    if port.scale is None or port.zero_point is None:
        return stacked
    info = np.iinfo(port.artifact_dtype)
    rounded = np.round(stacked / port.scale) + port.zero_point
    stored: np.ndarray = np.clip(rounded, info.min, info.max).astype(info.dtype)
    return stored


def check(folder: Path) -> None:
    """Run every artifact again and compare."""
    from tflite_runtime import interpreter as runtime

    failed = [path.name for path in sorted(folder.iterdir()) if not _agrees(path, runtime)]
    if failed:
        sys.exit(f"tflite-runtime disagrees on {', '.join(failed)}")


def _agrees(path: Path, runtime: object) -> bool:
    recorded = np.load(path / "recorded.npz")
    [model] = path.glob("model.tflite")
    reference, default = (_run(runtime, model, k, recorded["inputs"]) for k in KERNELS)
    steps = _steps(reference, recorded[KERNELS[0]])
    same = float((default.argmax(1) == recorded[KERNELS[1]].argmax(1)).mean())
    print(f"{path.name}: reference kernels differ by {steps} quantization steps")
    print(f"{path.name}: default kernels keep the class of {same:.0%} of the samples")
    return steps <= 1 and same >= 0.9


def _steps(found: np.ndarray, recorded: np.ndarray) -> int:
    """Return the largest difference in quantization steps.

    Float outputs are multiples of their scale.
    """
    levels = np.unique(recorded.astype(np.float64))
    step = np.diff(levels).min() if recorded.dtype.kind == "f" else 1.0
    return int(np.round(np.abs(found.astype(np.float64) - recorded).max() / step))


def _run(runtime: Any, model: Path, kernels: str, inputs: np.ndarray) -> np.ndarray:
    """Return outputs for all samples, flattened: (samples, elements)."""
    resolver = getattr(runtime.OpResolverType, kernels)
    interpreter = runtime.Interpreter(str(model), experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    [source], [sink] = interpreter.get_input_details(), interpreter.get_output_details()
    found = []
    for array in inputs:
        interpreter.set_tensor(source["index"], array)
        interpreter.invoke()
        found.append(interpreter.get_tensor(sink["index"]).ravel().copy())
    return np.stack(found)


if __name__ == "__main__":
    command, *folders = sys.argv[1:]
    commands: dict[str, Callable[..., None]] = {"make": make, "check": check}
    commands[command](*map(Path, folders))
