"""The command ``python -m fuzz``; see fuzz/README.md."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import mkdtemp

from fuzz import data_cases, file_cases, onnx_cases, rewires
from fuzz.case import Base, Maker
from fuzz.kills import Kills
from fuzz.machines import Machines
from fuzz.report import Round
from fuzz.server import Family, Input, results, warmed_up
from qhal.system import telemetry

INPUTS: Mapping[str, Maker] = {
    "onnx": onnx_cases.make,
    "rewires": rewires.make,
    "data": data_cases.make,
    "targets": file_cases.targets,
    "records": file_cases.records,
    "cache": file_cases.cache,
}
FAULTS: Mapping[str, type[Kills | Machines]] = {"kills": Kills, "machines": Machines}
FAMILIES = (*INPUTS, *FAULTS)
BASES = ("cpu", "tflite")
ALSO_OPENVINO = ("onnx", "rewires", "records")
"""Families that need an output folder of this target, or run it."""


def main(argv: Sequence[str]) -> int:
    """Run cases; exit code 1 if something went wrong."""
    telemetry.turn_off()
    given = _arguments(argv)
    # TemporaryDirectory would also be removed by whatever is forked here.
    work = Path(mkdtemp(prefix="fuzz-"))
    try:
        work.chmod(0o755)  # cases run as other users too
        more = ("openvino-cpu",) if set(given.families) & set(ALSO_OPENVINO) else ()
        base = warmed_up(work / "base", (*BASES, *more))
        rounds = [_round(name, given, work, base) for name in given.families]
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if given.json:
        sys.stdout.write(json.dumps([r.to_json() for r in rounds], indent=2) + "\n")
    else:
        sys.stdout.write("\n\n".join(r.text() for r in rounds) + "\n")
    return int(any(r.found or r.harness for r in rounds))


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m fuzz", description="Run qhal on hostile input.")
    parser.add_argument(
        "families", nargs="+", choices=FAMILIES, metavar="FAMILY", help=f"of {', '.join(FAMILIES)}"
    )
    parser.add_argument("--seed", type=int, default=0, help="of all cases (default: 0)")
    parser.add_argument(
        "--cases", type=int, default=1000, help="how many of each family (default: 1000)"
    )
    parser.add_argument("--case", type=int, help="run this one alone")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the cases' folders there")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes")
    parser.add_argument(
        "--timeout", type=float, default=30.0, help="seconds that a command may take (default: 30)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    return parser.parse_args(argv)


def _round(name: str, given: argparse.Namespace, work: Path, base: Base) -> Round:
    folder = (given.keep or work / "cases").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    rest = (given.seed, base, folder, given.keep is not None, given.timeout)
    family: Family = Input(name, INPUTS[name], *rest) if name in INPUTS else FAULTS[name](*rest)
    numbers = range(given.cases) if given.case is None else [given.case]
    found = Round(name, given.seed)
    for result in results(family, numbers, given.jobs):
        for line in found.add(result):
            sys.stderr.write(f"{line}\n")
        _show(found, len(numbers))
    return found


def _show(found: Round, total: int) -> None:
    if sys.stderr.isatty() or found.cases % 250 == 0:
        end = "\r" if sys.stderr.isatty() else "\n"
        kinds = f"{len(found.found)} kinds of faults"
        sys.stderr.write(f"{found.family}: {found.cases} of {total} cases, {kinds}{end}")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
