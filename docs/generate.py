"""Write the pages that follow from the code, or with ``--check`` fail if one is stale."""

from __future__ import annotations

import argparse
import ast
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from qhal.cli.main import COMMANDS, parser
from qhal.cli.options import Parser
from qhal.decisions import Code, Decision
from qhal.errors import ExitCode, QhalError
from qhal.ir.dtypes import DType
from qhal.ir.graph import Graph, Node, NodeView, TensorType
from qhal.ir.ops import Op
from qhal.metric import Basis, Metric, Topic
from qhal.plugin import hookspec
from qhal.plugin.backend import (
    Artifact,
    Backend,
    Findings,
    PlacedNode,
    Placement,
    Runner,
    RunOptions,
    Trial,
)
from qhal.plugin.info import API_VERSION, BackendInfo
from qhal.plugin.machine_setup import Setup
from qhal.plugin.readiness import Lack, Readiness
from qhal.plugin.registry import registry
from qhal.quant.model import QuantModel, QuantParams
from qhal.quant.oracle import Oracle
from qhal.targets import catalog
from qhal.targets.capability import Arithmetic, Capabilities, Capability, KernelRow
from qhal.targets.limit import Above, Limit, MultipleOf, OneOf, Range
from qhal.targets.profile import Sourced, TargetProfile
from qhal.targets.recipe import RECIPES, recipes_of
from qhal.targets.spec import Derived, FixedQParams, PerAxis, PerGroup, QuantSpec, SameAsInput
from qhal.targets.where import WhereBasis

FOLDER = Path(__file__).parent
NOTE = "<!-- Written by docs/generate.py from the code: do not edit, run `make docs`. -->"

FIRST_BACKEND = """## A first backend

1. Copy `plugins/qhal-example-npu`. Give the module, the entry point, the backend and the target
   names of your own. Install it with `pip install --editable`; `qhal plugins` then lists it, or
   says what is wrong.
2. State what the hardware can run: a `KernelRow` for each combination of types that it really has,
   in a `Capability` with a source and limits. What no row states is refused, so start with one
   operator. `qhal check MODEL --target NAME` says for every node which row runs it, or why none
   does; `--dump laid` prints the graph. Neither needs `lower`.
3. Write a limit for each rule that a node must meet: a function under
   `@limit(window=Range(1, 5))` that takes a `NodeView` and the bounds by name. It returns None, or
   a sentence with the offending value. Its docstring is the rule, with `{window}` for the bound.
4. Write `lower`. It gets a `QuantModel`: nodes in order and in your layout, constants in their
   stored type, scales and zero points by tensor, the kernel row by node. Everything is decided. If
   your format forces one more decision, return it in `Artifact.decisions`. Files that the device
   does not need, such as logs, are listed in `Artifact.auxiliary`. The same method writes the plain
   float model, whose `params` are empty, as the baseline; if you cannot write it, set
   `lowers_float=False` in the `BackendInfo`.
5. Write `load` if there is a runtime or a simulator. From then on `qhal deploy` runs the artifact
   and compares every output with the oracle, in quantization steps, and with the user's float
   model.
6. Write `readiness` if something has to be installed. Each `Lack` says why lowering or running does
   not work here, and the command that fixes it; `qhal doctor` prints both.
7. Write `placement`, `examine` and the other methods where you have facts to report. Each node of a
   `Placement` has a `Where` that says how it is known: read from the runtime, reported by the
   compiler, or predicted. A `PlacedNode` may hold a `cost`, such as the cycles that your compiler
   estimates. A `Metric` appears in the section of the report that its `topic` names, under its
   `label`.
8. State in `BackendInfo.packages` what the backend imports besides qhal, such as
   `{"npu_sdk": "npu-sdk"}`. Their versions are in the records. Where one is missing, the error
   names the extra of your distribution that provides it."""

WHAT_BREAKS = """## What goes wrong

If a method raises an exception or returns a value of the wrong type, qhal stops with error QH701,
which names backend, distribution, version and method; the traceback is kept. For problems that you
expect, raise an error of `qhal.errors`: `RefusedError` for a model that does not fit,
`MissingDependencyError` with the command that fixes it. These reach the user as they are."""

VOCABULARY: tuple[type, ...] = (
    *(QuantModel, QuantParams, Graph, Node, NodeView, TensorType, Op, DType),
    *(Capabilities, Capability, KernelRow, Arithmetic, Limit, Range, OneOf, MultipleOf, Above),
    *(QuantSpec, PerAxis, PerGroup, FixedQParams, SameAsInput, Derived),
    *(TargetProfile, Sourced, Readiness, Lack, Artifact, Runner, RunOptions),
    *(PlacedNode, Placement, WhereBasis),
    *(Trial, Findings, Metric, Basis, Topic, Decision, Code, Setup, Oracle),
)
"""What a backend is given, and what it returns."""


def main(arguments: Sequence[str] | None = None, folder: Path = FOLDER) -> int:
    """Write all pages, or compare them; 1 if one is stale."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--check", action="store_true", help="write nothing; fail if stale")
    check = options.parse_args(arguments).check
    stale = 0
    for name, page in PAGES.items():
        path, text = folder / name, page()
        if check and (not path.is_file() or path.read_text(encoding="utf-8") != text):
            sys.stderr.write(f"docs/{name} is stale: run `make docs`\n")
            stale = 1
        elif not check:
            path.write_text(text, encoding="utf-8")
    return stale


# --- pages ------------------------------------------------------------------------


def cli_page() -> str:
    """Return the page of the command line."""
    top = parser()
    commands = [_command(name, _subparser(top, name)) for name in COMMANDS]
    return _page("The command line", top.description or "", *commands, top.epilog or "")


def errors_page() -> str:
    """All error codes."""
    rows = [
        (kind.code, kind.__name__, str(kind.exit_code), _summary(kind))
        for kind in sorted(_descendants(QhalError), key=lambda kind: kind.code)
    ]
    return _page(
        "Errors",
        "Every error that qhal raises on purpose has a stable code. The command prints it on "
        "stderr as `error QH101: what is wrong`, with what to do on the line below.",
        _table(("code", "class in `qhal.errors`", "exit code", "meaning"), rows),
        "## Exit codes\n\nThe command ends with one of these. The codes above 128 are those that "
        "shells have for signals. A second signal ends the command without its cleanup; the next "
        "run that writes there does it.",
        _table(("exit code", "meaning"), [(str(int(c)), c.meaning) for c in ExitCode]),
    )


def codes_page() -> str:
    """All decision codes."""
    rows = [(code.id, code.name, code.meaning) for code in Code]
    return _page(
        "Decisions",
        "The record holds everything that qhal decides on the user's behalf: one of these codes, a "
        "sentence with the value that decided, and the node or tensor.",
        _table(("code", "name in `qhal.decisions.Code`", "meaning"), rows),
    )


def hooks_page() -> str:
    """Return the page of the hooks and the backend class."""
    hooks = [
        f"## {name}\n\n{inspect.getdoc(hook)}"
        for name, hook in vars(hookspec).items()
        if name.startswith("qhal_")
    ]
    methods = [
        (f"`{name}{_signature(method)}`", _summary(method))
        for name, method in vars(Backend).items()
        if inspect.isfunction(method)
    ]
    return _page(
        "Plugins",
        "A plugin is a distribution with an entry point in the group `qhal` that names a module "
        "(or object) with hooks. `plugins/qhal-example-npu` is a complete one in under 100 lines. "
        "`qhal plugins` lists what is installed and what is wrong with it. [What plugins may rely "
        "on](stability.md) lists the modules that a plugin may import.",
        FIRST_BACKEND,
        *(_examples(hook) for hook in hooks),
        f"## qhal.Backend\n\n{_summary(Backend)} Version {API_VERSION} of the interface.",
        _table(("method", "what it does"), methods),
        _table(("class attribute", "what it says"), _attributes(Backend)),
        f"## qhal.BackendInfo\n\n{_summary(BackendInfo)}",
        _table(("field", "what it says"), _fields(BackendInfo)),
        WHAT_BREAKS,
        "## What a backend is given and returns",
        _table(("name", "what it is"), map(_entry, VOCABULARY)),
        "The canonical operators, and how their weights lie in NCHW and NHWC, are in "
        "`qhal.ir.ops`. `qhal.testing.samples` has models of one operator for tests; its names may "
        "still change. Calls of built-in backends go through the same checks as calls of yours.",
        "## Names\n\nIf two plugins provide a backend or target of the same name, the one whose "
        "entry point has that name keeps it. If neither or both have it, neither keeps it. Names "
        "in the catalog are reserved. `qhal plugins` shows each conflict with both distributions "
        "and their versions.",
    )


def targets_page() -> str:
    """Return the page of the devices and of what their backends can execute."""
    profiles = catalog.builtin()
    backends = dict.fromkeys(profile.backend for profile in profiles.values())
    return _page(
        "Targets",
        "The devices in `targets.toml`, their numbers with sources, and the kernels that each "
        "backend states for them. What no row states is not supported.",
        _table(("recipe", "what it is"), ((recipe.name, recipe.title) for recipe in RECIPES)),
        *map(_device, profiles.values()),
        *(table for name in backends for table in _kernels(name, profiles.values())),
    )


PAGES: dict[str, Callable[[], str]] = {
    "cli.md": cli_page,
    "errors.md": errors_page,
    "decisions-codes.md": codes_page,
    "hooks.md": hooks_page,
    "targets.md": targets_page,
}


# --- the command line -------------------------------------------------------------


def _subparser(top: Parser, name: str) -> Parser:
    [commands] = [a for a in top._actions if isinstance(a, argparse._SubParsersAction)]
    found: Parser = commands.choices[name]
    return found


def _command(name: str, command: Parser) -> str:
    rows = [
        (_spelling(action), _plain(action.help or ""))
        for action in command._actions
        if action.dest != "help"
    ]
    forms = {"?": "[{}]", "+": "{} …"}
    positional = [
        forms.get(str(a.nargs), "{}").format(a.metavar) for a in command._get_positional_actions()
    ]
    required = [_spelling(a).strip("`") for a in command._get_optional_actions() if a.required]
    usage = " ".join(["qhal", name, *map(str, positional), *required, "[options]"])
    table = _table(("argument", "meaning"), rows)
    about = f"## qhal {name}\n\n{command.description}\n\n    {usage}\n\n{table}"
    return f"{about}\n\n{command.epilog}" if command.epilog else about


def _spelling(action: argparse.Action) -> str:
    value = action.metavar or ("|".join(action.choices) if action.choices else "")
    shown = "" if action.nargs == 0 else f" {value}"
    return f"`{', '.join(action.option_strings) or ''}{shown}`".replace("` ", "`")


# --- kernels ----------------------------------------------------------------------


def _device(profile: TargetProfile) -> str:
    rows = [(key, str(fact), fact.source) for key, fact in profile.facts.items()]
    facts = _table(("fact", "value", "source"), rows) if rows else "No figures with a source."
    return f"## {profile.name}\n\n{profile.title}; backend `{profile.backend}`.\n\n{facts}"


def _kernels(name: str, profiles: Iterable[TargetProfile]) -> Iterable[str]:
    """One block for each set of kernels; devices that have the same share one."""
    sets: dict[object, dict[str, Capabilities]] = {}
    for profile in profiles:
        if profile.backend == name:
            found = registry().backends[name].capabilities(profile)
            sets.setdefault(_without_sources(found), {})[profile.name] = found
    for devices in sets.values():
        of = f": {', '.join(devices)}" if len(sets) > 1 else ""
        yield f"## Kernels of `{name}`{of}\n\n{_kernel_table(list(devices.values()))}"


def _without_sources(found: Capabilities) -> object:
    return _about(found), tuple((c.op, *_kernel(c)) for c in found.kernels)


def _about(found: Capabilities) -> str:
    recipes = ", ".join(recipe.name for recipe in recipes_of(found))
    opaque = f"Operators without a canonical form: {_opaque(found.opaque)}"
    return f"Recipes: {recipes}. Layout {found.layout.value}. {opaque}{_rewritten(found)}"


def _opaque(stated: str | Limit | None) -> str:
    return stated.rule if isinstance(stated, Limit) else f"{stated or 'run in float'}."


def _rewritten(found: Capabilities) -> str:
    """Name the operators that are rewritten where a rule does not hold, once for each rule."""
    alike: dict[str, list[str]] = {}
    for op, limit in found.native.items():
        alike.setdefault(limit.rule, []).append(op)
    return "".join(
        f"\n\nRewritten where this does not hold, {', '.join(ops)}: {rule}"
        for rule, ops in alike.items()
    )


def _kernel_table(devices: Sequence[Capabilities]) -> str:
    """Return the kernels that devices share; where their sources differ, all of them."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for entries in zip(*(found.kernels for found in devices), strict=True):
        if entries[0].rows:
            sources = " · ".join(dict.fromkeys(entry.source for entry in entries))
            alike.setdefault((*_kernel(entries[0]), sources), []).append(entries[0].op)
    rows = [(", ".join(ops), *kernel) for kernel, ops in alike.items()]
    columns = ("operators", "kernels", "limits", "source")
    return f"{_about(devices[0])}\n\n{_table(columns, rows)}"


def _kernel(capability: Capability) -> tuple[str, str]:
    rows = "; ".join(
        f"{row}{f' on {row.unit}' if row.unit else ''}{_limits(row.limits, ' (', ')')}"
        for row in capability.rows
    )
    return rows, _limits(capability.limits)


def _limits(limits: Iterable[Limit], start: str = "", end: str = "") -> str:
    rules = " ".join(dict.fromkeys(limit.rule for limit in limits))
    return f"{start}{rules}{end}" if rules else ""


# --- Markdown ---------------------------------------------------------------------


def _page(title: str, *blocks: str) -> str:
    return "\n\n".join([f"# {title}", NOTE, *filter(None, blocks)]) + "\n"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _summary(thing: object) -> str:
    """Return the first paragraph of a docstring, in Markdown."""
    return _plain((inspect.getdoc(thing) or "").partition("\n\n")[0])


def _plain(text: str) -> str:
    return re.sub(r":\w+:`~?([^`]*)`", r"`\1`", " ".join(text.split())).replace("``", "`")


def _examples(text: str) -> str:
    """Turn ``Example::`` and its indented block into a fenced block."""
    head, mark, block = text.partition("Example::\n\n")
    code = inspect.cleandoc(block)
    return f"{head}```python\n{code}\n```" if mark else text


def _attributes(kind: type) -> Iterable[tuple[str, str]]:
    """Yield the annotated names of a class, each with the string below it."""
    [tree] = ast.parse(inspect.getsource(kind)).body
    body = getattr(tree, "body", [])
    for stated, below in pairwise(body):
        if isinstance(stated, ast.AnnAssign):
            assert isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
            yield f"`{ast.unparse(stated.target)}`", _plain(str(below.value.value))


def _fields(kind: type) -> Iterable[tuple[str, str]]:
    """Yield the fields of a class, as ``Attributes:`` in its docstring describes them."""
    _, _, section = (inspect.getdoc(kind) or "").partition("Attributes:\n")
    for entry in re.split(r"\n    (?=\w)", "\n" + section.rstrip()):
        name, _, meaning = entry.partition(": ")
        if name.strip():
            yield f"`{name.strip()}`", _plain(meaning[:1].upper() + meaning[1:])


def _entry(kind: type) -> tuple[str, str]:
    return f"`{kind.__module__}.{kind.__qualname__}`", _summary(kind)


def _signature(method: Callable[..., object]) -> str:
    names = [name for name in inspect.signature(method).parameters if name != "self"]
    return f"({', '.join(names)})"


def _descendants(kind: type[QhalError]) -> Iterable[type[QhalError]]:
    """Yield qhal's own errors below one, not those of plugins or tests that are loaded too."""
    for child in kind.__subclasses__():
        if child.__module__.partition(".")[0] == "qhal":
            yield child
            yield from _descendants(child)


if __name__ == "__main__":
    sys.exit(main())
