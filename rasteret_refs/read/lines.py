"""Pixels of an image at given rows and columns, also outside of it and in any order, as windows of a batch."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rasteret_refs.errors import QueryError
from rasteret_refs.read.arrays import ReferencedArray
from rasteret_refs.read.reader import Window

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lines:
    """Positions of an image along one axis, one for each pixel of the output; some may lie outside the image."""

    positions: Integers
    size: int
    """Of the image along this axis."""

    @property
    def inside(self) -> npt.NDArray[np.bool_]:
        """Which positions the image has."""
        return (self.positions >= 0) & (self.positions < self.size)


def window_of(
    array: ReferencedArray, index: int, lines: tuple[Lines, Lines], out: npt.NDArray[Any], *, outside: Any
) -> Window | None:
    """Plan the reading of one image's pixels into `out`.

    Parameters
    ----------
    array, index
        The array and the place along its scene axis.
    lines
        Rows and columns.
    out
        (bands, rows, columns) of the output, of any dtype that holds the pixels'.
    outside
        Value of pixels that the image does not have.

    Returns
    -------
    Window or None
        None where the image has none of the pixels; then `out` holds `outside` already.

    Raises
    ------
    QueryError
        The array has another number of bands than `out`.
    """
    bands = array.shape[1] if len(array.shape) > 3 else 1  # noqa: PLR2004 - (scene, band, y, x)
    if bands != out.shape[0]:
        raise QueryError(f"expected {out.shape[0]} bands, found {bands}: {array.path}")
    (rows, row_part), (columns, column_part) = (_part(line) for line in lines)
    if rows is None or columns is None:
        out[...] = outside
        return None
    spare = (row_part.stop - row_part.start, column_part.stop - column_part.start) != out.shape[1:]
    if spare:
        out[...] = outside
    place = out[:, row_part, column_part]
    key = (index, *((slice(None),) if len(array.shape) > 3 else ()), rows.bounds, columns.bounds)  # noqa: PLR2004
    if rows.take is None and columns.take is None and out.dtype == array.dtype:
        return Window(array=array, key=key, out=place if len(array.shape) > 3 else place[0])  # noqa: PLR2004

    def finish(pixels: npt.NDArray[Any]) -> None:
        if columns.take is not None:
            pixels = pixels.take(columns.take, axis=-1)
        if rows.take is not None:
            pixels = pixels.take(rows.take, axis=-2)
        place[...] = pixels

    return Window(array=array, key=key, then=finish)


class _Wanted(NamedTuple):
    bounds: slice
    """Of the image, read as one window."""
    take: Integers | None
    """Positions inside the window; None: all of it, in order."""


def _part(line: Lines) -> tuple[_Wanted | None, slice]:
    """What is read along one axis, and where in the output it goes."""
    positions, part = line.positions, slice(0, len(line.positions))
    low, high = int(positions.min()), int(positions.max()) + 1
    if low < 0 or high > line.size:
        inside = np.flatnonzero(line.inside)
        if not len(inside):
            return None, slice(0, 0)
        part = slice(int(inside[0]), int(inside[-1]) + 1)
        positions = positions[part]
        low, high = int(positions.min()), int(positions.max()) + 1
    if high - low == len(positions) and positions[0] == low:
        return _Wanted(slice(low, high), None), part
    return _Wanted(slice(low, high), positions - low), part
