"""Ways to break an ONNX model that keep it well-formed: graphs that turn into others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fuzz.case import Base, Case, Random, Step, often, pick
from fuzz.models import grown
from fuzz.mutations import NAMES, NUMBERS, REALS
from fuzz.onnx_cases import CHECKED, RECIPES, TARGETS, samples

Rewire = Callable[[Random, onnx.ModelProto, Path], str]


def make(random: Random, folder: Path, base: Base) -> Case:
    """Make a model whose graph was rewired in one to three ways."""
    model = grown(random, int(random.integers(2, 9)))
    what = []
    for _ in range(pick(random, (1, 1, 1, 2, 3))):
        try:
            what.append(pick(random, REWIRES)(random, model, folder))
        except (IndexError, ValueError, TypeError, OverflowError):
            continue
    content = model.SerializeToString()
    if often(random, 0.1):
        content, said = _fields_swapped(random, content)
        what.append(said)
    (folder / "m.onnx").write_bytes(content)
    np.savez(folder / "d.npz", **samples(random, model))  # type: ignore[arg-type]
    checked = often(random, 0.15)
    target = pick(random, CHECKED if checked else TARGETS)
    where = ("--target", target, "--recipe", pick(random, RECIPES))
    steps = [Step(("check", "m.onnx", *where))]
    if not checked:
        argv = ("deploy", "m.onnx", *where, "--data", "d.npz", "--no-cache", "--out", "o")
        steps.append(Step(argv, "o"))
    return Case(tuple(steps), tuple(what))


def _fields_swapped(random: Random, content: bytes) -> tuple[bytes, str]:
    """Give fields of the protobuf other numbers or wire types, keeping their contents."""
    changed = bytearray(content)
    tags = [i for i, byte in enumerate(changed[:-1]) if byte in (0x0A, 0x12, 0x1A, 0x22, 0x2A, 8)]
    for _ in range(int(random.integers(1, 4))):
        where = pick(random, tags)
        changed[where] = pick(random, (0x0A, 0x12, 0x1A, 0x22, 0x2A, 0x3A, 0x42, 0x08, 0x0D, 0x09))
    return bytes(changed), "protobuf tags swapped"


def _names(model: onnx.ModelProto) -> list[str]:
    made = [name for node in model.graph.node for name in node.output]
    return [*made, *(value.name for value in model.graph.input)]


def _swapped_operands(random: Random, model: onnx.ModelProto, folder: Path) -> str:
    """Exchange the operands of two nodes, which may close a circle."""
    nodes = list(model.graph.node)
    one, other = pick(random, nodes), pick(random, nodes)
    a, b = int(random.integers(len(one.input))), int(random.integers(len(other.input)))
    one.input[a], other.input[b] = other.input[b], one.input[a]
    return f"operands of {one.name} and {other.name} exchanged"


def _rewired(random: Random, model: onnx.ModelProto, folder: Path) -> str:
    node = pick(random, list(model.graph.node))
    name = pick(random, _names(model))
    for i in range(len(node.input)):
        if often(random, 0.6):
            node.input[i] = name
    return f"{node.name} reads {name}"


def _repeated(random: Random, model: onnx.ModelProto, folder: Path) -> str:
    """Put many copies of a node in a row, or side by side into one Concat or Sum."""
    node, count = pick(random, list(model.graph.node)), pick(random, (2, 17, 90, 300))
    name = node.output[0]
    made = []
    for i in range(count):
        copy = onnx.NodeProto.FromString(node.SerializeToString())
        copy.name, copy.output[0] = f"{node.name}_{i}", f"{name}_{i}"
        made.append(copy)
    kind = pick(random, ("Concat", "Sum", "Max"))
    joined = helper.make_node(kind, [m.output[0] for m in made], [f"{name}_all"], f"{name}_all")
    if kind == "Concat":
        joined.attribute.append(helper.make_attribute("axis", pick(random, (0, 1, -1, 5))))
    model.graph.node.extend([*made, joined])
    model.graph.output.append(helper.make_tensor_value_info(f"{name}_all", TensorProto.FLOAT, None))
    return f"{count} copies of {node.name} in a {kind}"


def _chain(random: Random, model: onnx.ModelProto, folder: Path) -> str:
    """Put a long chain behind a tensor."""
    count, kind = pick(random, (40, 400)), pick(random, ("Relu", "Identity", "Neg", "Abs"))
    name = pick(random, _names(model))
    for i in range(count):
        model.graph.node.append(helper.make_node(kind, [name], [f"chain{i}"], f"chain{i}"))
        name = f"chain{i}"
    model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    return f"{count} times {kind}"


def _pair_behind(
    random: Random, model: onnx.ModelProto, scale: object, zero: object, dtype: int
) -> str:
    """Put a QuantizeLinear and a DequantizeLinear behind a tensor."""
    name = pick(random, _names(model))
    parts = {"qdq_scale": np.asarray(scale, np.float32)}
    kept = [numpy_helper.from_array(array, key) for key, array in parts.items()]
    kind = helper.tensor_dtype_to_np_dtype(dtype)
    kept.append(numpy_helper.from_array(np.asarray(zero).astype(kind), "qdq_zero"))
    model.graph.initializer.extend(kept)
    operands = ["qdq_scale", "qdq_zero"]
    model.graph.node.extend(
        [
            helper.make_node("QuantizeLinear", [name, *operands], ["qdq_q"], "qdq_q"),
            helper.make_node("DequantizeLinear", ["qdq_q", *operands], ["qdq_d"], "qdq_d"),
        ]
    )
    model.graph.output.append(helper.make_tensor_value_info("qdq_d", TensorProto.FLOAT, None))
    return name


def _odd_qdq(random: Random, model: onnx.ModelProto, folder: Path) -> str:
    scales: tuple[object, ...] = (*REALS, [0.1, float("nan")], [0.1] * 3, [], [[0.1]], 1e-42)
    scale, zero = pick(random, scales), pick(random, (0, 255, -1, [1, 2], [1] * 3, 128))
    dtype = pick(
        random, (TensorProto.INT8, TensorProto.UINT8, TensorProto.INT16, TensorProto.INT32)
    )
    name = _pair_behind(random, model, scale, zero, dtype)
    return f"Q and DQ behind {name}: scale {scale}, zero point {zero}, type {dtype}"


def _circle_of_functions(random: Random, model: onnx.ModelProto, folder: Path) -> str:
    """Let functions call each other: in a circle, or in a tower that doubles at each floor."""
    count, circle = pick(random, (2, 3, 12, 24)), often(random, 0.6)
    opsets = [*model.opset_import, helper.make_opsetid("own", 1)]
    for i in range(count):
        last = i == count - 1 and not circle
        called, domain = ("Relu", "") if last else (f"F{(i + 1) % count}", "own")
        body = [
            helper.make_node(called, ["a"], ["m"], domain=domain),
            helper.make_node(called, ["m"], ["b"], domain=domain),
        ]
        made = helper.make_function("own", f"F{i}", ["a"], ["b"], body, opsets)
        model.functions.append(made)
    node = pick(random, list(model.graph.node))
    del node.attribute[:], node.input[1:]
    node.op_type, node.domain = "F0", "own"
    model.opset_import.append(helper.make_opsetid("own", 1))
    return f"{count} functions, {'circle' if circle else 'tower'}"


def _deep_subgraphs(random: Random, model: onnx.ModelProto, folder: Path) -> str:
    """Nest Ifs; what they read lies outside, or is their own output."""
    name, depth = pick(random, _names(model)), pick(random, (2, 8, 40))
    truth = numpy_helper.from_array(np.array(True), "truth")
    model.graph.initializer.append(truth)
    inner = helper.make_node("Relu", [name], ["in0"], "in0")
    for i in range(depth):
        value = helper.make_tensor_value_info(inner.output[0], TensorProto.FLOAT, None)
        body = helper.make_graph([inner], f"g{i}", [], [value])
        cond = pick(random, ("truth", "truth", "truth", name, f"in{i + 1}"))
        inner = helper.make_node(
            "If", [cond], [f"in{i + 1}"], f"in{i + 1}", then_branch=body, else_branch=body
        )
    model.graph.node.append(inner)
    value = helper.make_tensor_value_info(inner.output[0], TensorProto.FLOAT, None)
    model.graph.output.append(value)
    return f"{depth} Ifs in each other"


def _outside(random: Random, model: onnx.ModelProto, folder: Path) -> str:
    """Put a constant into a file that is a link, a hole, too short, or elsewhere."""
    tensor = pick(random, list(model.graph.initializer))
    content, way = numpy_helper.to_array(tensor).tobytes(), int(random.integers(7))
    place = folder / "w.bin"
    location, offset, length = "w.bin", "0", str(len(content))
    if way == 0:
        place.symlink_to("/etc/passwd")
    elif way == 1:
        place.symlink_to("w.bin")
    elif way == 2:
        with place.open("wb") as file:
            file.truncate(1 << 40)
        offset = str((1 << 40) - len(content))
    elif way == 3:
        place.write_bytes(content[:-1])
    elif way == 4:
        (folder / "sub").mkdir()
        (folder / "up.bin").write_bytes(content)
        location = "sub/../up.bin"
    elif way == 5:
        place.write_bytes(content)
        offset, length = pick(random, ("4096", "-4096", "1e3")), pick(random, ("0", "-1", "9" * 19))
    else:
        place.write_bytes(content)
        location = pick(random, ("./w.bin", "w.bin/", "//w.bin", "W.BIN", "w\0.bin", "\\w.bin"))
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=value)
    return f"{tensor.name} lies in {location!r}, way {way}"


def _odd_sparse(random: Random, model: onnx.ModelProto, folder: Path) -> str:
    tensor = pick(random, list(model.graph.initializer))
    count = int(random.integers(0, 4))
    values = numpy_helper.from_array(random.normal(size=count).astype(np.float32), tensor.name)
    rank = pick(random, (1, 2, len(tensor.dims)))
    places = np.array([[pick(random, NUMBERS)] * rank] * count, np.int64)
    if rank == 1:
        places = places.reshape(-1)
    dims = pick(random, (list(tensor.dims), [], [1 << 40], [-1], [0, 3], [1 << 20] * 4))
    where = numpy_helper.from_array(places, "i")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, where, dims))
    model.graph.initializer.remove(tensor)
    return f"{tensor.name} is sparse, {places.shape} of {dims}"


def _extreme_shape(random: Random, model: onnx.ModelProto, folder: Path) -> str:
    """Make tensors that are huge, thin, or of very many dimensions, by a node of their own."""
    name = pick(random, _names(model))
    kind = pick(random, ("Reshape", "Expand", "Tile", "Unsqueeze", "Pad", "ConstantOfShape"))
    shape = pick(
        random,
        (
            *([1] * 12, [1] * 70, [1, -1, -1], [0, 0], [1 << 31], [1 << 16, 1 << 16], [-1, 0]),
            *([(1 << 63) - 1], [-(1 << 63)], [1 << 32, 1 << 32], [3, 1, 1 << 30], list(range(9))),
        ),
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), "extreme"))
    operands = ["extreme"] if kind == "ConstantOfShape" else [name, "extreme"]
    model.graph.node.append(helper.make_node(kind, operands, ["extremely"], "extremely"))
    value = helper.make_tensor_value_info("extremely", TensorProto.FLOAT, None)
    model.graph.output.append(value)
    return f"{kind} by {shape}"


def _bytes_in_text(random: Random, model: onnx.ModelProto, folder: Path) -> str:
    """Put bytes that are no text, or odd names, where text stands."""
    node = pick(random, list(model.graph.node))
    node.attribute.append(helper.make_attribute("auto_pad", b"\xff\xfe\x00"))
    model.producer_name = pick(random, NAMES)
    model.graph.name, model.graph.doc_string = pick(random, NAMES), pick(random, NAMES) * 99
    model.metadata_props.add(key=pick(random, NAMES), value="v" * 99)
    return f"odd texts at {node.name}"


def _typed_otherwise(random: Random, model: onnx.ModelProto, folder: Path) -> str:
    """Cast a tensor to another type and back, with the nodes between them."""
    node = pick(random, list(model.graph.node))
    place = list(model.graph.node).index(node)
    kind = pick(random, (1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 16, 17, 8, 14, 15))
    cast = helper.make_node("Cast", [node.input[0]], ["cast_in"], "cast_in", to=kind)
    node.input[0] = "cast_in"
    model.graph.node.insert(place, cast)
    return f"{node.name} reads type {kind}"


def _bound_to_itself(random: Random, model: onnx.ModelProto, folder: Path) -> str:
    """Let an output be an input, a constant, or be made twice."""
    graph = model.graph
    output = pick(random, list(graph.output))
    choices = [*(v.name for v in graph.input), *(t.name for t in graph.initializer)]
    output.name = pick(random, choices)
    return f"an output is {output.name}"


REWIRES: tuple[Rewire, ...] = (
    *(_swapped_operands, _swapped_operands, _rewired, _rewired, _repeated, _chain, _odd_qdq),
    *(_odd_qdq, _circle_of_functions, _deep_subgraphs, _outside, _outside, _odd_sparse),
    *(_extreme_shape, _extreme_shape, _bytes_in_text, _typed_otherwise, _bound_to_itself),
)
