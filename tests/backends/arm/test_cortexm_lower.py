"""The files of a Cortex-M artifact, what they say, and what happens without the interpreter."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from qhal.decisions import Code, Severity
from qhal.errors import CatalogError, RefusedError, VerificationError
from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.graph import Graph, TensorType
from qhal.plugin.backend import RunOptions, Trial
from qhal.quant.model import QuantModel
from qhal.targets.profile import Sourced, TargetProfile
from qhal.targets.recipe import RECIPES
from qhal.testing.samples import random_data
from qhal_backends.arm.cortexm import arena, interpreter, sources
from qhal_backends.arm.cortexm.backend import CortexMBackend
from qhal_backends.arm.cortexm.board import check_fits
from qhal_backends.arm.cortexm.cores import Kernels
from tests.backends.one_node import deploy

BACKEND = CortexMBackend()
TARGET = TargetProfile("mcu", "cortex-m", "a microcontroller")

needs_micro = pytest.mark.skipif(
    find_spec("tflite_micro") is None, reason="tflite-micro is not installed: quant-hal[arm]"
)


def board(**bytes_of: int) -> TargetProfile:
    facts = {f"{name}_bytes": Sourced(size, "B", "a test") for name, size in bytes_of.items()}
    return TargetProfile("small", "cortex-m", "a small board", facts=facts)


def core(name: str) -> TargetProfile:
    return TargetProfile("mcu", "cortex-m", "a microcontroller", options={"core": name})


def graph() -> Graph:
    builder = GraphBuilder("net")
    x = builder.input("x", TensorType((1, 3, 6, 6)))
    weight = np.linspace(-1, 1, 4 * 3, dtype=np.float32).reshape(4, 3, 1, 1)
    conv = ops.Conv((1, 1), (0,) * 4, (1, 1))
    made = builder.one(conv, (x, builder.constant("w", weight)), name="conv")
    flat = builder.one(ops.Reshape((1, 144)), (made,), name="flat")
    builder.one(ops.Softmax(1), (flat,), output="y")
    return builder.build(outputs=("y",))


def model() -> QuantModel:
    net = graph()
    return deploy(net, BACKEND.capabilities(TARGET), RECIPES[0], random_data(net)).model


@needs_micro
def test_files() -> None:
    artifact = BACKEND.lower(model(), TARGET)
    assert set(artifact.files) == {
        *("model.tflite", "model_data.c", "model_data.h", "model_ops.h", "model_arena.txt")
    }
    assert artifact.main == "model.tflite"
    assert artifact.size_bytes == len(artifact.files["model.tflite"])
    listed = re.findall(r"0x([0-9a-f]{2}),", artifact.files["model_data.c"].decode())
    assert bytes.fromhex("".join(listed)) == artifact.files["model.tflite"]
    header = artifact.files["model_data.h"].decode()
    assert f"#define MODEL_DATA_BYTES {len(artifact.files['model.tflite'])}" in header
    resolver = artifact.files["model_ops.h"].decode()
    assert "constexpr int kModelOperators = 4;" in resolver
    added = re.findall(r"resolver\.Add(\w+)\(", resolver)
    assert added == ["Conv2D", "Reshape", "Softmax", "Transpose"]


@needs_micro
def test_lowering_twice_gives_the_same_bytes() -> None:
    assert BACKEND.lower(model(), TARGET).files == BACKEND.lower(model(), TARGET).files


@needs_micro
@pytest.mark.parametrize("compiler", [("cc", "-std=c11"), ("c++", "-xc++", "-std=c++11")])
def test_the_array_compiles_and_is_aligned(tmp_path: Path, compiler: tuple[str, ...]) -> None:
    if shutil.which(compiler[0]) is None:
        pytest.skip(f"there is no {compiler[0]}")
    artifact = BACKEND.lower(model(), TARGET)
    for name in ("model_data.c", "model_data.h"):
        (tmp_path / name).write_bytes(artifact.files[name])
    (tmp_path / "main.c").write_text(
        '#include <stdint.h>\n#include "model_data.h"\n'
        "int main(void) { return (int)((uintptr_t)model_data % 16) + "
        "(sizeof model_data != MODEL_DATA_BYTES); }\n"
    )
    command = [*compiler, "-Wall", "-Werror", "-o", "main", "main.c", "model_data.c"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert subprocess.run([tmp_path / "main"], check=False).returncode == 0


@needs_micro
def test_memories_that_the_profile_does_not_state_are_told() -> None:
    (unchecked,) = [d for d in BACKEND.lower(model(), TARGET).decisions if d.subject == ""]
    assert unchecked.code is Code.MEMORY_UNCHECKED
    assert "mcu states no flash_bytes and no sram_bytes" in unchecked.sentence
    known = board(flash=10**6, sram=10**6)
    assert Code.MEMORY_UNCHECKED not in {d.code for d in BACKEND.lower(model(), known).decisions}


def test_what_is_foreseen_of_a_models_memory() -> None:
    quantized = model()
    planned = QuantModel(quantized.graph, kernels=quantized.kernels)
    (refused,) = BACKEND.foresee(planned, board(flash=11))
    assert (refused.code, refused.severity) == (Code.UNFIT, Severity.REFUSAL)
    assert "its weights alone need 12 of 11 bytes of flash" in refused.sentence
    (fits, no_ram) = BACKEND.foresee(planned, board(flash=12))
    assert "The weights need 12 of 12 bytes of flash" in fits.sentence
    assert "states no sram_bytes, so it is unknown" in no_ram.sentence
    (unknown,) = BACKEND.foresee(planned, TARGET)
    assert {fits.code, no_ram.code, unknown.code} == {Code.MEMORY_UNCHECKED}


@needs_micro
def test_figures() -> None:
    artifact = BACKEND.lower(model(), TARGET)
    found = BACKEND.examine(Trial(artifact, {}), None, TARGET).metrics
    assert found["flash_bytes"].value == len(artifact.files["model.tflite"])
    arena_bytes, host = found["arena_bytes"], found["arena_host_bytes"]
    assert arena_bytes.low is not None
    assert 288 <= arena_bytes.low < arena_bytes.value == arena_bytes.high
    assert "as the target names no core" in arena_bytes.note
    assert 1000 < host.value <= arena_bytes.value
    assert "on a 64-bit host" in host.note
    header = artifact.files["model_data.h"].decode()
    assert f"#define MODEL_ARENA_BYTES {arena_bytes.value}\n" in header


@needs_micro
def test_figures_of_a_core() -> None:
    artifact = BACKEND.lower(model(), core("cortex-m55"))
    found = BACKEND.examine(Trial(artifact, {}), None, core("cortex-m55")).metrics["arena_bytes"]
    assert "CMSIS-NN for cores with Helium: planned" in found.note


def test_a_core_that_is_not_known() -> None:
    with pytest.raises(CatalogError, match=r"'cortex-m1', allowed cortex-m4, .* cortex-m85"):
        BACKEND.capabilities(core("cortex-m1"))


@pytest.mark.parametrize(
    ("builtin", "method"),
    [
        ("CONV_2D", "Conv2D"),
        ("FULLY_CONNECTED", "FullyConnected"),
        ("RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighbor"),
        ("PADV2", "PadV2"),
        ("SELECT_V2", "SelectV2"),
        ("SPLIT_V", "SplitV"),
        ("BATCH_MATMUL", "BatchMatMul"),
        ("LOG_SOFTMAX", "LogSoftmax"),
    ],
)
def test_methods_of_the_resolver(builtin: str, method: str) -> None:
    assert sources.method_of(builtin) == method


# --- memories ---------------------------------------------------------------------


def of_size(total_bytes: int) -> arena.Arena:
    return arena.Arena(total_bytes, 0, total_bytes, "", "")


def test_what_fits() -> None:
    check_fits(board(flash=100, sram=100), 100, of_size(100))
    check_fits(TARGET, 10**9, of_size(10**9))
    check_fits(board(flash=100, sram=10), 100, None)


@pytest.mark.parametrize(("flash", "ram"), [(101, 5), (5, 101), (101, None)])
def test_what_does_not(flash: int, ram: int | None) -> None:
    with pytest.raises(RefusedError) as caught:
        check_fits(board(flash=100, sram=100), flash, None if ram is None else of_size(ram))
    assert f"{flash} of 100 bytes of flash" in str(caught.value)
    assert f"{'an unknown number' if ram is None else ram} of 100 bytes of RAM" in str(caught.value)


def test_a_memory_that_the_board_does_not_state() -> None:
    with pytest.raises(RefusedError, match="5 of an unknown number of bytes of RAM"):
        check_fits(board(flash=100), 101, of_size(5))


@needs_micro
def test_a_board_without_room_refuses_the_model() -> None:
    with pytest.raises(RefusedError, match="of 64 bytes of RAM"):
        BACKEND.lower(model(), board(flash=1 << 20, sram=64))


# --- the interpreter --------------------------------------------------------------


def test_without_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreter, "find_spec", lambda name: None)
    assert "pip install --pre tflite-micro" in str(BACKEND.readiness().run)
    assert BACKEND.readiness().lower is None
    artifact = BACKEND.lower(model(), board(sram=64))
    assert "model_arena.txt" not in artifact.files
    (decision,) = [d for d in artifact.decisions if d.code is Code.NOT_RUNNABLE]
    assert "neither measured nor compared with the board's RAM" in decision.sentence
    assert set(BACKEND.examine(Trial(artifact, {}), None, TARGET).metrics) == {"flash_bytes"}


@needs_micro
def test_a_float_model_is_not_run() -> None:
    baseline = BACKEND.lower(QuantModel(graph()), TARGET)
    assert set(baseline.files) == {"model.tflite"}
    assert BACKEND.load(baseline, TARGET, RunOptions()) is None


@needs_micro
def test_a_missing_input_and_one_that_does_not_fit() -> None:
    runner = BACKEND.load(BACKEND.lower(model(), TARGET), TARGET, RunOptions())
    assert runner is not None
    with pytest.raises(VerificationError, match="'x' is missing"):
        runner.run({})
    with pytest.raises(VerificationError, match="does not run the artifact"):
        runner.run({"x": np.zeros((1, 2), np.int8)})


REPORT = """\
[RecordingMicroAllocator] Arena allocation total 24272 bytes
[RecordingMicroAllocator] Arena allocation head 16000 bytes
[RecordingMicroAllocator] Arena allocation tail 8272 bytes
"""


@needs_micro
def test_reading_the_report() -> None:
    content = BACKEND.lower(model(), TARGET).files["model.tflite"]
    assert arena.report_in("noise\n" + REPORT) == REPORT
    assert arena.find_arena(content, REPORT, [Kernels.REFERENCE]).host_bytes == 24272
    with pytest.raises(VerificationError, match="does not report"):
        arena.find_arena(content, "nothing", [Kernels.REFERENCE])


@needs_micro
def test_a_file_that_is_no_model() -> None:
    with pytest.raises(VerificationError, match="does not run the artifact"):
        arena.measure_allocations(b"no model")
