"""Every canonical operator has an entry in every table that needs one.

A new operator in ``core/qhal/ir/ops.py`` fails here, with each table that lacks it and the file of
that table. What prints, compares and verifies graphs goes by the fields and the shape rule, and
needs no entry.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from onnx import defs

from qhal.ir import cost, ops, shapes
from qhal.ir.export import emit
from qhal.ir.layout import rules
from qhal.ir.onnx.table import TABLE
from qhal.ir.ops import Op
from qhal.legal.forms.table import FORMS
from qhal.plugin.registry import registry
from qhal.quant.oracle.dispatch import CONVERSIONS
from qhal.quant.oracle.functions import FUNCTIONS, UNARY
from qhal.quant.oracle.real import FLOAT
from qhal_backends.tflite.lowering import LOWERINGS
from tests.core.ir.test_export import CASES
from tests.paths import ROOT

ONNX_MAPPINGS = "core/qhal/ir/onnx"


def has_shape_rule(operator: type[Op], _: str) -> bool:
    return shapes.rule_of(operator) is not None


def has_layout_rule(operator: type[Op], _: str) -> bool:
    return rules.rule_of(operator) is not None


def has_cost(operator: type[Op], kind: str) -> bool:
    return operator in cost.MACS or operator in cost.OPERATIONS or kind in cost.PER_ELEMENT


def is_mapped(operator: type[Op], kind: str) -> bool:
    if operator is ops.Unary:
        return ("", kind) in TABLE
    return operator.__name__ in made_by_mappings()


def made_by_mappings() -> set[str]:
    """Names of the operators that the mappings from ONNX make."""
    files = sorted((ROOT / ONNX_MAPPINGS).glob("*.py"))
    return {name for path in files for name in made_in(path.read_text(encoding="utf-8"))}


def made_in(code: str) -> set[str]:
    """Names of the operators that code makes.

    It calls ``ops.Name(…)``, or has ``ops.Name`` in the values of a table. Mentions elsewhere, as
    in a test of a node's operator, make nothing.
    """
    nodes = list(ast.walk(ast.parse(code)))
    called = (node.func for node in nodes if isinstance(node, ast.Call))
    tables = (node for node in nodes if isinstance(node, ast.Dict))
    entries = (part for table in tables for value in table.values for part in ast.walk(value))
    return {
        node.attr
        for node in (*called, *entries)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "ops"
    }


def is_exported(operator: type[Op], kind: str) -> bool:
    in_onnx = operator is not ops.Unary or defs.has(kind)
    return operator in emit.registry and in_onnx


def is_computed(operator: type[Op], kind: str) -> bool:
    function = kind in UNARY if operator is ops.Unary else True
    return function and (operator in FLOAT or operator in CONVERSIONS)


def is_tabulated(operator: type[Op], _: str) -> bool:
    """True unless it is a function of one number that the oracle cannot tabulate."""
    converts = operator in CONVERSIONS or operator is ops.Cast
    return operator.traits.operands != 1 or converts or operator in FUNCTIONS


def is_lowered(operator: type[Op], kind: str) -> bool:
    backend, profile = registry().resolve("tflite")
    return operator in LOWERINGS or not backend.capabilities(profile).has(kind)


def runs_on(target: str) -> Callable[[type[Op], str], bool]:
    def runs(_: type[Op], kind: str) -> bool:
        backend, profile = registry().resolve(target)
        return backend.capabilities(profile).has(kind) or kind in FORMS

    return runs


def has_case(operator: type[Op], kind: str) -> bool:
    return any(type(op) is operator and kind in (op.kind, operator.__name__) for op, *_ in CASES)


@dataclass(frozen=True)
class Table:
    """What must know every operator.

    Attributes:
        entry: what an operator has in it.
        file: where to add one.
        knows: (operator, its name in capabilities) -> whether it has one.
        functions: where to add one that is a function of one number, if elsewhere.
        instead: what does as well.
    """

    entry: str
    file: str
    knows: Callable[[type[Op], str], bool]
    functions: str = ""
    instead: str = ""

    def missing(self, operator: type[Op], kind: str) -> str:
        """What to do for an operator that is not in it."""
        is_function = operator.traits.operands == 1
        file = self.functions if is_function and self.functions else self.file
        return f"{kind} has no {self.entry}: add one in {file}{self.instead}"


BACKENDS = "backends/qhal_backends"
BY_TRAITS = ", or the traits of an element-wise operator on its class"
MAPPINGS = ", which gathers the map_*.py beside it"
LACKING = ", or another form in core/qhal/legal/forms/table.py"
FUNCTIONS_FILE = "core/qhal/quant/oracle/functions.py"
TABLES = (
    Table("shape rule", "core/qhal/ir/shapes.py", has_shape_rule, instead=BY_TRAITS),
    Table("layout rule", "core/qhal/ir/layout/rules.py", has_layout_rule, instead=BY_TRAITS),
    Table("cost", "core/qhal/ir/cost.py", has_cost),
    Table(
        "mapping from ONNX",
        f"{ONNX_MAPPINGS}/table.py",
        is_mapped,
        f"{ONNX_MAPPINGS}/map_elementwise.py",
        MAPPINGS,
    ),
    Table("ONNX form", "core/qhal/ir/export/emitters.py", is_exported),
    Table("float kernel", "core/qhal/quant/oracle/real.py", is_computed, FUNCTIONS_FILE),
    Table("function for look-up tables", FUNCTIONS_FILE, is_tabulated),
    Table("kernel row", f"{BACKENDS}/cpu/capabilities.py", runs_on("cpu"), instead=LACKING),
    Table(
        "kernel row",
        f"{BACKENDS}/openvino/capabilities.py",
        runs_on("openvino-cpu"),
        instead=LACKING,
    ),
    Table("kernel row", f"{BACKENDS}/tflite/capabilities.py", runs_on("tflite"), instead=LACKING),
    Table(
        "TFLite lowering",
        f"{BACKENDS}/tflite/lowering/dispatch.py",
        is_lowered,
        instead=", which gathers the modules beside it",
    ),
    Table("case", "tests/core/ir/test_export.py", has_case),
)

BETWEEN_TYPES = "it is inserted between nodes of different types, and no model has it"
ANYTHING = "it holds any ONNX node as it is"
EXCEPT: dict[tuple[str, str], str] = {
    **{
        (file, kind): BETWEEN_TYPES
        for kind in ("Quantize", "Dequantize", "Requantize")
        for file in (
            f"{ONNX_MAPPINGS}/table.py",
            "core/qhal/ir/export/emitters.py",
            f"{BACKENDS}/cpu/capabilities.py",
            f"{BACKENDS}/openvino/capabilities.py",
            f"{BACKENDS}/tflite/capabilities.py",
            "tests/core/ir/test_export.py",
        )
    },
    **{
        (file, "Opaque"): ANYTHING
        for file in (
            "core/qhal/ir/shapes.py",
            "core/qhal/ir/cost.py",
            f"{BACKENDS}/cpu/capabilities.py",
            f"{BACKENDS}/openvino/capabilities.py",
            f"{BACKENDS}/tflite/capabilities.py",
            "tests/core/ir/test_export.py",
        )
    },
    (f"{ONNX_MAPPINGS}/table.py", "Rsqrt"): "ONNX has none; a power of -0.5 becomes one",
    ("core/qhal/ir/export/emitters.py", "Rsqrt"): "ONNX has none; it is written as two nodes",
    (f"{BACKENDS}/tflite/capabilities.py", "Erf"): "TFLite has none; GELU is taken as a whole",
}
"""(file of a table, operator) -> why it has no entry there."""


def lacking() -> Iterator[tuple[Table, type[Op], str]]:
    """Every table with each operator that it does not know."""
    for operator in ops.OPERATORS:
        for kind in ops.kinds_of(operator) or (operator.__name__,):
            for table in TABLES:
                if not table.knows(operator, kind):
                    yield table, operator, kind


def test_every_operator_is_in_every_table() -> None:
    missing = [
        table.missing(operator, kind)
        for table, operator, kind in lacking()
        if (table.file, kind) not in EXCEPT
    ]
    if missing:
        pytest.fail("\n".join(missing), pytrace=False)


def test_a_mention_makes_no_operator() -> None:
    code = """
isinstance(op, ops.Relu) or op is ops.Tanh
op = ops.Sigmoid()
TABLE = {"Softmax": partial(mapped, ops.Softmax), ops.Erf: "a key"}
"""
    assert made_in(code) == {"Sigmoid", "Softmax"}


def test_every_exception_is_one() -> None:
    assert set(EXCEPT) - {(table.file, kind) for table, _, kind in lacking()} == set()


def test_every_table_is_where_it_says() -> None:
    files = [file for table in TABLES for file in (table.file, table.functions) if file]
    assert [file for file in files if not (ROOT / file).is_file()] == []


def test_element_wise_operators_say_how_many_operands_they_have() -> None:
    traits = [(operator.__name__, operator.traits) for operator in ops.OPERATORS]
    assert [name for name, t in traits if t.elementwise != (t.operands > 0)] == []
    assert [name for name, t in traits if t.homogeneous and not t.elementwise] == []
