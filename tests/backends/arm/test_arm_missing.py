"""Where nothing is installed, one command installs all that a backend needs."""

from __future__ import annotations

import pytest

from qhal.plugin.registry import registry
from qhal_backends.tflite import family


@pytest.mark.parametrize(
    ("backend", "command"),
    [
        ("ethos-u", "pip install 'quant-hal[arm]'"),
        ("cortex-m", "pip install 'quant-hal[arm]'"),
        ("cortex-a", "pip install 'quant-hal[tflite]'"),
        ("tflite", "pip install 'quant-hal[tflite]'"),
    ],
)
def test_the_command_without_litert(
    backend: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(family, "find_spec", lambda name: None)
    why = registry().backends[backend].readiness().lower
    assert str(why) == f"ai_edge_litert and flatbuffers are not installed: {command}"
