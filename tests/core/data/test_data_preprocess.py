"""Preprocessing files are read strictly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qhal.data import load_dataset, load_preprocess
from qhal.errors import PreprocessError
from qhal.ir.graph import TensorType

FULL = """
resize = 12
crop = [8, 8]
interpolation = "bicubic"
channel_order = "bgr"
scale = "1/255"
mean = [0.1, 0.2, 0.3]
std = 0.5
layout = "nhwc"
"""


def _file(folder: Path, text: str) -> Path:
    path = folder / "p.toml"
    path.write_text(text)
    return path


def test_every_key_has_its_effect(tmp_path: Path) -> None:
    image = np.random.default_rng(2).integers(0, 256, (24, 36, 3), dtype=np.uint8)
    inputs = {"x": TensorType((1, 8, 8, 3))}
    data = load_dataset({"x": image[None]}, inputs, preprocess=_file(tmp_path, FULL))
    scaled = np.asarray(Image.fromarray(image).resize((18, 12), Image.Resampling.BICUBIC))
    want = (scaled[2:10, 5:13, ::-1] / 255 - [0.1, 0.2, 0.3]) / 0.5
    np.testing.assert_allclose(data.sample(0)["x"][0], want, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("sharpen = 1", "unknown key 'sharpen'.*Allowed are resize, crop"),
        ("mean = [1, 2, 3]", "no scale"),
        ("scale = 1\nstd = [1, 0, 1]", "must not be 0"),
        ("scale = 'one'", "scale = 'one' is not allowed"),
        ("scale = '1/0'", "not allowed"),
        ("scale = true", "not allowed"),
        ("scale = nan", "not allowed"),
        ("scale = 1\nmean = []", "one per channel"),
        ("resize = 0", "number of pixels"),
        ("resize = [1, 2, 3]", "height, width"),
        ("crop = 'all'", "number of pixels"),
        ("layout = 'chw'", "one of nchw, nhwc"),
        ("channel_order = 'grb'", "one of rgb, bgr"),
        ("interpolation = 3", "one of bilinear"),
        ("scale = = 1", "is not valid TOML"),
        ("scale = " + "[" * 5000, "nested too deeply"),
        ("scale = 1" + "0" * 5000, "is not valid TOML"),
        ("scale = 0x" + "f" * 50_000, "thousands of digits"),
        ("scale = 1" + "0" * 400, "1e-15 to 1e"),
        ("scale = 1e400", "not allowed"),
        ("scale = '1e1000000000'", "a fraction such as"),
        ("scale = 1e-300", "1e-15 to 1e"),
    ],
)
def test_malformed_files_are_refused(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(PreprocessError, match=complaint):
        load_preprocess(_file(tmp_path, text))


def test_unknown_presets_name_the_near_one(tmp_path: Path) -> None:
    with pytest.raises(PreprocessError, match="Did you mean imagenet-torch"):
        load_preprocess("imagenet-pytorch")
    with pytest.raises(PreprocessError, match="cannot be read"):
        load_preprocess(tmp_path / "absent.toml")


def test_steps_that_do_not_fit_the_input_are_refused(tmp_path: Path) -> None:
    inputs, images = {"x": TensorType((1, 3, 8, 8))}, {"x": np.zeros((1, 9, 9, 3), np.uint8)}
    for text, complaint in {
        "crop = 7": "crops to 7x7",
        "resize = 6": "scales images to 6x6",
        "scale = 1.0\nmean = [1, 2]": "2 values of mean",
    }.items():
        with pytest.raises(PreprocessError, match=complaint):
            load_dataset(images, inputs, preprocess=_file(tmp_path, text))
