"""Where windows of a grid lie: in its own units, and in longitude and latitude."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from rasteret_refs.refset.coordinates import stored_values
from rasteret_refs.refset.metadata import DIMENSIONS
from rasteret_refs.refset.sealed import SealedSet

Boxes = npt.NDArray[np.float64]
"""(xmin, ymin, xmax, ymax), shape `(n, 4)`; NaN where there is no place."""
_EDGE = np.array([(0, 0), (0.5, 0), (1, 0), (1, 0.5), (1, 1), (0.5, 1), (0, 1), (0, 0.5)])
"""Corners and middles of edges: an edge that is straight in the grid's CRS is curved in degrees."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Place:
    """One grid at one resolution."""

    crs: str | None
    """Whatever pyproj understands: a code, or WKT."""
    transform: tuple[float, ...] | None
    """Affine a, b, c, d, e, f."""
    size: tuple[int, int] | None = None
    """Height and width of the image, where its array is padded; None: those of the array."""

    def corners(self, windows: npt.NDArray[np.int64]) -> tuple[Boxes, Boxes]:
        """Points along the edges of windows.

        Parameters
        ----------
        windows
            (x0, y0, x1, y1) in pixels, shape `(n, 4)`.

        Returns
        -------
        tuple
            x and y in the grid's units, each of shape `(n, 8)`.
        """
        if self.transform is None:
            nowhere = np.full((len(windows), len(_EDGE)), np.nan)
            return nowhere, nowhere
        a, b, c, d, e, f = self.transform
        start, size = windows[:, :2, np.newaxis], (windows[:, 2:] - windows[:, :2])[:, :, np.newaxis]
        columns, rows = (start + size * _EDGE.T[np.newaxis]).transpose(1, 0, 2)
        return a * columns + b * rows + c, d * columns + e * rows + f

    def bounds(self, windows: npt.NDArray[np.int64]) -> Boxes:
        """Boxes of windows in the grid's units."""
        x, y = self.corners(windows)
        return np.stack([x.min(axis=1), y.min(axis=1), x.max(axis=1), y.max(axis=1)], axis=1)

    def degrees(self, windows: npt.NDArray[np.int64]) -> Boxes:
        """Boxes of windows in longitude and latitude; west is above east across the antimeridian."""
        if self.crs is None or self.transform is None:
            return np.full((len(windows), 4), np.nan)
        x, y = self.corners(windows)
        longitude, latitude = _to_degrees(self.crs).transform(x, y)
        longitude, latitude = np.asarray(longitude), np.asarray(latitude)
        lost = ~np.isfinite(longitude).all(axis=1) | ~np.isfinite(latitude).all(axis=1)
        across = longitude.max(axis=1) - longitude.min(axis=1) > 180  # noqa: PLR2004 - a half turn
        eastward = np.where(across[:, np.newaxis] & (longitude < 0), longitude + 360, longitude)
        west, east = eastward.min(axis=1), eastward.max(axis=1)
        east = np.where(east > 180, east - 360, east)  # noqa: PLR2004 - likewise
        found = np.stack([west, latitude.min(axis=1), east, latitude.max(axis=1)], axis=1)
        found[lost] = np.nan
        return found


@lru_cache(maxsize=64)
def _to_degrees(crs: str) -> Any:
    from pyproj import Transformer

    return Transformer.from_crs(crs, "OGC:CRS84", always_xy=True)


def places(sealed: SealedSet, group: str, image: str) -> "Place | list[Place]":
    """Where the images of a group lie.

    Parameters
    ----------
    group
        Path of a group that holds arrays.
    image
        Name of one of its arrays of pixels.

    Returns
    -------
    Place or list of Place
        One for the whole group; in the `stack` layout one for each number along the scene axis.
    """
    documents = sealed.documents
    if f"{group}/transform/.zarray" in documents:
        transforms = stored_values(sealed, f"{group}/transform").astype(np.float64)
        crs = stored_values(sealed, f"{group}/crs").astype(str).tolist()
        return [
            Place(crs=name or None, transform=tuple(row.tolist()) if np.isfinite(row).all() else None, size=size)
            for name, row, size in zip(crs, transforms, _sizes(sealed, group, len(crs)), strict=True)
        ]
    attributes = documents.get(f"{group}/{image}/.zattrs", {})
    transform = attributes.get("spatial:transform")
    return Place(
        crs=_crs(attributes, documents.get(f"{group}/spatial_ref/.zattrs", {})),
        transform=None if transform is None else tuple(map(float, transform)),
    )


def _sizes(sealed: SealedSet, group: str, count: int) -> Sequence[tuple[int, int] | None]:
    if f"{group}/height/.zarray" not in sealed.documents:
        return [None] * count
    height, width = (stored_values(sealed, f"{group}/{name}").astype(int).tolist() for name in ("height", "width"))
    return list(zip(height, width, strict=True))


class Windows:
    """Pixels of the tiles of some scenes, scene by scene, cut where an image ends.

    Parameters
    ----------
    windows
        (x0, y0, x1, y1) of one scene's tiles in pixels, shape `(n, 4)`.
    scenes
        How many scenes there are.
    where
        A place for each, or one for all.
    """

    def __init__(self, windows: npt.NDArray[np.int64], scenes: int, where: Sequence[Place]) -> None:
        self._where = where
        self._scenes = scenes
        self._parts = [_cut(windows, place.size) for place in where]
        whole = np.concatenate(self._parts)
        self.pixels: npt.NDArray[np.int64] = np.tile(whole, (scenes // len(where), 1))
        """All windows, shape `(scenes * n, 4)`."""

    @property
    def inside(self) -> npt.NDArray[np.bool_] | None:
        """Which windows hold pixels of their image; None: all do."""
        if all(place.size is None for place in self._where):
            return None
        here: npt.NDArray[np.bool_] = (self.pixels[:, 2] > self.pixels[:, 0]) & (self.pixels[:, 3] > self.pixels[:, 1])
        return here

    def boxes(self, kind: str) -> Boxes:
        """`bounds` or `degrees` of all windows."""
        found = np.concatenate(
            [getattr(place, kind)(part) for place, part in zip(self._where, self._parts, strict=True)]
        )
        return np.tile(found, (self._scenes // len(self._where), 1))

    def crs(self) -> list[str | None]:
        """CRS of each window."""
        return [place.crs for place, part in zip(self._where, self._parts, strict=True) for _ in part] * (
            self._scenes // len(self._where)
        )


def _cut(windows: npt.NDArray[np.int64], size: tuple[int, int] | None) -> npt.NDArray[np.int64]:
    if size is None:
        return windows
    return np.minimum(windows, np.array([size[1], size[0], size[1], size[0]], np.int64))


def is_image(attributes: Mapping[str, Any]) -> bool:
    """Tell arrays of pixels from coordinates."""
    return list(attributes.get(DIMENSIONS, ()))[-2:] == ["y", "x"]


def _crs(attributes: Mapping[str, Any], grid_mapping: Mapping[str, Any]) -> str | None:
    for value in (attributes.get("proj:code"), attributes.get("proj:wkt2"), grid_mapping.get("crs_wkt")):
        if value:
            return str(value)
    return None
