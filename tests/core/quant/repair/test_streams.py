"""Two models side by side: what a layer sees in each, and nothing left behind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import pytest

from qhal.data import Dataset, load_dataset
from qhal.errors import QhalError
from qhal.ir.build import GraphBuilder
from qhal.ir.dtypes import DType
from qhal.ir.graph import Graph, TensorType
from qhal.ir.ops import Add, Conv, FullyConnected, Relu, Reshape
from qhal.quant.covariance import ReceptiveField
from qhal.quant.model import QuantParams
from qhal.quant.repair import FittingSite, Refit, Streams, open_streams
from qhal.quant.repair import streams as streams_module

RNG = np.random.default_rng(17)
IMAGES = RNG.normal(size=(12, 2, 4, 4)).astype(np.float32)
FIRST = RNG.normal(size=(3, 2, 1, 1)).astype(np.float32)
SECOND = RNG.normal(size=(3, 3, 1, 1)).astype(np.float32)
MATRIX = RNG.normal(size=(5, 48)).astype(np.float32)
POINTWISE = Conv((1, 1), (0, 0, 0, 0), (1, 1))
SEEN_BY_SECOND = ReceptiveField(1, 3, (1, 1), (1, 1), (0, 0, 0, 0), (1, 1))


def network() -> Graph:
    """Two convolutions with a branch around the second, and a fully connected layer."""
    b = GraphBuilder("net")
    x = b.input("x", TensorType((1, 2, 4, 4)))
    one = b.one(POINTWISE, [x, b.constant("w1", FIRST)], name="first")
    active = b.one(Relu(), [one], name="relu")
    two = b.one(POINTWISE, [active, b.constant("w2", SECOND)], name="second")
    both = b.one(Add(), [active, two], name="add")
    flat = b.one(Reshape((1, 48)), [both], name="flat")
    out = b.one(FullyConnected(), [flat, b.constant("m", MATRIX)], name="out")
    return b.build(outputs=[out])


def data(images: np.ndarray = IMAGES) -> Dataset:
    return load_dataset({"x": images}, {"x": TensorType((1, 2, 4, 4))})


@contextmanager
def opened(params: Mapping[str, QuantParams] | None = None) -> Iterator[Streams]:
    with open_streams(Refit(network(), data()), params or {}) as streams:
        yield streams


def expected(weight: np.ndarray, images: np.ndarray = IMAGES) -> np.ndarray:
    """What the second convolution reads, (places, channels)."""
    made = np.einsum("oi,nihw->nohw", weight[:, :, 0, 0], images)
    return np.asarray(np.maximum(made, 0).transpose(0, 2, 3, 1).reshape(-1, 3))


def test_both_models_agree_until_something_is_stored() -> None:
    with opened() as streams:
        node = streams.find("second")
        assert node is not None
        whole, one, other = streams.moments(node, SEEN_BY_SECOND)
    rows = expected(FIRST)
    np.testing.assert_allclose(whole.mean[0], rows.mean(0), rtol=1e-4)
    np.testing.assert_allclose(whole.mean, whole.mean_float, rtol=1e-6)
    np.testing.assert_allclose(whole.covariance[0], np.cov(rows.T, bias=True), atol=1e-4)
    assert one.rows + other.rows == whole.rows == len(rows)


def test_a_stored_weight_and_bias_are_what_later_layers_see() -> None:
    changed, bias = FIRST * 0.5, np.array([1, 2, 3], np.float32)
    with opened() as streams:
        node = streams.find("first")
        assert node is not None
        streams.store(node, changed, bias)
        second = streams.find("second")
        assert second is not None
        whole, *_ = streams.moments(second, SEEN_BY_SECOND)
    made = np.einsum("oi,nihw->nohw", changed[:, :, 0, 0], IMAGES) + bias[:, None, None]
    rows = np.maximum(made, 0).transpose(0, 2, 3, 1).reshape(-1, 3)
    np.testing.assert_allclose(whole.mean[0], rows.mean(0), rtol=1e-4)
    np.testing.assert_allclose(whole.mean_float[0], expected(FIRST).mean(0), rtol=1e-4)


def test_quantized_activations_are_seen_as_their_steps() -> None:
    coarse = QuantParams.per_tensor(DType.UINT8, 0.5, 0)
    with opened({"relu": coarse}) as streams:
        second = streams.find("second")
        assert second is not None
        whole, *_ = streams.moments(second, SEEN_BY_SECOND)
    rows = np.clip(np.rint(expected(FIRST) / 0.5), 0, 255) * 0.5
    np.testing.assert_allclose(whole.mean[0], rows.mean(0), rtol=1e-3)


def test_nodes_that_were_passed_are_not_found_again() -> None:
    with opened() as streams:
        second = streams.find("second")
        assert second is not None
        streams.moments(second, SEEN_BY_SECOND)
        assert streams.find("first") is None
        assert streams.find("nothing") is None
        assert streams.find("second") is not None


def test_no_more_samples_than_needed_are_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams_module, "SAMPLES", 4)
    with opened() as streams:
        second = streams.find("second")
        assert second is not None
        whole, *_ = streams.moments(second, SEEN_BY_SECOND)
    assert whole.rows == 4 * 16


def test_files_go_when_the_block_ends_early() -> None:
    kept: list[Streams] = []
    with pytest.raises(QhalError, match="stop"), opened() as streams:
        kept.append(streams)
        second = streams.find("second")
        assert second is not None
        streams.moments(second, SEEN_BY_SECOND)
        raise QhalError("stop")
    assert not any(stream for stream in kept[0]._tapes)


def test_a_layer_has_no_site_if_another_reads_its_weight() -> None:
    b = GraphBuilder("shared")
    x = b.input("x", TensorType((1, 2, 4, 4)))
    weight = b.constant("w", FIRST[:2])
    one = b.one(POINTWISE, [x, weight], name="first")
    two = b.one(POINTWISE, [one, weight], name="second")
    graph = b.build(outputs=[two])
    with open_streams(Refit(graph, data()), {}) as streams:
        assert FittingSite.of(streams, "first", None) is None
        assert FittingSite.of(streams, "nothing", None) is None


def test_a_shuffled_layer_is_stored_in_the_order_of_the_float_model() -> None:
    order = np.random.default_rng(3).permutation(48)
    with opened() as streams:
        site = FittingSite.of(streams, "out", order)
        assert site is not None
        site.store(streams, FullyConnected(), MATRIX[:, order], None)
        stored, bias = streams._stored["out"]
    np.testing.assert_array_equal(stored, MATRIX)
    assert bias is None
