"""TensorFlow Lite Micro's interpreter, on the machine that runs qhal.

The package ``tflite-micro`` has the reference kernels; those of CMSIS-NN, which a Cortex-M runs,
compute the same. Its arena has to be given in advance.
"""

from __future__ import annotations

from importlib.metadata import version
from importlib.util import find_spec
from math import prod
from typing import Any

import numpy as np

from qhal.errors import MissingDependencyError, VerificationError
from qhal.ir.graph import Array, Arrays
from qhal.plugin.readiness import Lack

INSTALL = "pip install --pre tflite-micro"
INSTALL_ALL = "pip install 'quant-hal[arm]'"
DISTRIBUTION = "tflite-micro"

_FIXED_BYTES = 1 << 20
_PER_ACTIVATION_BYTE = 8
"""Scratch buffers hold int64 for some results of int8 (transpose_conv.cc)."""


def lacks_interpreter() -> Lack | None:
    """Say what is missing to run artifacts; None if nothing is."""
    if find_spec("tflite_micro"):
        return None
    return Lack(f"{DISTRIBUTION} is not installed", INSTALL)


def label() -> str:
    """Return the name and version of the runtime."""
    return f"{DISTRIBUTION} {version(DISTRIBUTION)} (reference kernels)"


def load_interpreter(content: bytes) -> Any:
    """Make an interpreter with allocated tensors.

    Raises:
        MissingDependencyError: the package is missing or does not load.
        VerificationError: the interpreter refuses the file; it prints why to stderr.
    """
    try:
        from tflite_micro.python.tflite_micro import runtime
    except ImportError as error:
        why = f"The artifact cannot run here: {DISTRIBUTION} does not load: {error}."
        raise MissingDependencyError(why, f"Run: {INSTALL}") from error
    try:
        return runtime.Interpreter.from_bytes(content, arena_size=ample_arena_bytes(content))
    except RuntimeError as error:
        raise VerificationError(
            f"{label()} does not load the artifact: {error}.",
            "This is a bug in qhal or in the runtime; please report it with the model.",
        ) from error


def ample_arena_bytes(content: bytes) -> int:
    """Compute more than any memory plan needs: no two tensors share a byte."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    # The first buffer is the empty one that activations have; no element is above 8 bytes.
    tensors = model.subgraphs[0].tensors
    elements = sum(prod(map(int, t.shape)) for t in tensors if t.shape is not None)
    return _FIXED_BYTES + len(content) + _PER_ACTIVATION_BYTE * elements


class MicroRunner:
    """A loaded artifact.

    Args:
        content: the ``.tflite`` file.
        inputs: names of the graph's inputs, in order.
        outputs: names of the graph's outputs, in order.
    """

    def __init__(self, content: bytes, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> None:
        self._interpreter = load_interpreter(content)
        self._inputs = inputs
        self._outputs = outputs
        self.runtime = label()

    def run(self, inputs: Arrays) -> dict[str, Array]:
        """Run once, as :meth:`qhal.plugin.backend.Runner.run` says; outputs are copies.

        Raises:
            VerificationError: an input is missing or does not fit, or a kernel fails.
        """
        interpreter = self._interpreter
        try:
            for index, name in enumerate(self._inputs):
                interpreter.set_input(inputs[name], index)
            interpreter.invoke()
            found = enumerate(self._outputs)
            return {name: np.array(interpreter.get_output(index)) for index, name in found}
        except KeyError as error:
            raise VerificationError(f"The input {error} is missing.") from error
        except (RuntimeError, ValueError) as error:
            raise VerificationError(
                f"{self.runtime} does not run the artifact: {error}."
            ) from error
