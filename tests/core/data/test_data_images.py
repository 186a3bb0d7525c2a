"""Images of every kind become the input that the model takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from qhal.data import load_dataset
from qhal.data.image import covering_size, decode_image, shorter_side_size
from qhal.errors import DataFileError, DataShapeError, PreprocessError
from qhal.ir.dtypes import DType
from qhal.ir.graph import Array, TensorType

NCHW = {"x": TensorType((1, 3, 8, 8))}
NHWC = {"x": TensorType((1, 8, 8, 3))}
RNG = np.random.default_rng(1)
PIXELS = RNG.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def _save(path: Path, pixels: np.ndarray, **options: Any) -> None:
    Image.fromarray(pixels).save(path, **options)


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("raw", PIXELS.astype(np.float64)),
        ("raw-bgr", PIXELS[..., ::-1].astype(np.float64)),
        ("unit", PIXELS / 255),
        ("imagenet-tf", PIXELS / 127.5 - 1),
        ("imagenet-torch", (PIXELS / 255 - MEAN) / STD),
    ],
)
def test_presets_are_their_formulas_in_both_layouts(preset: str, expected: np.ndarray) -> None:
    last = load_dataset({"x": PIXELS}, NHWC, preprocess=preset).sample(2)["x"]
    first = load_dataset({"x": PIXELS}, NCHW, preprocess=preset).sample(2)["x"]
    np.testing.assert_allclose(last[0], expected[2], atol=1e-6, rtol=1e-6)
    np.testing.assert_array_equal(first, last.transpose(0, 3, 1, 2))
    assert first.flags.c_contiguous
    assert first.dtype == np.float32


def test_arrays_may_be_channels_first_or_gray() -> None:
    channels_first = np.ascontiguousarray(PIXELS.transpose(0, 3, 1, 2))
    want = load_dataset({"x": PIXELS}, NCHW, preprocess="raw").sample(1)["x"]
    have = load_dataset({"x": channels_first}, NCHW, preprocess="raw").sample(1)["x"]
    np.testing.assert_array_equal(have, want)
    gray = {"x": TensorType((1, 1, 8, 8))}
    flat = load_dataset({"images": PIXELS[..., 0]}, gray, preprocess="raw").sample(0)["x"]
    np.testing.assert_array_equal(flat[0, 0], PIXELS[0, ..., 0])


def test_integer_inputs_take_pixels_as_they_are() -> None:
    inputs = {"x": TensorType((1, 8, 8, 3), DType.UINT8)}
    sample = load_dataset({"x": PIXELS}, inputs, preprocess="raw").sample(0)["x"]
    assert sample.dtype == np.uint8
    with pytest.raises(PreprocessError, match="produces fractions"):
        load_dataset({"x": PIXELS}, inputs, preprocess="unit")


def test_inputs_without_image_shape_are_scaled_value_by_value() -> None:
    inputs = {"x": TensorType((1, 192))}
    data = load_dataset({"x": PIXELS.reshape(4, 192)}, inputs, preprocess="unit")
    np.testing.assert_allclose(data.sample(3)["x"][0], PIXELS[3].reshape(-1) / 255, rtol=1e-6)
    with pytest.raises(PreprocessError, match="3 values of mean"):
        load_dataset({"x": PIXELS.reshape(4, 192)}, inputs, preprocess="imagenet-torch")


def test_other_inputs_are_left_alone() -> None:
    inputs = {**NCHW, "state": TensorType((2, 1, 4))}
    arrays: dict[str, Array] = {"x": PIXELS, "state": np.full((4, 2, 1, 4), 0.5, np.float32)}
    sample = load_dataset(arrays, inputs, preprocess="unit").sample(0)
    assert float(sample["state"].max()) == 0.5


def test_image_folders_need_preprocessing(tmp_path: Path) -> None:
    _save(tmp_path / "a.png", PIXELS[0])
    with pytest.raises(PreprocessError, match="no preprocessing") as caught:
        load_dataset(tmp_path, NCHW)
    assert "imagenet-torch" in caught.value.hint


def test_images_are_sorted_and_labeled_by_name(tmp_path: Path) -> None:
    for i in (1, 0):
        _save(tmp_path / f"{i}.png", PIXELS[i])
    (tmp_path / "labels.csv").write_text("wnid,file,class_index\nb,1.png,4\na,0.png,3\n")
    data = load_dataset(tmp_path, NHWC, preprocess="raw", label_offset=1)
    np.testing.assert_array_equal(data.sample(0)["x"][0], PIXELS[0])
    assert data.labels is not None
    assert data.labels.tolist() == [4, 5]
    assert data.where(1).endswith("1.png")


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "CMYK"])
def test_modes_become_gray_or_rgb(tmp_path: Path, mode: str) -> None:
    suffix = "tif" if mode == "CMYK" else "png"
    image = Image.fromarray(PIXELS[0]).convert(mode)
    image.save(tmp_path / f"a.{suffix}")
    pixels = decode_image(tmp_path / f"a.{suffix}")
    assert pixels.shape == (8, 8, 1 if mode in ("L", "LA", "1") else 3)
    assert pixels.dtype == np.uint8
    for inputs in (NCHW, {"x": TensorType((1, 1, 8, 8))}):
        sample = load_dataset(tmp_path, inputs, preprocess="raw").sample(0)["x"]
        assert sample.shape == inputs["x"].shape


def test_alpha_is_dropped_not_blended(tmp_path: Path) -> None:
    transparent = np.dstack([PIXELS[0], np.zeros((8, 8), np.uint8)])
    _save(tmp_path / "a.png", transparent)
    np.testing.assert_array_equal(decode_image(tmp_path / "a.png"), PIXELS[0])


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees clockwise
    _save(tmp_path / "a.png", PIXELS[0][:4], exif=exif)
    np.testing.assert_array_equal(decode_image(tmp_path / "a.png"), np.rot90(PIXELS[0][:4], 3))


def test_deep_and_damaged_images_are_refused_by_name(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(DataFileError, match=r"deep\.png has more than 8 bits"):
        decode_image(tmp_path / "deep.png")
    _save(tmp_path / "whole.png", RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    torn = (tmp_path / "whole.png").read_bytes()[:2000]
    for name, content in {"torn.png": torn, "text.jpg": b"hello", "empty.jpg": b""}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataFileError, match=f"{name} cannot be read as an image"):
            decode_image(tmp_path / name)


def test_an_unreadable_image_is_found_when_it_is_its_turn(tmp_path: Path) -> None:
    _save(tmp_path / "a.png", PIXELS[0])
    (tmp_path / "b.png").write_bytes(b"no image")
    data = load_dataset(tmp_path, NCHW, preprocess="raw")
    data.sample(0)
    with pytest.raises(DataFileError, match=r"b\.png"):
        data.sample(1)


def test_images_of_the_right_size_are_neither_scaled_nor_cropped() -> None:
    sample = load_dataset({"x": PIXELS}, NHWC, preprocess="imagenet-tf").sample(0)["x"]
    np.testing.assert_allclose(sample[0], PIXELS[0] / 127.5 - 1, atol=1e-6)


def test_other_sizes_are_scaled_to_cover_the_input_and_cropped() -> None:
    image = RNG.integers(0, 256, (20, 40, 3), dtype=np.uint8)
    side = round(8 * 256 / 224)
    scaled = np.asarray(
        Image.fromarray(image).resize((round(40 * side / 20), side), Image.Resampling.BILINEAR)
    )
    top, left = round((side - 8) / 2), round((scaled.shape[1] - 8) / 2)
    want = scaled[top : top + 8, left : left + 8] / 127.5 - 1
    have = load_dataset({"x": image[None]}, NHWC, preprocess="imagenet-tf").sample(0)["x"][0]
    np.testing.assert_allclose(have, want, atol=2 / 127.5)
    np.testing.assert_array_equal(
        load_dataset({"x": image[None]}, NHWC, preprocess="raw").sample(0)["x"].shape, (1, 8, 8, 3)
    )


def test_sizes() -> None:
    assert covering_size((100, 200), (50, 50), 1.0) == (50, 100)
    assert covering_size((224, 224), (224, 224), 256 / 224) == (256, 256)
    assert covering_size((100, 200), (30, 90), 1.0) == (45, 90)
    assert shorter_side_size((100, 201), 50) == (50, 100)


def test_floats_are_not_scaled_in_size() -> None:
    with pytest.raises(PreprocessError, match="Only uint8 images can be scaled"):
        load_dataset({"x": np.zeros((1, 9, 9, 3), "f4")}, NHWC, preprocess="raw")


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(DataShapeError, match="takes an image"):
        load_dataset({"x": np.zeros((2, 5), np.uint8)}, NCHW, preprocess="raw")
    with pytest.raises(DataShapeError, match="has 3 channels, but the image has 2"):
        load_dataset({"x": np.zeros((2, 8, 8, 2), np.uint8)}, NCHW, preprocess="raw")


def test_an_ambiguous_layout_has_to_be_told(tmp_path: Path) -> None:
    inputs = {"x": TensorType((1, 3, 8, 3))}
    images = {"x": np.zeros((1, 8, 3, 3), np.uint8)}
    with pytest.raises(PreprocessError, match="which axis holds the channels"):
        load_dataset(images, inputs, preprocess="raw")
    (tmp_path / "p.toml").write_text('layout = "nchw"')
    assert load_dataset(images, inputs, preprocess=tmp_path / "p.toml").sample(0)
