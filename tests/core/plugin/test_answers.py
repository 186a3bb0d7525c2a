"""What a backend answers with is checked value by value, in the backend's name."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from qhal.decisions import Code, Decision
from qhal.errors import PluginError
from qhal.measure.timing import Pair
from qhal.metric import LABELS, Basis, Metric, is_own
from qhal.plugin.backend import Artifact, Backend, Findings, PlacedNode, Placement
from qhal.plugin.calls import call
from qhal.plugin.provided import Provided
from qhal.targets.profile import TargetProfile
from qhal.targets.where import Where, WhereBasis
from tests.core.conftest import ToyBackend, Toys, artifact_of

PROFILE = TargetProfile("toy-target", "toy", "A toy")
COUNT = Metric(1, "count", Basis.COUNTED)
SOUND = Decision(Code.NOT_COMPILED, "The compiler is missing.")


def spoilt(made: Any, /, **fields: object) -> Any:
    """A value with fields that its class would never take."""
    copy = replace(made)
    for name, content in fields.items():
        object.__setattr__(copy, name, content)
    return copy


@dataclass
class Telling(ToyBackend):
    """Answers with what the test wants."""

    answer: Any = field(default_factory=Findings)

    def examine(self, *_: object) -> Any:
        return self.answer

    def placement(self, *_: object) -> Any:
        return self.answer

    def foresee(self, *_: object) -> Any:
        return self.answer

    def lower(self, *_: object) -> Any:
        return self.answer

    def setups(self) -> Any:
        return self.answer


def examined(toys: Toys, answer: object) -> Findings:
    subject = replace(toys.subject(toys.model), backend=Telling(answer=answer))
    return Pair(subject, None, toys.samples().sample(0)).examine()


ACCURACY = ("top1", "top1_float", "top5_drop", "sqnr", "sqnr[y]", "oracle_sqnr", "oracle_sqnr[y]")
OTHERS = ("latency_host_p50", "latency_host_min", "size_artifact", "energy_proxy", "macs")


@pytest.mark.parametrize("name", ACCURACY + OTHERS)
def test_qhals_own_numbers_cannot_be_stated_by_a_backend(toys: Toys, name: str) -> None:
    with pytest.raises(PluginError) as caught:
        examined(toys, Findings({name: Metric(100, "fraction", Basis.MEASURED_DEVICE)}))
    assert caught.value.message == (
        f"The backend 'toy' broke in examine: it states {name!r}, which qhal finds out itself."
    )


@pytest.mark.parametrize(
    "name", ["TOP1", "Top1_Drop", "SQNR[y]", "ｔｏｐ１", "top1 ", " mine", "a  b"]
)
def test_names_that_look_like_qhals_own_are_refused(toys: Toys, name: str) -> None:
    with pytest.raises(PluginError, match=r"which qhal finds out itself|spaces too many"):
        examined(toys, Findings({name: COUNT}))


@pytest.mark.parametrize(
    "label", ["top-1", "TOP-1", " top-1 ", "sqnr", "Top-1  drop", "on the target", "Max-Drop"]
)
def test_labels_of_qhals_own_numbers_are_refused(toys: Toys, label: str) -> None:
    with pytest.raises(PluginError, match=r"metric mine has the label .* qhal finds out itself"):
        examined(toys, Findings({"mine": replace(COUNT, label=label)}))


def test_a_label_of_the_backends_own_is_taken(toys: Toys) -> None:
    metrics = {"mine": replace(COUNT, label="top-1 of the NPU")}
    assert examined(toys, Findings(metrics)).metrics == metrics


@pytest.mark.parametrize("name", ["latency", "instructions", "emulated_identical", "sqnr_sram"])
def test_what_only_a_backend_knows_it_may_state(toys: Toys, name: str) -> None:
    assert examined(toys, Findings({name: COUNT})).metrics == {name: COUNT}


def test_every_number_of_verification_and_measurement_is_qhals_own(toys: Toys) -> None:
    stated = {"latency", "instructions", "instructions_float", "instructions_ratio"}
    stated |= {"emulated_identical", "emulated_reference_identical"}
    assert {name for names in LABELS.values() for name in names if not is_own(name)} == stated


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Findings({"x": 3}), "metric x is 3, not a Metric."),  # type: ignore[dict-item]
        (Findings({3: COUNT}), "a metric has the name 3"),  # type: ignore[dict-item]
        (Findings({"x": spoilt(COUNT, value=np.nan)}), "metric x cannot be written: nan is not"),
        (Findings({"x": spoilt(COUNT, value=np.float32(1))}), "a float32 has no JSON form"),
        (Findings({"x": spoilt(COUNT, value="1")}), "metric x.value is a str, expected a float"),
        (Findings({"x": spoilt(COUNT, value=True)}), "metric x.value is a bool"),
        (Findings({"x": spoilt(COUNT, low=np.inf)}), "inf is not finite"),
        (Findings({"x": spoilt(COUNT, basis="counted")}), "metric x has a field of another type"),
        (Findings([("x", COUNT)]), "its metrics are a list, not a mapping"),  # type: ignore[arg-type]
        (Findings(decisions=[SOUND]), "its decisions are a list, not a tuple"),  # type: ignore[arg-type]
        (Findings(decisions=("no",)), "decision 0 is 'no', not a Decision"),  # type: ignore[arg-type]
        (Findings(decisions=(spoilt(SOUND, code="QD501"),)), "decision 0 has a field of another"),
        (Findings(decisions=(spoilt(SOUND, sentence=None),)), "decision 0.sentence is a NoneType"),
        (Findings(decisions=(SOUND, spoilt(SOUND, severity=2))), "decision 1.severity is 2, which"),
    ],
)
def test_findings_of_wrong_types_are_told(toys: Toys, answer: Findings, said: str) -> None:
    with pytest.raises(PluginError) as caught:
        examined(toys, answer)
    assert caught.value.message.startswith("The backend 'toy' broke in examine: ")
    assert said in caught.value.message


NODE = PlacedNode("fc", Where("NPU", "FULLY_CONNECTED", None, WhereBasis.READ))


@pytest.mark.parametrize("node", ["fc", spoilt(NODE, name=1), spoilt(NODE, cost=2.0)])
def test_placements_of_wrong_types_are_told(toys: Toys, node: Any) -> None:
    placement = Placement((NODE, node), "the plan")
    with pytest.raises(PluginError, match="broke in placement: the placement"):
        call(
            Provided(Telling(answer=placement)), Backend.placement, artifact_of(toys.model), PROFILE
        )


def test_other_decisions_of_wrong_types_are_told(toys: Toys) -> None:
    wrong = spoilt(SOUND, subject=1)
    with pytest.raises(PluginError, match=r"broke in foresee: decision 0\.subject is a int"):
        call(Provided(Telling(answer=(wrong,))), Backend.foresee, toys.model, PROFILE)
    artifact = Artifact({"model.toy": b""}, "model.toy", decisions=(SOUND, wrong))
    with pytest.raises(PluginError, match=r"broke in lower: decision 1\.subject is a int"):
        call(Provided(Telling(answer=artifact)), Backend.lower, toys.model, PROFILE)


def test_setups_of_wrong_types_are_told() -> None:
    with pytest.raises(PluginError, match="broke in setups: setup 0 is 'emulator', not a Setup"):
        call(Provided(Telling(answer=("emulator",))), Backend.setups)
