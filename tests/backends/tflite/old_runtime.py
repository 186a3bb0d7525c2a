"""Run artifacts in tflite-runtime and compare; needs nothing but NumPy and tflite-runtime.

Usage: ``python old_runtime.py FOLDER``. The folder holds pairs ``NAME.tflite`` and ``NAME.npz``
with arrays ``in0``, ``in1`` … and ``out0``, ``out1`` …. Each artifact runs in a process of its own,
so that one that crashes is reported like one that is wrong. Exit code 1 if any differs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tflite_runtime.interpreter import Interpreter, OpResolverType

STEP = 1.0
RELATIVE = 1e-4


def say(line: str) -> None:
    """Write a line at once, for the process may end without flushing."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def numbered(arrays: np.lib.npyio.NpzFile, prefix: str) -> Iterator[np.ndarray]:
    """``prefix0``, ``prefix1`` … as far as they go."""
    index = 0
    while f"{prefix}{index}" in arrays:
        yield arrays[f"{prefix}{index}"]
        index += 1


def check(path: Path, resolver: OpResolverType) -> None:
    """Raise AssertionError if an artifact does not compute what it should."""
    interpreter = Interpreter(str(path), experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    arrays = np.load(path.with_suffix(".npz"))
    for detail, value in zip(interpreter.get_input_details(), numbered(arrays, "in"), strict=True):
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    for detail, wanted in zip(
        interpreter.get_output_details(), numbered(arrays, "out"), strict=True
    ):
        found = interpreter.get_tensor(detail["index"])
        assert found.shape == wanted.shape, f"shape {found.shape}, not {wanted.shape}"
        is_float = wanted.dtype.kind == "f"
        allowed = RELATIVE * max(1.0, np.abs(wanted).max(initial=0)) if is_float else STEP
        gap = np.abs(found.astype(np.float64) - wanted.astype(np.float64))
        assert np.mean(gap <= allowed) >= 0.999, f"differs by up to {gap.max():g}"


def is_right(path: Path) -> bool:
    """True if an artifact computes what it should; says what is wrong otherwise."""
    child = os.fork()
    if child == 0:
        try:
            check(path, OpResolverType.AUTO)
        except (AssertionError, RuntimeError, ValueError) as error:
            say(f"{path.stem}: {error}")
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        say(f"{path.stem}: killed by signal {os.WTERMSIG(status)}")
    return status == 0


def main() -> int:
    """Check every artifact of a folder."""
    paths = sorted(Path(sys.argv[1]).glob("*.tflite"))
    wrong = [path for path in paths if not is_right(path)]
    say(f"{len(paths) - len(wrong)} of {len(paths)} artifacts run in tflite-runtime as they should")
    return 1 if wrong or not paths else 0


if __name__ == "__main__":
    sys.exit(main())
