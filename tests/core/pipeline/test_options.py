"""What the user may ask of a deployment."""

from __future__ import annotations

from typing import get_type_hints

import pytest

from qhal.cli import options as cli
from qhal.cli.main import parser
from qhal.errors import OptionError
from qhal.pipeline.options import OptionKeywords, Options


def test_the_keywords_are_the_fields() -> None:
    fields = get_type_hints(Options)
    del fields["data"]
    assert get_type_hints(OptionKeywords) == fields


def test_the_command_has_the_same_defaults() -> None:
    command = ["deploy", "model.onnx", "--target", "cpu", "--data", "samples.npz"]
    given = vars(parser().parse_args(command))
    given["shapes"] = cli.shapes(given.pop("shape")) or None
    given["outputs"] = tuple(given.pop("output"))
    asked = Options("samples.npz").as_given()
    assert {name: given[name] for name in asked} == asked


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"observer": "median"}, "--observer: there is no range estimator 'median'."),
        ({"threads": 0}, "threads is 0."),
        ({"max_fallback": -1}, "max_fallback is -1."),
        ({"outputs": "boxes"}, "outputs is the text 'boxes'."),
    ],
)
def test_values_that_no_step_could_use(wrong: OptionKeywords, said: str) -> None:
    with pytest.raises(OptionError) as caught:
        Options("samples.npz", **wrong)
    assert caught.value.message == said
