"""Limits are values: what they allow is data, and the rule and the check take it from there."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest

from qhal.errors import PluginError
from qhal.ir.build import GraphBuilder
from qhal.ir.graph import NodeView, TensorType
from qhal.ir.ops import OPERATORS, Relu, kinds_of
from qhal.targets.capability import Capabilities, Capability, KernelRow
from qhal.targets.limit import Above, Limit, MultipleOf, OneOf, Range, broken_by, limit
from qhal.targets.spec import FLOAT


@limit(width=Range(1, 5), depth=MultipleOf(4))
def narrow(view: NodeView, width: Range, depth: MultipleOf) -> str | None:
    """Operands are {width} wide, and their
    depth is one of the {depth}.

    This is not a part of the rule.
    """
    found = view.input().shape
    if found[0] in width and found[1] in depth:
        return None
    return f"it is {found}; allowed: {width} and {depth}"


def relu(*shape: int) -> NodeView:
    builder = GraphBuilder("one")
    x = builder.input("x", TensorType(shape))
    graph = builder.build(outputs=[builder.one(Relu(), (x,), name="r")])
    return NodeView(graph, graph.nodes[0])


def test_the_rule_has_its_bounds() -> None:
    assert narrow.name == "narrow"
    assert narrow.rule == "Operands are 1 to 5 wide, and their depth is one of the multiples of 4."


@pytest.mark.parametrize("shape", [(1, 4), (5, 8)])
def test_inside_is_allowed(shape: tuple[int, ...]) -> None:
    assert broken_by(narrow, relu(*shape)) is None


@pytest.mark.parametrize("shape", [(6, 4), (5, 7), (0, 4)])
def test_outside_is_refused_with_the_value(shape: tuple[int, ...]) -> None:
    assert broken_by(narrow, relu(*shape)) == f"it is {shape}; allowed: 1 to 5 and multiples of 4"


def test_a_program_can_list_the_bounds() -> None:
    assert narrow.to_json() == {
        "name": "narrow",
        "rule": narrow.rule,
        "bounds": {"width": {"least": 1, "most": 5}, "depth": {"number": 4}},
    }


def test_limits_of_one_rule_and_one_bound_are_equal() -> None:
    def rule(view: NodeView, rank: Range) -> str | None:
        """Tensors have {rank} dimensions."""
        return f"{view.node.name} has another rank than {rank}"

    four, also_four, five = (limit(rank=Range(most=most))(rule) for most in (4, 4, 5))
    assert four == also_four != five
    assert hash(four) == hash(also_four)


def test_bounds_read_as_sentences_have_them() -> None:
    shown = (Range(1, 7), Range(most=4), Range(least=0), Range(most=1e6), Range(most=65536))
    assert [str(bound) for bound in shown] == [
        *("1 to 7", "up to 4", "0 or more", "up to 1e+06", "up to 65536")
    ]
    assert [str(bound) for bound in (Above(0), MultipleOf(4))] == ["above 0", "multiples of 4"]
    assert str(OneOf((2, 4, 8))) == "2, 4, 8"
    assert [OneOf((2, 4, 8)).either, OneOf(("DCR",)).either] == ["2, 4 or 8", "DCR"]


def test_a_function_that_lacks_a_bound_is_told_with_its_limit() -> None:
    def rule(view: NodeView) -> str | None:
        """It is {width} wide."""
        return None

    with pytest.raises(PluginError, match=r"Limit rule of .* the bounds width: .*'width'"):
        limit(width=3)(rule)


def test_a_bound_that_is_not_stated_is_told_with_its_limit() -> None:
    def rule(view: NodeView, width: Range) -> str | None:
        """It is 3 wide."""
        return None

    with pytest.raises(PluginError, match=r"Limit rule of .* a node and no bounds: .*'width'"):
        limit()(rule)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("It is {width} wide.", r"has the bounds widths, but its rule names \{width\}"),
        ("It is {widths.moost} wide.", "its rule cannot be filled in: .*moost"),
        ("It is {} wide.", "its rule cannot be filled in"),
        ("It is {widths wide.", "its rule cannot be filled in"),
    ],
)
def test_a_rule_that_names_other_bounds_is_told_with_its_limit(text: str, told: str) -> None:
    def rule(view: NodeView, widths: Range) -> str | None:
        return None

    rule.__doc__ = text
    with pytest.raises(PluginError, match=f"^Limit rule of {__name__} .*{told}"):
        limit(widths=Range(1, 5))(rule)


def test_a_check_that_breaks_on_a_node_is_told() -> None:
    broken = Limit("broken", "It is flat.", lambda view: str(1 // 0))
    with pytest.raises(PluginError, match="limit broken on Relu r: ZeroDivisionError"):
        broken_by(broken, relu(1))


def _flat(view: NodeView, rank: Range) -> str | None:
    """Tensors have {rank} dimensions."""
    return None if len(view.input().shape) in rank else "it is not flat"


@pytest.mark.parametrize(
    "made", [narrow, replace(narrow, bounds={"width": Range(1, 9)}), limit(rank=Range(1, 2))(_flat)]
)
def test_a_limit_can_be_pickled(made: Limit) -> None:
    assert pickle.loads(pickle.dumps(made)) == made


def test_a_limit_of_a_nested_function_cannot() -> None:
    @limit()
    def nested(view: NodeView) -> str | None:
        """Nothing is allowed."""
        return "nothing is allowed"

    with pytest.raises((pickle.PicklingError, AttributeError), match="nested"):
        pickle.dumps(nested)


def test_a_function_that_is_not_declared_is_no_limit() -> None:
    def bare(view: NodeView) -> str | None:
        return None

    stated: tuple[Limit, ...] = (bare,)  # type: ignore[assignment]
    for build, owner in (
        (lambda: KernelRow(FLOAT, FLOAT, limits=stated), "kernel row float32 -> float32"),
        (lambda: Capability("Relu", (), "tests", stated), "the capability Relu"),
        (lambda: Capabilities((), native={"Relu": stated[0]}), "Capabilities.native"),
    ):
        with pytest.raises(PluginError) as caught:
            build()
        assert str(caught.value).startswith(
            f"The limits of {owner} contain bare, which is not a Limit."
        )
        assert "@limit()" in caught.value.hint


def test_an_unknown_operator_is_refused_and_the_nearest_named() -> None:
    for build in (
        lambda: Capability("Convv", (), "tests"),
        lambda: Capabilities((), native={"Convv": narrow}),
        lambda: Capabilities((), fused={"Convv": frozenset()}),
    ):
        with pytest.raises(PluginError, match="operator 'Convv', which is no operator") as caught:
            build()
        assert caught.value.hint == "Did you mean Conv?"


def test_every_operator_may_have_a_capability() -> None:
    kinds = [kind for operator in OPERATORS for kind in kinds_of(operator)]
    assert [Capability(kind, (), "tests").op for kind in kinds] == kinds
