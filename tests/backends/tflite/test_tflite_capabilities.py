"""The capabilities as data: sources, documentation, no runtime behind them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from qhal.errors import UnknownRecipeError
from qhal.targets.capability import Capabilities
from qhal.targets.recipe import find_recipe, recipes_of
from qhal_backends.edgetpu.capabilities import capabilities as edgetpu
from qhal_backends.tflite.capabilities import capabilities as tflite

BOTH = pytest.mark.parametrize("caps", [tflite(), edgetpu()], ids=["tflite", "edgetpu"])


@BOTH
def test_every_fact_has_a_source_and_every_limit_a_rule(caps: Capabilities) -> None:
    for capability in caps.kernels:
        assert capability.source, capability.op
        limits = [*capability.limits, *(limit for row in capability.rows for limit in row.limits)]
        for limit in limits:
            assert limit.rule.endswith("."), (capability.op, limit)


@BOTH
def test_every_row_has_a_name(caps: Capabilities) -> None:
    assert all(row.name for capability in caps.kernels for row in capability.rows)


def test_recipes() -> None:
    names = ["w8a8", "w8a16", "w8", "w4a8", "w4", "fp16"]
    assert [r.name for r in recipes_of(tflite())] == names
    assert [r.name for r in recipes_of(edgetpu())] == ["w8a8"]


@pytest.mark.parametrize(
    ("caps", "recipe", "why"),
    [
        (edgetpu(), "w4a8", "because its compiler reads only int8 weights and does not compress"),
        (tflite(), "w4a16", "because XNNPACK has no kernels with 16-bit activations and int4"),
        (tflite(), "w2a8", "because LiteRT stores no fewer than 4 bits"),
        (edgetpu(), "w4", "target device has no kernels for it\\."),
    ],
)
def test_a_recipe_that_is_missing_says_why(caps: Capabilities, recipe: str, why: str) -> None:
    with pytest.raises(UnknownRecipeError, match=why):
        find_recipe(recipe, caps, "device")


def test_stating_capabilities_imports_no_runtime() -> None:
    code = (
        "import sys\n"
        "from qhal.targets.profile import TargetProfile\n"
        "from qhal_backends.edgetpu.plugin import EdgeTpuBackend\n"
        "from qhal_backends.tflite.plugin import TfliteBackend\n"
        "for backend in (TfliteBackend(), EdgeTpuBackend()):\n"
        "    backend.capabilities(TargetProfile('t', backend.info.name, 't'))\n"
        "    backend.readiness()\n"
        "heavy = {'ai_edge_litert', 'tflite_runtime', 'flatbuffers', 'onnx', 'onnxruntime'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
