"""What is run, and what is verified and measured: an artifact with all that belongs to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from qhal.artifact.ports import Adapter, Port
from qhal.errors import PluginError, VerificationError, text_of
from qhal.ir.dtypes import DType
from qhal.ir.graph import Array, Arrays, Graph
from qhal.plugin.backend import Artifact, Backend, Placement, Runner, RunOptions, Trial
from qhal.plugin.calls import call, check_unchanged
from qhal.plugin.discovery import Provider
from qhal.plugin.lent import Seal, read_only
from qhal.plugin.provided import Provided
from qhal.plugin.readiness import Lack
from qhal.quant.model import QuantModel
from qhal.system.trail import Kind, doing
from qhal.targets.profile import TargetProfile

_MOST_KINDS = 12


@dataclass(frozen=True, eq=False)
class Runnable:
    """An artifact with all that is needed to run it.

    Attributes:
        artifact: the files.
        backend: knows the runtime.
        profile: the target.
        adapter: converts a user's arrays to the artifact's and back.
        folder: where the files lie, for messages; empty if they are not written yet.
        provider: the plugin that provides the backend; None if no plugin does.
    """

    artifact: Artifact
    backend: Backend
    profile: TargetProfile
    adapter: Adapter
    folder: Path = field(default=Path(), kw_only=True)
    provider: Provider | None = field(default=None, kw_only=True)

    @property
    def provided(self) -> Provided:
        """The backend, as the core calls it."""
        return Provided(self.backend, self.provider)

    @property
    def path(self) -> Path:
        """The main file, as messages call it."""
        return self.folder / self.artifact.main

    @cached_property
    def contents(self) -> str:
        """The kinds of operators in it, in brackets; "" if nobody knows."""
        return ""

    def load(self, options: RunOptions | None = None) -> Runner | None:
        """Load the artifact; None if it cannot run on this machine.

        Raises:
            VerificationError: the runtime is here but does not take the artifact.
        """
        if self._lack is not None:
            return None
        given = options or RunOptions()
        words = f"the {self.provided.name} loaded {self.path}{self.contents}"
        try:
            with doing(Kind.ARTIFACT, words):
                return call(self.provided, Backend.load, self.artifact, self.profile, given)
        # Runtimes raise what they like; whatever it is, the artifact is not usable.
        except PluginError as error:
            raise VerificationError(
                f"The runtime cannot load {self.path}. {error.message}", error.hint
            ) from error

    def why_not(self) -> str:
        """Say why :meth:`load` gave None, without a full stop."""
        why = self._lack or f"backend {self.backend.info.name} has no runtime here"
        return str(why).rstrip(".")

    @property
    def _lack(self) -> Lack | None:
        return call(self.provided, Backend.readiness, self.profile).run

    def placement(self) -> Placement | None:
        """Return what the runtime or compiler did with each node; None if it is unknown."""
        words = f"the {self.provided.name} examined {self.path}{self.contents}"
        with doing(Kind.ARTIFACT, words):
            return call(self.provided, Backend.placement, self.artifact, self.profile)

    def trial(self, sample: Arrays) -> Trial:
        """Return the artifact with a sample of the user's inputs, as backends examine it."""
        return Trial(self.artifact, self.adapter.to_artifact(sample))


@dataclass(frozen=True, eq=False)
class Subject(Runnable):
    """An artifact whose model is at hand: it can also be counted, and compared with the oracle.

    Attributes:
        model: what was lowered.
        seal: what the model was when it was lowered; None where nobody looked.
    """

    model: QuantModel
    seal: Seal | None = field(default=None, kw_only=True)

    @property
    def graph(self) -> Graph:
        """The lowered graph."""
        return self.model.graph

    @cached_property
    def contents(self) -> str:
        """The kinds of operators in it, in brackets."""
        kinds = sorted({node.op.kind for node in self.graph.nodes})
        more = ", ..." if len(kinds) > _MOST_KINDS else ""
        return f" ({', '.join(kinds[:_MOST_KINDS])}{more})"

    def check_model(self, doing: str) -> None:
        """Check that the model is still the one that was lowered.

        Args:
            doing: what the backend has done since.

        Raises:
            PluginError: the backend kept a part of it, and has changed it.
        """
        if self.seal is not None:
            check_unchanged(self.provided, doing, self.seal, Seal.of_model(self.model))


def run_raw(runner: Runner, runnable: Runnable, inputs: Arrays) -> dict[str, Array]:
    """Run a loaded artifact on arrays of its own types and check what comes back.

    Args:
        runner: from :meth:`Runnable.load`.
        runnable: the artifact.
        inputs: arrays in the artifact's own shapes and types.

    Raises:
        VerificationError: it does not run, or an output is missing or of another shape or type.
        PluginError: it changed its inputs.
    """
    seal = Seal.of_arrays(inputs)
    lent = {name: read_only(array) for name, array in inputs.items()}
    try:
        with doing(Kind.ARTIFACT, f"{runner.runtime} ran {runnable.path}{runnable.contents}"):
            outputs = _arrays(runner.run(lent))
    except PluginError as error:
        raise VerificationError(
            f"{runner.runtime} cannot run {runnable.path}: {_reason(error)}.", error.hint
        ) from error
    check_unchanged(runnable.provided, "run", seal, Seal.of_arrays(inputs))
    for port in runnable.adapter.outputs:
        if why := _unfit(port, outputs.get(port.name)):
            raise VerificationError(
                f"Output {port.name} of {runnable.path} {why}.", runnable.provided.report_to
            )
    return outputs


def _arrays(outputs: Arrays) -> dict[str, Array]:
    """Make arrays of numbers, which NumPy and LiteRT return where there are no dimensions."""
    return {name: np.asarray(x) if isinstance(x, np.generic) else x for name, x in outputs.items()}


def _unfit(port: Port, found: object) -> str:
    """Say why something is not an output as the port states it; "" if it is."""
    if not isinstance(found, np.ndarray):
        return "is missing" if found is None else f"is a {type(found).__name__}, not an array"
    if found.shape != port.artifact_shape:
        return f"has shape {found.shape}, not {port.artifact_shape}"
    expected = DType(port.artifact_dtype).numpy
    return "" if found.dtype == expected else f"has type {found.dtype}, not {expected}"


def _reason(error: PluginError) -> str:
    """Quote what the runtime itself said; the hint says whose bug it is."""
    said = error.message if error.__cause__ is None else text_of(error.__cause__)
    return " ".join(said.split()).rstrip(".")
