"""Between the user's arrays and an artifact's: order of dimensions and quantized I/O.

An artifact may want another order of dimensions than the user's model, and integers. Whoever
runs it has to convert; this is that conversion, and the record's ports state it in data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from qhal.errors import QhalError, VerificationError
from qhal.ir.graph import Array, Graph
from qhal.plugin.backend import Artifact, Backend, Runner, RunOptions
from qhal.quant.arithmetic import dequantize, quantize
from qhal.quant.model import QuantModel
from qhal.target.profile import TargetProfile

Arrays = Mapping[str, Array]


@dataclass(frozen=True, eq=False)
class Adapter:
    """Converts a user's inputs to an artifact's, and its outputs back.

    Attributes:
        model: the lowered model, which states permutations and parameters.
    """

    model: QuantModel

    def to_artifact(self, inputs: Arrays) -> dict[str, Array]:
        """The user's arrays in the artifact's order of dimensions and element types."""
        return {name: self._input(name, inputs[name]) for name in self.model.graph.inputs}

    def to_user(self, outputs: Arrays) -> dict[str, Array]:
        """The artifact's outputs in the user's order of dimensions, dequantized."""
        return {name: self._output(name, outputs[name]) for name in self.model.graph.outputs}

    def _input(self, name: str, array: Array) -> Array:
        params = self.model.params.get(name)
        permutation = self.model.graph.permutations.get(name)
        if permutation is not None:
            array = np.transpose(array, permutation)
        if params is not None:
            array = quantize(array, params)
        return np.asarray(array, self.model.graph.tensors[name].dtype.numpy, order="C")

    def _output(self, name: str, array: Array) -> Array:
        params = self.model.params.get(name)
        permutation = self.model.graph.permutations.get(name)
        if params is not None:
            array = dequantize(array, params)
        if permutation is not None:
            array = np.transpose(array, np.argsort(permutation))
        return array


@dataclass(frozen=True, eq=False)
class Subject:
    """What is verified and measured: a lowered model with all that is needed to run it."""

    model: QuantModel
    artifact: Artifact
    backend: Backend
    profile: TargetProfile

    @property
    def graph(self) -> Graph:
        """The lowered graph."""
        return self.model.graph

    def load(self, options: RunOptions | None = None) -> Runner | None:
        """The loaded artifact, or None if it cannot run on this machine.

        Raises:
            VerificationError: the runtime is here but does not take the artifact.
        """
        if self.backend.unavailable_on(self.profile) is not None:
            return None
        try:
            return self.backend.load(self.artifact, self.profile, options or RunOptions())
        except QhalError:
            raise
        # Runtimes raise what they like; whatever it is, the artifact is not usable.
        except Exception as error:
            raise VerificationError(
                f"The runtime does not load {self.artifact.main}: {_one_line(error)}.",
                "This is a bug of the backend; please report it with the model.",
            ) from error


def run_raw(runner: Runner, subject: Subject, inputs: Arrays) -> dict[str, Array]:
    """Run a loaded artifact on arrays of its own types and check what comes back.

    Raises:
        VerificationError: it does not run, or an output is missing or of another shape.
    """
    try:
        outputs = runner.run(inputs)
    except QhalError:
        raise
    except Exception as error:
        raise VerificationError(
            f"{subject.artifact.main} does not run: {_one_line(error)}.",
            "This is a bug of the backend; please report it with the model.",
        ) from error
    for name in subject.graph.outputs:
        expected = subject.graph.tensors[name].shape
        found = outputs[name].shape if name in outputs else None
        if found != expected:
            raise VerificationError(
                f"Output {name} of {subject.artifact.main} has shape {found}, not {expected}.",
                "This is a bug of the backend; please report it with the model.",
            )
    return outputs


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
