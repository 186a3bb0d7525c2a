"""Compare an artifact with the user's float model, sample by sample."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field

from qhal.errors import LabelError
from qhal.ir.graph import Array, Graph
from qhal.metric import Basis, Metric
from qhal.verify.compare import Difference, Scores, as_scores

_NOTE = "against the float model, {} samples"


def scores_output(graph: Graph, quantized: Container[str] = ()) -> str | None:
    """The first output that looks like class scores, or None.

    Args:
        graph: any stage of the model.
        quantized: outputs of integer type that stand for real numbers.
    """
    for name in graph.outputs:
        kind = graph.tensors[name]
        wide = sum(size > 1 for size in kind.shape[1:]) == 1
        real = kind.dtype.is_float or name in quantized
        if len(kind.shape) >= 2 and wide and real:
            return name
    return None


def check_labels(graph: Graph, labels: Array | None, quantized: Container[str] = ()) -> None:
    """Raise LabelError if a label is not a class of the model. Call it before the long work.

    Args:
        graph: any stage of the model.
        labels: class indices, or None.
        quantized: as in :func:`scores_output`.
    """
    name = scores_output(graph, quantized)
    if labels is None or name is None or not labels.size:
        return
    classes = max(graph.tensors[name].shape[1:])
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise LabelError(
            f"Labels go from {low} to {high}; output {name} has the classes 0 to {classes - 1}.",
            "If all labels are off by the same number, --label-offset adds one.",
        )


@dataclass
class Accuracy:
    """All comparisons with the float model, over the samples seen so far.

    Attributes:
        scores_name: the output that holds class scores, or None.
        samples: samples seen.
        outputs: output -> its difference.
        scores: classification results.
    """

    scores_name: str | None
    samples: int = 0
    outputs: dict[str, Difference] = field(default_factory=dict)
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
            self.outputs.setdefault(name, Difference()).add(expected, other[name])
        if self.scores_name is None:
            return
        rows = [as_scores(x[self.scores_name]) for x in (reference, other)]
        if rows[0] is not None and rows[1] is not None:
            self.scores.add(rows[0], rows[1], labels)

    def metrics(self, basis: Basis) -> dict[str, Metric]:
        """Everything as metrics; top-1 first, if there are labels."""
        return {
            **self._top(basis),
            **self._agreement(basis),
            **_overall(list(self.outputs.values()), basis, self.samples),
            **_per_output(self.outputs, basis),
            "evaluation_samples": Metric(self.samples, "count", Basis.COUNTED),
        }

    def _top(self, basis: Basis) -> dict[str, Metric]:
        if not self.scores.labelled:
            return {}
        count = self.scores.labelled
        note = f"{count} labelled samples"
        found: dict[str, Metric] = {}
        for name, (reference, other) in (("top1", self.scores.top1), ("top5", self.scores.top5)):
            drop = 100 * (reference - other) / count
            found[name] = Metric(other / count, "fraction", basis, note=note)
            host = Basis.MEASURED_HOST
            found[f"{name}_float"] = Metric(reference / count, "fraction", host, note=note)
            found[f"{name}_drop"] = Metric(drop, "points", basis, note=note)
        return found

    def _agreement(self, basis: Basis) -> dict[str, Metric]:
        if not self.scores.samples:
            return {}
        share = self.scores.agree / self.scores.samples
        note = f"same largest class as the float model, {self.scores.samples} samples"
        return {"agreement": Metric(share, "fraction", basis, note=note)}


def _overall(outputs: Sequence[Difference], basis: Basis, samples: int) -> dict[str, Metric]:
    total = Difference()
    for found in outputs:
        total = total.merge(found)
    note = _NOTE.format(samples)
    return {
        "sqnr": Metric(total.sqnr_db, "dB", basis, note=note),
        "cosine": Metric(total.cosine, "cosine", basis, note=note),
        "max_abs_error": Metric(total.max_abs, "", basis, note=note),
    }


def _per_output(outputs: Mapping[str, Difference], basis: Basis) -> dict[str, Metric]:
    """SQNR of each output, where there are several."""
    if len(outputs) < 2:
        return {}
    return {f"sqnr[{name}]": Metric(d.sqnr_db, "dB", basis) for name, d in outputs.items()}
