"""qhal beside its peers: same models, same data, same metrics, one table with ratios.

Every tool gets the same calibration samples, one ``.npy`` file each, and runs in a process of
its own. What is measured:

* seconds: from the model file to the quantized model, without importing the tool;
* peak MB: of that process when it has done so (``VmHWM``; interpreter and imports included);
* SQNR dB: of all outputs on the evaluation samples, against the float model in ONNX Runtime;
* top-1 on the evaluation samples, where there are labels;
* p50 ms: one thread, batch 1, the tool's own runtime (ONNX Runtime, OpenVINO, LiteRT); the
  tools take turns, and of each one's windows the least disturbed counts.

``make bench`` runs all of it; give names of models to run some. ``QHAL_ZOO`` has to name the
folder that holds ``zoo/``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import peers_data as data

from qhal.system import telemetry

FIRST = "onnxruntime"
"""The tool that ratios refer to."""
BASELINE = "float in onnxruntime"
WINDOWS = 7
WINDOW_S = 0.4

Arrays = dict[str, np.ndarray]
Outputs = list[np.ndarray]


@dataclass(frozen=True)
class Loaded:
    """A quantized model in its runtime.

    Attributes:
        run: the user's inputs -> the user's outputs, in the model's order.
        timed: inputs -> a function without arguments that is nothing but the inference.
    """

    run: Callable[[Arrays], Outputs]
    timed: Callable[[Arrays], Callable[[], object]]


# --- the tools: import first, then `quantize` is timed, then `load` -------------------


class Qhal:
    """qhal with its defaults: what ``qhal deploy`` does up to the artifact."""

    def __init__(self, target: str) -> None:
        # What the line imports at first use counts as importing the tool, as for the others.
        import onnx_ir  # noqa: F401
        import onnxruntime  # noqa: F401

        import qhal.pipeline.deploy  # noqa: F401
        from qhal.pipeline.served import find_target

        self.target = target
        find_target(target, "w8a8").backend.readiness()  # loads the plugins

    def quantize(self, model: Path, calibration: Path) -> Any:
        """Import to lowered artifact."""
        from qhal.pipeline.line import lower_line
        from qhal.pipeline.options import Options
        from qhal.pipeline.session import open_session
        from qhal.pipeline.stages import Stages

        asked = Options(
            data=calibration, calib_samples=len(list(calibration.iterdir())), cache=False
        )
        with open_session(model, asked) as session:
            return lower_line(session, self.target, asked, Stages()).subject

    def load(self, subject: Any) -> Loaded:
        """Load the artifact into its runtime."""
        runner, adapter = subject.load(), subject.adapter

        def run(inputs: Arrays) -> Outputs:
            outputs = adapter.to_user(runner.run(adapter.to_artifact(inputs)))
            return [outputs[name] for name in subject.model.graph.outputs]

        def timed(inputs: Arrays) -> Callable[[], object]:
            adapted = adapter.to_artifact(inputs)
            return lambda: runner.run(adapted)

        return Loaded(run, timed)


class OnnxRuntime:
    """ONNX Runtime's static quantizer: QDQ, per-channel int8 weights."""

    def __init__(self, activation: str, method: str = "MinMax") -> None:
        from onnxruntime.quantization import CalibrationMethod, QuantType

        self.activation = getattr(QuantType, activation)
        self.method = getattr(CalibrationMethod, method)

    def quantize(self, model: Path, calibration: Path) -> Path:
        """Write a file beside the model; upgrade models below opset 13 first."""
        import onnx
        from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

        class Reader(CalibrationDataReader):
            def __init__(self) -> None:
                self.samples = data.samples(calibration)

            def get_next(self) -> Arrays | None:
                return next(self.samples, None)

        source = onnx.load(model)
        if source.opset_import[0].version < 13:
            source = onnx.version_converter.convert_version(source, 13)
        out = calibration.parent / "onnxruntime.onnx"
        quantize_static(
            source,
            out,
            Reader(),
            per_channel=True,
            activation_type=self.activation,
            weight_type=QuantType.QInt8,
            calibrate_method=self.method,
        )
        return out

    def load(self, model: Path) -> Loaded:
        """Open a session with one thread."""
        session = data.session(model)
        return Loaded(
            lambda inputs: session.run(None, inputs),
            lambda inputs: lambda: session.run(None, inputs),
        )


class Nncf:
    """NNCF's post-training quantization of an OpenVINO model, default preset."""

    def __init__(self) -> None:
        import nncf
        import openvino

        self.nncf, self.openvino = nncf, openvino

    def quantize(self, model: Path, calibration: Path) -> Any:
        """Return a quantized OpenVINO model."""
        samples = data.samples(calibration)
        found = self.openvino.Core().read_model(model)
        return self.nncf.quantize(
            found, self.nncf.Dataset(samples), subset_size=data.CALIBRATION_SAMPLES
        )

    def load(self, model: Any) -> Loaded:
        """Compile the model for one thread, tuned for latency."""
        settings = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"}
        request = self.openvino.Core().compile_model(model, "CPU", settings).create_infer_request()

        def run(inputs: Arrays) -> Outputs:
            return [value.copy() for value in request.infer(inputs).to_tuple()]

        return Loaded(run, lambda inputs: lambda: request.infer(inputs))


TOOLS: dict[str, Callable[[], Any]] = {
    FIRST: lambda: OnnxRuntime("QUInt8"),
    "onnxruntime int8": lambda: OnnxRuntime("QInt8"),
    "onnxruntime percentile": lambda: OnnxRuntime("QUInt8", "Percentile"),
    "nncf": Nncf,
    "qhal openvino-cpu": lambda: Qhal("openvino-cpu"),
    "qhal cpu": lambda: Qhal("cpu"),
    "qhal tflite": lambda: Qhal("tflite"),
}
SLOW = {"onnxruntime percentile"}
"""Tools that need many gigabytes or minutes; run with --slow."""


# --- one tool on one model, in a process of its own -----------------------------------


def work(tool: str, folder: Path) -> None:
    """Quantize and measure; then time one window for every line that comes in."""
    chosen = TOOLS[tool]()
    started = time.perf_counter()
    quantized = chosen.quantize(folder / "model.onnx", folder / "calibration")
    seconds = time.perf_counter() - started
    peak_mb = data.peak_memory_mb()
    loaded = chosen.load(quantized)
    print(json.dumps({"seconds": seconds, "peak_mb": peak_mb, **accuracy(loaded, folder)}))
    sys.stdout.flush()
    infer = loaded.timed(next(data.samples(folder / "evaluation")))
    for _ in sys.stdin:
        print(window_ms(infer), flush=True)


def window_ms(infer: Callable[[], object]) -> float:
    """Median latency over a short while."""
    times: list[float] = []
    end = time.perf_counter() + WINDOW_S
    while time.perf_counter() < end or not times:
        started = time.perf_counter()
        infer()
        times.append(time.perf_counter() - started)
    return 1e3 * float(np.median(times))


def accuracy(loaded: Loaded, folder: Path) -> dict[str, float]:
    """SQNR and top-1 on the evaluation samples."""
    signal = noise = 0.0
    hits: list[bool] = []
    labels = data.labels(folder)
    for index, inputs in enumerate(data.samples(folder / "evaluation")):
        expected = data.reference(folder, index)
        found = loaded.run(inputs)
        for here, there in zip(found, expected, strict=True):
            signal += float(np.square(there, dtype=np.float64).sum())
            noise += float(np.square(here.astype(np.float64) - there).sum())
        if labels is not None:
            hits.append(int(found[0].argmax()) == labels[index])
    top1 = {"top1": float(np.mean(hits))} if hits else {}
    return {"sqnr_db": 10 * float(np.log10(signal / noise)), **top1}


class Worker:
    """:func:`work` in a fresh process; what goes wrong is a result too."""

    def __init__(self, tool: str, folder: Path) -> None:
        self.tool = tool
        self._log = folder / f"{tool}.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, __file__, "--work", tool, str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "2"},
            )
        self.found = self._first()

    def _first(self) -> dict[str, Any]:
        for line in self._process.stdout or ():
            if line.startswith("{"):  # what tools print themselves is skipped
                return dict(json.loads(line))
        lines = self._log.read_text().strip().splitlines() or ["no message"]
        return {"error": lines[-1][:100]}

    def window_ms(self) -> float:
        """One more window of a worker that did not fail."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def compare(tools: Iterable[str], folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Quantize one tool after the other, then time them in turns: drift hits all alike."""
    workers = [Worker(tool, folder) for tool in tools]
    sound = [worker for worker in workers if "error" not in worker.found]
    rounds = [[worker.window_ms() for worker in sound] for _ in range(WINDOWS + 1)]
    for worker, times in zip(sound, zip(*rounds[1:], strict=True), strict=True):
        worker.found["p50_ms"] = min(times)  # the first round warms up
    for worker in workers:
        worker.close()
        yield worker.tool, worker.found


# --- the table --------------------------------------------------------------------------

COLUMNS = ("seconds", "peak_mb", "sqnr_db", "top1", "p50_ms")
LOWER_IS_BETTER = ("seconds", "peak_mb", "p50_ms")


def table(results: Iterable[tuple[str, str, dict[str, Any]]]) -> Iterator[str]:
    """Markdown, line by line; in brackets the ratio to the first tool (SQNR, top-1: difference)."""
    yield "| model | tool | seconds | peak MB | SQNR dB | top-1 | p50 ms |"
    yield "|---|---|---|---|---|---|---|"
    first: dict[str, Any] = {}
    for model, tool, found in results:
        if tool in {BASELINE, FIRST}:
            first = found if tool == FIRST else {}
        cells = (
            [f"fails: {found['error']}", "", "", "", ""]
            if "error" in found
            else [_cell(found, first, column) for column in COLUMNS]
        )
        yield f"| {model} | {tool} | " + " | ".join(cells) + " |"


def _cell(found: dict[str, Any], first: dict[str, Any], column: str) -> str:
    if column not in found:
        return "–"
    value = f"{found[column]:.3g}"
    if column not in first or found is first:
        return value
    if column in LOWER_IS_BETTER:
        return f"{value} ({found[column] / first[column]:.2f}×)"
    return f"{value} ({found[column] - first[column]:+.3g})"


def main() -> None:
    """Run every tool on every model and print the table as it grows."""
    telemetry.turn_off()
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("models", nargs="*", default=data.MODELS, help="names of zoo models")
    options.add_argument("--slow", action="store_true", help=f"also {', '.join(SLOW)}")
    options.add_argument("--work", nargs=2, metavar=("TOOL", "FOLDER"), help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.work:
        work(given.work[0], Path(given.work[1]))
        return
    tools = [tool for tool in TOOLS if given.slow or tool not in SLOW]
    for line in table(_results(given.models, tools)):
        print(line, flush=True)


def _results(
    models: Iterable[str], tools: Iterable[str]
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for model in models:
        with tempfile.TemporaryDirectory(prefix="qhal-bench-") as name:
            baseline = data.prepare(model, Path(name))
            yield model, BASELINE, baseline
            for tool, found in compare(tools, Path(name)):
                yield model, tool, found


if __name__ == "__main__":
    main()
