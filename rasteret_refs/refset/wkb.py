"""Bounds and type of a WKB geometry, for GeoParquet's covering column; no geometry library needed."""

import math
import struct
from dataclasses import dataclass
from typing import Final

TYPE_NAMES: Final = {
    1: "Point",
    2: "LineString",
    3: "Polygon",
    4: "MultiPoint",
    5: "MultiLineString",
    6: "MultiPolygon",
    7: "GeometryCollection",
}
"""Geometry types of OGC 06-103r4 (Simple Features, part 1), section 8.2."""
type _Points = tuple[list[float], list[float]]
"""Longitudes and latitudes."""
_POLYGON: Final = 3
_FIRST_COLLECTION: Final = 4


@dataclass(frozen=True, slots=True)
class WkbSummary:
    """What a footer and a covering column say of a geometry."""

    name: str
    """As GeoParquet's `geometry_types` writes it: `Polygon`, `Polygon Z`, …"""
    bounds: tuple[float, float, float, float] | None
    """(xmin, ymin, xmax, ymax); None for an empty geometry."""


def summarise(wkb: bytes) -> WkbSummary:
    """Read a geometry's type and bounds.

    Parameters
    ----------
    wkb
        ISO WKB or PostGIS's EWKB, either byte order.

    Raises
    ------
    ValueError
        Not WKB.
    """
    longitudes: list[float] = []
    latitudes: list[float] = []
    try:
        kind, dimensions, *_ = _header(wkb, 0)
        end = _collect(wkb, 0, (longitudes, latitudes))
    except (struct.error, KeyError, IndexError, RecursionError) as error:
        raise ValueError(f"expected WKB, got {wkb[:16].hex()}…") from error
    if end != len(wkb):
        raise ValueError(f"expected {end} bytes of WKB, got {len(wkb)}")
    name = TYPE_NAMES[kind] + {2: "", 3: " Z", 4: " ZM"}[dimensions]
    if not longitudes or any(map(math.isnan, longitudes)):  # an empty point is written as NaN
        return WkbSummary(name, None)
    return WkbSummary(name, (min(longitudes), min(latitudes), max(longitudes), max(latitudes)))


def _header(wkb: bytes, at: int) -> tuple[int, int, str, int]:
    """Return type code, number of dimensions, byte order and where the body begins."""
    order = "<" if wkb[at] == 1 else ">"
    (code,) = struct.unpack_from(f"{order}I", wkb, at + 1)
    at += 5
    has_z, has_m = bool(code & 0x80000000), bool(code & 0x40000000)
    if code & 0x20000000:  # EWKB: an SRID follows
        at += 4
    code &= 0x1FFFFFFF
    iso = code // 1000  # ISO: 1000 is Z, 2000 is M, 3000 is ZM
    dimensions = 2 + (has_z or iso in {1, 3}) + (has_m or iso in {2, 3})
    kind = code % 1000
    if kind not in TYPE_NAMES or iso > 3:  # noqa: PLR2004 - see above
        raise KeyError(code)
    return kind, dimensions, order, at


def _collect(wkb: bytes, at: int, points: _Points) -> int:
    """Append all coordinates (x, y) of the geometry at a position, and return where it ends."""
    kind, dimensions, order, at = _header(wkb, at)
    if kind == 1:
        return _points(points, wkb, at, count=1, dimensions=dimensions, order=order)
    (count,) = struct.unpack_from(f"{order}I", wkb, at)
    at += 4
    if kind >= _FIRST_COLLECTION:
        for _ in range(count):
            at = _collect(wkb, at, points)
        return at
    if kind == _POLYGON:
        for _ in range(count):
            (ring,) = struct.unpack_from(f"{order}I", wkb, at)
            at = _points(points, wkb, at + 4, count=ring, dimensions=dimensions, order=order)
        return at
    return _points(points, wkb, at, count=count, dimensions=dimensions, order=order)


def _points(points: _Points, wkb: bytes, at: int, *, count: int, dimensions: int, order: str) -> int:
    """Append `count` coordinates and return where they end."""
    end = at + count * dimensions * 8
    if end > len(wkb):
        raise IndexError(end)
    values = struct.unpack_from(f"{order}{count * dimensions}d", wkb, at)
    points[0].extend(values[::dimensions])
    points[1].extend(values[1::dimensions])
    return end
