"""Models of the zoo, quantized and lowered for Arm's targets."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from qhal.data import Dataset
from qhal.ir.importer import import_model
from qhal.pipeline.prepare import prepare
from qhal.pipeline.served import find_target
from qhal.plugin.backend import Artifact
from qhal.plugin.registry import registry
from qhal.quant.assign import assign
from qhal.quant.calibrate import calibrate
from qhal.quant.constraints import constrain, refuse
from qhal.quant.model import QuantModel
from qhal.testing.samples import random_data

SHAPES = {"mobilenet_v2": {"input": (1, 3, 224, 224)}}


@cache
def quantize(file: Path, target: str) -> tuple[QuantModel, Dataset]:
    """A model of the zoo, calibrated with noise: placement and memory do not depend on data."""
    chosen = find_target(target, "w8a8").target
    ready = prepare(chosen, import_model(file, SHAPES.get(file.stem)))
    refuse(ready.choices, ready.laid.graph, target)
    constraints = constrain(ready.laid.graph, chosen.caps, chosen.policy, ready.choices)
    data = random_data(ready.imported.graph, count=4)
    observed = ready.laid.sources_of(constraints.to_observe)
    averaged = ready.laid.sources_of(constraints.to_average)
    found = calibrate(ready.legal.graph, data, observed, averaged)
    stats = ready.laid.with_sources(found.stats)
    return assign(constraints, stats, "minmax", ready.laid.element_order).model, data


@cache
def lower(file: Path, target: str) -> Artifact:
    backend, profile = registry().resolve(target)
    return backend.lower(quantize(file, target)[0], profile)
