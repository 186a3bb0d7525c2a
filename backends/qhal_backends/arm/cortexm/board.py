"""Does a model fit the board?"""

from __future__ import annotations

from qhal.errors import RefusedError
from qhal.target.profile import TargetProfile
from qhal_backends.arm.cortexm.arena import Arena

FLASH = "flash_bytes"
RAM = "sram_bytes"


def check_fits(target: TargetProfile, flash_bytes: int, arena: Arena | None) -> None:
    """Compare with the board's memories; what its profile does not state is not checked.

    Args:
        target: facts ``flash_bytes`` and ``sram_bytes``.
        flash_bytes: of the model; the program's own code comes on top.
        arena: of the interpreter; None if it could not be measured.

    Raises:
        RefusedError: one of them is larger than the board has; states both.
    """
    arena_bytes = None if arena is None else arena.total_bytes
    flash, ram = (_fact(target, key) for key in (FLASH, RAM))
    if _within(flash_bytes, flash) and _within(arena_bytes, ram):
        return
    raise RefusedError(
        f"The model does not fit {target.name}: it needs {_of(flash_bytes, flash)} of flash and "
        f"{_of(arena_bytes, ram)} of RAM for the arena.",
        "Use a smaller model or input, or a board with more memory.",
    )


def _fact(target: TargetProfile, key: str) -> int | None:
    return int(target.facts[key].value) if key in target.facts else None


def _within(needed: int | None, there: int | None) -> bool:
    return needed is None or there is None or needed <= there


def _of(needed: int | None, there: int | None) -> str:
    have = "an unknown number" if there is None else f"{there:,}"
    need = "an unknown number" if needed is None else f"{needed:,}"
    return f"{need} of {have} bytes"
