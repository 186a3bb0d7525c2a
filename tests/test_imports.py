"""Starting qhal is cheap, and the core knows no backend."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

import qhal
from tests.paths import ROOT

CORE = ROOT / "core" / "qhal"
ROOTS = (ROOT / "core", ROOT / "backends", ROOT / "plugins" / "qhal-example-npu")
LAYERS = (
    *("system", "ir", "targets", "legal", "data", "quant", "plugin", "artifact", "results"),
    *("verify", "measure", "report", "pipeline", "testing", "cli"),
)
"""Folders of the core; each imports only from those in front of it."""
MOST_LOOSE_MODULES = 10

Imports = Mapping[str, set[str]]
"""Module -> modules that it imports."""

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
    # of the standard library, which only the work of a command needs:
    "inspect",
    "pickle",
    "tempfile",
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


@pytest.fixture(scope="module")
def modules() -> Mapping[str, Path]:
    """Every module of the core, the backends and the example plugin, with its file."""
    return {_name(path, root): path for root in ROOTS for path in sorted(root.rglob("*.py"))}


@pytest.fixture(scope="module")
def imports(modules: Mapping[str, Path]) -> Imports:
    """What each of them imports of the others, wherever in the file."""
    return {name: set(_imported(path, modules)) - {name} for name, path in modules.items()}


def test_no_modules_import_each_other(imports: Imports) -> None:
    TopologicalSorter(imports).prepare()  # raises CycleError


def test_no_parts_of_the_core_import_each_other(imports: Imports) -> None:
    TopologicalSorter(_parts(imports)).prepare()  # raises CycleError


def test_folders_import_one_way(imports: Imports) -> None:
    rank = {folder: place for place, folder in enumerate(LAYERS)}
    folders = {path.parent.name for path in CORE.glob("*/__init__.py")}
    assert folders == rank.keys(), "LAYERS lacks a folder, or has one that is gone"
    upward = [
        f"{part} imports {other}"
        for part, others in _parts(imports).items()
        for other in others
        if part in rank and other in rank and rank[other] > rank[part]
    ]
    assert upward == []


def test_no_module_has_the_name_of_what_its_package_exports(modules: Mapping[str, Path]) -> None:
    """Importing it would put the module where its package has the function."""
    packages = [name for name, path in modules.items() if path.name == "__init__.py"]
    exported = [f"{name}.{word}" for name in packages for word in _exported(name)]
    assert "qhal.deploy" in exported
    assert "qhal.data.load_dataset" in exported
    assert [name for name in exported if name in modules] == []


def test_only_commands_import_the_roof(modules: Mapping[str, Path], imports: Imports) -> None:
    core = [name for name in modules if name.startswith("qhal.")]
    guilty = [name for name in core if "qhal" in imports[name]]
    assert [name for name in guilty if not name.startswith("qhal.cli.")] == []


def test_no_import_is_relative(modules: Mapping[str, Path]) -> None:
    """The tests here read the names of modules, which relative imports do not state."""
    found = {
        name
        for name, path in modules.items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
    }
    assert found == set()


def test_packages_only_hand_on_names(modules: Mapping[str, Path]) -> None:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    found = {
        f"{name}.{node.name}"
        for name, path in modules.items()
        if path.name == "__init__.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, kinds)
    }
    assert found == {"qhal.__getattr__"}


def test_public_names_are_at_home_where_the_roof_says(modules: Mapping[str, Path]) -> None:
    homes = qhal._HOMES
    assert set(homes.values()) <= modules.keys()
    for name, home in homes.items():
        assert getattr(qhal, name) is vars(import_module(home))[name]
    shown = {
        (alias.name, node.module)
        for node in ast.walk(ast.parse((CORE / "__init__.py").read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }
    assert shown == set(homes.items())


def test_few_modules_lie_loose() -> None:
    loose = [path.stem for path in CORE.glob("*.py") if path.stem != "__init__"]
    assert len(loose) <= MOST_LOOSE_MODULES, loose


def _name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(path: Path, modules: Mapping[str, Path]) -> Iterator[str]:
    """Modules that a file imports, in functions and for type checkers, too."""
    for node in _nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            for alias in node.names:
                name = f"{source}.{alias.name}"
                yield from (m for m in (name if name in modules else source,) if m in modules)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            named = (a.value for a in node.args[:1] if isinstance(a, ast.Constant))
            yield from (str(name) for name in named if name in modules)


def _nodes(path: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def _parts(imports: Imports) -> dict[str, set[str]]:
    """The same between the folders and loose modules of the core."""
    parts: dict[str, set[str]] = {}
    for name, others in imports.items():
        if name.startswith("qhal."):
            part = name.split(".")[1]
            found = {other.split(".")[1] for other in others if other.startswith("qhal.")}
            parts.setdefault(part, set()).update(found - {part})
    return parts


def _exported(package: str) -> Sequence[str]:
    names: Sequence[str] = getattr(import_module(package), "__all__", ())
    return names
