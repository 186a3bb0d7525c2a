"""Which targets somebody means who gives a name that no target has."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from qhal.targets.profile import TargetProfile

_MOST = 3
_SHORTEST = 2
_NEAR = 0.8
"""How alike a word and a misspelled one are: ``raspberry`` and ``rasberry``."""

_MEANT = {
    "rpi": "raspberrypi",
    "android": "cortexa",
    "phone": "cortexa",
    "stm": "stm32",
    "mcu": "cortexm",
    "microcontroller": "cortexm",
    "arduino": "cortexm",
    "tflm": "cortexm",
    "vela": "ethosu",
    "ort": "onnxruntime",
}
"""What people write -> what stands in names and titles."""


def suggestions(name: str, targets: Mapping[str, TargetProfile]) -> Sequence[str]:
    """Find the targets that a name may mean, the likeliest first.

    What stands in a target's name, title or family counts, so that ``coral`` finds the Edge TPU;
    else names and words that are spelled alike do.

    Args:
        name: that no target has.
        targets: by name.
    """
    ways = (_holding(name, targets), difflib.get_close_matches(name.lower(), targets, _MOST))
    return next(filter(None, ways), ()) or _spelled_alike(name, targets)


def _holding(name: str, targets: Mapping[str, TargetProfile]) -> Sequence[str]:
    asked = _joined(name)
    for word, meant in _MEANT.items():
        if asked.startswith(word) and not asked.startswith(meant):
            asked = meant + asked.removeprefix(word)
            break
    if len(asked) < _SHORTEST:
        return ()
    named = [key for key in targets if asked in _joined(key)]
    titled = [key for key, profile in targets.items() if asked in _joined(_text(profile))]
    return list(dict.fromkeys((*named, *titled)))[:_MOST]


def _spelled_alike(name: str, targets: Mapping[str, TargetProfile]) -> Sequence[str]:
    """Compare with the single words of titles."""
    words = {key: _text(profile).lower().split() for key, profile in targets.items()}
    alike = (
        key for key, w in words.items() if difflib.get_close_matches(name.lower(), w, 1, _NEAR)
    )
    return list(alike)[:_MOST]


def _text(profile: TargetProfile) -> str:
    return f"{profile.title} {profile.family}"


def _joined(text: str) -> str:
    return "".join(filter(str.isalnum, text.lower()))
