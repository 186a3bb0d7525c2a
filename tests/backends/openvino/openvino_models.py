"""Small float models and their quantization, as the line does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qhal.data import Dataset, load_dataset
from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.graph import Graph, TensorType
from qhal.pipeline.served import find_target
from qhal.quant.assign import assign
from qhal.quant.calibrate import calibrate
from qhal.quant.choice import Choice
from qhal.quant.constraints import constrain
from qhal.quant.model import QuantModel
from qhal.quant.select import select

SAMPLES = 4

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Constant:
    """A random float constant."""

    shape: Shape


@dataclass(frozen=True, eq=False)
class Quantized:
    """A quantized model with what it was made from."""

    graph: Graph
    choices: Mapping[str, Choice]
    model: QuantModel
    data: Dataset


def single(op: ops.Op, operands: Sequence[Shape | Constant]) -> Graph:
    """One operator, called ``node``; a shape is an input."""
    builder, random = GraphBuilder("g"), np.random.default_rng(1)
    names = []
    for index, operand in enumerate(operands):
        if isinstance(operand, Constant):
            value = random.normal(0, 0.2, operand.shape).astype(np.float32)
            names.append(builder.constant(f"c{index}", value))
        else:
            builder.input(f"x{index}", TensorType(operand))
            names.append(f"x{index}")
    outputs = builder.add(op, names, name="node")
    return builder.build(outputs=outputs)


def quantize(graph: Graph, recipe: str = "w8a8", target: str = "openvino-cpu") -> Quantized:
    """Solve, calibrate on random data, and assign."""
    found = find_target(target, recipe).target
    choices = select(graph, found.caps, found.policy)
    constraints = constrain(graph, found.caps, found.policy, choices)
    data = random_data(graph)
    stats = calibrate(graph, data, constraints.to_observe, constraints.to_average).stats
    return Quantized(graph, choices, assign(constraints, stats, "minmax").model, data)


def random_data(graph: Graph) -> Dataset:
    """Uniform numbers from -1 to 2 for every input."""
    random = np.random.default_rng(0)
    types = {name: graph.tensors[name] for name in graph.inputs}
    samples = [
        {name: random.uniform(-1, 2, kind.shape).astype(np.float32) for name, kind in types.items()}
        for _ in range(SAMPLES)
    ]
    return load_dataset(lambda: samples, types, preprocess=None, labels=None, label_offset=0)


def sqnr_db(expected: np.ndarray, found: np.ndarray) -> float:
    """How much stronger the expected signal is than the difference."""
    noise = np.square(expected.astype(np.float64) - found).sum()
    return float(10 * np.log10(np.square(expected.astype(np.float64)).sum() / max(noise, 1e-30)))
