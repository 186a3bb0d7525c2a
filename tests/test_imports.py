"""Starting qhal is cheap, and the core knows no backend."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.paths import ROOT

CORE = ROOT / "core" / "qhal"
HEAVY = {
    "ai_edge_litert",
    "flatbuffers",
    "numpy",
    "onnx",
    "onnx_ir",
    "onnxruntime",
    "openvino",
    "PIL",
    "rich",
}

HELP = "from qhal.cli.main import main; main([{}])"
STARTS = {
    "import qhal": "import qhal",
    "qhal --help": HELP.format("'--help'"),
    "qhal deploy --help": HELP.format("'deploy', '--help'"),
    "qhal bench --help": HELP.format("'bench', '--help'"),
    "an unknown option": HELP.format("'deploy', '--nothing'"),
}


def run(code: str) -> str:
    script = (
        f"import sys, atexit\natexit.register(lambda: print(*sys.modules, file=sys.stderr))\n{code}"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize("start", STARTS)
def test_no_runtime_is_imported(start: str) -> None:
    loaded = {name.partition(".")[0] for name in run(STARTS[start]).split()}
    assert "qhal" in loaded
    assert not loaded & HEAVY


def imported_modules(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return {name.partition(".")[0] for name in found}


def test_the_core_imports_no_backend() -> None:
    files = sorted(CORE.rglob("*.py"))
    assert files
    guilty = [str(path) for path in files if "qhal_backends" in imported_modules(path)]
    assert guilty == []


def test_imports_run_one_way() -> None:
    """Folders and modules of the core form layers; what loads later, in functions, is free."""
    parts: dict[str, set[str]] = {}
    for path in sorted(CORE.rglob("*.py")):
        part = _part(path)
        parts.setdefault(part, set()).update(set(_loaded_parts(path)) - {part})
    order = list(TopologicalSorter(parts).static_order())  # raises CycleError
    folders = [part for part in order if (CORE / part).is_dir()]
    assert folders.index("ir") < folders.index("targets") < folders.index("quant")
    assert folders.index("quant") < folders.index("verify") < folders.index("report")


def _part(path: Path) -> str:
    return path.relative_to(CORE).parts[0].removesuffix(".py")


def _loaded_parts(path: Path) -> Iterator[str]:
    """Folders and modules that loading a module of the core loads."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("qhal"):
            names = (node.module or "").split(".")[1:2] or [alias.name for alias in node.names]
            yield from (n for n in names if (CORE / n).is_dir() or (CORE / f"{n}.py").is_file())
