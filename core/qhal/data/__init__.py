"""Calibration and evaluation data: where samples come from and how they become model inputs.

Sources are ``.npz`` and ``.npy`` files, folders of arrays or images, functions, and mappings of
arrays. Samples are read one at a time; memory does not grow with their number. Pickled objects
are never loaded.
"""

from __future__ import annotations

from qhal.data.dataset import Dataset, Source, load_dataset
from qhal.data.preprocess import PRESETS, Preprocess, load_preprocess
from qhal.data.rollout import Rollout, roll_out
from qhal.data.splitting import (
    DEFAULT_CALIB_SAMPLES,
    DataSplit,
    further_sequences,
    split,
    split_sequences,
)

__all__ = [
    "DEFAULT_CALIB_SAMPLES",
    "PRESETS",
    "DataSplit",
    "Dataset",
    "Preprocess",
    "Rollout",
    "Source",
    "further_sequences",
    "load_dataset",
    "load_preprocess",
    "roll_out",
    "split",
    "split_sequences",
]
