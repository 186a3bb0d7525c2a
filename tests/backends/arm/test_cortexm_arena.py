"""The arena of a Cortex-M: CMSIS-NN's scratch buffers, the memory plan, and what loads."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from qhal.plugin.registry import registry
from qhal.system.scratch import scratch
from qhal.targets.capability import Capability, KernelRow
from qhal.targets.profile import TargetProfile
from qhal.testing.samples import Sample
from qhal_backends.arm.cortexm.arena import find_arena, measure_allocations
from qhal_backends.arm.cortexm.backend import MICRO
from qhal_backends.arm.cortexm.capabilities import capabilities
from qhal_backends.arm.cortexm.cmsis_nn import (
    Layer,
    Window,
    average_pool,
    convolution_s8,
    convolution_s16,
    depthwise_s8,
    product_s8,
    transposed_s8,
)
from qhal_backends.arm.cortexm.cores import CORES, Kernels, kernels_of
from qhal_backends.arm.cortexm.graph import read_graph
from qhal_backends.arm.cortexm.interpreter import load_interpreter
from qhal_backends.arm.cortexm.needs import buffers_of
from qhal_backends.arm.cortexm.plan import Buffer, planned_bytes
from qhal_backends.arm.cortexm.requests import requests_of
from qhal_backends.tflite.lowering import lower_model
from qhal_backends.tflite.writer import write
from tests.backends.arm.zoo_models import lower
from tests.backends.one_node import deploy_row, trials

pytest.importorskip("tflite_micro", reason="tflite-micro is not installed: quant-hal[arm]")

DSP, HELIUM, REFERENCE = Kernels.DSP, Kernels.HELIUM, Kernels.REFERENCE
TINY = ("mlperf_tiny_ad", "mlperf_tiny_ic", "mlperf_tiny_kws", "mlperf_tiny_vww")
CAPS = capabilities()
TRIALS = list(trials(CAPS))

# --- formulas; all values are those of CMSIS-NN's own functions, compiled for the host ----------


def same(size: int, kernel: int, stride: int = 1, dilation: int = 1) -> Window:
    out = -(-size // stride)
    missing = (out - 1) * stride + (kernel - 1) * dilation + 1 - size
    return Window(size, out, kernel, stride, dilation, max(missing, 0) // 2)


def square(size: int, kernel: int, channels: int, stride: int = 1, dilation: int = 1) -> Layer:
    window = same(size, kernel, stride, dilation)
    return Layer(window, window, channels, channels, channels)


def row(x: Window, channels: int) -> Layer:
    return Layer(Window(1, 1, 1), x, channels, 4, channels)


def depthwise(size: int, kernel: int, channels: int, filters: int, batch: int = 1) -> Layer:
    window = same(size, kernel)
    return Layer(window, window, channels, filters, 1, batch)


CONVOLUTIONS = [
    (square(32, 3, 16), (576, 576), (576, 1152)),
    (square(96, 3, 3, stride=2), (112, 108), (128, 256)),
    (square(32, 1, 16, stride=2), (0, 64), (0, 128)),
    (square(20, 3, 8, dilation=2), (288, 288), (320, 576)),
    (Layer(same(49, 10, 2), same(10, 4, 2), 1, 64, 1), (160, 160), (192, 320)),
    (Layer(same(20, 3), same(20, 3), 32, 32, 8), (1152, 1152), (1152, 2304)),
    (row(same(50, 7), 8), (224, 224), (80, 448)),
    (row(same(40, 4, 2), 6), (96, 96), (30, 192)),
    (row(Window(10, 2, 3, 4), 4), (48, 48), (12, 128)),
    (row(same(2, 7), 8), (224, 224), (256, 448)),
    (row(same(50, 7), 3), (96, 84), (128, 192)),
]


@pytest.mark.parametrize(("layer", "dsp", "helium"), CONVOLUTIONS)
def test_convolutions(layer: Layer, dsp: tuple[int, int], helium: tuple[int, int]) -> None:
    for kernels, wanted in ((DSP, dsp), (HELIUM, helium)):
        assert (convolution_s8(layer, kernels), convolution_s16(layer, kernels)) == wanted


def test_a_convolution_of_one_pixel_with_arms_compiler() -> None:
    """GCC's build asks for nothing; it is not known which compiler a project has."""
    layer = square(25, 1, 64)
    assert (convolution_s8(layer, DSP), convolution_s8(layer, HELIUM)) == (2 * 64 * 2, 0)


@pytest.mark.parametrize(
    ("layer", "dsp", "helium"),
    [
        (depthwise(25, 3, 64, 64), 0, 4464),
        (depthwise(14, 5, 64, 64), 3200, 12400),
        (depthwise(14, 5, 8, 8, batch=2), 0, 0),
        (depthwise(14, 5, 1, 8), 0, 328),
        (depthwise(14, 3, 1, 1), 0, 4464),
        (depthwise(14, 3, 4, 8), 0, 0),
        (square(14, 3, 64, dilation=2), 0, 0),
    ],
)
def test_depthwise_convolutions(layer: Layer, dsp: int, helium: int) -> None:
    assert (depthwise_s8(layer, DSP), depthwise_s8(layer, HELIUM)) == (dsp, helium)


@pytest.mark.parametrize(
    ("y", "x", "channels", "wanted"),
    [
        (Window(8, 16, 3, 2), Window(8, 16, 3, 2), 32, (1152, 3456)),
        (Window(8, 16, 3, 2), Window(8, 16, 3, 2), 16, (2448, 0)),
        (Window(8, 24, 2, 3), Window(6, 6, 3, 1), 32, (1152, 0)),
    ],
)
def test_transposed_convolutions(
    y: Window, x: Window, channels: int, wanted: tuple[int, int]
) -> None:
    layer = Layer(y, x, channels, 12, channels)
    assert transposed_s8(layer, DSP) == transposed_s8(layer, HELIUM) == wanted


def test_pools_and_products() -> None:
    assert (average_pool(64, DSP), average_pool(64, HELIUM)) == (256, 0)
    assert (product_s8(10, DSP), product_s8(10, HELIUM)) == (0, 40)


# --- cores ----------------------------------------------------------------------------


def test_every_core_of_the_catalog_is_known() -> None:
    targets = [t for t in registry().targets.values() if t.backend == "cortex-m"]
    assert len(targets) >= 10
    assert {kernels_of(target) for target in targets} == {(DSP,), (HELIUM,)}
    assert kernels_of(TargetProfile("mcu", "cortex-m", "mine")) == (DSP, HELIUM)
    assert set(CORES.values()) == {DSP, HELIUM}


# --- the plan -------------------------------------------------------------------------


def test_a_plan_shares_what_is_not_used_together() -> None:
    assert planned_bytes([]) == 0
    assert planned_bytes([Buffer(1, 0, 0)]) == 16
    assert planned_bytes([Buffer(160, 0, 1), Buffer(32, 1, 2), Buffer(160, 2, 3)]) == 192
    # The gap that the two large ones leave at step 1 is too small for the third.
    assert planned_bytes([Buffer(64, 0, 1), Buffer(48, 1, 2), Buffer(32, 1, 1)]) == 144


def by_trying(buffers: list[Buffer]) -> int:
    """Place each buffer at the lowest aligned place where it meets none."""
    placed: list[tuple[int, int, Buffer]] = []
    backwards = buffers[::-1]
    for new in sorted(backwards, key=lambda b: -b.size // 16):
        size = -(-new.size // 16) * 16
        others = [p for p in placed if p[2].first <= new.last and new.first <= p[2].last]
        free = (
            at
            for at in sorted({0, *(end for _, end, _ in others)})
            if all(at + size <= begin or end <= at for begin, end, _ in others)
        )
        at = next(free)
        placed.append((at, at + size, new))
    return max((end for _, end, _ in placed), default=0)


@pytest.mark.parametrize("seed", range(20))
def test_a_plan_of_many_buffers_is_what_trying_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    begins, lives = rng.integers(0, 30, 60), rng.choice([0, 1, 2, 9, 40], 60)
    sizes = rng.integers(1, 3000, 60)
    buffers = [
        Buffer(int(s), int(b), int(b + n)) for s, b, n in zip(sizes, begins, lives, strict=True)
    ]
    assert planned_bytes(buffers) == by_trying(buffers)


@pytest.mark.parametrize(("sample", "capability", "kernel"), TRIALS, ids=str)
def test_the_plan_is_the_interpreters(
    sample: Sample, capability: Capability, kernel: KernelRow, capfd: pytest.CaptureFixture[str]
) -> None:
    content = write(lower_model(deploy_row(sample, capability, kernel, CAPS).model, MICRO).model)
    capfd.readouterr()
    load_interpreter(content).print_allocations()
    head = re.search(r"Arena allocation head (\d+) bytes", capfd.readouterr().err)
    assert head is not None
    assert planned_bytes(buffers_of(read_graph(content), REFERENCE)) == int(head[1])


# --- models ---------------------------------------------------------------------------


@cache
def of_zoo(file: Path) -> tuple[bytes, str]:
    content = lower(file, "cortex-m4").files["model.tflite"]
    return content, measure_allocations(content)


@pytest.mark.parametrize("name", [*TINY, "mnist", "resnet20_cifar10", "mobilenet_v2"])
def test_the_plan_of_a_model_is_the_interpreters(zoo: Path, name: str) -> None:
    content, report = of_zoo(zoo / "models" / f"{name}.onnx")
    planned = planned_bytes(buffers_of(read_graph(content), REFERENCE))
    assert f"Arena allocation head {planned} bytes" in report


@pytest.mark.parametrize("name", [*TINY, "mnist"])
def test_a_model_loads_with_the_arena_and_not_with_much_less(zoo: Path, name: str) -> None:
    """Less than 97 % is too little, whatever the model needs it for."""
    content, report = of_zoo(zoo / "models" / f"{name}.onnx")
    arena = find_arena(content, report, [REFERENCE])
    assert runs(content, arena.total_bytes)
    assert not runs(content, arena.total_bytes * 97 // 100)
    assert runs(content, find_arena(content, report, [DSP, HELIUM]).total_bytes)


def test_loading_may_need_more_than_running(zoo: Path) -> None:
    """Layers with many channels: the interpreter reports less than it needs."""
    content, report = of_zoo(zoo / "models" / "mlperf_tiny_ad.onnx")
    arena = find_arena(content, report, [REFERENCE])
    assert arena.host_bytes < arena.total_bytes
    assert not runs(content, arena.host_bytes)


RUN = """
import sys
import numpy as np
from tflite_micro.python.tflite_micro import runtime
content = open(sys.argv[1], "rb").read()
interpreter = runtime.Interpreter.from_bytes(content, arena_size=int(sys.argv[2]))
details = interpreter.get_input_details(0)
interpreter.set_input(np.zeros(details["shape"], details["dtype"]), 0)
interpreter.invoke()
print("ran")
"""


def runs(content: bytes, arena_bytes: int) -> bool:
    """Load and run in a process of its own, which a small arena may end."""
    with scratch() as folder:
        file = folder / "model.tflite"
        file.write_bytes(content)
        command = [sys.executable, "-c", RUN, str(file), str(arena_bytes)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    too_small = "TFLM failed to allocate tensors" in done.stderr
    assert done.returncode in (0, -signal.SIGSEGV) or too_small
    return done.returncode == 0


def test_scratch_of_a_model(zoo: Path) -> None:
    content, report = of_zoo(zoo / "models" / "mlperf_tiny_kws.onnx")
    graph = read_graph(content)
    asked = {
        kernels: [(n.builtin, requests_of(graph, n, kernels)) for n in graph.nodes]
        for kernels in Kernels
    }
    first = {
        kernels: next(sizes for builtin, sizes in found if builtin == "CONV_2D")
        for kernels, found in asked.items()
    }
    assert first == {REFERENCE: (), DSP: (160,), HELIUM: (192,)}
    block = {kernels: dict(found)["DEPTHWISE_CONV_2D"] for kernels, found in asked.items()}
    assert block == {REFERENCE: (), DSP: (), HELIUM: (4464,)}
    totals = [find_arena(content, report, [kernels]).total_bytes for kernels in (DSP, HELIUM)]
    assert totals[0] < totals[1] == find_arena(content, report, [DSP, HELIUM]).total_bytes
