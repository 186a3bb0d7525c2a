"""The float graph in onnxruntime: what calibration observes and float outputs come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from qhal.errors import DataValueError, ModelInvalidError, QhalError, text_of
from qhal.host import usable_cores
from qhal.ir.export import to_onnx
from qhal.ir.graph import Array, Graph
from qhal.system.trail import Kind, doing

T = TypeVar("T")

_MAX_THREADS = 8


class FloatRun:
    """A float graph, loaded once, that returns any of its tensors.

    Results are written into buffers that are allocated once per *slot*, so that a run makes no
    garbage. Two slots let one sample be evaluated while the next one runs.
    """

    def __init__(
        self, graph: Graph, tensors: Sequence[str], *, slots: int = 1, threads: int = 0
    ) -> None:
        """Load the graph.

        Args:
            graph: a float canonical graph in NCHW.
            tensors: what :meth:`run` returns; made by nodes, not inputs or constants.
            slots: sets of result buffers.
            threads: of onnxruntime; 0 leaves one core to the caller.

        Raises:
            ModelInvalidError: onnxruntime does not take the graph.
        """
        self._graph = graph
        self._tensors = tuple(tensors)
        proto = to_onnx(graph, outputs=self._tensors)
        self._session = _guarded(
            f"{runtime_version()} loaded the float model {graph.name}",
            lambda: _session(proto.SerializeToString(), threads or _spare_cores()),
            lambda reason: ModelInvalidError(
                f"onnxruntime cannot load the float model {graph.name!r}: {reason}"
            ),
        )
        self._taken = {argument.name for argument in self._session.get_inputs()}
        self._slots = [self._new_slot() for _ in range(slots)]

    def run(
        self, inputs: Mapping[str, Array], *, slot: int = 0, where: str = ""
    ) -> dict[str, Array]:
        """Run once.

        Args:
            inputs: by name, with the graph's shapes and types.
            slot: which buffers to write into.
            where: what the inputs are called in an error message.

        Returns:
            The tensors by name. The arrays are overwritten by the next run in the same slot.

        Raises:
            DataValueError: a kernel of onnxruntime fails on these inputs.
        """
        binding, results = self._slots[slot]
        for name in self._taken:
            binding.bind_cpu_input(name, np.asarray(inputs[name], order="C"))
        _guarded(
            f"{runtime_version()} ran the float model on {where or 'inputs'}",
            lambda: self._session.run_with_iobinding(binding),
            lambda reason: DataValueError(
                f"onnxruntime cannot run the float model on {where or 'the inputs'}: {reason}",
                "Check that the values are valid for the model, such as indices within a table.",
            ),
        )
        return dict(results)

    def _new_slot(self) -> tuple[Any, dict[str, Array]]:
        binding = self._session.io_binding()
        results: dict[str, Array] = {}
        for name in self._tensors:
            kind = self._graph.tensors[name]
            results[name] = array = np.empty(kind.shape, kind.dtype.numpy)
            pointer = array.ctypes.data
            binding.bind_output(name, "cpu", 0, array.dtype.type, kind.shape, pointer)
        return binding, results


def runtime_version() -> str:
    """Return name and version of the runtime of the float model."""
    import onnxruntime

    return f"onnxruntime {onnxruntime.__version__}"


def tensor_bytes(graph: Graph, tensors: Sequence[str]) -> int:
    """Count the bytes that the values of the tensors take in one sample."""
    kinds = [graph.tensors[name] for name in tensors]
    return sum(kind.elements * kind.dtype.numpy.itemsize for kind in kinds)


def _spare_cores() -> int:
    return max(1, min(_MAX_THREADS, usable_cores() - 1))


def _session(model: bytes, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # everything that matters arrives as an exception
    # Waiting threads must not spin: the core is needed for the statistics.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _guarded(words: str, call: Callable[[], T], error: Callable[[str], QhalError]) -> T:
    """Call into onnxruntime; turn what it raises, whatever it is, into one of qhal's errors."""
    try:
        with doing(Kind.MODEL, words):
            return call()
    except (MemoryError, OSError):  # the machine's
        raise
    except (Exception, SystemExit) as raised:
        raise error(_first_line(raised)) from raised


def _first_line(error: BaseException) -> str:
    """Return onnxruntime's message without its C++ stack."""
    return text_of(error).splitlines()[0]
