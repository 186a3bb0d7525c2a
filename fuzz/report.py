"""What a round found: kinds of faults, each with its smallest case."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from fuzz.server import Found, Result


@dataclass
class Round:
    """The results of a family so far.

    Attributes:
        family: its name.
        seed: of its cases.
        cases: how many ran.
        seconds: that they took, over all processes.
        codes: exit code of a command -> how often.
        found: kind -> the faults.
        harness: failures of the harness itself.
    """

    family: str
    seed: int
    cases: int = 0
    seconds: float = 0.0
    codes: Counter[str] = field(default_factory=Counter)
    found: dict[str, list[Found]] = field(default_factory=dict)
    harness: list[str] = field(default_factory=list)

    def add(self, result: Result) -> Sequence[str]:
        """Count a case in, and return a line for each new kind of fault: a round takes long."""
        known = set(self.found)
        self.cases += 1
        self.seconds += result.seconds
        self.codes.update("signal" if code is None else str(code) for code in result.codes)
        if result.harness:
            self.harness.append(f"case {result.number}: {result.harness}")
        for found in result.found:
            self.found.setdefault(found.fault.kind, []).append(found)
        new = {f.fault.kind: f for f in result.found if f.fault.kind not in known}
        return [f"{kind}\n    {self.again(found)}" for kind, found in new.items()]

    def kinds(self) -> Iterable[tuple[str, Sequence[Found]]]:
        """List the kinds, the most frequent first; of each the smallest case first."""
        for kind, found in sorted(self.found.items(), key=lambda item: -len(item[1])):
            yield kind, sorted(found, key=lambda f: (len(f.what), f.size_bytes, f.number))

    def text(self) -> str:
        """Write the round for people."""
        ended = ", ".join(f"{n}x {code}" for code, n in sorted(self.codes.items()))
        total = sum(map(len, self.found.values()))
        lines = [f"{self.family} (seed {self.seed}): {self.cases} cases, exit codes {ended}"]
        lines += [f"  the harness fails: {text}" for text in self.harness]
        lines.append(f"  {total} faults of {len(self.found)} kinds")
        for kind, found in self.kinds():
            first = found[0]
            lines += [
                f"  {len(found):4} {kind}",
                f"         {first.fault.detail[:160]}",
                f"         qhal {' '.join(first.argv)[:140]}",
                f"         {'; '.join(first.what)[:200]}",
                f"         {self.again(first)}",
            ]
        return "\n".join(lines)

    def again(self, found: Found) -> str:
        """Write the command that runs one case again and keeps its files."""
        return f"python -m fuzz {self.family} --seed {self.seed} --case {found.number} --keep DIR"

    def to_json(self) -> Mapping[str, object]:
        """Make the round as JSON, for programs."""
        kinds = [
            {
                "kind": kind,
                "count": len(found),
                "cases": [f.number for f in found],
                "detail": found[0].fault.detail,
                "what": found[0].what,
                "argv": found[0].argv,
                "again": self.again(found[0]),
            }
            for kind, found in self.kinds()
        ]
        return {
            "family": self.family,
            "seed": self.seed,
            "cases": self.cases,
            "seconds": round(self.seconds, 1),
            "exit_codes": dict(self.codes),
            "kinds": kinds,
            "harness": self.harness,
        }
