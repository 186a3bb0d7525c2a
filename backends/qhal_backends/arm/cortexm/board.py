"""Check whether a model fits the board."""

from __future__ import annotations

from qhal.decisions import Code, Decision, Severity
from qhal.errors import RefusedError
from qhal.targets.profile import TargetProfile
from qhal_backends.arm.cortexm.arena import Arena

FLASH = "flash_bytes"
RAM = "sram_bytes"


def check_fits(target: TargetProfile, flash_bytes: int, arena: Arena | None) -> None:
    """Compare with the board's memories; :func:`unchecked` reports those it does not state.

    Args:
        target: facts ``flash_bytes`` and ``sram_bytes``.
        flash_bytes: of the model, without the program's own code.
        arena: of the device; None if it could not be found.

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


def unchecked(target: TargetProfile) -> tuple[Decision, ...]:
    """Report the memories that the profile does not state, which were not checked."""
    missing = [key for key in (FLASH, RAM) if key not in target.facts]
    if not missing:
        return ()
    sentence = (
        f"{target.name} states no {' and no '.join(missing)}, so it is unknown whether the model "
        "fits. To have it checked, state them in a targets.toml that extends this target."
    )
    return (Decision(Code.MEMORY_UNCHECKED, sentence),)


def foresee(target: TargetProfile, weight_bytes: int) -> tuple[Decision, ...]:
    """Say what is known about a model's memory before it is lowered.

    Args:
        target: as in :func:`check_fits`.
        weight_bytes: of the weights alone.
    """
    flash = _fact(target, FLASH)
    if flash is None:
        return unchecked(target)
    if not _within(weight_bytes, flash):
        sentence = (
            f"The model does not fit {target.name}: its weights alone need "
            f"{_of(weight_bytes, flash)} of flash."
        )
        return (Decision(Code.UNFIT, sentence, severity=Severity.REFUSAL),)
    sentence = (
        f"The weights need {_of(weight_bytes, flash)} of flash. The sizes of the whole file and "
        "the arena become known, and are checked, only when the model is lowered."
    )
    return (Decision(Code.MEMORY_UNCHECKED, sentence), *unchecked(target))


def _fact(target: TargetProfile, key: str) -> int | None:
    return int(target.facts[key].value) if key in target.facts else None


def _within(needed: int | None, there: int | None) -> bool:
    return needed is None or there is None or needed <= there


def _of(needed: int | None, there: int | None) -> str:
    have = "an unknown number of" if there is None else f"{there:,}"
    need = "an unknown number" if needed is None else f"{needed:,}"
    return f"{need} of {have} bytes"
