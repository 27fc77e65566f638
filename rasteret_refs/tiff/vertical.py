"""Vertical GeoKeys: a horizontal CRS becomes a compound one, or gets ellipsoidal heights, as GDAL has it."""

from typing import TYPE_CHECKING, Any

from rasteret_refs.tiff.geokeys import USER_DEFINED, GeoKey, GeoKeys
from rasteret_refs.tiff.overrides import named
from rasteret_refs.tiff.units import Unit, quoted, registered_unit

if TYPE_CHECKING:
    from pyproj import CRS

_ELLIPSOIDAL = range(5001, 5034)
"""Codes that GeoTIFF 1.0 (section 6.3.4.1) has for heights over an ellipsoid; no registry does."""
_TO_DATUM = 1000
_WGS84_DATUM, _WGS84, _WGS84_3D = 6030, 4326, 4979
_THREE = 3
_VCS_NAME = "VCS Name = "


def with_vertical(horizontal: "CRS", keys: GeoKeys) -> "CRS":
    """Return a CRS with the heights that the keys give it.

    GDAL leaves the vertical part of compound CRSs out of GeoTIFF 1.0 files, as we do, but not ellipsoidal heights.
    """
    from pyproj import CRS
    from pyproj.crs import CompoundCRS
    from pyproj.exceptions import CRSError

    code, datum, unit = (keys.code(key) or 0 for key in (GeoKey.Vertical, GeoKey.VerticalDatum, GeoKey.VerticalUnits))
    flat = (horizontal.is_geographic or horizontal.is_projected) and len(horizontal.axis_info) < _THREE
    if not flat or not 0 < max(code, datum, unit) <= USER_DEFINED:
        return horizontal
    if code in _ELLIPSOIDAL and not datum:
        code, datum = 0, code + _TO_DATUM
    three = _WGS84_3D if datum == _WGS84_DATUM and horizontal.to_epsg() == _WGS84 else code
    try:
        vertical = CRS.from_epsg(three) if three not in {0, USER_DEFINED} else None
    except CRSError:  # a code that nobody knows takes nothing away from the horizontal part
        return horizontal
    if vertical is not None and vertical.is_geographic:
        return _with_heights(horizontal, vertical)
    if keys.revision < (1, 1):
        return horizontal
    if vertical is None:
        vertical = CRS.from_wkt(_described(keys, datum, unit))
    if not vertical.is_vertical:
        return horizontal
    name = keys.text(GeoKey.GTCitation)
    if not name or " = " in name:
        name = f"{horizontal.name} + {vertical.name}"
    return CompoundCRS(name=name, components=[horizontal, vertical])


def _with_heights(horizontal: "CRS", vertical: "CRS") -> "CRS":
    """GDAL writes a three-dimensional CRS as its horizontal part and, as vertical, its geographic CRS's own code."""
    if len(vertical.axis_info) < _THREE or horizontal.datum is None or vertical.datum is None:
        return horizontal
    if horizontal.is_geographic:
        return vertical
    return horizontal.to_3d() if horizontal.datum.name == vertical.datum.name else horizontal


def _described(keys: GeoKeys, datum_code: int, unit_code: int) -> str:
    """WKT 1 of a vertical CRS without a code (GDAL: `FillCompoundCRSWithManualVertCS`)."""
    import pyproj.crs

    name = keys.text(GeoKey.VerticalCitation) or ""
    if name.startswith(_VCS_NAME):
        name = name.removeprefix(_VCS_NAME).partition("|")[0]
    datum = "unknown"
    if datum_code == USER_DEFINED:
        found: Any = named(name)
        if found is not None and found.is_vertical and found.datum is not None:
            datum = found.datum.name
    elif datum_code:
        registry: Any = pyproj.crs  # it exports this class, but its stubs do not say so
        datum = registry.Datum.from_epsg(datum_code).name
    metres = unit_code in {0, USER_DEFINED}
    unit = Unit("metre", 1.0) if metres else registered_unit(unit_code, "linear")
    return (
        f"VERT_CS[{quoted(name or 'unknown')},VERT_DATUM[{quoted(datum)},2005],"
        f'UNIT[{quoted(unit.name)},{unit.size!r}],AXIS["Up",UP]]'
    )
