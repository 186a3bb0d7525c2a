"""Real data fit the real models that they belong to."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qhal.data import load_dataset
from qhal.ir.graph import TensorType

NAMES = (
    "mlperf_tiny_ic",
    "mlperf_tiny_kws",
    "mlperf_tiny_vww",
    "mnist",
    "mobilenet_v2",
    "resnet20_cifar10",
    "squeezenet1_1",
    "yolox_nano",
    "yunet_n_320",
)


@pytest.mark.parametrize("name", NAMES)
def test_zoo_data(zoo: Path, name: str) -> None:
    entry: dict[str, Any] = tomllib.loads((zoo / "manifest.toml").read_text())["models"][name]
    [argument] = entry["inputs"]
    kind = TensorType(tuple(1 if isinstance(d, str) else d for d in argument["shape"]))
    data = load_dataset(
        zoo / entry["data"],
        {argument["name"]: kind},
        preprocess=entry["preprocess"],
        label_offset=entry.get("label_offset", 0),
    )
    assert data.labels is not None
    assert len(data.labels) == len(data) >= 500
    for index in (0, len(data) - 1):
        sample = data.sample(index)[argument["name"]]
        assert (sample.shape, sample.dtype) == (kind.shape, np.dtype(np.float32))
        assert sample.std() > 0
