"""Recipes: the user's word for a choice of precisions."""

from __future__ import annotations

from dataclasses import dataclass

from qhal.errors import UnknownRecipeError
from qhal.ir.dtypes import DType
from qhal.ir.graph import NodeView
from qhal.targets.capability import Capabilities, KernelRow
from qhal.targets.spec import QuantSpec


@dataclass(frozen=True)
class Recipe:
    """Which element types a kernel may have to count as "what was asked for".

    It is the constant :class:`~qhal.targets.policy.Policy`, too.

    Attributes:
        name: such as ``w8a8``.
        title: one line for people.
        activation: allowed types of activations.
        weight: allowed types of weights.
        bits: bits of a weight that may be used; empty for all that its type has.
        wider: the recipe of nodes that have no kernel of this one; None if they run in float.
    """

    name: str
    title: str
    activation: frozenset[DType]
    weight: frozenset[DType]
    bits: frozenset[int] = frozenset()
    wider: Recipe | None = None

    def accepts(self, row: KernelRow, weighted: bool) -> bool:
        """Return True if a kernel row is of this recipe; ``weighted``: the node has a weight."""
        if row.activation.dtype not in self.activation:
            return False
        return not weighted or (row.weight is not None and self._stores(row.weight))

    def _stores(self, weight: QuantSpec) -> bool:
        return weight.dtype in self.weight and (not self.bits or weight.used_bits in self.bits)

    def recipe_for(self, view: NodeView) -> Recipe:
        """Give every node this recipe."""
        return self

    @property
    def in_order(self) -> tuple[Recipe, ...]:
        """This recipe, then wider ones: the order in which kernels are sought."""
        return (self, *(self.wider.in_order if self.wider else ()))

    @property
    def narrow(self) -> bool:
        """True if activations have at most 8 bits, so that every step of them counts."""
        return all(dtype.bits <= 8 for dtype in self.activation)

    @property
    def weight_bits(self) -> int:
        """Fewest bits of a weight."""
        return min(self.bits or (dtype.bits for dtype in self.weight))

    @property
    def is_float(self) -> bool:
        """True if activations stay in float."""
        return all(dtype.is_float for dtype in self.activation)


_INT8 = frozenset({DType.INT8, DType.UINT8})
_INT16 = frozenset({DType.INT16, DType.UINT16})
_INT4 = frozenset({DType.INT4, DType.UINT4})
_FLOAT = frozenset({DType.FLOAT32, DType.FLOAT16})
_BFLOAT = frozenset({DType.BFLOAT16})
_FEW = _INT4 | _INT8 | frozenset({DType.INT2})
"""Types that hold weights of 4 bits and fewer: some hardware gains by few values in int8, too."""

FLOAT32 = Recipe("float32", "no quantization: the baseline", _FLOAT, frozenset({DType.FLOAT32}))

_W8A8 = Recipe("w8a8", "8-bit weights and activations", _INT8, _INT8, frozenset({7, 8}))
_W8A16 = Recipe("w8a16", "8-bit weights, 16-bit activations", _INT16, _INT8, frozenset({7, 8}))
_W8 = Recipe("w8", "8-bit weights, activations in float", _FLOAT, _INT8, frozenset({7, 8}))


def _few(bits: int, wider: Recipe) -> Recipe:
    """Make the recipe of few bits that is beside one of 8 bits."""
    name, title = wider.name.replace("8", str(bits), 1), wider.title.replace("8", str(bits), 1)
    if wider is _W8A8:
        title = f"{bits}-bit weights, 8-bit activations"
    return Recipe(name, title, wider.activation, _FEW, frozenset({bits}), wider)


RECIPES: tuple[Recipe, ...] = (
    _W8A8,
    _W8A16,
    _W8,
    _few(4, _W8A8),
    _few(4, _W8A16),
    _few(4, _W8),
    _few(3, _W8A8),
    _few(2, _W8A8),
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
    why = caps.why_absent(name)
    what = f"{what}, because {why}" if why else what
    raise UnknownRecipeError(
        f"Recipe {name!r}: {what}.", f"Recipes of {target}: {', '.join(have) or 'none'}."
    )
