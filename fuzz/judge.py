"""What counts as a fault, and which faults are of one kind."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from fuzz.case import Step
from fuzz.command import Ended

EXIT_CODES = (0, 1, 2, 3)
_FRAME = re.compile(r'^\s*File "([^"]*/(qhal(?:_backends)?/[^"]+))", line \d+,? in (\S+)', re.M)
_RAISED = re.compile(r"^([A-Za-z_][\w.]*)(?::|$)", re.M)
_BLOCK = re.compile(r"^Traceback \(most recent call last\):$", re.M)
_OURS_FAILED = "error QH701"  # all plugins are qhal's own here

Tree = Mapping[str, str]
"""Relative path -> digest, of a folder."""


@dataclass(frozen=True)
class Fault:
    """Something that must not happen.

    Attributes:
        kind: the same for the same cause, as far as the outside shows.
        detail: what the user saw, in a line.
    """

    kind: str
    detail: str


@dataclass(frozen=True)
class Before:
    """What was there before a command.

    Attributes:
        out: the output folder; None if it was not there.
        names: in the working folder.
    """

    out: Tree | None
    names: frozenset[str]


def before(folder: Path, step: Step) -> Before:
    """Remember what a command may change."""
    return Before(tree(folder / step.out) if step.out else None, _names(folder))


def tree(path: Path) -> Tree | None:
    """Digest the files in a folder; None if there is no folder."""
    if not path.is_dir():
        return None
    files = sorted(p for p in path.rglob("*") if p.is_file())
    return {str(p.relative_to(path)): sha256(p.read_bytes()).hexdigest() for p in files}


def judge(step: Step, ended: Ended, folder: Path, temporary: Path, was: Before) -> list[Fault]:
    """List all faults of one command.

    Args:
        step: the command.
        ended: how it ended.
        folder: where it ran.
        temporary: its folder for temporary files.
        was: what was there before.
    """
    faults = [*_ending(ended, temporary), *_left(ended, folder, temporary, was)]
    if step.out:
        faults += _output(step, ended, folder, was)
    if "--json" in step.argv and ended.code == 0 and not _is_json(ended.stdout):
        faults.append(Fault("stdout is not JSON", ended.stdout[:200]))
    return faults


def _ending(ended: Ended, temporary: Path) -> list[Fault]:
    report = "\n".join(p.read_text(errors="replace") for p in temporary.glob("qhal-bug-*"))
    text = report or ended.stderr
    last = _last_line(ended.stderr)
    if ended.timed_out:
        return [Fault(f"hang in {_where(ended.stderr, first=True)}", f"{ended.seconds:.0f} s")]
    if ended.signal:
        return [Fault(f"{ended.signal} in {_where(ended.stderr, first=True)}", last)]
    if _BLOCK.search(ended.stderr):
        return [Fault(f"traceback: {_cause(ended.stderr)}", last)]
    if ended.code == 70 or "QH901" in ended.stderr:
        return [Fault(f"QH901: {_cause(text)}", last)]
    if _OURS_FAILED in ended.stderr:
        return [Fault(f"QH701: {_cause(text)}", last)]
    if ended.code not in EXIT_CODES:
        return [Fault(f"exit code {ended.code}", last)]
    if ended.code and "error QH" not in ended.stderr and not ended.stdout.strip():
        return [Fault("fails without a word", f"exit code {ended.code}")]
    return []


def _left(ended: Ended, folder: Path, temporary: Path, was: Before) -> list[Fault]:
    names = [p.name for p in temporary.iterdir() if not p.name.startswith("qhal-bug-")]
    faults = [Fault(f"temporary file left: {_shape(n)}", n) for n in names]
    faults += [Fault("child left", line[:200]) for line in ended.children]
    hidden = [n for n in _names(folder) - was.names if n.startswith(".")]
    return faults + [Fault("hidden file left beside the output", n) for n in hidden]


def _output(step: Step, ended: Ended, folder: Path, was: Before) -> list[Fault]:
    now = tree(folder / step.out)
    if ended.code != 0:
        if now == was.out:
            return []
        lost = was.out is not None
        return [Fault("old output lost" if lost else "output in spite of failure", step.out)]
    if now is None or not is_whole(folder / step.out):
        return [Fault("done without a whole output", step.out)]
    if step.same_as is not None and _artifact(now) != _artifact(tree(step.same_as) or {}):
        return [Fault("another artifact from the same model and data", step.out)]
    return []


def is_whole(path: Path) -> bool:
    """Return True if an output folder has record, report and all files that the record names."""
    try:
        record = json.loads((path / "record.json").read_text(encoding="utf-8"))
        files = record["artifact"]["files"]
        digests = {file["name"]: file["sha256"] for file in files if not file.get("auxiliary")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    found = tree(path) or {}
    return "report.md" in found and all(found.get(n) == d for n, d in digests.items())


def _artifact(files: Tree) -> Tree:
    return {n: d for n, d in files.items() if n not in ("record.json", "report.md")}


def _names(folder: Path) -> frozenset[str]:
    return frozenset(p.name for p in folder.iterdir())


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _cause(text: str) -> str:
    """Name the type and the innermost qhal frame of the original exception."""
    blocks = _BLOCK.split(text)[1:]
    if not blocks:
        return _shape(_last_line(text))
    raised = _RAISED.findall(blocks[0])
    return f"{raised[-1] if raised else '?'} in {_where(blocks[0]) or _where(text)}"


def _where(text: str, *, first: bool = False) -> str:
    """Find the innermost frame in qhal; faulthandler prints it first, tracebacks print it last."""
    found = _FRAME.findall(text)
    if not found:
        return "?"
    _, path, function = found[0 if first else -1]
    return f"{path}:{function}"


def _shape(name: str) -> str:
    """Remove from a text what differs from run to run."""
    return re.sub(r"[0-9a-z_]{8}(?=\b|\.)|\d+", "*", name)[:80]


def _last_line(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    said = next((line for line in lines if line.startswith("error ")), None)
    return (said or (lines[-1] if lines else ""))[:300]
