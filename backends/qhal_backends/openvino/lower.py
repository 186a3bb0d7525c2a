"""QuantModel -> an ``ov.Model`` that OpenVINO's plugins turn into integer kernels.

The model is written as OpenVINO's own tools write one: every tensor is float, ``FakeQuantize``
stands where integers begin, and weights are integers behind ``Convert`` and ``Multiply``. The
low-precision transformations of the plugins move the scales behind the convolutions and leave
integers in between.

It is composed as ONNX, which OpenVINO's frontend reads (``FakeQuantize`` in its own operator set
``org.openvinotoolkit``), so that operators without a canonical form pass unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from qhal.ir import ops
from qhal.ir.dtypes import DType
from qhal.ir.export import BASE_OPSET, ExportCall, OnnxWriter, emit, needed_opset
from qhal.ir.graph import Node, NodeView
from qhal.ir.ops import Activation
from qhal.ir.resampling import nearest_indices
from qhal.quant.arithmetic import broadcast_params
from qhal.quant.model import QuantModel
from qhal.system.scratch import scratch
from qhal_backends.openvino import settings
from qhal_backends.openvino.products import uneven_biases
from qhal_backends.openvino.resizing import copies_the_same
from qhal_backends.openvino.weights import WeightWriter

if TYPE_CHECKING:
    import onnx
    import openvino

_OPENVINO = "org.openvinotoolkit"
"""The operator set of OpenVINO's own operators in ONNX."""

_FOUR_BIT_OPSET = 21
"""The first opset in which Cast takes 4-bit integers."""

_HARD_SWISH_OPSET = 14

_RECURRENT = frozenset({"LSTMSequence", "GRUSequence"})
"""OpenVINO's operators for the recurrent ones of ONNX."""

_NUMBERED = re.compile(r"_\d+$")
"""What OpenVINO appends to the name of an operator that has none: a counter of the process."""

Weighted = ops.Conv | ops.DepthwiseConv | ops.ConvTranspose | ops.FullyConnected


@dataclass(frozen=True, eq=False)
class Composed:
    """A model as ONNX.

    Attributes:
        onnx: with FakeQuantize, in float throughout.
        retyped: see :class:`~qhal_backends.openvino.weights.WeightWriter`.
    """

    onnx: onnx.ModelProto
    retyped: Mapping[str, DType]


def to_ir(model: QuantModel, stored: Mapping[str, str] | None = None) -> tuple[bytes, bytes]:
    """Write a model as OpenVINO IR; same model, same bytes.

    Args:
        model: the model.
        stored: settings of the runtime, see :mod:`qhal_backends.openvino.settings`.

    Returns:
        The contents of the ``.xml`` and of the ``.bin`` file.
    """
    import openvino

    composed = compose(model)
    read = openvino.Core().read_model(composed.onnx.SerializeToString())
    _retype(read, composed.retyped)
    _keep_inputs(read, composed.onnx)
    _name(read, composed.onnx)
    settings.store(read, stored or {})
    with scratch() as folder:
        xml, weights = folder / "model.xml", folder / "model.bin"
        openvino.serialize(read, str(xml), str(weights))
        return xml.read_bytes(), weights.read_bytes()


def _retype(model: openvino.Model, retyped: Mapping[str, DType]) -> None:
    """Give constants the element types that they have not in ONNX."""
    import openvino

    if not retyped:
        return
    for operator in model.get_ordered_ops():
        dtype = next((retyped[name] for name in _made(operator) if name in retyped), None)
        if dtype is None:
            continue
        normal_float = dtype is DType.NF4
        element = openvino.Type.nf4 if normal_float else openvino.Type.u2
        tensor = openvino.Tensor(element, operator.get_output_shape(0))
        nibbles = operator.data.view(np.uint8).ravel()
        tensor.data.ravel()[:] = nibbles if normal_float else _halved(nibbles, tensor.data.size)
        typed = openvino.op.Constant(tensor)
        typed.set_friendly_name(operator.get_friendly_name())
        openvino.utils.replace_node(operator, typed)
    model.validate_nodes_and_infer_types()


def _halved(nibbles: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """Pack into ``size`` bytes, four to each, numbers of 2 bits that are two to a byte."""
    pairs = (nibbles & 3) | (nibbles >> 4) << 2
    pairs = np.pad(pairs, (0, 2 * size - pairs.size))
    return np.asarray(pairs[0::2] | pairs[1::2] << 4, np.uint8)


def _keep_inputs(model: openvino.Model, written: onnx.ModelProto) -> None:
    """Put back inputs that nothing reads, which the frontend drops: callers give all of them."""
    import openvino
    from onnx.helper import tensor_dtype_to_np_dtype

    have = {name for port in model.inputs for name in port.get_names()}
    for value in (value for value in written.graph.input if value.name not in have):
        kind = value.type.tensor_type
        element = openvino.Type(tensor_dtype_to_np_dtype(kind.elem_type))
        shape = openvino.PartialShape([size.dim_value for size in kind.shape.dim])
        added = openvino.op.Parameter(element, shape)
        added.set_friendly_name(value.name)
        added.output(0).set_names({value.name})
        model.add_parameters([added])


def _name(model: openvino.Model, written: onnx.ModelProto) -> None:
    """Give operators the names of the nodes that they come from.

    The frontend names the producer of an output after the output, and what it adds itself by a
    counter of the process. Behind a recurrent operator it adds what makes the outputs. If two
    operators share a name, such as a product and its weight, OpenVINO renames either of them when
    it reads the file: so whichever is not a node gets another name.
    """
    nodes = (node for node in written.graph.node if node.op_type != "Identity")
    names = {output: node.name for node in nodes for output in node.output}
    taken = frozenset(names.values())
    for index, operator in enumerate(model.get_ordered_ops()):
        kind, known = operator.get_type_name(), _origin(operator, names)
        if kind in _RECURRENT:
            known = max((_origin(reader, names) for reader in _readers(operator)), default="")
        elif known and any(source.get_type_name() in _RECURRENT for source in _sources(operator)):
            known = f"{known}/{kind}"
        if known and kind != "Result":
            operator.set_friendly_name(known)
        elif operator.get_friendly_name() in taken:
            operator.set_friendly_name(f"{operator.get_friendly_name()}__{kind.lower()}")
        elif _NUMBERED.sub("", operator.get_friendly_name()) == kind:
            operator.set_friendly_name(f"{kind}_{index}")


def _origin(operator: openvino.Node, names: Mapping[str, str]) -> str:
    """Return the ONNX node whose output an operator makes; empty if there is none."""
    return min((names[name] for name in _made(operator) if name in names), default="")


def _made(operator: openvino.Node) -> list[str]:
    """List the names of the tensors that an operator makes."""
    return [name for output in operator.outputs() for name in output.get_names()]


def _readers(operator: openvino.Node) -> list[openvino.Node]:
    return [port.get_node() for out in operator.outputs() for port in out.get_target_inputs()]


def _sources(operator: openvino.Node) -> list[openvino.Node]:
    return [output.get_node() for output in operator.input_values()]


def compose(model: QuantModel) -> Composed:
    """Write a model as ONNX."""
    graph = model.graph
    writer = OnnxWriter(_opset(model), graph.tensors)
    weights = WeightWriter(model, writer)
    for name, value in graph.constants.items():
        weights.store(name, value, graph.tensors[name].dtype)
    lowering = _Lowering(model, writer, weights)
    for node in graph.nodes:
        lowering.add(node)
    inputs = {name: graph.tensors[name] for name in graph.inputs}
    outputs = {name: graph.tensors[name] for name in graph.outputs}
    return Composed(writer.model(graph.name, inputs, outputs), weights.retyped)


def _opset(model: QuantModel) -> int:
    needed = [BASE_OPSET, *(needed_opset(node.op) for node in model.graph.nodes)]
    if any(isinstance(node.op, ops.HardSwish) for node in model.graph.nodes):
        needed.append(_HARD_SWISH_OPSET)
    if any(kind.dtype.bits < 8 for kind in model.graph.tensors.values()):
        needed.append(_FOUR_BIT_OPSET)
    return max(needed)


class _Lowering:
    """Writes nodes; a tensor of the graph keeps its name, and is float."""

    def __init__(self, model: QuantModel, writer: OnnxWriter, weights: WeightWriter) -> None:
        self._model = model
        self._onnx = writer
        self._weights = weights
        self._uneven = uneven_biases(model)

    def add(self, node: Node) -> None:
        """Write one node."""
        match node.op:
            case ops.Quantize() | ops.Requantize():
                self._fake_quantize(node)
            case ops.Dequantize():
                self._onnx.node("Identity", node.inputs, node.outputs, name=node.name)
            case ops.HardSwish():
                self._onnx.node("HardSwish", node.inputs, node.outputs, name=node.name)
            case ops.PRelu():
                self._prelu(node)
            case ops.Resize(mode="nearest") if not copies_the_same(self._view(node)):
                self._picked(node, node.op)
            case ops.Conv() | ops.DepthwiseConv() | ops.ConvTranspose() | ops.FullyConnected():
                self._weighted(node, node.op)
            case _:
                inputs = tuple(map(self._weights.real, node.inputs))
                self._call(node, inputs, node.outputs)

    def _prelu(self, node: Node) -> None:
        """Write the slope with all dimensions.

        Of a vector with as many elements as there are channels, OpenVINO takes each for a channel;
        in ONNX it lies along the last dimension.
        """
        x, slope = map(self._weights.real, node.inputs)
        tensors = self._model.graph.tensors
        (*_, size), rank = (1, *tensors[slope].shape), len(tensors[x].shape)
        if len(tensors[slope].shape) == 1 and rank > 1:
            slope = self._reshaped(slope, (*(1,) * (rank - 1), size))
        self._call(node, (x, slope), node.outputs)

    def _reshaped(self, name: str, shape: tuple[int, ...]) -> str:
        value = self._model.graph.constants.get(name)
        if value is not None:
            return self._onnx.constant(f"{name}__row", value.reshape(shape))
        row = self._onnx.fresh(f"{name}__row")
        self._onnx.node("Reshape", (name, self._onnx.ints("shape", shape)), (row,))
        return row

    def _picked(self, node: Node, op: ops.Resize) -> None:
        """Write a Resize as one Gather for each dimension."""
        shape, x = self._view(node).input().shape, node.inputs[0]
        for axis, count in enumerate(op.sizes, 2):
            last = axis == len(shape) - 1
            y = node.outputs[0] if last else self._onnx.fresh(f"{node.name}__rows{axis}")
            picks = self._onnx.ints("picks", nearest_indices(op, shape[axis], count).tolist())
            self._onnx.node("Gather", (x, picks), (y,), name=node.name if last else "", axis=axis)
            x = y

    def _view(self, node: Node) -> NodeView:
        return NodeView(self._model.graph, node)

    def _fake_quantize(self, node: Node) -> None:
        """Round to the numbers that the integers of the result stand for."""
        y = node.outputs[0]
        params = self._model.params[y]
        ends = (params.dtype.qmin, params.dtype.qmax)
        scale, zero_point = broadcast_params(params, self._model.graph.tensors[y].shape)
        bounds = [
            self._onnx.constant(f"{y}__{hint}", (scale * (end - zero_point)).astype(np.float32))
            for hint, end in zip(("low", "high"), ends, strict=True)
        ]
        self._onnx.node(
            "FakeQuantize",
            (*node.inputs, *bounds, *bounds),
            node.outputs,
            name=node.name,
            domain=_OPENVINO,
            levels=ends[1] - ends[0] + 1,
        )

    def _weighted(self, node: Node, op: Weighted) -> None:
        """Write the product, then the bias, then the activation: the parts that plugins fuse.

        A bias that is an operand of Conv would come out of the frontend as a computed shape.
        """
        x, weight, *rest = node.inputs
        bias, y = next(iter(rest), ""), node.outputs[0]
        active = op.activation is not Activation.NONE
        before = self._onnx.fresh(f"{y}__pre") if active else y
        added = self._added(node, bias)
        product = self._onnx.fresh(f"{y}__product") if added else before
        if isinstance(op, ops.FullyConnected):
            operands = (self._weights.real(x), self._weights.transposed(weight))
            self._onnx.node("MatMul", operands, (product,), name=node.name)
        else:
            plain = replace(op, activation=Activation.NONE)
            operands = (self._weights.real(x), self._weights.real(weight))
            self._call(replace(node, op=plain), operands, (product,))
        if added:
            self._onnx.node("Add", (product, added), (before,), name=f"{node.name}__bias")
        if active:
            self._call_of(node, (before,), node.outputs).activate(op.activation, before)

    def _added(self, node: Node, bias: str) -> str:
        """Write what is added to a product; "" if it is nothing."""
        uneven = self._uneven.get(node.name)
        if uneven is not None:
            return self._onnx.constant(f"{node.outputs[0]}__uneven", uneven)
        return self._weights.bias(bias, node) if bias else ""

    def _call(self, node: Node, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> None:
        emit(node.op, self._call_of(node, inputs, outputs))

    def _call_of(self, node: Node, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> ExportCall:
        """Make the call to write; what is quantized in the graph is float here."""
        quantized = bool(node.inputs) and node.inputs[0] in self._model.params
        dtype = DType.FLOAT32 if quantized else None
        return ExportCall(self._onnx, self._view(node), inputs, outputs, dtype)
