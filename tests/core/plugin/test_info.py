"""What a backend says of itself is looked at when it says it."""

from __future__ import annotations

from typing import Any

import pytest

from qhal.errors import PluginError
from qhal.plugin.info import BackendInfo
from qhal.plugin.readiness import Lack


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({"name": "My NPU"}, "A backend has the invalid name 'My NPU'."),
        ({"name": 7}, "A backend has the invalid name 7."),
        ({"packages": {"npu_sdk": None}}, "invalid value for packages: {'npu_sdk': None}."),
        ({"options": "core"}, "invalid value for options: 'core'."),
        ({"options": frozenset({1})}, "invalid value for options: frozenset({1})."),
        ({"runner_macs_per_s": 0}, "invalid value for runner_macs_per_s: 0."),
        ({"runner_macs_per_s": float("nan")}, "invalid value for runner_macs_per_s: nan."),
    ],
)
def test_what_the_core_could_not_use_is_refused(stated: dict[str, Any], said: str) -> None:
    with pytest.raises(PluginError) as caught:
        BackendInfo(**{"name": "npu", **stated})
    assert caught.value.message.endswith(said)
    assert caught.value.hint


def test_a_lack_reads_as_a_reason_with_its_command() -> None:
    assert str(Lack("no compiler", "buy one")) == "no compiler: buy one"
    assert str(Lack("no such device here")) == "no such device here"
