"""GeoJSON geometries and bounding boxes as WKB, without a geometry library (a footprint is only carried along here)."""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

from rasteret_refs.errors import SourceError

# OGC 06-103r4, section 8.2.3: codes of geometry types; byte 1 says little-endian.
_TYPES = {
    "Point": 1,
    "LineString": 2,
    "Polygon": 3,
    "MultiPoint": 4,
    "MultiLineString": 5,
    "MultiPolygon": 6,
    "GeometryCollection": 7,
}
_MEMBERS = {"MultiPoint": "Point", "MultiLineString": "LineString", "MultiPolygon": "Polygon"}
_DEEPEST = 8


def wkb_from_geojson(geometry: Mapping[str, Any], *, depth: int = 0) -> bytes:
    """Two-dimensional WKB of a GeoJSON geometry; heights are dropped.

    Raises
    ------
    SourceError
        Not a GeoJSON geometry (RFC 7946), or collections nested more than eight deep.
    """
    kind = geometry.get("type")
    if kind not in _TYPES or depth > _DEEPEST:
        raise SourceError(f"expected a GeoJSON geometry, found type {kind!r}")
    start = struct.pack("<BI", 1, _TYPES[kind])
    try:
        if kind == "GeometryCollection":
            members = [wkb_from_geojson(member, depth=depth + 1) for member in geometry["geometries"]]
            return start + struct.pack("<I", len(members)) + b"".join(members)
        coordinates = geometry["coordinates"]
        if kind in _MEMBERS:
            member = _MEMBERS[kind]
            parts = [wkb_from_geojson({"type": member, "coordinates": part}) for part in coordinates]
            return start + struct.pack("<I", len(parts)) + b"".join(parts)
        if kind == "Point":
            return start + _position(coordinates)
        if kind == "LineString":
            return start + _line(coordinates)
        return start + struct.pack("<I", len(coordinates)) + b"".join(_line(ring) for ring in coordinates)
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, struct.error) as error:
        raise SourceError(f"expected the coordinates of a GeoJSON {kind}, found {_short(geometry)}") from error


def wkb_from_bbox(bbox: Sequence[float]) -> bytes:
    """WKB polygon of `(west, south, east, north)` or the same with heights, in degrees.

    A box across the antimeridian (west > east, RFC 7946 section 5.2) becomes two polygons.
    """
    west, south, east, north = horizontal(bbox)

    def ring(left: float, right: float) -> list[list[list[float]]]:
        return [[[left, south], [right, south], [right, north], [left, north], [left, south]]]

    if west > east:
        return wkb_from_geojson({"type": "MultiPolygon", "coordinates": [ring(west, 180.0), ring(-180.0, east)]})
    return wkb_from_geojson({"type": "Polygon", "coordinates": ring(west, east)})


def horizontal(bbox: Sequence[float]) -> tuple[float, float, float, float]:
    """`(west, south, east, north)` of a box with or without heights.

    Raises
    ------
    SourceError
        Neither four nor six numbers, or south of north.
    """
    try:
        numbers = [float(value) for value in bbox]
        west, south, east, north = numbers if len(numbers) == 4 else (*numbers[0:2], *numbers[3:5])  # noqa: PLR2004
    except (TypeError, ValueError) as error:
        raise SourceError(f"expected a bbox of four or six numbers, found {bbox!r}") from error
    if len(numbers) not in {4, 6} or not south <= north:
        raise SourceError(f"expected a bbox (west, south, east, north), found {bbox!r}")
    return west, south, east, north


def boxes_overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    """Whether two boxes in degrees share a point; either may cross the antimeridian."""
    if one[1] > other[3] or other[1] > one[3]:
        return False
    return any(a[0] <= b[1] and b[0] <= a[1] for a in _spans(one[0], one[2]) for b in _spans(other[0], other[2]))


def geojson_bbox(geometry: Mapping[str, Any]) -> tuple[float, float, float, float]:
    """Smallest box around a GeoJSON geometry's positions, in its own units."""
    positions: list[tuple[float, float]] = []

    def collect(part: Any) -> None:
        if part and isinstance(part[0], int | float):
            positions.append((float(part[0]), float(part[1])))
        else:
            for member in part:
                collect(member)

    for member in geometry.get("geometries", [geometry]):
        collect(member["coordinates"])
    if not positions:
        raise SourceError("expected a geometry with positions, found an empty one")
    xs, ys = zip(*positions, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _spans(west: float, east: float) -> tuple[tuple[float, float], ...]:
    return ((west, east),) if west <= east else ((west, 180.0), (-180.0, east))


def _position(position: Sequence[float]) -> bytes:
    return struct.pack("<2d", position[0], position[1])


def _line(positions: Sequence[Sequence[float]]) -> bytes:
    return struct.pack("<I", len(positions)) + b"".join(_position(position) for position in positions)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."  # noqa: PLR2004
