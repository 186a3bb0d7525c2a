"""``qhal setup edgetpu-compiler``: is Coral's compiler installed, and where to get it."""

from __future__ import annotations

from qhal.errors import MissingDependencyError
from qhal.plugin.machine_setup import Setup
from qhal.plugin.readiness import Lack
from qhal.progress import Progress
from qhal_backends.edgetpu.compiler import PROGRAM, find_compiler

SETUP = "edgetpu-compiler"
TITLE = "Coral's compiler, which turns an artifact into what the Edge TPU loads"
WHERE = "https://coral.ai/docs/edgetpu/compiler (Debian and its relatives on x86-64 only)"


def edgetpu_compiler() -> Setup:
    """Return the setup, for :meth:`qhal.plugin.backend.Backend.setups`.

    It is optional: the artifact is the file that the compiler reads. It is verified without it,
    and the record says whether it was compiled.
    """
    return Setup(SETUP, TITLE, lacks_compiler, prepare, optional=True)


def lacks_compiler() -> Lack | None:
    """Say that the compiler is not on PATH, and where to get it; None if it is there."""
    return Lack(f"{PROGRAM} is not on PATH", WHERE) if find_compiler() is None else None


def prepare(progress: Progress) -> str:
    """See :class:`qhal.plugin.machine_setup.Setup`.

    Raises:
        MissingDependencyError: it is not on PATH. qhal does not install it: it comes from an
            archive of Google's that only an administrator can add.
    """
    program = find_compiler()
    if program is None:
        raise MissingDependencyError(
            f"{PROGRAM} is not on PATH, and only an administrator can install it.",
            f"See {WHERE}.",
        )
    return f"{PROGRAM} is ready: {program}."
