"""Where and as what a node runs, and how that is known."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class WhereBasis(Enum):
    """How it is known where a node runs; the weakest first."""

    DECLARED = "declared"
    """qhal's plan."""
    PREDICTED = "predicted"
    """A model of the vendor's compiler."""
    REPORTED = "reported"
    """What the vendor's compiler says that it made."""
    READ = "read"
    """What the runtime is seen to execute."""


@dataclass(frozen=True)
class Where:
    """One answer to where and as what a node runs.

    Attributes:
        unit: where, as the vendor calls it, such as ``NPU``;
            :data:`~qhal.targets.capability.HOST` for the processor beside it, "" for the main
            unit; None if unknown, or if the node was made into parts on several, which
            ``kernel`` names then.
        kernel: what computes it; None if unknown.
        dtype: element type that it computes in, as :class:`~qhal.ir.dtypes.DType` spells it;
            None if unknown.
        basis: how that is known.
    """

    unit: str | None
    kernel: str | None
    dtype: str | None
    basis: WhereBasis

    @property
    def as_what(self) -> str:
        """Kernel and element type, as far as they are known."""
        return " ".join(filter(None, (self.kernel, self.dtype)))
