"""Calibration sees what the float model computes, and remembers it by content."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qhal.data import Dataset, load_dataset
from qhal.decisions import Code
from qhal.errors import DataValueError, InternalError, ModelInvalidError
from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.dtypes import DType
from qhal.ir.graph import Array, Graph, TensorType
from qhal.ir.ops import (
    Activation,
    Conv,
    DepthwiseConv,
    FullyConnected,
    Gather,
    Opaque,
    Relu,
    Reshape,
    Unary,
)
from qhal.progress import Advance
from qhal.quant import calibrate as calibrating
from qhal.quant import stats_cache
from qhal.quant.calibrate import calibrate
from qhal.quant.floatrun import FloatRun

RNG = np.random.default_rng(11)
IMAGES = RNG.normal(size=(9, 2, 6, 5)).astype(np.float32)
WEIGHT = RNG.normal(size=(4, 2, 3, 3)).astype(np.float32)
MATRIX = RNG.normal(size=(3, 120)).astype(np.float32)


def _network(*, fused: bool, weight: Array = WEIGHT) -> Graph:
    builder = GraphBuilder("net")
    x = builder.input("x", TensorType((1, 2, 6, 5)))
    act = Activation.RELU if fused else Activation.NONE
    conv = Conv((1, 1), (1, 1, 1, 1), (1, 1), activation=act)
    y = builder.one(conv, [x, builder.constant("w", weight)], name="y" if fused else "before")
    if not fused:
        y = builder.one(Relu(), [y], name="y")
    flat = builder.one(Reshape((1, 120)), [y], name="flat")
    out = builder.one(FullyConnected(), [flat, builder.constant("m", MATRIX)], name="out")
    return builder.build(outputs=[out])


def _data(images: Array = IMAGES) -> Dataset:
    return load_dataset({"x": images}, {"x": TensorType((1, 2, 6, 5))})


def _expected(graph: Graph, tensor: str) -> Array:
    run = FloatRun(graph, [tensor])
    return np.stack([run.run({"x": image[None]})[tensor].copy() for image in IMAGES])


@pytest.mark.parametrize("limit", [0, 1 << 30], ids=["one slot", "two slots"])
def test_statistics_are_those_of_the_float_model(
    monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr("qhal.quant.calibrate._OVERLAP_LIMIT_BYTES", limit)
    graph = _network(fused=True)
    found = calibrate(graph, _data(), ["x", "y", "out"], ["x", "flat"])
    assert found.stats.keys() == {"x", "y", "flat", "out"}
    assert found.samples == 9
    for name in ("y", "out"):
        values, stats = _expected(graph, name), found.stats[name]
        assert (stats.minimum, stats.maximum) == (values.min(), values.max())
        assert stats.histogram.total == values.size
    x = found.stats["x"]
    assert (x.minimum, x.maximum) == (IMAGES.min(), IMAGES.max())
    assert x.channel_mean is not None
    np.testing.assert_allclose(x.channel_mean, IMAGES.mean((0, 2, 3)), atol=1e-6)


def test_fully_connected_inputs_have_a_mean_per_feature() -> None:
    graph = _network(fused=True)
    stats = calibrate(graph, _data(), ["flat", "out"], ["flat"]).stats
    assert stats["flat"].channel_mean is not None
    np.testing.assert_allclose(
        stats["flat"].channel_mean, _expected(graph, "flat").mean((0, 1)), atol=1e-6
    )
    assert stats["out"].channel_mean is None


@pytest.mark.parametrize(
    ("shape", "traced"), [((1, 2, 5, 6), True), ((2, 30), True), ((1, 6, 10), False)]
)
def test_means_are_known_in_front_of_moves(shape: tuple[int, ...], traced: bool) -> None:
    b = GraphBuilder("moved")
    moved = b.one(ops.Reshape(shape), [b.input("x", TensorType((1, 2, 6, 5)))], name="moved")
    image = b.one(ops.Reshape((1, 2, 3, 10)), [moved], name="image")
    weight = b.constant("w", np.ones((3, 2, 1, 1), np.float32))
    op = ops.Conv((1, 1), (0, 0, 0, 0), (1, 1))
    graph = b.build(outputs=[b.one(op, [image, weight])])
    stats = calibrate(graph, _data(), ["x"], ["x"]).stats["x"]
    assert (stats.channel_mean is not None) is traced
    if stats.channel_mean is not None:
        np.testing.assert_allclose(stats.channel_mean, IMAGES.mean((0, 2, 3)), atol=1e-6)


def test_asking_for_an_unknown_tensor_is_a_bug() -> None:
    with pytest.raises(InternalError, match="absent"):
        calibrate(_network(fused=True), _data(), ["absent"])


def test_a_graph_without_nodes_has_statistics_of_its_inputs() -> None:
    builder = GraphBuilder("wire")
    x = builder.input("x", TensorType((1, 2, 6, 5)))
    assert calibrate(builder.build(outputs=[x]), _data(), ["x"]).stats["x"].maximum == IMAGES.max()


# --- cache --------------------------------------------------------------------


def _same(one: dict[str, object], other: dict[str, object]) -> None:
    assert one.keys() == other.keys()
    for name, a in one.items():
        b = other[name]
        assert (a.minimum, a.maximum) == (b.minimum, b.maximum)  # type: ignore[attr-defined]
        np.testing.assert_array_equal(a.histogram.counts, b.histogram.counts)  # type: ignore[attr-defined]
        np.testing.assert_array_equal(a.histogram.edges, b.histogram.edges)  # type: ignore[attr-defined]
        np.testing.assert_array_equal(a.channel_mean, b.channel_mean)  # type: ignore[attr-defined]
        np.testing.assert_array_equal(a.channel_extremes, b.channel_extremes)  # type: ignore[attr-defined]


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[Graph]:
    """The graphs that were really run, in turn."""
    ran: list[Graph] = []
    collect = calibrating._collect

    def counted(graph: Graph, *rest: Any) -> Any:
        ran.append(graph)
        return collect(graph, *rest)

    monkeypatch.setattr(calibrating, "_collect", counted)
    return ran


def test_the_second_time_nothing_runs(tmp_path: Path, passes: list[Graph]) -> None:
    graph = _network(fused=True)
    first = calibrate(graph, _data(), ["x", "y", "out"], cache=tmp_path)
    second = calibrate(graph, _data(), ["x", "y", "out"], cache=tmp_path)
    _same(dict(first.stats), dict(second.stats))
    calibrate(graph, _data(), ["flat"], cache=tmp_path)
    assert passes == [graph]


def test_the_cache_follows_weights_data_and_structure(tmp_path: Path, passes: list[Graph]) -> None:
    graph = _network(fused=True)
    calibrate(graph, _data(), ["y"], cache=tmp_path)
    changed = WEIGHT.copy()
    changed[0, 0, 0, 0] += 1
    for other in (_network(fused=True, weight=changed), _network(fused=False)):
        calibrate(other, _data(), ["y"], cache=tmp_path)
    calibrate(graph, _data().select([0, 1]), ["y"], cache=tmp_path)
    assert len(passes) == len(list(tmp_path.iterdir())) == 4


def test_names_do_not_matter_and_fused_is_the_same_as_apart() -> None:
    fused = stats_cache.tensor_digests(_network(fused=True))
    separate = stats_cache.tensor_digests(_network(fused=False))
    assert fused["y"] == separate["y"] != separate["before"]
    assert fused["out"] == separate["out"]
    renamed = replace(_network(fused=True), name="other")
    assert stats_cache.tensor_digests(renamed) == fused


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 no zip", None])
def test_damaged_files_are_ignored_and_rewritten(
    tmp_path: Path, passes: list[Graph], damage: bytes | None
) -> None:
    graph = _network(fused=True)
    assert calibrate(graph, _data(), ["y"], cache=tmp_path).decisions == ()
    [file] = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:700] if damage is None else damage)
    [decision] = calibrate(graph, _data(), ["y"], cache=tmp_path).decisions
    assert decision.code is Code.STATISTICS_IGNORED
    assert str(file) in decision.sentence
    assert calibrate(graph, _data(), ["y"], cache=tmp_path).decisions == ()
    assert len(passes) == 2
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def _doubled(arrays: dict[str, np.ndarray]) -> None:
    arrays["maximum"] = arrays["maximum"] * 2


def _of_another_shape(arrays: dict[str, np.ndarray]) -> None:
    arrays["minimum"] = arrays["minimum"][None]


def _without_a_histogram(arrays: dict[str, np.ndarray]) -> None:
    arrays["counts"] = np.zeros_like(arrays["counts"])


def _without_checksum(arrays: dict[str, np.ndarray]) -> None:
    del arrays["checksum"]


@pytest.mark.parametrize(
    "change", [_doubled, _of_another_shape, _without_a_histogram, _without_checksum]
)
def test_changed_statistics_change_no_result(
    tmp_path: Path, change: Callable[[dict[str, np.ndarray]], None]
) -> None:
    graph = _network(fused=True)
    first = calibrate(graph, _data(), ["x", "y", "out"], cache=tmp_path)
    [file] = tmp_path.iterdir()
    arrays = dict(np.load(file))
    change(arrays)
    np.savez(file, **arrays)
    second = calibrate(graph, _data(), ["x", "y", "out"], cache=tmp_path)
    _same(dict(first.stats), dict(second.stats))
    assert [d.code for d in second.decisions] == [Code.STATISTICS_IGNORED]
    assert calibrate(graph, _data(), ["y"], cache=tmp_path).decisions == ()


def test_statistics_of_other_data_under_this_name_are_not_used(tmp_path: Path) -> None:
    graph = _network(fused=True)
    calibrate(graph, _data().select([0]), ["y"], cache=tmp_path)
    [other] = tmp_path.iterdir()
    right = calibrate(graph, _data(), ["y"], cache=tmp_path)
    [file] = (path for path in tmp_path.iterdir() if path != other)
    file.write_bytes(other.read_bytes())
    found = calibrate(graph, _data(), ["y"], cache=tmp_path)
    _same(dict(right.stats), dict(found.stats))
    assert len(found.decisions) == 1


def test_a_pipe_in_the_place_of_statistics_blocks_nobody(tmp_path: Path) -> None:
    graph = _network(fused=True)
    calibrate(graph, _data(), ["y"], cache=tmp_path)
    [file] = tmp_path.iterdir()
    file.unlink()
    os.mkfifo(file)
    assert calibrate(graph, _data(), ["y"], cache=tmp_path).samples == 9
    assert file.is_file()


def test_a_cache_that_cannot_be_written_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    found = calibrate(_network(fused=True), _data(), ["y"], cache=tmp_path / "file")
    assert found.samples == 9


# --- what can go wrong --------------------------------------------------------


def test_nan_in_an_activation_names_the_tensor(tmp_path: Path, passes: list[Graph]) -> None:
    builder = GraphBuilder("log")
    x = builder.input("x", TensorType((1, 2, 6, 5)))
    logarithm = builder.one(Unary("Log"), [x], name="logarithm")
    graph = builder.build(outputs=[builder.one(Relu(), [logarithm], name="positive")])
    for _ in range(2):  # from the model, then from the cache
        with pytest.raises(DataValueError, match="'logarithm' becomes NaN or Inf"):
            calibrate(graph, _data(), ["logarithm"], cache=tmp_path)
    calibrate(graph, _data(), ["x"], cache=tmp_path)
    assert len(passes) == 1


def test_a_kernel_that_fails_names_the_sample() -> None:
    builder = GraphBuilder("table")
    ids = builder.input("ids", TensorType((1, 2), DType.INT64))
    table = builder.constant("table", np.ones((4, 3), np.float32))
    graph = builder.build(outputs=[builder.one(Gather(0), [table, ids], name="rows")])
    data = load_dataset({"ids": np.array([[0, 1], [2, 99]])}, {"ids": graph.tensors["ids"]})
    with pytest.raises(DataValueError, match=r"sample 1 of .*idx=99"):
        calibrate(graph, data, ["rows"])


def test_a_graph_that_the_runtime_refuses_is_one_clear_error() -> None:
    from onnx import helper

    proto = helper.make_node("NoSuchOperator", ["a"], ["b"])
    op = Opaque("", "NoSuchOperator", 13, proto.SerializeToString(), "unknown")
    graph = _network(fused=True)
    nodes = (*graph.nodes[:-1], replace(graph.nodes[-1], op=op, inputs=("flat",)))
    with pytest.raises(ModelInvalidError, match=r"cannot load the float model 'net'.*NoSuchOp"):
        calibrate(graph.with_nodes(nodes), _data(), ["y"])


def test_progress_counts_the_samples() -> None:
    class Counter:
        total, done = 0, 0

        @contextmanager
        def stage(self, title: str, total: int | None = None) -> Iterator[Advance]:
            self.total = total or 0
            yield self.advance

        def advance(self, units: int) -> None:
            self.done += units

    counter = Counter()
    calibrate(_network(fused=True), _data(), ["y"], progress=counter)
    assert (counter.total, counter.done) == (9, 9)


# --- memory -------------------------------------------------------------------


def _peak_bytes(samples: int, folder: Path) -> int:
    path = folder / f"{samples}.npz"
    np.savez_compressed(path, x=RNG.normal(size=(samples, 2, 64, 64)).astype(np.float32))
    builder = GraphBuilder("memory")
    x = builder.input("x", TensorType((1, 2, 64, 64)))
    graph = builder.build(outputs=[builder.one(Relu(), [x], name="y")])
    data = load_dataset(path, {"x": graph.tensors["x"]})
    tracemalloc.start()
    try:
        calibrate(graph, data, ["x", "y"], cache=folder)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_number_of_samples(tmp_path: Path) -> None:
    _peak_bytes(10, tmp_path)  # modules and caches that are loaded once
    growth = _peak_bytes(400, tmp_path) - _peak_bytes(40, tmp_path)
    assert growth < 0.02 * 360 * 2 * 64 * 64 * 4


def test_channels_in_front_of_a_depthwise_convolution_have_extremes(tmp_path: Path) -> None:
    builder = GraphBuilder("net")
    x = builder.input("x", TensorType((1, 2, 6, 5)))
    weight = builder.constant("w", WEIGHT[:2, :1])
    out = builder.one(DepthwiseConv((1, 1), (1, 1, 1, 1), (1, 1)), [x, weight], name="out")
    graph = builder.build(outputs=[out])
    expected = [IMAGES.min((0, 2, 3)), IMAGES.max((0, 2, 3))]
    for _ in ("fresh", "from the cache"):
        stats = calibrate(graph, _data(), ["x"], cache=tmp_path).stats["x"]
        assert stats.channel_extremes is not None
        np.testing.assert_array_equal(stats.channel_extremes, expected)
