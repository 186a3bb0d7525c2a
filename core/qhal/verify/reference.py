"""The float reference: the user's own file, as it is, in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from qhal.errors import ModelInvalidError, VerificationError, text_of
from qhal.ir.graph import Array, Arrays, Graph
from qhal.metric import Basis, Metric
from qhal.system.trail import Kind, doing
from qhal.verify.compare import Difference, difference

_SMALLEST_IMPORT_SQNR_DB = 40.0
"""Float arithmetic in another order stays far above this; a wrong operator stays below."""

_ROUNDING = 8 * float(np.finfo(np.float32).eps)
"""Differences up to this are rounding, however small the outputs are: a Sigmoid of -16 is 1e-7,
and ONNX Runtime computes it to within the rounding error of numbers near 1."""


class FloatReference:
    """The user's model in ONNX Runtime, on one thread, so that results are reproducible."""

    def __init__(
        self, model: str | Path | bytes, outputs: Sequence[str], *, cut: bool = False
    ) -> None:
        """Name a model file, or a serialized model; it is loaded at the first run.

        Args:
            model: the file, or its content.
            outputs: what to compute.
            cut: the file's own outputs are others: end the model at these.
        """
        self._model, self._outputs, self._ends = model, list(outputs), outputs if cut else ()
        self._name = "the imported graph" if isinstance(model, bytes) else Path(model).name

    @cached_property
    def _session(self) -> Any:
        """The model, loaded late: a deployment that fails before has no use for it."""
        with doing(Kind.MODEL, f"onnxruntime loaded {self._name}"):
            return _load(self._model, self._ends)

    @cached_property
    def _inputs(self) -> dict[str, str]:
        return {port.name: port.type for port in self._session.get_inputs()}

    def run(self, inputs: Arrays) -> dict[str, Array]:
        """Return the outputs for one sample; other float types of the file are float32 here.

        Raises:
            ModelInvalidError: ONNX Runtime does not take the model, or fails on the sample.
        """
        feeds = {name: _as_typed(inputs[name], kind) for name, kind in self._inputs.items()}
        try:
            with doing(Kind.MODEL, f"onnxruntime ran {self._name} in float"):
                results = self._session.run(self._outputs, feeds)
        except MemoryError:
            raise
        # ONNX Runtime has no public root of its errors.
        except (Exception, SystemExit) as error:
            said = text_of(error)
            raise ModelInvalidError(f"ONNX Runtime cannot run the model: {said}.") from error
        return dict(zip(self._outputs, map(_as_float32, results), strict=True))


_WEIGHTS_LIE_IN = "session.model_external_initializers_file_folder_path"
"""Where ONNX Runtime looks for external weights of a model that it is not given as a file."""

_OTHER_FLOATS = {"tensor(float16)": np.float16, "tensor(double)": np.float64}
"""Float types that a file may have and the imported graph has not."""


def _as_typed(value: Array, kind: str) -> Array:
    dtype = _OTHER_FLOATS.get(kind)
    return value if dtype is None else value.astype(dtype)


def _as_float32(value: Array) -> Array:
    array = np.asarray(value)
    return array.astype(np.float32) if array.dtype in _OTHER_FLOATS.values() else array


def _load(model: str | Path | bytes, ends: Sequence[str]) -> Any:
    import onnxruntime

    from qhal.ir.onnx.cut import cut_file, folder_of

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    source = model if isinstance(model, bytes) else _readable(model)
    if ends and not isinstance(model, bytes):
        source = cut_file(Path(model), ends)
        options.add_session_config_entry(_WEIGHTS_LIE_IN, folder_of(Path(model)))
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except MemoryError:
        raise
    except (Exception, SystemExit) as error:
        said = text_of(error)
        raise ModelInvalidError(f"ONNX Runtime does not load the model: {said}.") from error


def _readable(model: str | Path) -> str | bytes:
    """Return the path, or the content if the name is not UTF-8: ONNX Runtime takes no such path."""
    try:
        return str(model).encode().decode()
    except UnicodeEncodeError:
        return Path(model).read_bytes()


def check_import(graph: Graph, reference: FloatReference, sample: Arrays) -> dict[str, Metric]:
    """Compare the imported graph with the user's file on one sample.

    Args:
        graph: the imported canonical graph, in the user's order of dimensions.
        reference: the user's file.
        sample: one sample of every input.

    Returns:
        ``import_error``: the largest difference relative to the largest output.

    Raises:
        VerificationError: the imported graph computes something else.
    """
    from qhal.ir.export import to_onnx

    imported = FloatReference(to_onnx(graph).SerializeToString(), graph.outputs)
    theirs, ours = reference.run(sample), imported.run(sample)
    worst = 0.0
    for name in graph.outputs:
        found = difference(theirs[name], ours[name])
        if found.sqnr_db < _SMALLEST_IMPORT_SQNR_DB and found.max_abs > _ROUNDING:
            raise VerificationError(
                f"The imported graph's output {name} differs from the model's: "
                f"SQNR {found.sqnr_db:.1f} dB, largest difference {found.max_abs:g}.",
                "This is a bug of qhal's importer; please report it with the model.",
            )
        worst = max(worst, _relative(found))
    note, unit = "largest difference on one sample", "of the largest output"
    return {"import_error": Metric(worst, unit, Basis.MEASURED_HOST, note=note)}


def _relative(found: Difference) -> float:
    return found.max_abs / found.peak if found.peak else found.max_abs
