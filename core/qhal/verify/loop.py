"""The closed loop: an artifact that lives on its own states, against the float model on its own.

Frame by frame an artifact with states may be close to the float model and yet leave it: errors
of a state come back. The limits and why they are what they are: docs/adr/0029.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from qhal.data.rollout import Rollout
from qhal.decisions import Code, Decision, Severity
from qhal.ir.graph import Array, Arrays
from qhal.metric import Basis, Metric, Topic, counted
from qhal.results.gate import Gate
from qhal.verify.bound import FrameEquality
from qhal.verify.compare import Difference

GATE = "closed-loop"
DEFAULT_LIMIT_PP = 3.0
"""Points of the decisions that may differ where the user sets no limit."""

FAR_DB = 10.0
"""Where an output is no decision: below this its error is a third of its signal, or more."""

_SUM_ERROR = 1e-3
_DRIFT_DB = 3.0
"""What a state has to lose in the loop to be named."""


@dataclass
class Feedback:
    """Feeds the states of one model back, frame by frame.

    Attributes:
        rollout: the frames.
    """

    rollout: Rollout
    _kept: dict[str, Array] = field(default_factory=dict)

    def give(self, index: int, sample: Arrays) -> Arrays:
        """Return the inputs of a frame with the model's own states, unless a sequence begins."""
        return sample if self.rollout.begins(index) else {**sample, **self._kept}

    def take(self, outputs: Arrays) -> None:
        """Keep the states that the model gives, in the user's numbers."""
        self._kept = {name: outputs[output] for output, name in self.rollout.pairs.items()}


@dataclass
class Decisions:
    """What an output decides, and how often another model decides otherwise.

    Numbers from 0 to 1 decide by being above one half. Probabilities of classes, and logarithms
    of such, decide by the largest. Integers are decisions themselves.

    Attributes:
        name: of the output.
    """

    name: str
    _unit: bool = True
    _classes: bool = True
    _integers: FrameEquality = field(default_factory=FrameEquality)
    _above: FrameEquality = field(default_factory=FrameEquality)
    _largest: FrameEquality = field(default_factory=FrameEquality)
    _seen: set[int] = field(default_factory=set)

    def add(self, reference: Array, other: Array) -> None:
        """Take in one frame."""
        if reference.dtype.kind != "f":
            self._unit = self._classes = False
            self._integers.add(reference, other)
            return
        expected, found = (np.nan_to_num(x.astype(np.float64)) for x in (reference, other))
        self._unit &= bool(((expected >= 0) & (expected <= 1)).all())
        self._classes &= _is_distribution(expected)
        self._above.add(expected > 0.5, found > 0.5)
        if self._classes:
            self._largest.add(expected.argmax(-1), found.argmax(-1))
        chosen = expected.argmax(-1) if self._classes else expected > 0.5
        if len(self._seen) < 2:
            self._seen.update(np.unique(chosen).tolist()[:2])

    @property
    def counted(self) -> FrameEquality | None:
        """How many decisions are equal; None if the output decides nothing."""
        for asked, found in (
            (self._integers.elements > 0, self._integers),
            (self._classes, self._largest),
            (self._unit, self._above),
        ):
            if asked:
                return found if found.elements else None
        return None

    @property
    def rule(self) -> str:
        """What decides, in words."""
        if self._integers.elements:
            return "which are integers"
        return "by the largest class" if self._classes else "above 0.5"

    @property
    def one_sided(self) -> bool:
        """True if the float model always decides the same."""
        return self.counted is not None and not self._integers.elements and len(self._seen) < 2


def _is_distribution(values: npt.NDArray[np.float64]) -> bool:
    """Return True for probabilities of classes on the last axis, or their logarithms."""
    if not values.ndim or values.shape[-1] < 2:
        return False
    for shares in (values, np.exp(np.minimum(values, 1.0))):
        whole = np.abs(shares.sum(-1) - 1) < _SUM_ERROR
        if bool(whole.all()) and bool((shares >= 0).all()):
            return True
    return False


@dataclass
class LoopAccuracy:
    """The closed loop beside the open one, in which the float model's states are fed.

    Attributes:
        pairs: output -> input of every state.
        frames: frames seen in the closed loop.
        sequences: sequences that they are of.
        closed: output of real numbers -> its difference in the closed loop.
        opened: the same in the open loop.
        decided: output that is no state -> what it decides in the closed loop.
        further_frames: frames of calibration that the loop ran over as well.
        further_sequences: sequences that these are of.
        judged: as ``decided``, over all frames.
    """

    pairs: Mapping[str, str]
    frames: int = 0
    sequences: int = 0
    closed: dict[str, Difference] = field(default_factory=dict)
    opened: dict[str, Difference] = field(default_factory=dict)
    decided: dict[str, Decisions] = field(default_factory=dict)
    further_frames: int = 0
    further_sequences: int = 0
    judged: dict[str, Decisions] = field(default_factory=dict)

    def add(self, begins: bool, reference: Arrays, other: Arrays) -> None:
        """Take in one frame of the closed loop."""
        self.frames += 1
        self.sequences += begins
        _add_all(self.closed, reference, other)
        self._decide(self.decided, reference, other)
        self._decide(self.judged, reference, other)

    def add_further(self, begins: bool, reference: Arrays, other: Arrays) -> None:
        """Take in one frame of calibration, in the closed loop."""
        self.further_frames += 1
        self.further_sequences += begins
        self._decide(self.judged, reference, other)

    def _decide(self, found: dict[str, Decisions], reference: Arrays, other: Arrays) -> None:
        for name, expected in reference.items():
            if name not in self.pairs:
                found.setdefault(name, Decisions(name)).add(expected, other[name])

    def add_open(self, reference: Arrays, other: Arrays) -> None:
        """Take in one frame of the open loop."""
        _add_all(self.opened, reference, other)

    def metrics(self, basis: Basis) -> dict[str, Metric]:
        """Return what the loop does to decisions, states and the open loop's figures."""
        note = f"in the closed loop, {self._words}"
        frames = _labeled(self.frames, "count", Basis.COUNTED, "frames of the closed loop", note)
        found = {"loop_frames": frames}
        for name, decisions in self.decided.items():
            if (equality := decisions.counted) is not None:
                points = 100 * (1 - equality.share)
                key = f"loop_decisions_changed[{name}]"
                label, told = f"decisions changed, {name}", f"{decisions.rule}; {note}"
                found[key] = _labeled(points, "points", basis, label, told)
            if (judged := self.judged[name].counted) is not None:
                key, told = f"loop_decisions_bound[{name}]", f"95 % bound, {self._all_words}"
                label = f"decisions changed, {name}, of other frames"
                found[key] = _labeled(100 * judged.bound, "points", basis, label, told)
        for name in self.pairs:
            if name in self.closed:
                label, worth = f"state {name}, SQNR", self.closed[name].sqnr_db
                found[f"state_sqnr[{name}]"] = _labeled(worth, "dB", basis, label, note)
        for name, opened in self.opened.items():
            told = "with the float model's states fed at every frame"
            label = f"{name} in the open loop, SQNR"
            found[f"open_loop_sqnr[{name}]"] = _labeled(opened.sqnr_db, "dB", basis, label, told)
        return found

    def gate(self, limit_pp: float | None) -> Gate:
        """Hold the outputs of the closed loop against the limit.

        Args:
            limit_pp: what the user allows; None allows :data:`DEFAULT_LIMIT_PP` of decisions, and
                :data:`FAR_DB` where an output decides nothing. The limit of the user is of what
                was found; the other one is also of the bound for other frames.
        """
        limit = DEFAULT_LIMIT_PP if limit_pp is None else limit_pp
        broken = [why for name in self.decided if (why := self._why(name, limit, limit_pp is None))]
        if not broken:
            return Gate(GATE, f"{self._met()} in the closed loop, {self._words}", True)
        return Gate(GATE, f"in the closed loop, {self._words}: {'; '.join(broken)}", False)

    def decisions(self) -> tuple[Decision, ...]:
        """Warn of states that leave the float model's, and of data that cannot tell."""
        drifting = (
            Decision(Code.LOOP_DRIFT, f"{words}.", name, Severity.WARNING)
            for name in self.pairs
            if (words := self._drift(name)) and self.closed[name].sqnr_db < FAR_DB
        )
        sure = [d.name for d in self.decided.values() if d.counted is not None and not d.one_sided]
        sided = [d.name for d in self.decided.values() if d.one_sided]
        untested = (
            f"Output {name} of the float model always decides the same in the evaluation data, so "
            "that the loop was hardly tested. Give data with both decisions."
            for name in ([] if sure else sided)
        )
        told = (
            Decision(Code.LOOP_UNTESTED, words, severity=Severity.WARNING) for words in untested
        )
        return (*drifting, *told)

    def drift_words(self) -> str:
        """Say which state leaves the float model's most, as a sentence; "" if none does."""
        drifts = {name: self._loss(name) for name in self.pairs if name in self.closed}
        worst = max(drifts, key=lambda name: drifts[name], default="")
        words = self._drift(worst) if worst else ""
        return f"{words}." if words else ""

    def figures(self) -> str:
        """Say what the outputs make of the loop, in short."""
        found = (f"{self._figure(name)}{self._others(name)}" for name in self.decided)
        return ", ".join(filter(None, found))

    @property
    def _words(self) -> str:
        return f"{counted(self.frames, 'frame')} of {counted(self.sequences, 'sequence')}"

    @property
    def _all_words(self) -> str:
        if not self.further_frames:
            return self._words
        frames = counted(self.frames + self.further_frames, "frame")
        sequences = counted(self.sequences + self.further_sequences, "sequence")
        return f"{frames} of {sequences}, those of calibration included"

    def _met(self) -> str:
        return self.figures() or "there is no output but states"

    def _figure(self, name: str) -> str:
        equality = self.decided[name].counted
        if equality is not None:
            changed = 100 * (1 - equality.share)
            return f"{changed:.2f} % of the decisions of {name} ({self.decided[name].rule}) differ"
        return self._noise(name) if name in self.closed else ""

    def _noise(self, name: str) -> str:
        return f"{name} SQNR {self.closed[name].sqnr_db:.1f} dB"

    def _others(self, name: str) -> str:
        """Say how many decisions of other frames may differ; "" where that is not known."""
        judged = self.judged[name].counted
        if judged is None or self.decided[name].counted is None:
            return ""
        return f" (of other frames at most {100 * judged.bound:.2f} %)"

    def _why(self, name: str, limit_pp: float, far_too: bool) -> str:
        """Say why an output may not be as it is; "" if it may. One decision may be chance.

        Decisions that are always the same tell nothing: the numbers count then.
        """
        decisions = self.decided[name]
        equality = decisions.counted
        if equality and equality.wrong > 1 and 100 * equality.wrong / equality.elements > limit_pp:
            return f"{self._figure(name)} from the float model's; the limit is {limit_pp:g} %"
        if equality and not decisions.one_sided:
            return self._why_others(name, limit_pp) if far_too else ""
        far = far_too and name in self.closed and self.closed[name].sqnr_db < FAR_DB
        return f"{self._noise(name)}; the limit is {FAR_DB:g} dB" if far else ""

    def _why_others(self, name: str, limit_pp: float) -> str:
        """Say why an output may be too far on other frames; "" if it is not."""
        judged = self.judged[name].counted
        if judged is None or judged.wrong <= 1 or 100 * judged.bound <= limit_pp:
            return ""
        return (
            f"{self._figure(name)} from the float model's, and of other frames like these it may "
            f"be {100 * judged.bound:.2f} % (95 % bound, {self._all_words}); the limit is "
            f"{limit_pp:g} %"
        )

    def _loss(self, name: str) -> float:
        return self.opened[name].sqnr_db - self.closed[name].sqnr_db if name in self.opened else 0.0

    def _drift(self, name: str) -> str:
        if name not in self.closed or self._loss(name) < _DRIFT_DB:
            return ""
        return (
            f"State {self.pairs[name]}, which output {name} feeds, leaves the float model's: its "
            f"SQNR is {self.opened[name].sqnr_db:.1f} dB with the float model's states and "
            f"{self.closed[name].sqnr_db:.1f} dB with the artifact's own"
        )


def _add_all(found: dict[str, Difference], reference: Arrays, other: Arrays) -> None:
    for name, expected in reference.items():
        if expected.dtype.kind == "f":
            found.setdefault(name, Difference()).add(expected, other[name])


def _labeled(value: float, unit: str, basis: Basis, label: str, note: str) -> Metric:
    return Metric(value, unit, basis, note=note, label=label, topic=Topic.ACCURACY)
