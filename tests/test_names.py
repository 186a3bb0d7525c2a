"""One name, one thing: no two modules give a public name different meanings."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator

from tests.paths import ROOT

ARRAYS = "the oracle's is an array of any element type, so that NumPy's operators take it"
ONNX = "ONNX names the operator, which is written ``ops.Where``"
EXCEPT = {"Array": ARRAYS, "Where": ONNX}
"""Name -> why it may mean two things."""

SOURCES = ("core/qhal", "backends/qhal_backends")


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Every module of the core and of the backends, with its syntax tree."""
    for folder in SOURCES:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def meanings(module: str, tree: ast.Module) -> Iterator[tuple[str, str]]:
    """The public classes and type aliases of a module: name -> what it stands for.

    A class stands for itself. Aliases of the same type mean the same.
    """
    for statement in tree.body:
        match statement:
            case ast.ClassDef(name):
                yield name, f"the class in {module}"
            case ast.Assign(targets=[ast.Name(name)], value=value) if is_alias(name, value):
                yield name, ast.unparse(value)


def is_alias(name: str, value: ast.expr) -> bool:
    """True for ``Name = Callable[…]`` and ``Name = A | B``."""
    return name[0].isupper() and not name.isupper() and isinstance(value, ast.Subscript | ast.BinOp)


def ambiguous(found: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Names that mean more than one thing, each with all that it means."""
    known: dict[str, set[str]] = defaultdict(set)
    for name, meaning in found:
        if not name.startswith("_"):
            known[name].add(meaning)
    return {name: sorted(several) for name, several in known.items() if len(several) > 1}


def test_a_public_name_means_one_thing() -> None:
    found = (pair for module, tree in modules() for pair in meanings(module, tree))
    several = ambiguous(found)
    assert {name: all_of for name, all_of in several.items() if name not in EXCEPT} == {}
    assert set(EXCEPT) - set(several) == set()


def test_ambiguous_names_are_found() -> None:
    first = ast.parse("class Job: ...\nPair = tuple[int, int]\nRule = dict[str, int]\nX = [1]")
    second = ast.parse("class Job: ...\nPair = tuple[int, int]\nRule = int | str\nX = {}")
    found = ambiguous([*meanings("a.py", first), *meanings("b.py", second)])
    assert found == {
        "Job": ["the class in a.py", "the class in b.py"],
        "Rule": ["dict[str, int]", "int | str"],
    }
