"""The layout pass on the patterns that matter: what moves, and what does not."""

from __future__ import annotations

from random import Random

import numpy as np

from qhal.decisions import Code
from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.graph import Array, Graph, TensorType
from qhal.ir.layout.laid_out import LaidOut, to_layout
from qhal.ir.ops import Layout
from tests.core.ir_graphs import floats, run, run_permuted

ONE, SAME = (1, 1), (1, 1, 1, 1)


class Net:
    """A graph under construction, with random weights."""

    def __init__(self, *shape: int) -> None:
        self.b = GraphBuilder("net")
        self.random = Random(0)
        self.x = self.b.input("x", TensorType(shape))

    def weights(self, *shape: int) -> str:
        return self.b.constant("w", floats(self.random, *shape))

    def conv(self, x: str, outputs: int, name: str = "conv") -> str:
        channels = self.b.type(x).shape[1]
        operands = [x, self.weights(outputs, channels, 3, 3), self.weights(outputs)]
        return self.b.one(ops.Conv(ONE, SAME, ONE), operands, name=name)

    def fully_connected(self, x: str, outputs: int) -> str:
        operands = [x, self.weights(outputs, self.b.type(x).shape[-1]), self.weights(outputs)]
        return self.b.one(ops.FullyConnected(), operands)

    def one(self, op: ops.Op, *inputs: str) -> str:
        return self.b.one(op, inputs)

    def laid(self, *outputs: str, keep_io: bool = False) -> tuple[Graph, LaidOut]:
        """The graph, and its layout after a check that both compute the same."""
        graph = self.b.build(outputs=outputs)
        laid = to_layout(graph, Layout.NHWC, keep_io)
        x: dict[str, Array] = {"x": floats(Random(1), *graph.tensors["x"].shape)}
        found = run_permuted(laid.graph, x)
        for name, value in run(graph, x).items():
            np.testing.assert_allclose(found[name], value, rtol=1e-3, atol=1e-4)
        return graph, laid


def kinds(laid: LaidOut) -> list[str]:
    return [node.op.kind for node in laid.graph.nodes]


def codes(laid: LaidOut) -> list[Code]:
    return [decision.code for decision in laid.decisions]


def test_nchw_targets_get_the_graph_as_it_is() -> None:
    net = Net(1, 3, 4, 4)
    graph = net.b.build(outputs=[net.conv(net.x, 2)])
    assert to_layout(graph, Layout.NCHW).graph is graph


def test_inputs_and_outputs_become_channels_last() -> None:
    net = Net(1, 3, 4, 5)
    graph, laid = net.laid(net.conv(net.x, 2))
    assert kinds(laid) == ["Conv"]
    assert laid.graph.tensors["x"].shape == (1, 4, 5, 3)
    assert laid.graph.permutations == {"x": (0, 2, 3, 1), "conv": (0, 2, 3, 1)}
    assert codes(laid) == [Code.LAYOUT, Code.LAYOUT]
    assert laid.decisions[0].sentence == (
        "Input 'x' of the artifact is 1x4x5x3: the model's 1x3x4x5 transposed by (0, 2, 3, 1)."
    )
    assert laid.graph.constants["w"].shape == (2, 3, 3, 3)
    assert laid.graph.inputs == graph.inputs
    assert laid.graph.outputs == graph.outputs


def test_keep_io_costs_transposes() -> None:
    net = Net(1, 3, 4, 5)
    _, laid = net.laid(net.conv(net.x, 2), keep_io=True)
    assert kinds(laid) == ["Transpose", "Conv", "Transpose"]
    assert codes(laid) == [Code.TRANSPOSE_KEPT] * 2
    assert laid.decisions[0].sentence == (
        "Tensor 'x' (1x3x4x5) is transposed by (0, 2, 3, 1) to 1x4x5x3 for Conv 'conv': "
        "240 bytes are moved."
    )
    assert laid.graph.outputs == ("conv",)
    assert not laid.graph.permutations


def test_a_channels_last_model_keeps_its_input() -> None:
    net = Net(1, 4, 5, 3)
    turned = net.one(ops.Transpose((0, 3, 1, 2)), net.x)
    _, laid = net.laid(net.fully_connected(net.one(ops.Reshape((1, 40)), net.conv(turned, 2)), 6))
    assert "Transpose" not in kinds(laid)
    assert laid.graph.tensors["x"].shape == (1, 4, 5, 3)
    assert not laid.graph.permutations


def test_flatten_permutes_the_weights() -> None:
    net = Net(1, 3, 4, 5)
    flat = net.b.one(ops.Reshape((1, 40)), [net.conv(net.x, 2)], output="flat")
    net.fully_connected(net.b.one(ops.Relu(), [flat], output="active"), 6)
    _, laid = net.laid("FullyConnected")
    assert kinds(laid) == ["Conv", "Reshape", "Relu", "FullyConnected"]
    expected = np.arange(40).reshape(2, 4, 5).transpose(1, 2, 0).ravel()
    np.testing.assert_array_equal(laid.element_order["flat"], expected)
    np.testing.assert_array_equal(laid.element_order["active"], expected)


def test_flatten_that_is_an_output_is_moved() -> None:
    net = Net(1, 3, 4, 5)
    flat = net.one(ops.Reshape((1, 40)), net.conv(net.x, 2))
    _, laid = net.laid(flat, net.fully_connected(flat, 6))
    assert kinds(laid).count("Transpose") == 1
    assert not laid.element_order


def test_unflatten_permutes_the_rows() -> None:
    net = Net(1, 10)
    image = net.one(ops.Reshape((1, 2, 4, 5)), net.fully_connected(net.x, 40))
    _, laid = net.laid(net.conv(image, 3))
    assert kinds(laid) == ["FullyConnected", "Reshape", "Conv"]
    assert "FullyConnected" in laid.element_order


def test_detection_heads_absorb_their_transposes() -> None:
    net = Net(1, 3, 4, 4)
    heads = [net.one(ops.Reshape((1, 6, 16)), net.conv(net.x, 6, f"head{i}")) for i in range(2)]
    _, laid = net.laid(net.one(ops.Transpose((0, 2, 1)), net.one(ops.Concat(2), *heads)))
    assert kinds(laid) == ["Conv", "Reshape", "Conv", "Reshape", "Concat"]
    assert laid.graph.outputs == ("Transpose",)
    assert set(laid.graph.permutations) == {"x"}


def test_transposed_head_then_reshape() -> None:
    net = Net(1, 3, 4, 4)
    turned = net.one(ops.Transpose((0, 2, 3, 1)), net.conv(net.x, 6))
    _, laid = net.laid(net.one(ops.Sigmoid(), net.one(ops.Reshape((1, 32, 3)), turned)))
    assert kinds(laid) == ["Conv", "Reshape", "Sigmoid"]


def test_crd_blocks_go_into_the_convolution() -> None:
    net = Net(1, 3, 4, 4)
    _, laid = net.laid(net.one(ops.DepthToSpace(2, "CRD"), net.one(ops.Relu(), net.conv(net.x, 8))))
    assert kinds(laid) == ["Conv", "Relu", "DepthToSpace"]
    assert laid.graph.nodes[-1].op == ops.DepthToSpace(2, "DCR", Layout.NHWC)
    np.testing.assert_array_equal(laid.element_order["conv"], [0, 4, 1, 5, 2, 6, 3, 7])


def test_crd_blocks_without_a_convolution_are_moved() -> None:
    net = Net(1, 8, 4, 4)
    _, laid = net.laid(net.one(ops.DepthToSpace(2, "CRD"), net.x))
    assert kinds(laid) == ["Reshape", "Transpose", "Reshape", "DepthToSpace"]


def test_broadcast_constants_follow() -> None:
    net = Net(1, 3, 4, 5)
    y = net.conv(net.x, 3)
    for shape in ((3, 1, 1), (5,), (1, 3, 4, 5), (), (4, 1)):
        y = net.one(ops.Add(), y, net.weights(*shape))
    _, laid = net.laid(y)
    assert kinds(laid) == ["Conv", *["Add"] * 5]


def channel_shuffle(net: Net, x: str) -> str:
    """Two groups of three channels, interleaved."""
    grouped = net.one(ops.Reshape((1, 2, 3, 4, 4)), x)
    return net.one(ops.Reshape((1, 6, 4, 4)), net.one(ops.Transpose((0, 2, 1, 3, 4)), grouped))


def test_channel_shuffle_goes_into_the_convolution_before_it() -> None:
    net = Net(1, 3, 4, 4)
    _, laid = net.laid(net.conv(channel_shuffle(net, net.conv(net.x, 6)), 2, "last"))
    assert kinds(laid) == ["Conv", "Conv"]
    np.testing.assert_array_equal(laid.element_order["conv"], [0, 3, 1, 4, 2, 5])


def test_channel_shuffle_of_a_concat_is_one_small_transpose() -> None:
    net = Net(1, 3, 4, 4)
    both = net.one(ops.Concat(1), net.conv(net.x, 3, "a"), net.conv(net.x, 3, "b"))
    _, laid = net.laid(net.conv(channel_shuffle(net, both), 2, "last"))
    assert kinds(laid)[2:] == ["Concat", "Reshape", "Transpose", "Reshape", "Conv"]
    assert len(laid.graph.tensors[laid.graph.nodes[4].outputs[0]].shape) == 3


def test_attention_keeps_what_matmul_needs() -> None:
    net = Net(1, 6, 8)
    heads = net.one(ops.Reshape((1, 6, 2, 4)), net.x)
    query = net.one(ops.Transpose((0, 2, 1, 3)), heads)
    key = net.one(ops.Transpose((0, 2, 3, 1)), heads)
    _, laid = net.laid(net.one(ops.MatMul(), query, key))
    assert kinds(laid) == ["Reshape", "Transpose", "Transpose", "MatMul"]
    assert codes(laid) == [Code.TRANSPOSE_KEPT] * 2


def test_softmax_runs_over_the_last_dimension() -> None:
    net = Net(1, 3, 4, 5)
    _, laid = net.laid(net.one(ops.Softmax(1), net.conv(net.x, 4)))
    assert kinds(laid) == ["Conv", "Softmax"]
    assert laid.graph.nodes[-1].op == ops.Softmax(3)


def test_two_outputs_of_one_tensor() -> None:
    net = Net(1, 3, 4, 5)
    y = net.conv(net.x, 4)
    _, laid = net.laid(y, net.one(ops.Transpose((0, 2, 3, 1)), y))
    assert laid.graph.outputs == ("conv", "Transpose")
    assert kinds(laid) == ["Conv", "Reshape"]
    assert laid.graph.permutations == {"x": (0, 2, 3, 1), "conv": (0, 2, 3, 1)}


def test_new_tensors_know_whose_elements_they_hold() -> None:
    net = Net(1, 3, 4, 5)
    graph, laid = net.laid(net.conv(net.x, 2), keep_io=True)
    new = {name for name in laid.graph.tensors if name not in graph.tensors}
    assert laid.sources == {"x__transposed": "x", "conv__transposed": "conv"}
    assert new == set(laid.sources)
    assert laid.sources_of(["x", "x__transposed", "conv"]) == ("x", "conv")
    assert laid.with_sources({"x": 1}) == {"x": 1, "x__transposed": 1}
