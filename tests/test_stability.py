"""docs/stability.md lists what plugins need, and the example plugin needs nothing else."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from tests.paths import ROOT

DOCS = ROOT / "docs"
PLUGIN = ROOT / "plugins" / "qhal-example-npu"
PAGE = (DOCS / "stability.md").read_text(encoding="utf-8")
MODULES = re.findall(r"^\| `(qhal[a-z_.]*)` \|", PAGE, re.MULTILINE)
VOCABULARY = re.findall(
    r"^\| `qhal[a-z_.]*\.([A-Z]\w+)` \|", (DOCS / "hooks.md").read_text(encoding="utf-8"), re.M
)


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """Modules of qhal that a file imports, each with the name that it takes from it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "qhal":
            yield from ((node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((a.name, "") for a in node.names if a.name.partition(".")[0] == "qhal")
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield from [("qhal", node.attr)] if node.value.id == "qhal" else []


def public_names(module: str) -> set[str]:
    """The public names of a module, by the definition of the page."""
    found = import_module(module)
    tree = ast.parse(Path(str(found.__file__)).read_text(encoding="utf-8"))
    names = {*getattr(found, "__all__", ()), *(n for s in tree.body for n in _defined(s))}
    return {name for name in names if not name.startswith("_")}


def _defined(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement defines, or imports as themselves."""
    match statement:
        case ast.ClassDef() | ast.FunctionDef():
            yield statement.name
        case ast.Assign(targets=[ast.Name(name)]) | ast.AnnAssign(target=ast.Name(name)):
            yield name
        case ast.ImportFrom(names=names):
            yield from (alias.name for alias in names if alias.asname == alias.name)


def is_listed(module: str, name: str) -> bool:
    """True if the page lists the module, and the name is a public one that it has."""
    return module in MODULES and (not name or name in public_names(module))


def classes_in(hint: object) -> Iterator[type]:
    """The classes of qhal that a type names."""
    if isinstance(hint, type) and hint.__module__.partition(".")[0] == "qhal":
        yield hint
    for part in get_args(hint):
        yield from classes_in(part)


def mentioned(kind: type) -> Iterator[type]:
    """The classes of qhal that fields and methods of a class name."""
    methods = [m for n, m in vars(kind).items() if inspect.isfunction(m) and not n.startswith("_")]
    for owner in (kind, *methods):
        for hint in get_type_hints(owner).values():
            yield from classes_in(hint)


def test_what_the_page_lists_exists() -> None:
    assert len(MODULES) > 10
    assert sorted(set(MODULES)) == MODULES
    for module in MODULES:
        import_module(module)


@pytest.mark.parametrize("path", sorted(PLUGIN.rglob("*.py")), ids=lambda path: path.name)
def test_the_example_plugin_imports_only_what_the_page_lists(path: Path) -> None:
    found = sorted(set(imports(path)))
    assert ("qhal", "Backend") in found
    assert [pair for pair in found if not is_listed(*pair)] == []


@pytest.mark.parametrize("name", VOCABULARY)
def test_what_plugin_authors_meet_is_in_a_listed_module(name: str) -> None:
    assert [module for module in MODULES if name in public_names(module)]


@pytest.mark.parametrize("name", VOCABULARY)
def test_what_fields_and_methods_of_these_name_is_in_a_listed_module(name: str) -> None:
    home = next(module for module in MODULES if name in public_names(module))
    kinds = set(mentioned(getattr(import_module(home), name)))
    public = {name for module in MODULES for name in public_names(module)}
    assert [kind for kind in kinds if kind.__name__ not in public] == []


def test_an_import_of_a_module_is_no_public_name() -> None:
    assert "QuantModel" in public_names("qhal.quant.model")
    assert "Layout" in public_names("qhal.ir.ops")
    assert "QuantModel" not in public_names("qhal.plugin.backend")


def test_the_vocabulary_is_read() -> None:
    assert {"QuantModel", "KernelRow", "Placement"} <= set(VOCABULARY)


def test_a_foreign_import_is_found(tmp_path: Path) -> None:
    path = tmp_path / "plugin.py"
    path.write_text("import qhal\nfrom qhal.quant.gptq import x\nqhal.nothing\nqhal._hidden\n")
    found = [pair for pair in imports(path) if not is_listed(*pair)]
    assert found == [("qhal.quant.gptq", "x"), ("qhal", "nothing"), ("qhal", "_hidden")]
