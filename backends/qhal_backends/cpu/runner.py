"""Run an artifact in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from qhal.plugin.backend import Artifact, RunOptions
from qhal_backends.cpu.saturating_sums import require_exact_sums

if TYPE_CHECKING:
    import onnxruntime

Array = npt.NDArray[np.generic]

PROVIDERS = ("CPUExecutionProvider",)


class OrtRunner:
    """A loaded artifact; inputs and outputs have the graph's names.

    ONNX Runtime has no reference kernels, so what runs is always what ships.
    """

    def __init__(self, artifact: Artifact, options: RunOptions) -> None:
        import onnxruntime

        self.runtime = runtime_name()
        self._session = onnxruntime.InferenceSession(
            artifact.files[artifact.main],
            sess_options=session_options(options.threads),
            providers=list(PROVIDERS),
        )
        self._outputs = [output.name for output in self._session.get_outputs()]

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run once."""
        results = self._session.run(self._outputs, dict(inputs))
        return dict(zip(self._outputs, results, strict=True))


def session_options(threads: int, optimized: Path | None = None) -> onnxruntime.SessionOptions:
    """Make the options with which artifacts are loaded: sums of integer products are exact.

    Args:
        threads: of one operator.
        optimized: file to which the optimized graph is written, if any.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3 if optimized is None else 4
    require_exact_sums(options)
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    return options


def runtime_name() -> str:
    """Return the name and version of the runtime."""
    import onnxruntime

    return f"onnxruntime {onnxruntime.__version__}"
