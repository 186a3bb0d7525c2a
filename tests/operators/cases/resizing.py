"""Cases of Resize with every attribute, and of Upsample."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from tests.operators.cases.case import Case, Operand, f32, i64

_COORDINATES = (
    *("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric"),
    "tf_crop_and_resize",
)
_ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
_PLANE = (1, 2, 6, 7)
_ROI = f32(0, 0, 0.1, 0.2, 1, 1, 0.8, 0.9)
_TARGETS: tuple[tuple[Operand, Operand], ...] = (
    (f32(1, 1, 2, 2), None),
    (f32(1, 1, 0.6, 0.7), None),
    (f32(1, 1, 1.5, 2.6), None),
    (None, i64(1, 2, 9, 4)),
    (None, i64(1, 2, 1, 1)),
)


def resizes() -> Iterator[Case]:
    """Yield the cases."""
    attributes: dict[str, Any]
    for coordinates, (scales, sizes) in product(_COORDINATES, _TARGETS):
        since = 19 if coordinates == "half_pixel_symmetric" else 11
        for mode in ("linear", "cubic"):
            attributes = {"mode": mode, "coordinate_transformation_mode": coordinates}
            yield _case(scales, sizes, attributes, since)
        for rounding in _ROUNDINGS:
            attributes = {"mode": "nearest", "coordinate_transformation_mode": coordinates}
            yield _case(scales, sizes, {**attributes, "nearest_mode": rounding}, since)
    for (scales, sizes), mode in product(_TARGETS, ("linear", "cubic")):
        yield _case(scales, sizes, {"mode": mode, "antialias": 1}, 18)
        yield _case(scales, sizes, {"mode": mode, "antialias": 1, "exclude_outside": 1}, 18)
    for exclude, a in product((0, 1), (-0.5, -0.75)):
        attributes = {"mode": "cubic", "cubic_coeff_a": a, "exclude_outside": exclude}
        yield _case(_TARGETS[2][0], None, attributes, 11)
    for policy, mode in product(("stretch", "not_larger", "not_smaller"), ("linear", "nearest")):
        attributes = {"mode": mode, "keep_aspect_ratio_policy": policy, "axes": [2, 3]}
        yield _case(None, i64(12, 9), attributes, 18)
        yield _case(None, i64(3, 5), attributes, 18)
    for axes in ([3], [2, 3], [3, 2], [-1], [-2, -1]):
        scales = f32(*(1.5, 2.0)[: len(axes)])
        yield _case(scales, None, {"mode": "linear", "axes": axes}, 18)
    crop = {"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize"}
    outside = f32(0, 0, -0.2, 0, 1, 1, 1.3, 1)
    yield Case(
        "Resize", (_PLANE, outside, None, i64(1, 2, 4, 4)), {**crop, "extrapolation_value": 3.0}
    )
    for shape in ((1, 2, 7), (1, 2, 3, 4, 5), (3, 6), (2, 3, 4, 5)):
        for mode in ("linear", "nearest"):
            scales = f32(*(2.0 for _ in shape))
            yield Case("Resize", (shape, None, scales), {"mode": mode}, since=13, label="all axes")
    yield Case("Resize", ((1, 6, 7, 2), None, f32(1, 2, 2, 1)), {"mode": "linear"}, label="last")
    for mode, scales in product(("linear", "nearest"), (f32(1, 1, 2, 2), f32(1, 1, 1.5, 2.6))):
        yield Case("Upsample", (_PLANE, scales), {"mode": mode}, since=9, until=9)
        yield Case("Resize", (_PLANE, scales), {"mode": mode}, since=10, until=10)
        upsample = {"mode": mode, "scales": scales.tolist()}
        yield Case("Upsample", (_PLANE,), upsample, since=7, until=8)
    for mode, scales in product(("linear", "nearest"), (f32(1, 1, 0.6, 0.7), f32(1, 1, 0.75, 1))):
        yield Case("Resize", ((1, 2, 8, 7), scales), {"mode": mode}, since=10, until=10)


def _case(scales: Operand, sizes: Operand, attributes: dict[str, Any], since: int) -> Case:
    operands: tuple[Operand, ...] = (_PLANE, _ROI, scales)
    return Case("Resize", operands if sizes is None else (*operands, sizes), attributes, since)
