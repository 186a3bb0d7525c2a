"""Recipes: the user's word for a choice of precisions."""

from __future__ import annotations

from dataclasses import dataclass

from qhal.errors import UnknownRecipeError
from qhal.ir.dtypes import DType
from qhal.ir.graph import NodeView
from qhal.targets.capability import Capabilities, KernelRow


@dataclass(frozen=True)
class Recipe:
    """Which element types a kernel may have to count as "what was asked for".

    It is the constant :class:`~qhal.targets.policy.Policy`, too.

    Attributes:
        name: such as ``w8a8``.
        title: one line for people.
        activation: allowed types of activations.
        weight: allowed types of weights.
    """

    name: str
    title: str
    activation: frozenset[DType]
    weight: frozenset[DType]

    def accepts(self, row: KernelRow, weighted: bool) -> bool:
        """Return True if a kernel row is of this recipe; ``weighted``: the node has a weight."""
        if row.activation.dtype not in self.activation:
            return False
        return not weighted or (row.weight is not None and row.weight.dtype in self.weight)

    def recipe_for(self, view: NodeView) -> Recipe:
        """Give every node this recipe."""
        return self

    @property
    def narrow(self) -> bool:
        """True if activations have at most 8 bits, so that every step of them counts."""
        return all(dtype.bits <= 8 for dtype in self.activation)

    @property
    def weight_bits(self) -> int:
        """Fewest bits of a weight."""
        return min(dtype.bits for dtype in self.weight)

    @property
    def is_float(self) -> bool:
        """True if activations stay in float."""
        return all(dtype.is_float for dtype in self.activation)


_INT8 = frozenset({DType.INT8, DType.UINT8})
_INT16 = frozenset({DType.INT16, DType.UINT16})
_FLOAT = frozenset({DType.FLOAT32, DType.FLOAT16})
_BFLOAT = frozenset({DType.BFLOAT16})

FLOAT32 = Recipe("float32", "no quantization: the baseline", _FLOAT, frozenset({DType.FLOAT32}))

RECIPES: tuple[Recipe, ...] = (
    Recipe("w8a8", "8-bit weights and activations", _INT8, _INT8),
    Recipe("w8a16", "8-bit weights, 16-bit activations", _INT16, _INT8),
    Recipe("w8", "8-bit weights, activations in float", _FLOAT, _INT8),
    Recipe(
        "w4", "4-bit weights, activations in float", _FLOAT, frozenset({DType.INT4, DType.UINT4})
    ),
    Recipe(
        "nf4", "4-bit NormalFloat weights, activations in float", _FLOAT, frozenset({DType.NF4})
    ),
    Recipe("fp16", "16-bit float", _FLOAT, frozenset({DType.FLOAT16})),
    Recipe("bf16", "bfloat16 weights and products", _FLOAT | _BFLOAT, _BFLOAT),
)


def recipes_of(caps: Capabilities) -> tuple[Recipe, ...]:
    """List the recipes for which a target has at least one kernel of a weighted operator."""
    rows = [row for capability in caps.kernels for row in capability.rows if row.weight]
    return tuple(r for r in RECIPES if any(r.accepts(row, weighted=True) for row in rows))


def wider_recipes(recipe: Recipe, caps: Capabilities) -> tuple[Recipe, ...]:
    """List the recipes of a target that keep more of activations, and no less of weights."""
    if not recipe.narrow:
        return ()
    others = (r for r in recipes_of(caps) if not r.narrow)
    return tuple(r for r in others if r.weight_bits >= recipe.weight_bits)


def find_recipe(name: str, caps: Capabilities, target: str) -> Recipe:
    """Look up the recipe of this name.

    Raises:
        UnknownRecipeError: there is no such recipe, or the target has no kernels for it.
    """
    have = {recipe.name: recipe for recipe in recipes_of(caps)}
    if name in have:
        return have[name]
    known = any(recipe.name == name for recipe in RECIPES)
    what = f"target {target} has no kernels for it" if known else "there is no such recipe"
    raise UnknownRecipeError(
        f"Recipe {name!r}: {what}.", f"Recipes of {target}: {', '.join(have) or 'none'}."
    )
