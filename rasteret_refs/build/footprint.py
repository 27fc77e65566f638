"""Footprints in longitude and latitude, for scenes whose source gives none, from the TIFF's own grid."""

import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from rasteret_refs.tiff.georeference import georeference
from rasteret_refs.tiff.values import ImageDescription
from rasteret_refs.virtual.values import SceneAsset

_EDGE_POINTS = 8
"""Points along each edge: an edge that is straight in the grid's CRS is curved in longitude and latitude."""
_ALONG = np.linspace(0.0, 1.0, _EDGE_POINTS, endpoint=False)
_UNIT_COLUMNS = np.concatenate([_ALONG, np.ones(_EDGE_POINTS), 1.0 - _ALONG, np.zeros(_EDGE_POINTS + 1)])
_UNIT_ROWS = np.concatenate([np.zeros(_EDGE_POINTS), _ALONG, np.ones(_EDGE_POINTS), 1.0 - _ALONG, [0.0]])
_STRAIGHT = 1e-3
"""Share of a footprint's extent by which its edges may differ from the true ones: 110 m for a Sentinel-2 tile. Corners
are exact to `_GRAIN`."""
_GRAIN = 2.0**-20
"""Degrees, 0.1 m: corners are multiples of it (or of less, for small images). The bits below say nothing of a scene,
and cannot be compressed: they were half of the scene table, which every append writes anew."""
_FINEST = 2.0**-12
"""Share of an image's shorter side that corners are moved by at most."""
_JUMP = 180.0
"""Degrees between two neighbouring points of an edge that mean: the antimeridian lies between them."""
_POLYGON, _MULTIPOLYGON = 3, 6

type Ring = npt.NDArray[np.float64]
"""Closed, shape (points, 2): longitude, latitude in degrees."""


def footprints(scenes: Sequence[Sequence[SceneAsset]]) -> list[bytes | None]:
    """Return the WKB footprint of each scene, given by its assets: the outline of the first georeferenced one.

    Returns
    -------
    list of bytes or None
        A polygon, or two where it crosses the antimeridian (RFC 7946 section 3.1.9); None where no asset has a
        transform and a CRS, or the CRS has no place for its corners.
    """
    # Equal images share one description: each grid is projected once, however many scenes lie on it.
    descriptions = {id(image): image for assets in scenes for image in map(_description, assets)}
    edges = {key: edge for key, image in descriptions.items() if (edge := _edge(image)) is not None}
    keys = [next((key for asset in assets if (key := id(_description(asset))) in edges), None) for assets in scenes]
    outlines = _outlines({key: edges[key] for key in keys if key is not None})
    return [None if key is None else outlines.get(key) for key in keys]


def _outlines(edges: Mapping[int, tuple[str, Ring]]) -> dict[int, bytes]:
    """WKB of the edges, by the same keys; none where the CRS has no place for an edge."""
    found: dict[int, bytes] = {}
    by_crs: dict[str, list[tuple[int, Ring]]] = {}
    for key, (wkt, ring) in edges.items():
        by_crs.setdefault(wkt, []).append((key, ring))
    for wkt, rings in by_crs.items():
        # One call a CRS: PROJ is quick, calling it is not.
        places = _in_degrees(wkt, np.concatenate([ring for _, ring in rings])).reshape(len(rings), -1, 2)
        strides = _strides(places)
        finite = np.isfinite(places).all(axis=(1, 2))
        with np.errstate(invalid="ignore"):  # infinite corners, of grids that reach beyond their CRS, are no polygon
            simple = finite & (np.abs(np.diff(places[:, :, 0], axis=1)).max(axis=1) < _JUMP)
        for position, (key, _) in enumerate(rings):
            if simple[position]:
                found[key] = _wkb([places[position][:: strides[position]]])
            elif finite[position]:
                found[key] = _wkb(_pieces(_unrolled(places[position])))
    return found


def _strides(rings: npt.NDArray[np.float64]) -> list[int]:
    """Every how many points of each ring are enough: an edge that is straight to `_STRAIGHT` needs its corners only.

    33 points a scene were seven eighths of the scene table, which every append writes anew.
    """
    with np.errstate(invalid="ignore"):
        extent = np.ptp(rings, axis=1).max(axis=1)
        chosen = np.ones(len(rings), np.int64)
        for stride in (2, 4, 8):  # ascending: where the longest steps are straight, all shorter ones are
            kept = rings[:, ::stride]
            share = (np.arange(stride) / stride)[None, None, :, None]
            straight = kept[:, :-1, None] * (1.0 - share) + kept[:, 1:, None] * share
            off = np.abs(straight.reshape(len(rings), -1, 2) - rings[:, :-1]).max(axis=(1, 2))
            chosen[off <= _STRAIGHT * extent] = stride
    return [int(stride) for stride in chosen]


def _description(asset: SceneAsset) -> ImageDescription:
    return asset.pyramids[0].levels[0].image.description


def _edge(description: ImageDescription) -> tuple[str, Ring] | None:
    """CRS and edge of an image, in the units of the CRS."""
    place = georeference(description)
    if place is None or place.crs_wkt is None or place.transform is None:
        return None
    a, b, c, d, e, f = place.transform
    column, row = _UNIT_COLUMNS * description.width, _UNIT_ROWS * description.height
    return place.crs_wkt, np.column_stack([a * column + b * row + c, d * column + e * row + f])


def _in_degrees(wkt: str, points: Ring) -> Ring:
    """Longitudes and latitudes, not finite where the projection has none."""
    from pyproj.exceptions import ProjError

    try:
        lon, lat = _to_degrees(wkt).transform(points[:, 0], points[:, 1], errcheck=False)
    except ProjError:
        return np.full_like(points, np.nan)
    return np.column_stack([lon, lat])


def _unrolled(ring: Ring) -> Ring:
    """The same ring with longitudes that go on past 180 rather than jump."""
    steps = np.diff(ring[:, 0])
    lon = ring[0, 0] + np.concatenate([[0.0], np.cumsum(steps - 360.0 * np.round(steps / 360.0))])
    return np.column_stack([lon, np.clip(ring[:, 1], -90.0, 90.0)])


def _pieces(outline: Ring) -> list[Ring]:
    """Cut an outline at the antimeridian."""
    lon, lat = outline[:, 0], outline[:, 1]
    if abs(lon[-1] - lon[0]) > 1.0:  # it runs once around: a pole lies inside
        edge = 90.0 if lat.mean() > 0 else -90.0
        inner = lat.min() if edge > 0 else lat.max()
        return [np.array([[-180.0, inner], [180.0, inner], [180.0, edge], [-180.0, edge], [-180.0, inner]])]
    outline = outline - np.array([360.0 * np.floor((lon.min() + 180.0) / 360.0), 0.0])
    if outline[:, 0].max() <= 180.0 + 1e-9:
        return [np.clip(outline, [-180.0, -90.0], [180.0, 90.0])]
    west, east = _clip(outline, keep_west=True), _clip(outline, keep_west=False)
    return [west, east - np.array([360.0, 0.0])]


def _clip(ring: Ring, *, keep_west: bool) -> Ring:
    """The part of a closed ring on one side of 180° (Sutherland and Hodgman 1974, one edge)."""
    sign = 1.0 if keep_west else -1.0
    kept: list[npt.NDArray[np.float64]] = []
    for start, stop in pairwise(ring):
        inside, next_inside = sign * (180.0 - start[0]) >= 0, sign * (180.0 - stop[0]) >= 0
        if inside:
            kept.append(start)
        if inside != next_inside:
            share = (180.0 - start[0]) / (stop[0] - start[0])
            kept.append(np.array([180.0, start[1] + share * (stop[1] - start[1])]))
    kept.append(kept[0])
    return np.array(kept)


def _wkb(rings: Sequence[Ring]) -> bytes:
    """OGC 06-103r4 section 8.2: little-endian polygons of one ring each."""
    polygons = [
        struct.pack("<BIII", 1, _POLYGON, 1, len(ring)) + np.ascontiguousarray(_rounded(ring), "<f8").tobytes()
        for ring in rings
    ]
    if len(polygons) == 1:
        return polygons[0]
    return struct.pack("<BII", 1, _MULTIPOLYGON, len(polygons)) + b"".join(polygons)


def _rounded(ring: Ring) -> Ring:
    """The ring with corners on multiples of a power of two; those on whole degrees stay."""
    extent = float(np.ptp(ring, axis=0).min())
    if not extent > 0.0:
        return ring
    grain = min(_GRAIN, 2.0 ** np.floor(np.log2(extent * _FINEST)))
    return np.asarray(np.round(ring / grain) * grain)


@lru_cache(maxsize=256)
def _to_degrees(wkt: str) -> Any:
    from pyproj import Transformer

    return Transformer.from_crs(wkt, "OGC:CRS84", always_xy=True)
