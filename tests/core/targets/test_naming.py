"""A name that no target has says which one is meant."""

from __future__ import annotations

import pytest

from qhal.targets import catalog
from qhal.targets.naming import suggestions


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("coral", "edgetpu"),
        ("TPU", "edgetpu"),
        ("EdgTPU", "edgetpu"),
        ("pi4", "raspberry-pi-4"),
        ("rpi5", "raspberry-pi-5"),
        ("raspberry", "raspberry-pi-4"),
        ("rasberry", "raspberry-pi-5"),
        ("stm32", "stm32f746g-disco"),
        ("android", "cortex-a53"),
        ("arduino", "cortex-m4"),
        ("Cortex M7", "cortex-m7"),
        ("renesas", "ek-ra8d1"),
        ("intel", "openvino-gpu"),
        ("onnxruntime", "cpu"),
        ("gpu", "openvino-gpu"),
        ("litert", "tflite"),
    ],
)
def test_the_likeliest_comes_first(name: str, meant: str) -> None:
    assert suggestions(name, catalog.builtin())[0] == meant


@pytest.mark.parametrize("name", ["", "-", "p", "nvidia", "jetson", "zzz"])
def test_nothing_is_suggested_for_what_the_catalog_has_not(name: str) -> None:
    assert not suggestions(name, catalog.builtin())


def test_no_more_than_three_are_named() -> None:
    assert len(suggestions("ethos", catalog.builtin())) == 3
