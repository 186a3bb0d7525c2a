"""Why kernels are missing, as refusals quote it."""

from __future__ import annotations

import pytest

from qhal.errors import UnknownRecipeError
from qhal.targets.capability import Absence, Capabilities
from qhal.targets.recipe import find_recipe

CAPS = Capabilities(
    kernels=(),
    absent=(
        Absence(("w4a8",), "its convolutions are slow", ("Conv",)),
        Absence(("w2a8", "w3a8"), "it packs no fewer than 4 bits"),
    ),
)


@pytest.mark.parametrize(
    ("recipe", "kind", "why"),
    [
        ("w4a8", "Conv", "its convolutions are slow"),
        ("w4a8", "MatMul", ""),
        ("w4a8", "", ""),
        ("w3a8", "", "it packs no fewer than 4 bits"),
        ("w2a8", "MatMul", "it packs no fewer than 4 bits"),
        ("w8a8", "Conv", ""),
    ],
)
def test_a_reason_is_that_of_the_recipe_and_of_the_operator(
    recipe: str, kind: str, why: str
) -> None:
    assert CAPS.why_absent(recipe, kind) == why


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        ("w2a8", r"target npu has no kernels for it, because it packs no fewer than 4 bits\."),
        ("w4a8", r"target npu has no kernels for it\."),
    ],
)
def test_a_refused_recipe_says_why(recipe: str, sentence: str) -> None:
    with pytest.raises(UnknownRecipeError, match=sentence):
        find_recipe(recipe, CAPS, "npu")
