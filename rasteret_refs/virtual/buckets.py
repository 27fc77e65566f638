"""The `stack` layout's arrays: shapes that share one, exactly or padded within a tolerance."""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from rasteret_refs.errors import LayoutError

Shape = tuple[int, int]
"""(height, width) in pixels."""

LARGEST_TOLERANCE: Final = 0.25
"""Pixels that padding may add, as a share of the smallest image's own."""


def buckets(shapes: Iterable[Shape], tolerance: float, existing: Sequence[Shape] = ()) -> dict[Shape, Shape]:
    """Assign each image shape to the shape of the array that holds it.

    Parameters
    ----------
    shapes
        Distinct or repeated image shapes.
    tolerance
        0: each shape for itself. Else the largest share of pixels, up to 0.25, that padding adds to any image.
    existing
        Array shapes of a set that is appended to: they never change, and are filled first.

    Returns
    -------
    dict
        Array shape for every image shape. Both dimensions are at least the image's. The result depends on the set of
        shapes only, not on their order.

    Raises
    ------
    LayoutError
        The tolerance is not between 0 and 0.25.
    """
    if not 0 <= tolerance <= LARGEST_TOLERANCE:
        raise LayoutError(f"tolerance: expected a share between 0 and {LARGEST_TOLERANCE}, got {tolerance}")
    distinct = sorted(set(shapes), key=lambda shape: (-shape[0] * shape[1], shape))
    if tolerance == 0:
        return {shape: shape for shape in distinct}
    result: dict[Shape, Shape] = {}
    remaining = []
    for shape in distinct:
        fitting = [array for array in existing if _fits(shape, array, tolerance)]
        if fitting:
            result[shape] = min(fitting, key=lambda array: (array[0] * array[1], array))
        else:
            remaining.append(shape)
    grown, members = _grow(remaining, tolerance)
    for shape, bucket in zip(remaining, members, strict=True):
        result[shape] = grown[bucket]
    return result


def _fits(shape: Shape, array: Shape, tolerance: float) -> bool:
    inside = shape[0] <= array[0] and shape[1] <= array[1]
    return inside and array[0] * array[1] <= (1 + tolerance) * shape[0] * shape[1]


def _grow(shapes: Sequence[Shape], tolerance: float) -> tuple[list[Shape], list[int]]:
    """First fit by decreasing area: a bucket grows to the elementwise maximum while its smallest member allows it."""
    high = np.empty(len(shapes), np.int64)
    wide = np.empty(len(shapes), np.int64)
    smallest = np.empty(len(shapes), np.int64)
    count = 0
    members: list[int] = []
    for height, width in shapes:
        tall, broad = np.maximum(high[:count], height), np.maximum(wide[:count], width)
        least = np.minimum(smallest[:count], height * width)
        good = np.flatnonzero(tall * broad <= (1 + tolerance) * least)
        if len(good):
            bucket = int(good[0])
            high[bucket], wide[bucket], smallest[bucket] = tall[bucket], broad[bucket], least[bucket]
        else:
            bucket = count
            high[count], wide[count], smallest[count] = height, width, height * width
            count += 1
        members.append(bucket)
    return [(int(high[k]), int(wide[k])) for k in range(count)], members
