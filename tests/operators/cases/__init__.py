"""ONNX nodes with every value of every attribute, in every opset that means something new."""

from __future__ import annotations

from tests.operators.cases.case import Case, join
from tests.operators.cases.control import control
from tests.operators.cases.elementwise import elementwise
from tests.operators.cases.movement import movement
from tests.operators.cases.normalizing import normalizing
from tests.operators.cases.recurrent import recurrent
from tests.operators.cases.resizing import resizes
from tests.operators.cases.windows import windows

CASES: tuple[Case, ...] = (
    *windows(),
    *resizes(),
    *recurrent(),
    *elementwise(),
    *movement(),
    *normalizing(),
    *control(),
)

__all__ = ["CASES", "Case", "join"]
