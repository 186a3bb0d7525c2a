"""The report of a record, of a check, and of one node."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from markdown_it import MarkdownIt

from qhal.decisions import Code, Decision, Severity
from qhal.errors import OptionError, RefusedError
from qhal.metric import Basis, Metric, Topic
from qhal.quant.choice import Choice, Verdict
from qhal.report import Result, page_of, to_markdown, to_text
from qhal.report.check_page import check_page
from qhal.report.metrics import labeled
from qhal.report.page import Page, Section, Table
from qhal.report.record_page import record_page
from qhal.results.bench import BenchReport
from qhal.results.check import CheckReport, check_report
from qhal.results.explanation import explain
from qhal.results.fleet import Fleet, Outcome
from qhal.results.gate import Gate
from qhal.results.plan import Status
from qhal.results.record import RunRecord
from qhal.targets.where import Where, WhereBasis
from tests.conftest import Golden
from tests.core.conftest import Toys

_OF_THIS_MACHINE = re.compile(r"^(\| host \|).*\|$", re.MULTILINE)


def test_markdown_golden(record: RunRecord, golden: Golden) -> None:
    text = _OF_THIS_MACHINE.sub(r"\1 … |", to_markdown(record))
    golden("report.md", text)


def test_every_result_is_rendered_alike(record: RunRecord, toys: Toys) -> None:
    bench = BenchReport((), 1, "0.1", {}, {})
    fleet = Fleet("toy.onnx", (Outcome("npu", Path("out"), record),))
    check = _check(toys, Verdict.NATIVE)
    titles = {}
    refused = Outcome("tpu", error=RefusedError("No kernel.", "Take another target."))
    results = (record, check, bench, fleet, refused, explain(record, "fc"))
    assert {type(result) for result in results} == set(get_args(Result))
    assert page_of(fleet.outcomes[0]) == page_of(record)
    assert "error QH501: No kernel." in to_markdown(refused)
    assert "Take another target." in to_text(refused)
    for result in results:
        page = page_of(result)
        assert page_of(page) is page
        assert to_text(result) == to_text(page)
        assert to_markdown(result) == to_markdown(page)
        titles[type(result).__name__] = page.title
    assert titles == {
        "RunRecord": "toy_v2.onnx for npu, w8a8",
        "CheckReport": "toy.onnx for npu, w8a8",
        "BenchReport": "Bench of 0 folders",
        "Fleet": "toy.onnx for 1 target",
        "Outcome": "tpu: failed",
        "Explanation": "fc",
    }


def test_the_headline_comes_first(record: RunRecord) -> None:
    headline = to_markdown(record).splitlines()[2]
    assert headline.startswith("**Done: top-1 87.50 % (float 90.00 %); 1 to 3 ms (modeled) on ")
    assert "this host" not in headline  # the target has a figure of its own
    assert "1 warning, listed below" in headline


def test_a_speed_without_a_figure_of_the_target_is_this_hosts(record: RunRecord) -> None:
    metrics = {name: m for name, m in record.metrics.items() if name != "latency"}
    headline = record_page(replace(record, metrics=metrics)).headline
    assert "3.10 ms on this host, 2.26x (2.10x to 2.40x) the speed of the float model" in headline


def test_what_a_figure_leaves_out_is_in_the_headline(record: RunRecord) -> None:
    partial = Metric(1e6, "ns", Basis.ESTIMATED_COMPILER, omits="1 operator on the CPU")
    headline = record_page(replace(record, metrics={"latency": partial})).headline
    words = "1 ms (estimated by the compiler, without 1 operator on the CPU) on the target"
    assert words in headline


@pytest.mark.parametrize(
    ("ratio", "words"),
    [(2, "2.00x smaller than"), (0.5, "2.00x larger than"), (1.001, "the same size as")],
)
def test_a_size_beside_float(record: RunRecord, ratio: float, words: str) -> None:
    metrics = {**record.metrics, "size_ratio": Metric(ratio, "ratio", Basis.COUNTED)}
    assert f", {words} float." in record_page(replace(record, metrics=metrics)).headline


def test_a_gate_that_is_not_met_is_the_headline(record: RunRecord) -> None:
    failed = replace(record, gates=(Gate("max-drop", "top-1 dropped by 9 points", False),))
    assert record_page(failed).headline == "Gate not met: top-1 dropped by 9 points."


def test_every_number_has_its_basis(record: RunRecord) -> None:
    figures = [
        row
        for section in record_page(record).sections
        if section.table is not None and section.table.columns[:1] == ("figure",)
        for row in section.table.rows
    ]
    assert len(figures) == len(record.metrics) - 1  # SQNR per output has a table of its own
    assert {row[2] for row in figures} <= {basis.value for basis in Basis}
    assert all("modeled" in row[1] for row in figures if row[2] == "modeled")


def test_what_a_backend_found_has_its_own_label_and_section(record: RunRecord) -> None:
    found = Metric(7, "cycles", Basis.COUNTED, label="cycles of the crystal", topic=Topic.LATENCY)
    page = record_page(replace(record, metrics={"cycles_crystal": found, **record.metrics}))
    [latency] = [s for s in page.sections if s.title == "Latency"]
    assert latency.table is not None
    assert latency.table.rows[-1][:2] == ("cycles of the crystal", "7 cycles")
    assert labeled({"cycles_crystal": found}) == (("cycles_crystal", "cycles of the crystal"),)
    [other] = [s for s in page.sections if s.title == "Other figures"]
    assert other.table is not None
    assert [row[0] for row in other.table.rows] == ["strange"]


def test_text_says_the_same_within_the_width(record: RunRecord) -> None:
    text = to_text(record, width=90)
    assert max(map(len, text.splitlines())) <= 90
    for words in ("Accuracy", "FULLY_CONNECTED", "QD301", "What to run next", "energy proxy"):
        assert words in text
    assert "\x1b" not in text


def test_what_nodes_take_is_listed_the_costliest_first(record: RunRecord) -> None:
    some = record.plan.nodes[0]
    costs = {
        name: Metric(n, "cycles", Basis.ESTIMATED_COMPILER) for name, n in (("a", 1), ("b", 3))
    }
    npu = Where("NPU", None, None, WhereBasis.REPORTED)
    nodes = tuple(
        replace(some, name=name, cost=cost, placed=npu, executed=None)
        for name, cost in costs.items()
    )
    costly = replace(record, plan=replace(record.plan, nodes=(*nodes, some)))
    (section,) = (section for section in record_page(costly).sections if section.title == "Costs")
    assert section.sentences == ("The 2 most costly of 2 nodes; record.json has all.",)
    assert section.table is not None
    takes = "3 cycles (estimated by the compiler)"
    assert section.table.rows[0] == ("b", some.op, "NPU", takes, "75.00 %")
    assert takes in to_text(explain(costly, "b"))


def test_names_do_not_break_the_table(record: RunRecord) -> None:
    line = next(x for x in to_markdown(record).splitlines() if "A toy" in x)
    assert line == "| target | npu: A toy \\| NPU |"


def test_words_stay_whole_where_there_is_room() -> None:
    table = Table(("a", "b", "c"), (("name-1", "estimated by the compiler", "word " * 20),))
    text = to_text(Page("Title", "Verdict.", (Section("S", table=table),)), 40)
    row = text.splitlines()[-7:]
    assert max(map(len, text.splitlines())) <= 40
    assert "estimated" in " ".join(row)
    narrow = to_text(Page("Title", "Verdict.", (Section("S", table=table),)), 14)
    assert max(map(len, narrow.splitlines()[-30:])) <= 14


def test_what_was_not_run_is_followed_by_an_action(record: RunRecord) -> None:
    absent = Decision(Code.NOT_RUNNABLE, "Not run: no GPU.", severity=Severity.WARNING)
    page = record_page(replace(record, decisions=(absent,)))
    assert page.sections[-1].items[0].startswith("Run `qhal bench FOLDER` on a machine")


@pytest.mark.parametrize("code", [Code.NOT_COMPILED, Code.COMPILER_FAILED])
def test_how_to_compile_is_a_next_step(record: RunRecord, code: Code) -> None:
    absent = Decision(code, "Not compiled: run npuc.", severity=Severity.WARNING)
    text = to_markdown(replace(record, decisions=(absent,)))
    assert "Not compiled: run npuc." in text.rpartition("\n## ")[2]


def test_long_lists_are_cut(record: RunRecord) -> None:
    many = tuple(Decision(Code.BOUNDARY, f"step {i}.", str(i), Severity.INFO) for i in range(1000))
    text = to_markdown(replace(record, decisions=many))
    assert "step 0. (and 999 more)" in text
    assert len(text.splitlines()) < 100


# --- check ----------------------------------------------------------------------


def _check(toys: Toys, verdict: Verdict, reason: str = "") -> CheckReport:
    row = None if verdict is Verdict.REFUSED else toys.model.kernels["fc"]
    choice = Choice("fc", verdict, row, "a book", reason)
    return check_report("toy.onnx", "npu", "w8a8", toys.float_graph, {"fc": choice})


def test_check_of_a_model_that_fits(toys: Toys) -> None:
    report = _check(toys, Verdict.NATIVE)
    assert report.ok
    assert report.to_json()["counts"] == {"native": 1, "fallback": 0, "host": 0, "refused": 0}
    assert check_page(report).headline == "Yes: 1 of 1 node in the recipe's types."
    assert "int8 per-axis" in to_text(report)


def test_check_of_a_model_that_does_not(toys: Toys) -> None:
    report = _check(toys, Verdict.REFUSED, "fc has 9 dimensions; allowed: 4")
    assert not report.ok
    assert check_page(report).headline == "No: the target has no kernel for 1 of 1 node."
    group = report.groups[0]
    assert (group.reason, group.count) == ("fc has 9 dimensions; allowed: 4", 1)
    assert report.to_json()["nodes"][0]["reason"] == "fc has 9 dimensions; allowed: 4"


def test_check_of_a_model_that_is_refused_as_a_whole(toys: Toys) -> None:
    objection = Decision(Code.UNFIT, "The flash is too small.", severity=Severity.REFUSAL)
    report = replace(_check(toys, Verdict.NATIVE), decisions=(objection,))
    assert not report.ok
    assert not report.to_json()["ok"]
    assert check_page(report).headline == "No: The flash is too small."


def test_check_counts_what_falls_back(toys: Toys) -> None:
    assert (
        "0 of 1 node in the recipe's types, 1 in float."
        in check_page(_check(toys, Verdict.FALLBACK, "why")).headline
    )


# --- explain --------------------------------------------------------------------


def test_explain_a_node(record: RunRecord) -> None:
    found = explain(record, "fc")
    assert [node.name for node in found.nodes] == ["fc"]
    assert {tensor.name for tensor in found.tensors} == {"x", "w", "b", "y"}
    text = to_text(found)
    for words in ("int8 per-axis", "Gemm_0", "scale of x x scale of w", "FULLY_CONNECTED int8"):
        assert words in text
    assert "3 values, 0.00787402 to 0.0314961 along axis 0" in " ".join(text.split())


def test_explain_by_the_name_in_the_users_model(record: RunRecord) -> None:
    assert explain(record, "Gemm_0").nodes == explain(record, "fc").nodes


def test_explain_a_tensor(record: RunRecord) -> None:
    found = explain(record, "w")
    assert [tensor.name for tensor in found.tensors] == ["w"]
    assert [node.name for node in found.nodes] == ["fc"]
    assert "Constant int8[3x4], read by fc." in to_text(found)


def test_explain_reads_files(record: RunRecord, tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text(record.dumps(), encoding="utf-8")
    assert explain(tmp_path, "fc") == explain(record, "fc")


def test_explain_names_near_matches(record: RunRecord) -> None:
    with pytest.raises(OptionError, match="'Gem_0'") as caught:
        explain(record, "Gem_0")
    assert "Did you mean Gemm_0" in caught.value.hint


HOSTILE = [
    "\x1b[31mRED\x1b]0;title\x07",
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "[click](http://evil.example)",
    "![x](http://evil.example/a.png)",
    "http://evil.example www.evil.example",
    "a`b <b>bold</b>",
    "``x` <b>bold</b> `y``",
    "a|b|c\\|d",
    "*bold* _slanted_ ~~gone~~ $x$",
    "&lt;b&gt; &#60;b&#62;",
    "# heading",
    "a\n\n# heading\n- item",
    "x; touch PWNED #",
    "$(touch PWNED) `touch PWNED`",
    "-rf",
    "a\u202eb",
]


def _plain_page(name: str) -> Page:
    table = Table(("name",), ((name,),))
    return Page(name, name, (Section(name, (name, f"`qhal explain` {name}"), table, (name,)),))


@pytest.mark.parametrize("name", HOSTILE)
def test_names_act_neither_in_a_terminal_nor_in_markdown(name: str) -> None:
    """The page as HTML has the tags of its own form, and all of the name as text."""
    page = _plain_page(name)
    assert not set(to_text(page)) & set(map(chr, [*range(10), *range(11, 32), 127, 0x202E]))
    assert _tags(to_markdown(page)) == _tags(to_markdown(_plain_page("name")))
    assert "http://" not in to_markdown(page)


def _tags(text: str) -> list[str]:
    rendered = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text)
    return re.findall(r"<[^>]*>", re.sub(r"<code>[^<]*</code>", "", rendered))


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("conv/1", "conv/1"),
        ("x; touch PWNED #", "'x; touch PWNED #'"),
        ("it's", "'it'\"'\"'s'"),
        ("`touch PWNED`", "NAME"),
        ("-rf", "NAME"),
        ("a\nb", "NAME"),
    ],
)
def test_a_suggested_command_takes_the_name_as_one_word(
    record: RunRecord, name: str, argument: str
) -> None:
    node = replace(record.plan.nodes[0], name=name, status=Status.DIFFERS)
    changed = replace(record, plan=replace(record.plan, nodes=(node,)))
    assert f"`qhal explain FOLDER {argument}`" in to_markdown(changed)
