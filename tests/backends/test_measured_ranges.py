"""Masks and joins of different ranges, deployed and run, against the float model in onnxruntime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from qhal.ir.graph import Array
from qhal.pipeline.line import lower_line
from qhal.pipeline.options import Options
from qhal.pipeline.session import Session
from qhal.pipeline.stages import Stages

TARGETS = ("cpu", "tflite")
FLOOR_DB = 25.0
TOKENS, WIDTH = 6, 8
LOWEST = float(np.finfo(np.float32).min)


@dataclass
class Draft:
    """An ONNX model in the making, with the samples of its inputs."""

    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(5))
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    samples: dict[str, Array] = field(default_factory=dict)

    def input(self, name: str, values: Array) -> str:
        self.samples[name] = values
        return name

    def random(self, *shape: int, by: float = 1.0) -> Array:
        return (by * self.rng.normal(size=shape)).astype(np.float32)

    def constant(self, value: Any, kind: Any = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def whole(self, *numbers: int) -> str:
        return self.constant(numbers, np.int64)

    def add(self, kind: str, *inputs: Any, **attributes: Any) -> str:
        names = [x if isinstance(x, str) else self.constant(x) for x in inputs]
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, names, [name], f"{kind}_{name}", **attributes))
        return name

    def save(self, folder: Path, outputs: Sequence[str]) -> Path:
        inputs = [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(values.dtype), values.shape[1:]
            )
            for name, values in self.samples.items()
        ]
        results = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs]
        graph = helper.make_graph(self.nodes, "draft", inputs, results, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        onnx.save(onnx.shape_inference.infer_shapes(model), folder / "draft.onnx")
        return folder / "draft.onnx"


@dataclass(frozen=True)
class Ran:
    """Results of the float model and of the artifact, by output, for all samples."""

    wanted: dict[str, Array]
    got: dict[str, Array]

    def sqnr(self, name: str, axis: int | None = None) -> float:
        """In dB; of the worst slice along an axis of the samples."""
        a, b = self.wanted[name], self.got[name]
        if axis is None:
            return _sqnr(a, b)
        return min(
            _sqnr(np.take(a, [i], axis), np.take(b, [i], axis)) for i in range(a.shape[axis])
        )


def _sqnr(wanted: Array, got: Array) -> float:
    a, b = wanted.astype(np.float64), got.astype(np.float64)
    assert np.isfinite(b).all()
    return float(10 * np.log10(np.square(a).sum() / max(np.square(a - b).sum(), 1e-30)))


def deployed(draft: Draft, outputs: Sequence[str], target: str, folder: Path) -> Ran:
    """Lower a model, run its artifact on all samples, and the float model beside it."""
    import onnxruntime

    path = draft.save(folder, outputs)
    options = Options(draft.samples, calib_samples=16)
    subject = lower_line(Session(path, options), target, options, Stages()).subject
    runner = subject.load()
    assert runner is not None
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    wanted: dict[str, list[Array]] = {name: [] for name in outputs}
    got: dict[str, list[Array]] = {name: [] for name in outputs}
    for index in range(len(next(iter(draft.samples.values())))):
        sample = {name: values[index] for name, values in draft.samples.items()}
        ran = subject.adapter.to_user(runner.run(subject.adapter.to_artifact(sample)))
        for name, value in zip(outputs, session.run(list(outputs), sample), strict=True):
            wanted[name].append(value)
            got[name].append(ran[name].reshape(value.shape))
    return Ran(
        {name: np.stack(values) for name, values in wanted.items()},
        {name: np.stack(values) for name, values in got.items()},
    )


# --- masks ----------------------------------------------------------------------

KEEP = np.ones((16, 1, TOKENS), np.float32)
KEEP[::2, :, 4:] = 0
KEEP[::3, :, 5:] = 0
CAUSAL = np.triu(np.ones((1, TOKENS, TOKENS), bool), 1)

Mask = Callable[[Draft, str], str]
"""Masks the scores of a draft."""


def rows(d: Draft, mask: str) -> str:
    """One more dimension, which the rows of the scores broadcast over."""
    return d.add("Unsqueeze", mask, d.whole(1))


def dropped(d: Draft, low: float) -> str:
    """``(1 - keep) * low`` of an input."""
    return d.add("Mul", d.add("Sub", 1.0, d.input("keep", KEEP)), low)


def product_moved(d: Draft, scores: str) -> str:
    return d.add("Add", scores, rows(d, dropped(d, -1e9)))


def of_integers(d: Draft, scores: str) -> str:
    keep = d.add("Cast", d.input("keep", KEEP.astype(np.int64)), to=TensorProto.FLOAT)
    return d.add("Add", scores, rows(d, d.add("Mul", d.add("Sub", 1.0, keep), LOWEST)))


def subtracted(d: Draft, scores: str) -> str:
    keep = rows(d, d.input("keep", KEEP))
    return d.add("Sub", scores, d.add("Mul", d.add("Sub", 1.0, keep), 1e30))


def infinite_input(d: Draft, scores: str) -> str:
    values = np.where(KEEP > 0, 0, -np.inf).astype(np.float32)
    return d.add("Add", scores, rows(d, d.input("keep", values)))


def lowest_input(d: Draft, scores: str) -> str:
    values = np.where(KEEP > 0, 0, LOWEST).astype(np.float32)
    return d.add("Add", scores, rows(d, d.input("keep", values)))


def chosen(d: Draft, scores: str) -> str:
    return d.add("Where", rows(d, d.input("keep", KEEP > 0)), scores, -np.inf)


def chosen_then_added(d: Draft, scores: str) -> str:
    return d.add("Add", rows(d, d.add("Where", d.input("keep", KEEP > 0), 0.0, LOWEST)), scores)


def chosen_from_an_input(d: Draft, scores: str) -> str:
    low = d.input("low", np.full((16, 1), -1e9, np.float32))
    return d.add("Where", rows(d, d.input("keep", KEEP > 0)), scores, low)


def two_masks(d: Draft, scores: str) -> str:
    causal = np.where(CAUSAL, -np.inf, 0.0)
    return d.add("Add", scores, d.add("Add", rows(d, dropped(d, -1e9)), causal))


def two_masks_bounded(d: Draft, scores: str) -> str:
    both = d.add("Add", rows(d, dropped(d, LOWEST)), np.where(CAUSAL, LOWEST, 0.0))
    return d.add("Add", scores, d.add("Max", both, LOWEST))


def expanded(d: Draft, scores: str) -> str:
    mask = d.add("Expand", rows(d, dropped(d, -1e9)), d.whole(1, TOKENS, TOKENS))
    return d.add("Add", scores, mask)


def with_a_bias(d: Draft, scores: str) -> str:
    bias = d.random(1, TOKENS, TOKENS, by=2)
    return d.add("Add", scores, d.add("Add", rows(d, dropped(d, -1e9)), bias))


def bias_in_the_mask(d: Draft, scores: str) -> str:
    bias = d.random(1, TOKENS, TOKENS, by=2)
    return d.add("Add", scores, np.where(CAUSAL, -1e9, bias))


def scaled_behind(d: Draft, scores: str) -> str:
    return d.add("Mul", product_moved(d, scores), 0.5)


def moved_behind(d: Draft, scores: str) -> str:
    return d.add("Reshape", product_moved(d, scores), d.whole(1, TOKENS, TOKENS))


def choose_past(d: Draft, scores: str, low: float = -np.inf) -> str:
    return d.add("Where", d.constant(~CAUSAL, np.bool_), scores, low)


def chosen_and_a_constant(d: Draft, scores: str) -> str:
    padding = np.where(np.arange(TOKENS) < TOKENS - 1, 0, LOWEST)
    return d.add("Add", choose_past(d, scores), padding.reshape(1, 1, -1))


def chosen_and_an_input(d: Draft, scores: str) -> str:
    return lowest_input(d, choose_past(d, scores))


def chosen_and_integers(d: Draft, scores: str) -> str:
    return of_integers(d, choose_past(d, scores))


def chosen_and_bounded(d: Draft, scores: str) -> str:
    return d.add("Max", d.add("Add", choose_past(d, scores, LOWEST), 0.5), LOWEST)


def chosen_twice_and_moved(d: Draft, scores: str) -> str:
    past = d.add("Mul", chosen(d, choose_past(d, scores)), 0.5)
    moved = d.add("Transpose", d.add("Reshape", past, d.whole(TOKENS, TOKENS)), perm=[1, 0])
    both = d.add("Add", moved, np.where(CAUSAL[0].T, LOWEST, 0.25))
    return d.add("Reshape", d.add("Transpose", both, perm=[1, 0]), d.whole(1, TOKENS, TOKENS))


def bias_input_in_the_mask(d: Draft, scores: str) -> str:
    bias = np.where(KEEP > 0, d.random(*KEEP.shape), -1e4).astype(np.float32)
    both = d.add("Add", rows(d, d.input("bias", bias)), np.where(CAUSAL, -1e9, 0))
    return d.add("Add", scores, both)


def biases_above_zero(d: Draft, scores: str) -> str:
    """The operand's zero point is negative: far below it LiteRT's QUANTIZE wraps around."""
    values = np.where(KEEP > 0, 20 + 4 * d.random(*KEEP.shape), -np.inf).astype(np.float32)
    return d.add("Add", scores, rows(d, d.input("bias", values)))


MASKS: tuple[Mask, ...] = (
    *(product_moved, of_integers, subtracted, infinite_input, lowest_input, chosen),
    *(chosen_then_added, chosen_from_an_input, two_masks, two_masks_bounded, expanded),
    *(with_a_bias, bias_in_the_mask, scaled_behind, moved_behind),
)
MASKS_BEHIND_MASKS: tuple[Mask, ...] = (
    *(chosen_and_a_constant, chosen_and_an_input, chosen_and_integers, chosen_and_bounded),
    *(chosen_twice_and_moved, bias_input_in_the_mask, biases_above_zero),
)


def attention(mask: Mask) -> tuple[Draft, tuple[str, str]]:
    """One head; its probabilities are an output too."""
    d = Draft()
    x = d.input("x", d.random(16, 1, TOKENS, WIDTH))
    query, key = (d.add("MatMul", x, d.random(WIDTH, WIDTH, by=0.4)) for _ in "qk")
    scores = d.add("MatMul", query, d.add("Transpose", key, perm=[0, 2, 1]))
    shares = d.add("Softmax", mask(d, d.add("Div", scores, 2.83)), axis=-1)
    return d, (shares, d.add("MatMul", shares, d.add("MatMul", x, d.random(WIDTH, WIDTH))))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("mask", MASKS, ids=lambda mask: mask.__name__)
def test_masked_scores_get_nothing_and_the_others_are_precise(
    mask: Mask, target: str, tmp_path: Path
) -> None:
    check_attention(mask, target, tmp_path)


@pytest.mark.parametrize("target", [*TARGETS, "cortex-m7"])
@pytest.mark.parametrize("mask", MASKS_BEHIND_MASKS, ids=lambda mask: mask.__name__)
def test_a_mask_behind_a_mask_leaves_the_scores_between_them_their_steps(
    mask: Mask, target: str, tmp_path: Path
) -> None:
    check_attention(mask, target, tmp_path)


def check_attention(mask: Mask, target: str, folder: Path) -> None:
    draft, (shares, result) = attention(mask)
    ran = deployed(draft, (shares, result), target, folder)
    masked = ran.wanted[shares] == 0
    assert masked.any()
    assert ran.got[shares][masked].max() <= 1 / 256
    assert ran.sqnr(shares) > FLOOR_DB
    assert ran.sqnr(result) > FLOOR_DB


# --- joins ----------------------------------------------------------------------

Join = Callable[[Draft, str, str], str]
"""Joins boxes in pixels with scores, both of four channels."""


def concat(d: Draft, boxes: str, scores: str) -> str:
    return d.add("Concat", boxes, scores, axis=1)


def concat_moved(d: Draft, boxes: str, scores: str) -> str:
    y = d.add("Reshape", concat(d, boxes, scores), d.whole(1, 8, 36))
    return d.add("Transpose", d.add("Transpose", y, perm=[0, 2, 1]), perm=[0, 2, 1])


def concat_scaled(d: Draft, boxes: str, scores: str) -> str:
    return d.add("Mul", concat(d, boxes, scores), 0.25)


def concat_chain(d: Draft, boxes: str, scores: str) -> str:
    return d.add("Concat", concat(d, boxes, scores), d.add("Mul", scores, 0.125), axis=1)


def stacked(d: Draft, boxes: str, scores: str) -> str:
    columns = [d.add("Unsqueeze", name, d.whole(1)) for name in (boxes, scores)]
    return d.add("Concat", *columns, axis=1)


def where(d: Draft, boxes: str, scores: str) -> str:
    upper = d.constant(np.arange(4).reshape(1, 4, 1, 1) < 2, np.bool_)
    return d.add("Where", upper, boxes, scores)


def maximum(d: Draft, boxes: str, scores: str) -> str:
    floor = np.array([-500, -500, 0.2, 0.3], np.float32).reshape(1, 4, 1, 1)
    return d.add("Max", scores, floor)


def added_to_a_grid(d: Draft, boxes: str, scores: str) -> str:
    grid = np.array([0, 0, 300, 600], np.float32).reshape(1, 4, 1, 1)
    return d.add("Add", scores, grid)


JOINS: tuple[Join, ...] = (
    *(concat, concat_moved, concat_scaled, concat_chain, stacked, where, maximum),
    added_to_a_grid,
)


def detector(join: Join) -> tuple[Draft, str]:
    d = Draft()
    x = d.input("x", d.random(16, 1, 3, 6, 6))
    offset = np.full(4, 200, np.float32)
    boxes = d.add("Conv", x, d.random(4, 3, 1, 1, by=40), offset)
    scores = d.add("Sigmoid", d.add("Conv", x, d.random(4, 3, 1, 1)))
    return d, join(d, boxes, scores)


@pytest.mark.parametrize("target", (*TARGETS, "openvino-cpu"))
@pytest.mark.parametrize("join", JOINS, ids=lambda join: join.__name__)
def test_each_part_of_a_float_output_keeps_its_steps(
    join: Join, target: str, tmp_path: Path
) -> None:
    if target == "openvino-cpu":
        pytest.importorskip("openvino")
    draft, result = detector(join)
    ran = deployed(draft, (result,), target, tmp_path)
    assert ran.sqnr(result, axis=2) > FLOOR_DB


@pytest.mark.parametrize("target", TARGETS)
def test_a_layer_behind_a_join_sees_the_narrow_operand(target: str, tmp_path: Path) -> None:
    draft, joined = detector(concat)
    small, usual = draft.random(4, 4, 1, 1, by=1e-3), draft.random(4, 4, 1, 1)
    result = draft.add("Conv", joined, np.concatenate((small, usual), axis=1))
    assert deployed(draft, (result,), target, tmp_path).sqnr(result) > FLOOR_DB


@pytest.mark.parametrize("target", TARGETS)
def test_padding_far_beyond_the_values_leaves_them_their_steps(target: str, tmp_path: Path) -> None:
    draft, _ = detector(concat)
    padded = draft.add("Pad", draft.add("Sigmoid", "x"), draft.whole(0, 0, 1, 1, 0, 0, 1, 1), 1e4)
    whole = (draft.whole(1, 1), draft.whole(7, 7), draft.whole(2, 3))
    result = draft.add("Slice", padded, *whole)
    assert deployed(draft, (result,), target, tmp_path).sqnr(result) > FLOOR_DB
