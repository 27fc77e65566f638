"""Which rows and columns of an image lie where a grid of the ground has its pixels."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from rasteret_refs.errors import QueryError
from rasteret_refs.ml.images import AssetImages, Floats, Integers
from rasteret_refs.read.lines import Lines

CLOSE = 1e-3
"""Pixels: a grid that lies off by less is taken to be aligned; transforms come with rounded decimals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A window of the ground: one grid that images are read onto."""

    crs: Any
    """Text or object that identifies the CRS; None: that of the images themselves."""
    transform: tuple[float, ...]
    """(a, b, c, d, e, f) of the first pixel."""
    height: int
    width: int


def lines_on(images: AssetImages, row: int, transform: Floats, height: int, width: int) -> tuple[Lines, Lines]:
    """Find, for each pixel of a grid, the pixel of an image that holds its centre (nearest neighbour).

    Parameters
    ----------
    images, row
        The image.
    transform
        (a, b, c, d, e, f) of the output's first pixel, in the CRS of the image.
    height, width
        Of the output.

    Returns
    -------
    (Lines, Lines)
        Along rows and columns.

    Raises
    ------
    QueryError
        The grids are rotated against each other.
    """
    a, b, c, d, e, f = images.transform[row]
    determinant = a * e - b * d
    ta, tb, tc, td, te, tf = transform
    # The output's pixels in the image's: inverse of the image's transform times the output's.
    xx, xy = (e * ta - b * td) / determinant, (e * tb - b * te) / determinant
    yx, yy = (a * td - d * ta) / determinant, (a * te - d * tb) / determinant
    x0 = (e * (tc - c) - b * (tf - f)) / determinant
    y0 = (a * (tf - f) - d * (tc - c)) / determinant
    if max(abs(xy) * height, abs(yx) * width) > CLOSE:
        raise QueryError(
            f"expected grids that are not rotated against each other: asset {images.name}, scene row {row}"
        )
    rows = _positions(y0, yy, height)
    columns = _positions(x0, xx, width)
    return (
        Lines(positions=rows, size=int(images.height[row])),
        Lines(positions=columns, size=int(images.width[row])),
    )


def _positions(start: float, step: float, count: int) -> Integers:
    if abs(step - 1) * count < CLOSE and abs(start - round(start)) < CLOSE:
        return np.arange(round(start), round(start) + count)
    if abs(step + 1) * count < CLOSE and abs(start - round(start)) < CLOSE:
        return np.arange(round(start) - 1, round(start) - 1 - count, -1)
    return np.floor(start + step * (np.arange(count) + 0.5) + CLOSE).astype(np.int64)


def lines_of(images: AssetImages, row: int, corner: tuple[int, int], shape: tuple[int, int]) -> tuple[Lines, Lines]:
    """Give the pixels of a window of the image itself, in its own rows and columns."""
    (top, left), (height, width) = corner, shape
    return (
        Lines(positions=np.arange(top, top + height), size=int(images.height[row])),
        Lines(positions=np.arange(left, left + width), size=int(images.width[row])),
    )
