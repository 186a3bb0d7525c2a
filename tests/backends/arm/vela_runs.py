"""Samples at the edge of Vela's rules, and Vela on many files at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qhal.ir import ops
from qhal.targets.profile import TargetProfile
from qhal_backends.arm.ethosu.configuration import Configuration
from tests.backends.tflite.tflite_samples import SAMPLES, Sample

U55 = Configuration("ethos-u55-128", "Ethos_U55_High_End_Embedded", "Shared_Sram")
U65 = Configuration("ethos-u65-256", "Ethos_U65_High_End", "Dedicated_Sram_384KB")
U85 = Configuration("ethos-u85-256", "Ethos_U85_SYS_DRAM_Mid", "Dedicated_Sram_384KB")


def profile(configuration: Configuration) -> TargetProfile:
    """A target with a configuration."""
    options = {
        "accelerator": configuration.accelerator,
        "system_config": configuration.system_config,
        "memory_mode": configuration.memory_mode,
    }
    return TargetProfile(configuration.accelerator, "ethos-u", "an NPU", options=options)


def _ones(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).uniform(-1, 1, shape).astype(np.float32)


def _conv(stride: int, pads: tuple[int, ...], size: int = 16, dilation: int = 1) -> Sample:
    op = ops.Conv((stride, stride), pads, (dilation, dilation))
    label = f"stride{stride}-pads{''.join(map(str, pads))}-dilation{dilation}"
    return Sample(op, ((1, 4, size, size),), (_ones(4, 4, 3, 3),), label=label)


def _depthwise(stride: int) -> Sample:
    op = ops.DepthwiseConv((stride, stride), (0,) * 4, (1, 1))
    return Sample(op, ((1, 4, 16, 16),), (_ones(4, 1, 3, 3),), label=f"stride{stride}")


def _transposed(strides: tuple[int, int], size: tuple[int, int], kernel: tuple[int, int]) -> Sample:
    op = ops.ConvTranspose(strides, (0,) * 4, (1, 1), (0, 0))
    label = f"strides{strides}-{size}-{kernel}"
    return Sample(op, ((1, 4, *size),), (_ones(4, 4, *kernel),), label=label)


def _edges() -> Iterator[Sample]:
    for stride in (3, 4):
        yield _conv(stride, (0, 0, 0, 0))
        yield _conv(stride, (0, 0, 0, 0), dilation=2)
    yield _conv(4, (0, 0, 0, 0), 15)
    yield from (_depthwise(stride) for stride in (3, 4))
    for strides in ((1, 1), (3, 3), (1, 2), (2, 1)):
        yield _transposed(strides, (5, 4), (3, 3))
    yield _transposed((1, 2), (1, 6), (1, 3))
    yield _transposed((2, 1), (6, 1), (3, 1))
    yield Sample(ops.MaxPool((4, 4), (4, 4), (0,) * 4), ((1, 4, 16, 16),), label="stride4")
    yield Sample(ops.MaxPool((5, 5), (4, 4), (0, 0, 1, 1)), ((1, 4, 16, 16),), label="stride4-same")
    nine = (4, 4, 4, 4)
    for size in (7, 9):
        pads = (size // 2,) * 4
        pool = ops.AveragePool((size, size), (1, 1), pads, False)
        yield Sample(pool, ((1, 4, 16, 16),), label=f"same{size}")
    yield Sample(ops.MaxPool((9, 9), (1, 1), nine), ((1, 4, 16, 16),), label="same9")
    yield Sample(ops.MaxPool((257, 1), (1, 1), (0,) * 4), ((1, 1, 300, 2),), label="tall")
    for size in (64, 65):
        shape = (1, 2, size, 64)
        yield Sample(ops.Reduce("Mean", (2, 3)), (shape,), label=f"plane{size}")
    for size in (4095, 4096, 4097, 5000):
        yield Sample(ops.Reduce("Mean", (3,)), ((1, 1, 1, size),), label=f"row{size}")
    for depth in (127, 128):
        yield Sample(ops.ArgMax(1, False), ((1, depth),), label=f"depth{depth}")
    for scale in (2, 4, 8, 16, 3):
        sizes = (4 * scale, 4 * scale)
        for mode in ("nearest", "linear"):
            op = ops.Resize(mode, sizes, "asymmetric", "floor")
            yield Sample(op, ((1, 3, 4, 4),), label=f"{mode}-{scale}")
    for sizes in ((1, 8), (2, 8), (1, 4)):
        op = ops.Resize("linear", sizes, "asymmetric", "floor")
        yield Sample(op, ((1, 3, 1, 4),), label=f"row-{sizes}")
    yield Sample(ops.Resize("linear", (7, 7), "align_corners"), ((1, 3, 4, 4),), label="aligned")
    yield Sample(ops.Resize("linear", (8, 8), "half_pixel"), ((1, 3, 4, 4),), label="half")
    yield Sample(ops.Resize("linear", (16, 16), "half_pixel"), ((1, 3, 4, 4),), label="half4")
    yield Sample(ops.Transpose((0, 2, 1)), ((2, 300, 300),), label="rank3")
    yield Sample(ops.Transpose((1, 0, 3, 2)), ((300, 2, 300, 2),), label="large")
    for rows in (256, 257):
        yield Sample(ops.Softmax(3), ((1, 256, rows, 2),), label=f"rows{rows}")
    yield Sample(ops.FullyConnected(), ((1, 65537),), (_ones(1, 65537),), label="long")
    plane = ((1, 4, 6, 8),)
    yield Sample(ops.Slice((0, 0, 0, 0), (1, 4, 3, 4), (1, 1, 2, 2)), plane, label="plane2")
    yield Sample(ops.Slice((0, 0), (2, 4), (1, 2)), ((2, 8),), label="rank2-depth")
    yield Sample(ops.Slice((0, 0, 0), (2, 3, 8), (1, 2, 1)), ((2, 6, 8),), label="rank3-width")


EDGES: tuple[Sample, ...] = tuple(_edges())
ALL: tuple[Sample, ...] = (*SAMPLES, *EDGES)


@dataclass(frozen=True)
class Compiled:
    """Names of the tensors that operators on the CPU make; None if Vela gave up."""

    on_cpu: frozenset[str] | None


_COMPILE = """
import sys
from ethosu.vela import vela
for name in open(sys.argv[1]).read().split():
    try:
        vela.main([name + ".tflite", "--output-dir", name, *sys.argv[2:]])
    except (Exception, SystemExit):
        pass
"""


def compile_all(
    folder: Path, models: Sequence[bytes], configuration: Configuration
) -> Mapping[int, Compiled]:
    """Vela on many files, in one process."""
    from qhal_backends.tflite.operators import read_operators

    for index, content in enumerate(models):
        (folder / f"m{index}.tflite").write_bytes(content)
    names = folder / "names"
    names.write_text("\n".join(f"m{index}" for index in range(len(models))))
    command = [sys.executable, "-P", "-c", _COMPILE, str(names), *configuration.arguments]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    found = {}
    for index in range(len(models)):
        file = folder / f"m{index}" / f"m{index}_vela.tflite"
        left = None
        if file.is_file():
            kept = (op for op in read_operators(file.read_bytes()) if op.builtin != "CUSTOM")
            left = frozenset(op.result for op in kept)
        found[index] = Compiled(left)
    return found
