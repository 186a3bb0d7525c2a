"""Cases of the family ``onnx``: a model that was valid, and data that fit what it declares."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper

from fuzz.case import Base, Case, Random, Step, often, pick
from fuzz.models import grown
from fuzz.mutations import broken

TARGETS = (*("cpu",) * 4, *("tflite",) * 4, "openvino-cpu")
CHECKED = ("edgetpu", "ethos-u55-128", "cortex-m7")
RECIPES = ("w8a8",) * 12 + ("w8a16", "w8a16", "w8", "fp16", "w4", "bf16")
LARGEST = 1 << 16
"""Elements of a sample at most."""


def make(random: Random, folder: Path, base: Base) -> Case:
    """Make a model with one to four faults, in some cases with damaged bytes."""
    model = grown(random, int(random.integers(1, 8)))
    what = broken(random, model)
    data = model.SerializeToString()
    if often(random, 0.03):
        data, said = damaged(random, data)
        what.append(said)
    (folder / "m.onnx").write_bytes(data)
    np.savez(folder / "d.npz", **samples(random, model))  # type: ignore[arg-type]
    checked = often(random, 0.1)
    target = pick(random, CHECKED if checked else TARGETS)
    where = ("--target", target, "--recipe", pick(random, RECIPES))
    steps = [Step(("check", "m.onnx", *where))]
    if not checked:
        argv = ("deploy", "m.onnx", *where, "--data", "d.npz", "--no-cache", "--out", "o")
        steps.append(Step((*argv, "--json") if often(random, 0.2) else argv, "o"))
    return Case(tuple(steps), tuple(what))


def damaged(random: Random, data: bytes) -> tuple[bytes, str]:
    """Change some bytes, or cut off the end."""
    if not data:
        return b"\0", "one byte"
    if often(random, 0.3):
        size = int(random.integers(len(data)))
        return data[:size], f"cut after {size} bytes"
    changed = bytearray(data)
    for _ in range(int(random.integers(1, 6))):
        changed[int(random.integers(len(changed)))] = int(random.integers(256))
    return bytes(changed), "bytes changed"


def samples(random: Random, model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Make twelve samples for each input without initializer, as it is declared now."""
    given = {tensor.name for tensor in model.graph.initializer}
    found = {}
    for value in model.graph.input:
        if value.name in given or not value.name or "/" in value.name or "\0" in value.name:
            continue
        found[value.name[:100]] = _sample(random, value)
    return found or {"x0": np.zeros((12, 1), np.float32)}


def _sample(random: Random, value: onnx.ValueInfoProto) -> np.ndarray:
    dims = [d.dim_value for d in value.type.tensor_type.shape.dim]
    shape = [d if 0 < d < LARGEST else 1 for d in dims][:20]
    if np.prod(shape, dtype=float) > LARGEST:
        shape = [1] * len(shape)
    array = random.normal(size=[12, *shape[shape[:1] == [1] :]])
    try:
        return array.astype(helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
    except (KeyError, TypeError, ValueError):
        return array.astype(np.float32)
