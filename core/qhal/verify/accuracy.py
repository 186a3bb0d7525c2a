"""Compare an artifact with the user's float model, sample by sample."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field

import numpy as np

from qhal.decisions import Code, Decision, Severity
from qhal.errors import LabelError, VerificationError
from qhal.ir.graph import Array, Graph
from qhal.metric import Basis, Metric, counted
from qhal.verify.compare import Difference, Hits, Scores, classes_of

_FAR_DB = 10.0
"""Below this the error of an output is a third of its signal, or more."""

_FAR_SHARE = 0.9
"""Share of equal integers below which an output is far from the float model's."""


def scores_output(graph: Graph, quantized: Container[str] = ()) -> str | None:
    """Find the output that holds class scores; None unless exactly one output looks so.

    Args:
        graph: any stage of the model.
        quantized: outputs of integer type that stand for real numbers.
    """
    batches = {graph.tensors[name].shape[:1] for name in graph.inputs}
    found = [
        name
        for name in graph.outputs
        if classes_of(graph.tensors[name].shape)
        and graph.tensors[name].shape[:1] in batches
        and (graph.tensors[name].dtype.is_float or name in quantized)
    ]
    return found[0] if len(found) == 1 else None


def unfit_labels(graph: Graph, labels: Array, quantized: Container[str] = ()) -> str:
    """Say why labels cannot be those of a model; "" if they can.

    Args:
        graph: any stage of the model.
        labels: class indices.
        quantized: as in :func:`scores_output`.
    """
    name = scores_output(graph, quantized)
    if name is None:
        return "no single output of the model holds class scores"
    classes = classes_of(graph.tensors[name].shape)
    low, high = int(labels.min(initial=0)), int(labels.max(initial=0))
    if low < 0 or high >= classes:
        return f"labels go from {low} to {high}, but output {name} has classes 0 to {classes - 1}"
    return ""


def no_labels() -> LabelError:
    """Make the error for a limit that needs labels where there are none."""
    return LabelError(
        "--max-drop needs labels, but the evaluation data have none.",
        "Add a labels.csv (file,class_index), or an array `labels` to the .npz.",
    )


def check_labels(graph: Graph, labels: Array | None, *, needed: bool = False) -> None:
    """Insist on labels that fit; for labels that the user named. Call it before the long work.

    Args:
        graph: any stage of the model.
        labels: class indices, None if there are none.
        needed: there have to be labels.

    Raises:
        LabelError: they cannot be those of the model, or are missing.
    """
    if labels is None and needed:
        raise no_labels()
    why = "" if labels is None else unfit_labels(graph, labels)
    if why:
        raise LabelError(
            f"The labels do not fit: {why}.",
            "If all are off by the same number, correct them with --label-offset.",
        )


@dataclass
class Equality:
    """How many elements of an output of integers are equal: class indices have no distance.

    Attributes:
        elements: number of elements.
        equal: how many of them are equal.
    """

    elements: int = 0
    equal: int = 0

    def add(self, reference: Array, other: Array) -> None:
        """Take in one pair.

        Raises:
            VerificationError: the shapes differ.
        """
        if reference.shape != other.shape:
            raise VerificationError(
                f"An output has shape {other.shape}; the float model's has {reference.shape}."
            )
        self.elements += reference.size
        self.equal += int(np.count_nonzero(reference == other))

    @property
    def share(self) -> float:
        """Share of equal elements; 1 where there are none."""
        return self.equal / self.elements if self.elements else 1.0


@dataclass
class Accuracy:
    """All comparisons with the float model, over the samples seen so far.

    Attributes:
        scores_name: the output that holds class scores, or None.
        samples: samples seen.
        outputs: output of real numbers -> its difference.
        integers: output of integers or truth values -> how many of its elements are equal.
        scores: classification results.
    """

    scores_name: str | None
    samples: int = 0
    outputs: dict[str, Difference] = field(default_factory=dict)
    integers: dict[str, Equality] = field(default_factory=dict)
    scores: Scores = field(default_factory=Scores)

    def add(
        self,
        reference: Mapping[str, Array],
        other: Mapping[str, Array],
        labels: Array | None,
    ) -> None:
        """Take in the float outputs of one sample in the user's shapes; labels (N,) or None."""
        self.samples += 1
        for name, expected in reference.items():
            if expected.dtype.kind == "f":
                self.outputs.setdefault(name, Difference()).add(expected, other[name])
            else:
                self.integers.setdefault(name, Equality()).add(expected, other[name])
        if self.scores_name is None:
            return
        rows = [x[self.scores_name] for x in (reference, other)]
        expected, found = (row.reshape(len(row), -1) for row in rows)
        self.scores.add(expected, found, labels)

    def metrics(self, basis: Basis) -> dict[str, Metric]:
        """Return everything as metrics; top-1 first, if there are labels."""
        return {
            **self._top(basis),
            **self._agreement(basis),
            **_worst(self.outputs, basis, self.samples),
            **_least_equal(self.integers, basis, self.samples),
            **{f"sqnr[{n}]": Metric(d.sqnr_db, "dB", basis) for n, d in self.outputs.items()},
            **{f"equal[{n}]": Metric(e.share, "fraction", basis) for n, e in self.integers.items()},
            "evaluation_samples": Metric(self.samples, "count", Basis.COUNTED),
        }

    def decisions(self) -> tuple[Decision, ...]:
        """Warn of outputs that have little to do with the float model's."""
        coarse = {
            name: f"its error is {100 * 10 ** (-found.sqnr_db / 20):.0f} % of "
            f"the signal (SQNR {found.sqnr_db:.1f} dB)"
            for name, found in self.outputs.items()
            if found.sqnr_db < _FAR_DB
        }
        other = {
            name: f"{100 * found.share:.1f} % of its elements are equal"
            for name, found in self.integers.items()
            if found.share < _FAR_SHARE
        }
        return tuple(
            Decision(
                Code.OUTPUT_FAR,
                f"Output {name} is far from the float model's: {why}.",
                name,
                Severity.WARNING,
            )
            for name, why in (coarse | other).items()
        )

    def _top(self, basis: Basis) -> dict[str, Metric]:
        if not self.scores.top1.rows:
            return {}
        top1, top5 = self.scores.top1, self.scores.top5
        return {**_hit_metrics("top1", top1, basis), **_hit_metrics("top5", top5, basis)}

    def _agreement(self, basis: Basis) -> dict[str, Metric]:
        if not self.scores.samples:
            return {}
        share = self.scores.agree / self.scores.samples
        note = f"same largest class as the float model, {self.scores.samples} samples"
        return {"agreement": Metric(share, "fraction", basis, note=note)}


def _hit_metrics(name: str, hits: Hits, basis: Basis) -> dict[str, Metric]:
    """Return how often both models are right, and what is lost, with the band of other samples."""
    note, host = f"{hits.rows} labeled samples", Basis.MEASURED_HOST
    pairs = f"{counted(hits.lost, 'sample')} lost, {hits.gained} gained; 95 % band"
    return {
        name: Metric(hits.other / hits.rows, "fraction", basis, note=note),
        f"{name}_float": Metric(hits.reference / hits.rows, "fraction", host, note=note),
        f"{name}_drop": Metric(hits.drop_pp, "points", basis, *hits.drop_band_pp, pairs),
        f"{name}_lost": Metric(hits.lost, "count", basis, note=note),
        f"{name}_gained": Metric(hits.gained, "count", basis, note=note),
    }


def _worst(outputs: Mapping[str, Difference], basis: Basis, samples: int) -> dict[str, Metric]:
    """Return the worst of all outputs: a sum over them would say what the loudest one is like."""
    if not outputs:
        return {}
    lowest = min(outputs, key=lambda name: outputs[name].sqnr_db)
    turned = min(outputs, key=lambda name: outputs[name].cosine)
    largest = max(outputs, key=lambda name: outputs[name].max_abs)

    def note(name: str) -> str:
        return _note(name, len(outputs), samples)

    unit = "in the output's unit"
    return {
        "sqnr": Metric(outputs[lowest].sqnr_db, "dB", basis, note=note(lowest)),
        "cosine": Metric(outputs[turned].cosine, "cosine", basis, note=note(turned)),
        "max_abs_error": Metric(outputs[largest].max_abs, unit, basis, note=note(largest)),
    }


def _least_equal(outputs: Mapping[str, Equality], basis: Basis, samples: int) -> dict[str, Metric]:
    """Return the share of equal elements in the worst output of integers."""
    if not outputs:
        return {}
    worst = min(outputs, key=lambda name: outputs[name].share)
    note = _note(worst, len(outputs), samples)
    return {"equal": Metric(outputs[worst].share, "fraction", basis, note=note)}


def _note(name: str, outputs: int, samples: int) -> str:
    which = f"{name}, the worst of {outputs} outputs; " if outputs > 1 else ""
    return f"{which}against the float model, {samples} samples"
