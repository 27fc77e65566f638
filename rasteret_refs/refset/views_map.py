"""Footprints as a small inline SVG map for notebooks: no network, no drawing library."""

import contextlib
import html
import math
import struct
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from rasteret_refs.errors import DamagedError
from rasteret_refs.refset.views_subset import bounds_of

WIDTH: Final = 420
"""Pixels; the height follows, within bounds."""
MOST: Final = 400
"""Footprints that are drawn; of more, evenly spread ones."""
COLOURS: Final = ("#1f77b4", "#d95f02", "#2ca02c", "#9467bd", "#8c564b", "#e377c2")
"""One a split, in order of their names."""
_MARGIN: Final = 0.06
_LONGEST_RING: Final = 200
_FARTHEST: Final = 720.0
"""Degrees: footprints beyond are nonsense, and would be drawn for ever."""
_POLYGON: Final = 3
_MULTIPOLYGON: Final = 6
_STEPS: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60)
_LINES: Final = 5

type Ring = npt.NDArray[np.float64]


def footprint_map(table: pa.Table, column: str = "split") -> str:
    """Draw the footprints of scenes in longitude and latitude.

    Parameters
    ----------
    table
        A scene table.
    column
        Column that colours the footprints, where there is one.

    Returns
    -------
    str
        An `<svg>` element; empty text where no scene has a footprint.
    """
    if not table.num_rows or "geometry" not in table.column_names:
        return ""
    try:
        boxes = bounds_of(table)
    except DamagedError:  # a display says nothing rather than fail
        return ""
    placed = np.flatnonzero((np.abs(boxes) <= _FARTHEST).all(axis=1))  # false for NaN
    if not len(placed):
        return ""
    view = _View(boxes[placed])
    shown = placed[np.linspace(0, len(placed) - 1, min(len(placed), MOST)).round().astype(int)]
    part = table.select(["geometry"] + ([column] if column in table.column_names else [])).take(pa.array(shown))
    names = part[column].to_pylist() if column in table.column_names else [None] * len(shown)
    legend = sorted({str(name) for name in names if name not in {None, ""}})
    colours = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(legend)}
    outlines = dict.fromkeys(zip(part["geometry"].to_pylist(), map(str, names), strict=True))
    body = [view.graticule()]
    for geometry, name in outlines:
        path = " ".join(view.path(ring) for ring in rings(geometry))
        colour = colours.get(name, COLOURS[0])
        body.append(f'<path d="{path}" fill="{colour}" fill-opacity="0.15" stroke="{colour}" stroke-width="1"/>')
    for number, (name, colour) in enumerate(colours.items()):
        body.append(f'<text x="6" y="{14 + 13 * number}" fill="{colour}" font-size="11">{html.escape(name)}</text>')
    title = f"Footprints of {len(placed)} scenes" + (f" ({len(shown)} drawn)" if len(shown) < len(placed) else "")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{WIDTH}" height="{view.height}" '
        f'viewBox="0 0 {WIDTH} {view.height}" font-family="sans-serif"><title>{title}</title>'
        f'<rect width="100%" height="100%" fill="#f7f9fb" stroke="#ccd"/>{"".join(body)}</svg>'
    )


class _View:
    """From degrees to pixels: equirectangular, true to scale in the middle."""

    def __init__(self, boxes: npt.NDArray[np.float64]) -> None:
        west, south = boxes[:, 0].min(), boxes[:, 1].min()
        east, north = boxes[:, 2].max(), boxes[:, 3].max()
        pad = max(east - west, north - south, 0.01) * _MARGIN
        self.west, self.east, self.south, self.north = west - pad, east + pad, south - pad, north + pad
        squeeze = max(math.cos(math.radians((self.south + self.north) / 2)), 0.1)
        self.scale = WIDTH / (self.east - self.west)
        self.height = int(np.clip((self.north - self.south) * self.scale / squeeze, 90, 420))
        self.down = self.height / (self.north - self.south)

    def path(self, ring: Ring) -> str:
        x, y = (ring[:, 0] - self.west) * self.scale, (self.north - ring[:, 1]) * self.down
        return "M" + "L".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True)) + "Z"

    def graticule(self) -> str:
        """Lines of longitude and latitude with their degrees."""
        parts = []
        for low, high, upright in ((self.west, self.east, True), (self.south, self.north, False)):
            step = next((step for step in _STEPS if (high - low) / step <= _LINES), _STEPS[-1])
            for number in range(math.ceil(low / step), math.floor(high / step) + 1):
                value = number * step
                at = (value - self.west) * self.scale if upright else (self.north - value) * self.down
                ends = f'x1="{at:.1f}" x2="{at:.1f}" y1="0" y2="{self.height}"' if upright else (
                    f'x1="0" x2="{WIDTH}" y1="{at:.1f}" y2="{at:.1f}"'
                )  # fmt: skip
                place = f'x="{at + 2:.1f}" y="{self.height - 4}"' if upright else f'x="{WIDTH - 44}" y="{at - 2:.1f}"'
                parts.append(f'<line {ends} stroke="#dde"/><text {place} font-size="9" fill="#889">{value:g}°</text>')
        return "".join(parts)


def rings(wkb: bytes) -> Iterator[Ring]:
    """Outer rings of a polygon or multipolygon, thinned; other geometries give none.

    Parameters
    ----------
    wkb
        ISO WKB or EWKB, either byte order, two or three dimensions.
    """
    # What is no WKB draws nothing.
    with contextlib.suppress(struct.error, ValueError, TypeError, IndexError, RecursionError):
        for ring, _ in _polygons(wkb, 0):
            step = max(-(-len(ring) // _LONGEST_RING), 1)
            yield ring[::step]


def _polygons(wkb: bytes, at: int) -> Iterator[tuple[Ring, int]]:
    """Outer ring of each polygon from a position on, with where the polygon ends."""
    order = "<" if wkb[at] == 1 else ">"
    code, count = struct.unpack_from(f"{order}II", wkb, at + 1)
    at += 5
    if code & 0x20000000:  # EWKB: an SRID follows
        at += 4
        (count,) = struct.unpack_from(f"{order}I", wkb, at)
    at += 4
    iso = (code & 0x0FFFFFFF) // 1000
    dimensions = 2 + bool(code & 0x80000000 or iso in {1, 3}) + bool(code & 0x40000000 or iso in {2, 3})
    kind = (code & 0x0FFFFFFF) % 1000
    if kind == _MULTIPOLYGON:
        for _ in range(count):
            for ring, end in _polygons(wkb, at):
                yield ring, end
                at = end
    elif kind == _POLYGON:
        outer = None
        for _ in range(count):
            (points,) = struct.unpack_from(f"{order}I", wkb, at)
            ring = np.frombuffer(wkb, f"{order}f8", points * dimensions, at + 4).reshape(points, dimensions)[:, :2]
            outer = ring if outer is None else outer
            at += 4 + points * dimensions * 8
        if outer is not None:
            yield outer, at


def times_of(table: pa.Table) -> Sequence[str]:
    """First and last date of the scenes, as text; empty without dates."""
    if "datetime" not in table.column_names or not table.num_rows:
        return ()
    ends = pc.min_max(table["datetime"]).as_py()
    return () if ends["min"] is None else (ends["min"].date().isoformat(), ends["max"].date().isoformat())
