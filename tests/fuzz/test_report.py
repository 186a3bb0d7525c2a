"""What a round of fuzzing tells, and when."""

from __future__ import annotations

from fuzz.judge import Fault
from fuzz.report import Round
from fuzz.server import Found, Result


def _result(number: int, *kinds: str) -> Result:
    found = [Found(number, ("cut",), ("check", "m.onnx"), Fault(kind, ""), 1) for kind in kinds]
    return Result(number, (70,), tuple(found))


def test_each_kind_of_fault_is_told_once_and_at_once() -> None:
    found = Round("onnx", 3)
    assert found.add(_result(0)) == []
    told = found.add(_result(1, "traceback", "traceback", "hangs"))
    assert [line.splitlines()[0] for line in told] == ["traceback", "hangs"]
    assert "--seed 3 --case 1 " in told[0]
    assert [line.splitlines()[0] for line in found.add(_result(2, "hangs", "slow"))] == ["slow"]
