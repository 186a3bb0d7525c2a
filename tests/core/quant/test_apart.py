"""Where a model is cut so that each part of an output has a scale of its own."""

from __future__ import annotations

import argparse
import shlex

from qhal.ir import ops
from qhal.ir.build import GraphBuilder
from qhal.ir.graph import Graph, TensorType
from qhal.quant.apart import apart, as_command


def detector() -> Graph:
    """Boxes of two scales and scores of two scales, then all of them in one tensor."""
    b = GraphBuilder("detector")
    ends = [
        b.one(ops.Relu(), [b.input(f"x{i}", TensorType((1, 4, 2)))], name=f"head{i}")
        for i in range(4)
    ]
    boxes = b.one(ops.Concat(2), ends[:2], name="all_boxes")
    scores = b.one(ops.Concat(2), ends[2:], name="all_scores")
    other = b.one(ops.Sigmoid(), [ends[0]], name="other")
    moved = b.one(ops.Transpose((0, 2, 1)), [scores], name="turned")
    back = b.one(ops.Transpose((0, 2, 1)), [moved], name="turned_back")
    y = b.one(ops.Reshape((8, 4)), [b.one(ops.Concat(1), [boxes, back], name="join")], name="flat")
    return b.build(outputs=[y, other])


def names_of(graph: Graph, *nodes: str) -> list[str]:
    return [node.outputs[0] for name in nodes for node in graph.nodes if node.name == name]


def test_joins_of_like_ranges_stay() -> None:
    graph = detector()
    found = apart(graph, ["join", "flat"], graph.tensors)
    assert list(found) == names_of(graph, "all_boxes", "turned_back", "other")


def test_a_tensor_that_qhal_inserted_gives_way_to_what_it_moves() -> None:
    graph = detector()
    theirs = names_of(graph, "all_boxes", "all_scores", "other")
    assert list(apart(graph, ["join", "flat"], theirs)) == theirs


def test_joins_in_a_row_are_all_opened() -> None:
    graph = detector()
    lost = ["all_boxes", "join", "flat"]
    found = apart(graph, lost, graph.tensors)
    assert list(found) == names_of(graph, "head0", "head1", "turned_back", "other")


def test_nothing_is_said_where_a_part_has_no_name_in_the_file() -> None:
    graph = detector()
    assert apart(graph, ["join", "flat"], names_of(graph, "all_boxes", "other")) == ()


def test_names_are_quoted_for_the_shell() -> None:
    assert as_command(["a b", "c"]) == "--output 'a b' --output c"


def test_a_name_that_begins_like_an_option_is_tied_to_its_own() -> None:
    names = ["-a", "b", "--c d"]
    arguments = shlex.split(as_command(names))
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", action="append")
    assert parser.parse_args(arguments).output == names
