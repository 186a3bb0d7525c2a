"""Ways to break an ONNX model; each changes it in place and says what it did."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fuzz.case import Random, often, pick

NUMBERS = (
    *(0, 1, -1, 2, -2, 3, 7, 255, 1 << 16, (1 << 31) - 1, 1 << 31, -(1 << 31), 1 << 40),
    *((1 << 63) - 1, -(1 << 63)),
)
REALS = (0.0, -0.0, 1.0, -1.0, 1e-30, 1e30, 3.4e38, -3.4e38, float("nan"), float("inf"), -1e-45)
NAMES = (
    *("", " ", "x0", "t0", "c0", "a" * 400, "../../up", "/etc/passwd", "a\nb", "\x1b[31mred"),
    *("<b>bold</b>", "`tick`", "a;b", "名前", "😀", "con", "a/b", "%s%n", "\x00zero", "\u202eltr"),
)
DTYPES = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 21, 22, 23, 99, -1)
KINDS = sorted({schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""})
DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft", "nobody", "ai.onnx.training")
ATTRIBUTE_TYPES = ("UNDEFINED", "FLOAT", "INT", "STRING", "TENSOR", "GRAPH", "INTS", "TYPE_PROTO")
TEXTS = ("", "SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET", "linear", "cubic", "reflect", "ij,jk")

Mutation = Callable[[Random, onnx.ModelProto], str]


def broken(random: Random, model: onnx.ModelProto) -> list[str]:
    """Break a model in up to four ways; return what was done."""
    done = []
    for _ in range(pick(random, (0, 1, 1, 1, 1, 1, 2, 2, 3, 4))):
        change = pick(random, MUTATIONS)
        try:
            done.append(change(random, model))
        except (IndexError, ValueError, TypeError, OverflowError, onnx.checker.ValidationError):
            continue  # nothing there to break that way, or protobuf does not take it
    return done


def _node(random: Random, model: onnx.ModelProto) -> onnx.NodeProto:
    nodes: list[onnx.NodeProto] = list(model.graph.node)
    return pick(random, nodes)


def _constant(random: Random, model: onnx.ModelProto) -> onnx.TensorProto:
    constants: list[onnx.TensorProto] = list(model.graph.initializer)
    return pick(random, constants)


def _number(random: Random) -> int:
    return pick(random, NUMBERS) if often(random, 0.7) else int(random.integers(-9, 10))


def _other_operator(random: Random, model: onnx.ModelProto) -> str:
    node = _node(random, model)
    was, node.op_type = node.op_type, pick(random, KINDS)
    return f"{node.name}: {was} becomes {node.op_type}"


def _domain(random: Random, model: onnx.ModelProto) -> str:
    node = _node(random, model)
    node.domain = pick(random, DOMAINS)
    if often(random, 0.5):
        model.opset_import.append(helper.make_opsetid(node.domain, _number(random)))
    return f"{node.name}: domain {node.domain!r}"


def _attribute(random: Random, model: onnx.ModelProto) -> str:
    """Set an attribute that the node has or could have to another value."""
    node = _node(random, model)
    names = [a.name for a in node.attribute]
    if onnx.defs.has(node.op_type):
        names += list(onnx.defs.get_schema(node.op_type).attributes)
    name = pick(random, names)
    kept = [a for a in node.attribute if a.name != name]
    old = next((a for a in node.attribute if a.name == name), None)
    del node.attribute[:]
    node.attribute.extend(kept)
    if often(random, 0.15):
        return f"{node.name}: {name} removed"
    made = _changed(random, old) if old is not None and often(random, 0.6) else _any(random, name)
    node.attribute.append(made)
    return f"{node.name}: {name} = {_spelled(made)}"


def _spelled(attribute: onnx.AttributeProto) -> str:
    return " ".join(str(attribute).split())[:120]


def _changed(random: Random, old: onnx.AttributeProto) -> onnx.AttributeProto:
    """Give the attribute another value of the same type."""
    new = onnx.AttributeProto()
    new.CopyFrom(old)
    if new.type == onnx.AttributeProto.INTS and new.ints:
        _list(random, new)
    elif new.type == onnx.AttributeProto.INT:
        new.i = _number(random)
    elif new.type == onnx.AttributeProto.FLOAT:
        new.f = pick(random, REALS)
    elif new.type == onnx.AttributeProto.STRING:
        new.s = pick(random, [b"\xff\xfe", *(t.encode() for t in TEXTS)])
    return new


def _list(random: Random, attribute: onnx.AttributeProto) -> None:
    way = int(random.integers(3))
    if way == 0:
        attribute.ints[int(random.integers(len(attribute.ints)))] = _number(random)
    elif way == 1:
        attribute.ints.append(_number(random))
    else:
        attribute.ints.pop()


def _any(random: Random, name: str) -> onnx.AttributeProto:
    """Make an attribute of any type."""
    choices = [
        _number(random),
        pick(random, REALS),
        pick(random, TEXTS),
        [_number(random) for _ in range(int(random.integers(1, 6)))],
        [pick(random, REALS)],
        numpy_helper.from_array(np.zeros(2, np.float32)),
        helper.make_graph([], "empty", [], []),
    ]
    attribute = helper.make_attribute(name, choices[int(random.integers(len(choices)))])
    if often(random, 0.1):
        attribute.type = onnx.AttributeProto.AttributeType.Value(pick(random, ATTRIBUTE_TYPES))
    return attribute


def _shape(random: Random, model: onnx.ModelProto) -> str:
    value = pick(random, [*model.graph.input, *model.graph.input, *model.graph.output])
    shape = value.type.tensor_type.shape
    way = int(random.integers(5))
    if way == 0:
        value.type.tensor_type.ClearField("shape")
    elif way == 1:
        shape.dim.add().dim_value = _number(random)
    elif way == 2:
        shape.dim.pop()
    elif way == 3:
        pick(random, list(shape.dim)).dim_param = pick(random, NAMES)
    else:
        pick(random, list(shape.dim)).dim_value = _number(random)
    return f"shape of {value.name}: {[d.dim_value or d.dim_param for d in shape.dim]}"


def _dtype(random: Random, model: onnx.ModelProto) -> str:
    value = pick(random, [*model.graph.input, *model.graph.output])
    value.type.tensor_type.elem_type = pick(random, DTYPES)
    return f"type of {value.name}: {value.type.tensor_type.elem_type}"


def _kind_of_value(random: Random, model: onnx.ModelProto) -> str:
    value = pick(random, [*model.graph.input, *model.graph.output])
    name = value.name
    element = helper.make_tensor_type_proto(TensorProto.FLOAT, [1])
    makers = [helper.make_sequence_type_proto, helper.make_optional_type_proto]
    value.type.CopyFrom(pick(random, makers)(element))
    if often(random, 0.3):
        value.ClearField("type")
    return f"{name} is no tensor"


def _name_node(random: Random, model: onnx.ModelProto) -> str:
    node = _node(random, model)
    node.name = pick(random, [*NAMES, *(n.name for n in model.graph.node)])
    return f"node name {node.name[:20]!r}"


def _name_tensor(random: Random, model: onnx.ModelProto) -> str:
    """Rename a tensor, everywhere or in one place."""
    graph = model.graph
    names = [*(i.name for i in graph.input), *(o for n in graph.node for o in n.output)]
    old, new = pick(random, [*names, *(c.name for c in graph.initializer)]), pick(random, NAMES)
    if often(random, 0.5):
        for node in graph.node:
            for names_of in (node.input, node.output):
                for i, name in enumerate(names_of):
                    if name == old:
                        names_of[i] = new
    for value in [*graph.input, *graph.output, *graph.initializer]:
        if value.name == old:
            value.name = new
    return f"tensor {old} is called {new[:20]!r}"


def _operand(random: Random, model: onnx.ModelProto) -> str:
    """Take an operand away, make it absent, double it, or read something else."""
    node, names = _node(random, model), [o for n in model.graph.node for o in n.output]
    i = int(random.integers(len(node.input)))
    way = int(random.integers(5))
    if way == 0:
        node.input[i] = ""
    elif way == 1:
        node.input.pop()
    elif way == 2:
        node.input.append(pick(random, [*node.input, ""]))
    elif way == 3:
        node.input[i] = pick(random, [*names, "nowhere"])
    else:
        node.input[:] = list(reversed(node.input))
    return f"{node.name} ({node.op_type}) reads {list(node.input)}"


def _output(random: Random, model: onnx.ModelProto) -> str:
    node, i = _node(random, model), int(random.integers(3))
    if i == 0:
        node.output.append(pick(random, ["extra", "", node.output[0]]))
    elif i == 1:
        node.output[0] = ""
    else:
        node.output.pop()
    return f"{node.name} makes {list(node.output)}"


def _values(random: Random, model: onnx.ModelProto) -> str:
    """Change elements of an initializer, such as shapes, axes and indices."""
    tensor = _constant(random, model)
    array = numpy_helper.to_array(tensor).copy()
    if array.dtype == np.int64:
        new = [_number(random) for _ in range(array.size)]
        some = random.random(array.shape) < 0.6
        array = np.where(some, np.reshape(np.array(new, np.int64), array.shape), array)
    else:
        filled = pick(random, REALS)
        array = np.where(random.random(array.shape) < 0.5, np.float32(filled), array)
    tensor.CopyFrom(numpy_helper.from_array(array.astype(np.dtype(array.dtype)), tensor.name))
    return f"values of {tensor.name}: {array.reshape(-1)[:6]}"


def _extent(random: Random, model: onnx.ModelProto) -> str:
    """Change the shape or type of an initializer, with as many bytes as before or not."""
    tensor = _constant(random, model)
    way = int(random.integers(6))
    array = numpy_helper.to_array(tensor)
    if way == 0:
        tensor.dims.append(_number(random))
    elif way == 1:
        del tensor.dims[-1:]
    elif way == 2:
        tensor.data_type = pick(random, DTYPES)
    elif way == 3:
        tensor.CopyFrom(numpy_helper.from_array(array.reshape(-1)[:1], tensor.name))
    elif way == 4:
        kinds = (np.float64, np.float16, np.int8, np.uint8, np.int32, np.bool_, np.complex64)
        with np.errstate(all="ignore"):
            tensor.CopyFrom(numpy_helper.from_array(array.astype(pick(random, kinds)), tensor.name))
    else:
        tensor.CopyFrom(numpy_helper.from_array(np.zeros((0, 3), array.dtype), tensor.name))
    return f"initializer {tensor.name}: {list(tensor.dims)} of type {tensor.data_type}"


def _external(random: Random, model: onnx.ModelProto) -> str:
    tensor = _constant(random, model)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    keys = {"location": pick(random, ["w.bin", "/etc/passwd", "../w", "", "m.onnx", "."])}
    if often(random, 0.6):
        keys |= {"offset": pick(random, ["0", "-1", "x", "99999999999999999999"]), "length": "16"}
    for key, value in keys.items():
        tensor.external_data.add(key=key, value=value)
    return f"{tensor.name} lies in {keys}"


def _opset(random: Random, model: onnx.ModelProto) -> str:
    way = int(random.integers(4))
    if way == 0:
        model.ir_version = pick(random, [0, 1, 3, 4, 8, 10, 12, 99, (1 << 31) - 1])
    elif way == 1:
        del model.opset_import[:]
    elif way == 2:
        model.opset_import.append(helper.make_opsetid("", int(random.integers(1, 30))))
    else:
        model.opset_import[0].version = pick(random, [*range(5, 27), 0, 1, 99, 1 << 40, -1])
    return f"IR {model.ir_version}, opsets {[o.version for o in model.opset_import]}"


def _structure(random: Random, model: onnx.ModelProto) -> str:
    graph, way = model.graph, int(random.integers(6))
    if way == 0:
        graph.node.append(_node(random, model))
    elif way == 1:
        graph.node.remove(_node(random, model))
    elif way == 2:
        nodes = [graph.node[int(i)] for i in random.permutation(len(graph.node))]
        kept = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
        del graph.node[:]
        graph.node.extend(kept)
    elif way == 3:
        _node(random, model).input[0] = _node(random, model).output[0]
    elif way == 4:
        graph.output.append(pick(random, [*graph.input, *graph.output]))
    else:
        graph.input.append(pick(random, list(graph.input)))
    return f"structure changed, way {way}"


def _outputs(random: Random, model: onnx.ModelProto) -> str:
    graph = model.graph
    names = [*(o for n in graph.node for o in n.output), *(c.name for c in graph.initializer), ""]
    if often(random, 0.2):
        del graph.output[:]
        return "no outputs"
    graph.output[0].name = pick(random, [*names, "nowhere"])
    return f"output {graph.output[0].name!r}"


def _initialized_input(random: Random, model: onnx.ModelProto) -> str:
    tensor = _constant(random, model)
    shape = list(tensor.dims) if often(random, 0.6) else [_number(random)]
    model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, shape))
    if often(random, 0.4):
        model.graph.initializer.remove(tensor)
    return f"{tensor.name} is an input of {shape}"


def _subgraph(random: Random, model: onnx.ModelProto) -> str:
    """Put a node into an If, a Loop or a Scan."""
    node = _node(random, model)
    inner = onnx.NodeProto.FromString(node.SerializeToString())
    inner.output[0] = f"{node.output[0]}_inner"
    made = [helper.make_tensor_value_info(inner.output[0], TensorProto.FLOAT, None)]
    kind = pick(random, ["If", "If", "Loop", "Scan"])
    read = node.input[0]
    del node.attribute[:]
    node.op_type = kind
    truth = numpy_helper.from_array(np.array(often(random, 0.5)), "condition")
    count = numpy_helper.from_array(np.array(pick(random, [0, 1, 3, -1, 1 << 40]), np.int64), "n")
    model.graph.initializer.extend([truth, count])
    if kind == "If":
        node.input[:] = ["condition" if often(random, 0.7) else read]
        for name in ("then_branch", "else_branch"):
            if often(random, 0.95):
                body = helper.make_graph([inner], name, [], made)
                node.attribute.append(helper.make_attribute(name, body))
    else:
        node.input[:] = ["n", "condition", read] if kind == "Loop" else [read]
        values = [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("k", TensorProto.BOOL, []),
        ]
        carried = helper.make_tensor_value_info("v", TensorProto.FLOAT, None)
        loop = kind == "Loop"
        body = helper.make_graph(
            [inner],
            "body",
            [*values, carried] if loop else [carried],
            [values[1], *made] if loop else made,
        )
        node.attribute.append(helper.make_attribute("body", body))
        if not loop:
            node.attribute.append(helper.make_attribute("num_scan_inputs", _number(random)))
    return f"{node.name} is a {kind}"


def _function(random: Random, model: onnx.ModelProto) -> str:
    """Turn a node into a call of a function of the model, which may call itself."""
    node = _node(random, model)
    inner = onnx.NodeProto.FromString(node.SerializeToString())
    name = "F" if often(random, 0.7) else node.op_type
    if often(random, 0.3):
        inner.op_type, inner.domain = name, "own"
    function = helper.make_function(
        "own", name, list(node.input), list(node.output), [inner], model.opset_import[:1]
    )
    del node.attribute[:]
    node.op_type, node.domain = name, "own"
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("own", 1))
    return f"{node.name} calls a function"


def _sparse(random: Random, model: onnx.ModelProto) -> str:
    tensor = _constant(random, model)
    values = numpy_helper.from_array(np.ones(1, np.float32), tensor.name)
    where = numpy_helper.from_array(np.array([_number(random)], np.int64), "i")
    made = helper.make_sparse_tensor(values, where, list(tensor.dims))
    model.graph.sparse_initializer.append(made)
    model.graph.initializer.remove(tensor)
    return f"{tensor.name} is sparse"


def _constant_node(random: Random, model: onnx.ModelProto) -> str:
    tensor = _constant(random, model)
    kinds: list[tuple[str, object]] = [
        ("value", tensor),
        ("value_float", pick(random, REALS)),
        ("value_ints", [_number(random)]),
        ("value_string", "text"),
        ("value_floats", [pick(random, REALS), 1.0]),
    ]
    name, value = kinds[int(random.integers(len(kinds)))]
    node = helper.make_node("Constant", [], [tensor.name])
    node.attribute.append(helper.make_attribute(name, value))
    model.graph.node.insert(0, node)
    model.graph.initializer.remove(tensor)
    return f"{tensor.name} is a Constant with {name}"


MUTATIONS: tuple[Mutation, ...] = (
    *(_other_operator, _attribute, _attribute, _attribute, _attribute, _shape, _shape, _dtype),
    *(_kind_of_value, _name_node, _name_tensor, _operand, _operand, _output, _values, _values),
    *(_values, _extent, _extent, _external, _opset, _structure, _outputs, _initialized_input),
    *(_subgraph, _function, _sparse, _constant_node, _domain),
)
