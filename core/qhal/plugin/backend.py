"""The backend class: what an author of support for new hardware writes."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar, Protocol, runtime_checkable

from qhal.decisions import Decision
from qhal.errors import PluginError
from qhal.ir.graph import Array, Arrays
from qhal.metric import Metric
from qhal.output import MARKER, REPORT
from qhal.plugin.info import BackendInfo
from qhal.plugin.machine_setup import Setup
from qhal.plugin.readiness import Readiness
from qhal.quant.model import QuantModel
from qhal.targets.capability import Capabilities
from qhal.targets.profile import TargetProfile
from qhal.targets.where import Where, WhereBasis

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_OWN_FILES = frozenset({MARKER, REPORT})


@dataclass(frozen=True)
class Artifact:
    """What ships: files in memory, written by the core.

    Attributes:
        files: file name -> content; names are ``model.<ext>`` and the like, no folders.
        main: the file that the runtime loads.
        decisions: what the backend decided while lowering.
        input_names: graph input -> the name that the runtime knows it by.
        output_names: graph output -> the name that the runtime knows it by.
        auxiliary: names of files that describe the artifact, or hold it in another form: logs,
            tables, sources. They are written with it and do not count in its size.
    """

    files: Mapping[str, bytes]
    main: str
    decisions: tuple[Decision, ...] = ()
    input_names: Mapping[str, str] = field(default_factory=dict)
    output_names: Mapping[str, str] = field(default_factory=dict)
    auxiliary: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Refuse what could not be written or read back as it is.

        Raises:
            PluginError: a name is not a plain file name, or is one of qhal's own, a content is not
                bytes, the main file is missing, or an auxiliary file is missing or the main one.
        """
        # What is written must be what was verified: nobody exchanges a file in between.
        object.__setattr__(self, "files", MappingProxyType(dict(self.files)))
        for name, content in self.files.items():
            _check_file(name, content)
        listed = ", ".join(sorted(self.files)) or "none"
        if self.main not in self.files:
            raise PluginError(
                f"The artifact's main file {self.main!r} is not one of its files: {listed}."
            )
        if strange := sorted(self.auxiliary - self.files.keys()):
            raise PluginError(
                f"The auxiliary file {strange[0]!r} is not one of the artifact's files: {listed}."
            )
        if self.main in self.auxiliary:
            raise PluginError(
                f"The artifact's main file {self.main!r} is also listed as auxiliary."
            )

    @property
    def size_bytes(self) -> int:
        """Bytes of all files that the device needs."""
        return sum(
            len(content) for name, content in self.files.items() if name not in self.auxiliary
        )


def _check_file(name: object, content: object) -> None:
    if not isinstance(name, str) or not _PLAIN_NAME.fullmatch(name):
        raise PluginError(
            f"The artifact's file name {name!r} is not a plain file name.",
            "Use letters, digits, '.', '_', '+' and '-'; begin with a letter or digit.",
        )
    if name.lower() in _OWN_FILES:
        raise PluginError(
            f"The artifact's file name {name!r} is reserved.",
            f"qhal itself writes {' and '.join(sorted(_OWN_FILES))} into the folder.",
        )
    if not isinstance(content, bytes):
        raise PluginError(
            f"The artifact's file {name!r} holds a {type(content).__name__}, not bytes."
        )


@runtime_checkable
class Runner(Protocol):
    """A loaded artifact."""

    runtime: str
    """Name and version of the runtime, such as ``onnxruntime 1.31.1``."""

    def run(self, inputs: Arrays) -> dict[str, Array]:
        """Run once.

        Keys are the names of the graph's inputs and outputs; arrays have the shapes and types
        of the graph's tensors (integers where the artifact's inputs or outputs are integers).
        The inputs can only be read.
        """
        ...


@dataclass(frozen=True)
class PlacedNode:
    """What the runtime or the vendor's compiler did with one node of the artifact.

    Attributes:
        name: of the node, or of the first tensor that it makes.
        where: unit, kernel and element type, and how they are known: read from the runtime,
            reported by the compiler, or predicted.
        cost: what it takes, such as the cycles that a compiler estimates; None if unknown.
    """

    name: str
    where: Where
    cost: Metric | None = None

    def __post_init__(self) -> None:
        """Refuse a basis that a placement cannot have.

        Raises:
            PluginError: the basis is what qhal declares itself.
        """
        if isinstance(self.where, Where) and self.where.basis is WhereBasis.DECLARED:
            raise PluginError(
                f"The placement of {self.name} has the basis {self.where.basis.value!r}.",
                "A placement is read from the runtime, reported by the compiler or predicted.",
            )


@dataclass(frozen=True)
class Placement:
    """Where every node runs, as the runtime, the compiler or a model of the compiler has it.

    Attributes:
        nodes: in execution order. A node may be there twice: as the compiler placed it, and as
            the runtime is seen to execute it.
        source: where it is known from, such as "optimized graph of onnxruntime 1.31.1".
        by_result: True if every node has the name of the first tensor that it makes. One that
            makes a tensor unknown to the model is then a part of the next one that does not.
    """

    nodes: tuple[PlacedNode, ...]
    source: str
    by_result: bool = False


@dataclass(frozen=True)
class RunOptions:
    """How to load an artifact.

    Attributes:
        threads: of the runtime.
        reference: take the runtime's reference kernels, if it has any. A runner on them has
            another :attr:`Runner.runtime` than the usual one, which distinguishes the two.
    """

    threads: int = 1
    reference: bool = False


@dataclass(frozen=True, eq=False)
class Trial:
    """An artifact and one sample to run it on.

    Attributes:
        artifact: what the backend lowered.
        inputs: as :meth:`Runner.run` takes them.
    """

    artifact: Artifact
    inputs: Arrays


@dataclass(frozen=True)
class Findings:
    """What a backend found out about an artifact.

    Attributes:
        metrics: name -> number.
        decisions: what the numbers cannot say, such as why there are none.
    """

    metrics: Mapping[str, Metric] = field(default_factory=dict)
    decisions: tuple[Decision, ...] = ()


class Backend(ABC):
    """Code for a family of targets. Only :meth:`capabilities` and :meth:`lower` have no default."""

    info: ClassVar[BackendInfo]
    """Its name, and what else the core has to know before it calls a method."""

    def readiness(self, target: TargetProfile | None = None) -> Readiness:
        """Say whether artifacts can be written and run on this machine, and what is lacking.

        Called often: look whether something is there without importing it.

        Args:
            target: the device that is asked about: a backend may run some of its devices here
                and not others. None asks what holds for all of them.
        """
        return Readiness()

    @abstractmethod
    def capabilities(self, target: TargetProfile) -> Capabilities:
        """Return what the target can execute."""

    def foresee(self, model: QuantModel, target: TargetProfile) -> tuple[Decision, ...]:
        """Report what is known of a model without data; ``qhal check`` calls it.

        The model has a graph and its kernel rows, and no parameters. A decision whose severity
        is a refusal says that :meth:`lower` will refuse it; others warn of what only that finds
        out.
        """
        return ()

    @abstractmethod
    def lower(self, model: QuantModel, target: TargetProfile) -> Artifact:
        """Write the target's form of a quantized (or plain float) model.

        The model can only be read: the artifact is compared with it.

        Nothing may be decided here silently: what is not in the model is an entry in
        ``Artifact.decisions``.
        """

    def load(self, artifact: Artifact, target: TargetProfile, options: RunOptions) -> Runner | None:
        """Return a runner for the artifact, or None if it cannot run on this machine."""
        return None

    def placement(self, artifact: Artifact, target: TargetProfile) -> Placement | None:
        """Report what the runtime or compiler did with each node; None if unknown."""
        return None

    def examine(self, quantized: Trial, baseline: Trial | None, target: TargetProfile) -> Findings:
        """Report what only this backend can find out, such as counts in an emulator.

        Called once when latencies have been measured; ``baseline`` is the float artifact. It is
        called again where an artifact was read back from its folder, perhaps on a machine that
        can neither lower nor run it: what the files themselves show must need no runtime.
        A number that qhal finds out itself cannot be stated here, such as ``top1``.
        """
        return Findings()

    def setups(self) -> tuple[Setup, ...]:
        """List what ``qhal setup`` can prepare for this backend."""
        return ()
