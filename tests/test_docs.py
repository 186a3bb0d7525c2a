"""The pages follow the code, and what the README says is true."""

from __future__ import annotations

import fnmatch
import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import qhal
from qhal.decisions import Code
from qhal.errors import QhalError
from qhal.plugin import hookspec
from qhal.plugin.backend import Backend
from qhal.plugin.registry import registry
from qhal.targets.catalog import builtin
from qhal.targets.recipe import recipes_of
from tests.paths import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """docs/generate.py as a module."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_pages_are_fresh(generate: ModuleType) -> None:
    assert generate.main(["--check"]) == 0


def test_a_stale_page_is_found(
    generate: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generate.main([], tmp_path)
    assert generate.main(["--check"], tmp_path) == 0
    (tmp_path / "errors.md").write_text("old")
    assert generate.main(["--check"], tmp_path) == 1
    assert "docs/errors.md is stale: run `make docs`" in capsys.readouterr().err


def test_codes_are_unique() -> None:
    kinds = set(descendants(QhalError))
    assert len({kind.code for kind in kinds}) == len(kinds)
    assert len({code.id for code in Code}) == len(Code)


def sources() -> str:
    """All code of the core and the built-in backends."""
    files = [path for top in ("core", "backends") for path in (ROOT / top).rglob("*.py")]
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


def test_every_code_and_every_error_occurs() -> None:
    code = sources()
    assert [c.name for c in Code if not re.search(rf"\bCode\.{c.name}\b", code)] == []
    errors = [kind.__name__ for kind in descendants(QhalError)]
    assert [name for name in errors if not re.search(rf"\b{name}\((?!QhalError)", code)] == []


def descendants(kind: type[QhalError]) -> set[type[QhalError]]:
    """Errors of qhal below one; other tests have some of their own."""
    children = {c for c in kind.__subclasses__() if c.__module__.partition(".")[0] == "qhal"}
    return children.union(*(descendants(child) for child in children))


def test_everything_a_plugin_author_meets_is_documented() -> None:
    hooks = [hook for name, hook in vars(hookspec).items() if name.startswith("qhal_")]
    methods = [method for name, method in vars(Backend).items() if not name.startswith("_")]
    documented = [thing for thing in (*hooks, *methods) if callable(thing)]
    assert len(documented) > 5
    assert [thing for thing in documented if not thing.__doc__] == []


def test_public_names_are_there_and_documented() -> None:
    assert len(qhal.__all__) == len(set(qhal.__all__)) > 5
    public = [getattr(qhal, name) for name in qhal.__all__]
    assert [thing for thing in public if callable(thing) and not thing.__doc__] == []


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "docs/layout.md"])
def test_pages_for_contributors_name_what_exists(name: str) -> None:
    page = (ROOT / name).read_text(encoding="utf-8")
    paths = re.findall(r"`((?:core|backends|tests|docs|plugins)/[^`]+)`", page)
    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).exists()] == []


BESIDE = re.compile(r"`([A-Za-z_]+)` (?:in|of) (?:the )?`([^`]+\.py)`(?: of `(\w+)` and `(\w+)`)?")
"""A name and the file that has it; ``the `limits.py` of `cpu` and `openvino``` are two files."""


def named_beside_files(page: str) -> list[tuple[str, Path]]:
    """Every name that a page places in a Python file, with that file."""
    found = []
    for name, file, *backends in BESIDE.findall(" ".join(page.split())):
        folders = [f"backends/qhal_backends/{backend}/" for backend in backends if backend] or [""]
        found += [(name, ROOT / f"{folder}{file}") for folder in folders]
    return found


def has(file: Path, name: str) -> bool:
    return bool(re.search(rf"\b{name}\b", file.read_text(encoding="utf-8")))


def test_names_on_the_page_for_contributors_are_in_the_files_beside_them() -> None:
    named = named_beside_files((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert len(named) > 10
    assert [(name, str(file)) for name, file in named if not has(file, name)] == []


def test_a_name_that_a_file_lacks_is_found() -> None:
    page = "`_PER_ELEMENT` in\n`core/qhal/ir/cost.py`, `limit` of the `limits.py` of `cpu` and "
    page += "`tflite`"
    cost, cpu, tflite = named_beside_files(page)
    assert [has(file, name) for name, file in (cost, cpu, tflite)] == [False, True, True]


# --- decision records -------------------------------------------------------------

ADR = ROOT / "docs" / "adr"
RECORDS = sorted(ADR.glob("[0-9]*.md"))
HEAD = re.compile(
    r"# (?P<title>.+)\n\n"
    r"Status: (?P<status>accepted|superseded by \d{4})\\\n"
    r"Date: (?P<date>\d{4}-\d\d-\d\d)\n\n"
)


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.stem)
def test_every_decision_record_has_status_and_date_and_is_short(record: Path) -> None:
    text = record.read_text(encoding="utf-8")
    assert re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", record.name)
    assert HEAD.match(text)
    assert len(text.splitlines()) <= 60


def test_the_index_lists_every_decision_record() -> None:
    rows = []
    for record in RECORDS:
        head = HEAD.match(record.read_text(encoding="utf-8"))
        assert head, record.name
        link = f"[{record.name[:4]}]({record.name})"
        rows.append(f"| {link} | {head['title']} | {head['status']} | {head['date']} |")
    assert rows
    index = (ADR / "README.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in index if line.startswith("| [")] == rows
    assert [row[3:7] for row in rows] == [f"{i:04}" for i in range(1, len(rows) + 1)]


def test_lines_of_the_changelog_are_one_sentence() -> None:
    page = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line.startswith("- ")]
    assert lines
    assert [
        line for line in lines if not line.endswith(".") or re.search(r"[.;:] [A-Z]", line)
    ] == []


# --- the README -------------------------------------------------------------------


def commands() -> list[str]:
    """The lines of the README's shell blocks."""
    blocks = re.findall(r"```(?:sh|console)\n(.*?)```", README, re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder that looks like the repository, for commands that follow each other."""
    folder = tmp_path_factory.mktemp("readme")
    for name in ("examples", "plugins", "Makefile", "pyproject.toml"):
        (folder / name).symlink_to(ROOT / name)
    return folder


@pytest.mark.parametrize("command", [c for c in commands() if c.startswith("make ")])
def test_the_readmes_make_targets_exist(command: str) -> None:
    words = shlex.split(command, comments=True)
    done = subprocess.run([*words, "--dry-run"], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0


def test_the_readmes_commands_run(workplace: Path) -> None:
    ours = [c for c in commands() if c.startswith("qhal ")]
    assert len(ours) >= 2
    for command in ours:
        words = shlex.split(command, comments=True)[1:]
        code = "import sys; from qhal.cli.main import main; sys.exit(main(sys.argv[1:]))"
        done = subprocess.run(
            [sys.executable, "-c", code, *words],
            cwd=workplace,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"


def test_the_readmes_python_runs(workplace: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert blocks
    for block in blocks:
        done = subprocess.run(
            [sys.executable, "-c", block],
            cwd=workplace,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def recipes(target: str) -> str:
    """The recipes of a target, as the README lists them."""
    backend, profile = registry().resolve(target)
    return ", ".join(recipe.name for recipe in recipes_of(backend.capabilities(profile)))


def test_the_readme_states_the_recipes_of_every_target() -> None:
    stated: dict[str, str] = {}
    for patterns, listed in re.findall(r"^\| (`.+?) \|.*\| (\w[^|]+) \|$", README, re.MULTILINE):
        for pattern in re.findall(r"`([^`]+)`", patterns):
            matching = fnmatch.filter(builtin(), pattern)
            assert matching, pattern
            stated.update(dict.fromkeys(matching, listed))
    assert stated == {name: recipes(name) for name in builtin()}


def test_the_readmes_commands_are_all_checked() -> None:
    assert [c for c in commands() if not c.startswith(("make ", "qhal ", "pip install "))] == []


@pytest.mark.parametrize(
    "name", ["README.md", "CONTRIBUTING.md", "docs/stability.md", "docs/adr/README.md"]
)
def test_links_lead_somewhere(name: str) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / name).read_text(encoding="utf-8"))
    local = [link for link in links if not link.startswith("http")]
    assert [link for link in local if not (ROOT / name).parent.joinpath(link).exists()] == []


def test_the_readme_is_one_page() -> None:
    assert len(README.splitlines()) <= 100


def test_the_page_of_targets_says_nothing_twice_in_a_row(generate: ModuleType) -> None:
    for block in generate.targets_page().split("## ")[1:]:
        about = block.partition("| operators")[0]
        rules = re.findall(r"Rewritten where .*?: (.*?)$", about, re.MULTILINE)
        assert len(rules) == len(set(rules))
        assert about.count("Rewritten where") == len(rules)
        assert "Limit(" not in about
