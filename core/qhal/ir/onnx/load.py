"""From a path to an onnx-ir model without functions, nodes in topological order."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx_ir.passes.common import TopologicalSortPass

from qhal.errors import ModelFileError, ModelInvalidError
from qhal.ir.onnx.cut import computed, end_at
from qhal.ir.onnx.inline import inlined
from qhal.ir.onnx.weights import WeightFiles, location_of, map_file
from qhal.ir.onnx.wire import WireError, lift_weights

OLDEST_OPSET = 7


@dataclass(frozen=True, eq=False)
class ModelSource:
    """A model as it lies on disk.

    Attributes:
        model: its graph; large tensors are references into ``weights``.
        weights: where the values of its tensors come from.
        opset: version of the ai.onnx operators.
        computed: names of the tensors at which the file can be cut.
    """

    model: ir.Model
    weights: WeightFiles
    opset: int
    computed: frozenset[str]


def load(path: Path, outputs: Sequence[str] = ()) -> ModelSource:
    """Read a model file.

    Args:
        path: of the file.
        outputs: tensors at which the model ends; none for its own outputs.

    Raises:
        ModelFileError: the file is missing, empty, truncated, a folder or not ONNX.
        ModelInvalidError: it is ONNX, but the graph cannot be used.
        OptionError: the model does not compute one of the outputs.
    """
    data = map_file(path)
    proto = _parse(path, data)
    names = computed(proto.graph)
    if outputs:
        end_at(proto, outputs)
    try:
        with _quiet():
            model = ir.from_proto(proto)
            _check_names(model.graph)
            if model.functions:
                model = inlined(proto, model)
            TopologicalSortPass()(model)
    except Exception as error:
        reason = str(_innermost(error)).strip().rstrip(".") or type(error).__name__
        raise ModelInvalidError(
            f"The graph of {str(path)!r} is not valid: {reason}.",
            "onnx.checker.check_model may say more.",
        ) from error
    return ModelSource(model, WeightFiles(path, data), _opset(path, model), names)


def _parse(path: Path, data: memoryview) -> onnx.ModelProto:
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(lift_weights(data, location_of(path)))
    except (WireError, DecodeError) as error:
        raise ModelFileError(
            f"{str(path)!r} is truncated or not an ONNX file: {error}.",
            "Export or download it again.",
        ) from error
    if not proto.HasField("graph") or not proto.opset_import:
        raise ModelFileError(
            f"{str(path)!r} is not an ONNX model: it has no graph or no opset.",
            "Give a model that was exported to ONNX.",
        )
    return proto


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence onnx-ir's log of what is wrong with a graph; the reader raises an error for it."""
    logger = logging.getLogger("onnx_ir")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _check_names(graph: ir.Graph) -> None:
    """Refuse names that are not UTF-8, for which protobuf gives bytes."""
    for node in graph.all_nodes():
        values = [value for value in (*node.inputs, *node.outputs) if value is not None]
        names = [node.name, node.op_type, node.domain, *node.attributes]
        for name in (*names, *(value.name for value in values)):
            if not isinstance(name, str | None):
                raise ValueError(f"the name {name!r} is not UTF-8 text")


def _innermost(error: BaseException) -> BaseException:
    """Unwrap errors, which onnx-ir wraps once per nesting level: the first says what is wrong."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _opset(path: Path, model: ir.Model) -> int:
    versions = model.opset_imports
    opset = versions.get("", versions.get("ai.onnx", OLDEST_OPSET))
    if opset < OLDEST_OPSET:
        raise ModelInvalidError(
            f"{str(path)!r} has opset {opset}; qhal reads opset {OLDEST_OPSET} and newer.",
            "Convert it with onnx.version_converter.convert_version(model, 13).",
        )
    return opset
