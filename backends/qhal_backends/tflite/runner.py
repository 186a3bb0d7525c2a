"""Run an artifact in LiteRT, or in tflite-runtime where LiteRT is not installed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from qhal.errors import MissingDependencyError, VerificationError, text_of
from qhal.ir.graph import Array, Arrays
from qhal.plugin.backend import RunOptions

_STDERR = 2
INSTALL = "pip install 'quant-hal[tflite]'"

_RUNTIMES = (("ai_edge_litert", "ai-edge-litert"), ("tflite_runtime", "tflite-runtime"))
"""Import name and distribution, in order of preference."""

_UNKNOWN_OPERATOR = "Didn't find op"
"""How a resolver reports that it lacks an operator (tensorflow/lite/core/api/op_resolver.cc)."""

_ABORTING_ELEMENTS = 512
"""See :func:`_may_abort`."""


@dataclass(frozen=True)
class Runtime:
    """An installed interpreter.

    Attributes:
        module: its Python module with ``Interpreter`` and ``OpResolverType``.
        label: distribution and version, such as ``ai-edge-litert 2.3.0``.
    """

    module: Any
    label: str


def installed() -> str | None:
    """Find the import name of the runtime that would be used, or None; import nothing."""
    return next((package for package, _ in _RUNTIMES if find_spec(package)), None)


def find_runtime() -> Runtime:
    """Import the runtime.

    Raises:
        MissingDependencyError: none is installed, or it does not load.
    """
    reasons = []
    for package, distribution in _RUNTIMES:
        if find_spec(package) is None:
            continue
        try:
            module = import_module(f"{package}.interpreter")
        except ImportError as error:
            reasons.append(f"{distribution} does not load: {error}")
            continue
        return Runtime(module, f"{distribution} {version(distribution)}")
    why = "; ".join(reasons) or "no TFLite runtime is installed"
    raise MissingDependencyError(f"The artifact cannot run here: {why}.", f"Run: {INSTALL}")


@dataclass(frozen=True)
class Loaded:
    """An interpreter with allocated tensors.

    Attributes:
        interpreter: LiteRT's own object.
        label: of the runtime and, unless they are the usual ones, of its kernels.
    """

    interpreter: Any
    label: str


def load_interpreter(runtime: Runtime, content: bytes, options: RunOptions) -> Loaded:
    """Load an artifact.

    By default the XNNPACK delegate takes what it can. Reference kernels come from the resolver
    ``BUILTIN_REF``, to which no delegate is applied; it lacks a few operators (ELU, CEIL, ROUND)
    and may abort in a wide Softmax. A model with one of them runs on the plain builtin kernels
    instead, and the label says so.

    Raises:
        VerificationError: the runtime refuses the file.
    """
    resolvers = runtime.module.OpResolverType
    tried = {"": resolvers.AUTO}
    if options.reference:
        tried = {
            " (reference kernels)": resolvers.BUILTIN_REF,
            " (builtin kernels)": resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        }
    reason: Exception | None = None
    for kernels, resolver in tried.items():
        try:
            interpreter = _interpreter(runtime, content, options, resolver)
        except (RuntimeError, ValueError) as error:
            reason = error
            if _UNKNOWN_OPERATOR not in str(reason):
                break
        else:
            if resolver != resolvers.BUILTIN_REF or not _may_abort(interpreter):
                return Loaded(interpreter, runtime.label + kernels)
    assert reason is not None  # the last one is never passed over
    raise VerificationError(
        f"{runtime.label} does not load the artifact: {_one_line(reason)}.",
        "This is a bug in qhal or in the runtime; please report it with the model.",
    ) from reason


def _interpreter(runtime: Runtime, content: bytes, options: RunOptions, resolver: Any) -> Any:
    with _without_chatter():
        interpreter = runtime.module.Interpreter(
            model_content=content,
            num_threads=options.threads,
            experimental_op_resolver_type=resolver,
        )
        interpreter.allocate_tensors()
    return interpreter


def _may_abort(interpreter: Any) -> bool:
    """Return True if a reference kernel could end the process.

    The reference Softmax of 8 bits shifts by more than 31 bits, which aborts, when 512 or more
    elements of a row are about as large as the largest (internal/reference/softmax.h: the sum of
    exponentials has 12 integer bits). The plain builtin kernel has no such sum.
    """
    shapes = {d["index"]: d["shape"] for d in interpreter.get_tensor_details()}
    softmaxes = (op for op in interpreter._get_ops_details() if op["op_name"] == "SOFTMAX")
    return any(shapes[op["inputs"][0]][-1] >= _ABORTING_ELEMENTS for op in softmaxes)


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Keep what native code announces ("Created TensorFlow Lite XNNPACK delegate") off stderr.

    Errors are not lost: they come as exceptions.
    """
    try:
        saved = os.dup(_STDERR)
    except OSError:  # closed
        yield
        return
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), _STDERR)
    try:
        yield
    finally:
        os.dup2(saved, _STDERR)
        os.close(saved)


def _one_line(error: Exception) -> str:
    return " ".join(text_of(error).split()).rstrip(".")


class TfliteRunner:
    """A loaded artifact. Inputs and outputs are matched by position, so any name will do.

    Args:
        content: the ``.tflite`` file.
        inputs: names of the graph's inputs, in order.
        outputs: names of the graph's outputs, in order.
        options: threads, and whether to use reference kernels.
    """

    def __init__(
        self,
        content: bytes,
        inputs: tuple[str, ...],
        outputs: tuple[str, ...],
        options: RunOptions,
    ) -> None:
        loaded = load_interpreter(find_runtime(), content, options)
        # Verification distinguishes the kinds of kernels by this name.
        self.runtime = loaded.label
        self._interpreter = loaded.interpreter
        # The details are looked up once: the latency is that of run().
        self._inputs = self._positions(inputs, self._interpreter.get_input_details())
        self._outputs = self._positions(outputs, self._interpreter.get_output_details())

    def _positions(self, names: tuple[str, ...], details: list[Any]) -> list[tuple[str, int]]:
        return [(name, detail["index"]) for name, detail in zip(names, details, strict=True)]

    def run(self, inputs: Arrays) -> dict[str, Array]:
        """Run once, as :meth:`qhal.plugin.backend.Runner.run` says; outputs are copies.

        Raises:
            VerificationError: an input is missing or does not fit, or a kernel fails.
        """
        interpreter = self._interpreter
        try:
            for name, index in self._inputs:
                interpreter.set_tensor(index, inputs[name])
            interpreter.invoke()
            outputs = {name: interpreter.get_tensor(index) for name, index in self._outputs}
            # of a tensor without dimensions, the interpreter makes a NumPy scalar
            return {name: np.asarray(value) for name, value in outputs.items()}
        except KeyError as error:
            raise VerificationError(f"The input {error} is missing.") from error
        except (RuntimeError, ValueError) as error:
            raise VerificationError(
                f"{self.runtime} does not run the artifact: {_one_line(error)}."
            ) from error
