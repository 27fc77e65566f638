"""Where chips lie in their scenes: on a grid, at random, or around points. Pure arithmetic."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rasteret_refs.errors import QueryError
from rasteret_refs.ml.images import AssetImages, Integers


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chips:
    """Chips in index order; each column has one row a chip."""

    scene: Integers
    """Row of the scene table."""
    row: Integers
    """First row of the chip in the scene's finest asset; negative where the chip begins above the image."""
    column: Integers
    """First column."""
    point: Integers | None = None
    """Row of the table of points that the chip was made for."""
    entry: Integers | None = None
    """Which of the scenes (or series) that chips were laid over."""

    def __len__(self) -> int:
        return len(self.scene)

    def take(self, chosen: npt.NDArray[Any] | slice) -> "Chips":
        """Choose chips by positions or by a mask."""
        return Chips(
            scene=self.scene[chosen],
            row=self.row[chosen],
            column=self.column[chosen],
            point=None if self.point is None else self.point[chosen],
            entry=None if self.entry is None else self.entry[chosen],
        )


def starts(length: int, size: int, stride: int) -> Integers:
    """First pixels of chips along one axis: every `stride`, and a last one flush with the end, so that all is covered.

    Parameters
    ----------
    length
        Of the image along this axis, in pixels. A shorter image than a chip has one chip, which reaches beyond it.
    size, stride
        In pixels.
    """
    if length <= size:
        return np.zeros(1, np.int64)
    found = np.arange(0, length - size + 1, stride)
    return found if found[-1] == length - size else np.append(found, length - size)


def gridded(images: AssetImages, rows: Integers, size: int, stride: int) -> Chips:
    """Lay chips over whole scenes: scene by scene, row by row.

    Parameters
    ----------
    images
        Of the finest asset.
    rows
        Scenes, as rows of the scene table.
    size, stride
        In pixels of that asset.
    """
    entries, tops, lefts = [], [], []
    for number, row in enumerate(rows):
        down = starts(int(images.height[row]), size, stride)
        across = starts(int(images.width[row]), size, stride)
        entries.append(np.full(len(down) * len(across), number))
        tops.append(np.repeat(down, len(across)))
        lefts.append(np.tile(across, len(down)))
    entry = _joined(entries)
    return Chips(scene=rows[entry], row=_joined(tops), column=_joined(lefts), entry=entry)


def at_random(images: AssetImages, rows: Integers, size: int, count: int, generator: np.random.Generator) -> Chips:
    """Draw chips wholly inside scenes, scenes weighted by their area.

    Parameters
    ----------
    images, rows, size
        As in `gridded`.
    count
        How many.
    generator
        Where the numbers come from: equal generators, equal chips.
    """
    if not len(rows):
        return Chips(scene=_joined([]), row=_joined([]), column=_joined([]), entry=_joined([]))
    areas = (images.height[rows] * images.width[rows]).astype(np.float64)
    entry = generator.choice(len(rows), size=count, p=areas / areas.sum())
    scene = rows[entry]
    down = np.maximum(images.height[scene] - size, 0) + 1
    across = np.maximum(images.width[scene] - size, 0) + 1
    return Chips(scene=scene, row=generator.integers(0, down), column=generator.integers(0, across), entry=entry)


def around(
    images: AssetImages,
    rows: Integers,
    size: int,
    longitude: npt.NDArray[np.float64],
    latitude: npt.NDArray[np.float64],
) -> Chips:
    """Centre chips on points: one for each scene whose image holds the point.

    Parameters
    ----------
    images, rows, size
        As in `gridded`.
    longitude, latitude
        WGS 84 degrees, shape `(points,)`.

    Returns
    -------
    Chips
        Point by point, then scene by scene. The pixel that holds the point is at (size // 2, size // 2).

    Raises
    ------
    QueryError
        A scene has no georeference.
    """
    from pyproj import Transformer

    known: dict[str, tuple[Any, Any]] = {}
    found = []
    for entry, row in enumerate(rows):
        crs = images.crs[row]
        if crs is None or not np.isfinite(images.transform[row]).all():
            raise QueryError(f"expected georeferenced scenes for chips around points, scene row {row} is not")
        if crs not in known:
            known[crs] = Transformer.from_crs("OGC:CRS84", crs, always_xy=True).transform(longitude, latitude)
        x, y = known[crs]
        a, b, c, d, e, f = images.transform[row]
        determinant = a * e - b * d
        with np.errstate(invalid="ignore"):
            column = (e * (x - c) - b * (y - f)) / determinant
            line = (a * (y - f) - d * (x - c)) / determinant
            inside = (line >= 0) & (line < images.height[row]) & (column >= 0) & (column < images.width[row])
        points = np.flatnonzero(inside)
        corner = np.stack([np.floor(line[points]), np.floor(column[points])]).astype(np.int64) - size // 2
        found.append((points, np.full(len(points), entry), corner[0], corner[1]))
    points, entries, top, left = (_joined([part[i] for part in found]) for i in range(4))
    order = np.lexsort((entries, points))
    scene = rows[entries[order]]
    return Chips(scene=scene, row=top[order], column=left[order], point=points[order], entry=entries[order])


def together(parts: list[Chips]) -> Chips:
    """Put chips one after the other; points are left out."""
    return Chips(
        scene=_joined([part.scene for part in parts]),
        row=_joined([part.row for part in parts]),
        column=_joined([part.column for part in parts]),
        entry=_joined([part.entry for part in parts if part.entry is not None]),
    )


def _joined(parts: list[npt.NDArray[Any]]) -> Integers:
    return np.concatenate(parts).astype(np.int64) if parts else np.empty(0, np.int64)
