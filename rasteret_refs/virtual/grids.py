"""Grids (CRS + affine transform + shape): identity, labels and the transforms of overviews."""

import hashlib
import json
import math
from dataclasses import dataclass

from rasteret_refs.tiff.values import Georeference

Transform = tuple[float, float, float, float, float, float]
"""(a, b, c, d, e, f) as in affine.Affine: x = a·column + b·row + c, y = d·column + e·row + f, for pixel corners."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Where the pixels of a full-resolution image lie. Hashable; equal grids share a group."""

    crs: str | None
    """`EPSG:<code>`, else WKT; None where the image names no CRS. The WKT of an EPSG code is not part of identity."""
    transform: Transform | None
    gcps: tuple[tuple[float, float, float, float, float], ...]
    """Ground control points where there is no transform."""
    height: int
    """Pixels."""
    width: int
    """Pixels."""

    @property
    def epsg(self) -> int | None:
        """EPSG code, if the CRS has one."""
        return int(self.crs[5:]) if self.crs is not None and self.crs.startswith("EPSG:") else None

    @property
    def identity(self) -> str:
        """Sixteen hexadecimal digits that are equal for equal grids, in any set."""
        text = json.dumps([self.crs, self.transform, self.gcps, self.height, self.width])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def georeferenced(self) -> bool:
        """Has a transform, or at least a CRS. Not so with control points: their CRS is not that of the pixels."""
        return self.transform is not None or (self.crs is not None and not self.gcps)

    @property
    def rectilinear(self) -> bool:
        """Rows and columns run along the axes of the CRS: 1-D `x` and `y` exist."""
        return self.transform is not None and self.transform[1] == 0 and self.transform[3] == 0

    def label(self) -> str:
        """Return the group's name `<epsg or crs hash>_<ulx>_<uly>_<resolution>`; two grids may share it."""
        if self.transform is None:
            kind = "gcps" if self.gcps else "pixels"
            return f"{kind}_{self.height}x{self.width}"
        crs = "nocrs" if self.crs is None else str(self.epsg or hashlib.sha256(self.crs.encode()).hexdigest()[:8])
        a, b, c, d, e, f = self.transform
        across, down = _number(math.hypot(a, d)), _number(math.hypot(b, e))
        resolution = across if across == down else f"{across}x{down}"
        return f"{crs}_{_number(c)}_{_number(f)}_{resolution}"


def grid_of(georeference: Georeference | None, height: int, width: int) -> Grid:
    """Return the grid of an image of this shape (pixels)."""
    if georeference is None:
        return Grid(crs=None, transform=None, gcps=(), height=height, width=width)
    epsg = georeference.epsg
    transform = georeference.transform
    if transform is not None and not all(map(math.isfinite, transform)):
        transform = None  # damaged tags: they place nothing, and JSON holds no NaN
    return Grid(
        crs=georeference.crs_wkt if epsg is None else f"EPSG:{epsg}",
        transform=transform,
        gcps=() if transform is not None else georeference.gcps,
        height=height,
        width=width,
    )


def overview_transform(transform: Transform, full: tuple[int, int], overview: tuple[int, int]) -> Transform:
    """Return the transform of an overview: the same extent over fewer pixels, as GDAL gives it.

    Parameters
    ----------
    transform
        Of the full resolution.
    full, overview
        Shapes (height, width) in pixels.
    """
    a, b, c, d, e, f = transform
    down, across = full[0] / overview[0], full[1] / overview[1]
    return (a * across, b * down, c, d * across, e * down, f)


def _number(value: float) -> str:
    """Write a number with at most ten significant digits and no exponent."""
    text = f"{value:.10g}"
    if "e" in text:
        text = f"{value:.12f}".rstrip("0").rstrip(".") if abs(value) < 1 else f"{value:.0f}"
    return "0" if text in {"-0", ""} else text
