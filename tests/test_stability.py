"""docs/stability.md lists what plugins need, and the example plugin needs nothing else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import qhal
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


def is_listed(module: str, name: str) -> bool:
    """True if the page lists the module, and the name is a public one that it has."""
    if module not in MODULES or name.startswith("_"):
        return False
    if module == "qhal":
        return not name or name in qhal.__all__
    return hasattr(import_module(module), name)


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
    assert [module for module in MODULES if hasattr(import_module(module), name)]


def test_the_vocabulary_is_read() -> None:
    assert {"QuantModel", "KernelRow", "Placement"} <= set(VOCABULARY)


def test_a_foreign_import_is_found(tmp_path: Path) -> None:
    path = tmp_path / "plugin.py"
    path.write_text("import qhal\nfrom qhal.quant.gptq import x\nqhal.nothing\nqhal._hidden\n")
    found = [pair for pair in imports(path) if not is_listed(*pair)]
    assert found == [("qhal.quant.gptq", "x"), ("qhal", "nothing"), ("qhal", "_hidden")]
