"""What a session refuses before the long work begins."""

from __future__ import annotations

import numpy as np
import pytest

from qhal.errors import LabelError
from qhal.pipeline.options import Options
from qhal.pipeline.session import Session
from tests.paths import ROOT

DIGITS = ROOT / "examples" / "digits"
IMAGES = np.zeros((4, 1, 8, 8), np.float32)


def session(max_drop: float | None, **labels: np.ndarray) -> Session:
    options = Options({"image": IMAGES, **labels}, calib_samples=2, max_drop=max_drop)
    return Session(DIGITS / "digits.onnx", options)


def test_a_limit_without_labels_is_told_with_the_data() -> None:
    with pytest.raises(LabelError, match="--max-drop needs labels"):
        session(1.0).load_data()
    assert session(None).load_data().evaluation.labels is None


def test_a_limit_with_labels_that_do_not_fit_says_why() -> None:
    labels = np.arange(96, 100)
    with pytest.raises(LabelError, match="labels go from"):
        session(1.0, labels=labels).load_data()
    assert session(None, labels=labels).load_data().evaluation.labels is not None
    assert session(1.0, labels=np.arange(4)).load_data().evaluation.labels is not None
