"""Reads as much of well-known binary as a search needs: the box around a geometry."""

import struct

from rasteret_refs.errors import SourceError

_DEEPEST = 8


def wkb_bounds(wkb: bytes) -> tuple[float, float, float, float] | None:
    """(west, south, east, north) of a WKB or EWKB geometry; None for an empty one.

    Raises
    ------
    SourceError
        Not WKB (OGC 06-103r4, section 8; EWKB's flags for Z, M and SRID as PostGIS sets them).
    """
    xs: list[float] = []
    ys: list[float] = []
    try:
        _collect(wkb, 0, xs, ys, 0)
    except (struct.error, IndexError, KeyError) as error:
        raise SourceError(f"expected a WKB geometry, found {wkb[:12]!r}") from error
    positions = [(x, y) for x, y in zip(xs, ys, strict=True) if x == x and y == y]  # noqa: PLR0124 - NaN: empty points
    if not positions:
        return None
    return (
        min(x for x, _ in positions),
        min(y for _, y in positions),
        max(x for x, _ in positions),
        max(y for _, y in positions),
    )


def _collect(wkb: bytes, place: int, xs: list[float], ys: list[float], depth: int) -> int:
    if depth > _DEEPEST:
        raise SourceError(f"expected a WKB geometry, found collections nested more than {_DEEPEST} deep")
    order = {0: ">", 1: "<"}[wkb[place]]
    [code] = struct.unpack_from(order + "I", wkb, place + 1)
    place += 5
    if code & 0x20000000:
        place += 4  # SRID
    kind = (code & 0xFFFF) % 1000
    extra = (code & 0xFFFF) // 1000
    size = 2 + (bool(code & 0x80000000) or extra in {1, 3}) + (bool(code & 0x40000000) or extra in {2, 3})

    def positions(count: int, place: int) -> int:
        numbers = struct.unpack_from(f"{order}{count * size}d", wkb, place)
        xs.extend(numbers[0::size])
        ys.extend(numbers[1::size])
        return place + 8 * count * size

    if kind == 1:
        return positions(1, place)
    [count] = struct.unpack_from(order + "I", wkb, place)
    place += 4
    if kind == 2:  # noqa: PLR2004 - LineString
        return positions(count, place)
    if kind not in {3, 4, 5, 6, 7}:
        raise SourceError(f"expected a WKB geometry of a simple feature, found type {kind}")
    for _ in range(count):
        if kind == 3:  # noqa: PLR2004 - Polygon
            [length] = struct.unpack_from(order + "I", wkb, place)
            place = positions(length, place + 4)
        else:
            place = _collect(wkb, place, xs, ys, depth + 1)
    return place
