"""GeoKeys and model tags to CRS and affine transform, as GDAL gives them."""

from functools import lru_cache
from math import isfinite

from rasteret_refs.tiff.crs import crs_of
from rasteret_refs.tiff.geokeys import GeoKey, GeoKeys, read_geokeys
from rasteret_refs.tiff.units import CrsError
from rasteret_refs.tiff.values import Georeference, GeoTags, ImageDescription

type Affine = tuple[float, float, float, float, float, float]

_PIXEL_IS_POINT = 2
_TIEPOINT = 6
_MATRIX = 16


def georeference(description: ImageDescription) -> Georeference | None:
    """CRS and transform of an image; None where its IFD has no georeferencing tags.

    A CRS that PROJ cannot express is no error: `crs_wkt` is None then and `crs_problem` says why. Side-car files
    (`.tfw`, `.aux.xml`) are not looked at. Results are kept by content.
    """
    return None if description.geo is None else _georeference(description.geo)


@lru_cache(maxsize=4096)
def _georeference(geo: GeoTags) -> Georeference | None:
    keys = read_geokeys(geo)
    is_point = keys.code(GeoKey.GTRasterType) == _PIXEL_IS_POINT
    transform = _transform(geo, 0.5 if is_point else 0.0)
    if transform is not None and not all(map(isfinite, transform)):
        transform = None
    gcps = () if transform is not None else _ground_control_points(geo, 0.5 if is_point else 0.0)
    wkt, epsg, problem = _crs(geo.key_directory, geo.double_params, geo.ascii_params)
    if wkt is None and problem is None and transform is None and not gcps:
        return None
    return Georeference(
        crs_wkt=wkt, epsg=epsg, transform=transform, pixel_is_point=is_point, gcps=gcps, crs_problem=problem
    )


@lru_cache(maxsize=1024)
def _crs(
    directory: tuple[int, ...], doubles: tuple[float, ...], text: str
) -> tuple[str | None, int | None, str | None]:
    """WKT 2, EPSG code and problem. Apart from the transform, because scenes share CRSs but not places."""
    keys: GeoKeys = read_geokeys(GeoTags(key_directory=directory, double_params=doubles, ascii_params=text))
    try:
        found = crs_of(keys)
    except CrsError as error:
        return None, None, str(error)
    if found is None:
        return None, None, None
    crs, epsg = found
    return crs.to_wkt("WKT2_2019"), epsg, None


def _transform(geo: GeoTags, shift: float) -> Affine | None:
    """Affine of pixel corners: tiepoint and scale, or else the matrix (GDAL: `GTiffDataset::LoadGeoreferencing`).

    PixelIsPoint tiepoints name pixel centres: the corner lies half a pixel up and left of them (GeoTIFF 1.1, 7.1.2.3).
    """
    scale, tie, matrix = geo.pixel_scale, geo.tiepoints, geo.transformation
    if len(scale) > 1 and scale[0] != 0 and scale[1] != 0:
        if len(tie) < _TIEPOINT:
            return None
        # A negative y scale is taken as if it were positive: GDAL knows that files which have it mean that.
        across, down = scale[0], -abs(scale[1])
        column, row, x, y = tie[0] + shift, tie[1] + shift, tie[3], tie[4]
        return across, 0.0, x - column * across, 0.0, down, y - row * down
    if len(matrix) == _MATRIX:
        a, b, c, d, e, f = matrix[0], matrix[1], matrix[3], matrix[4], matrix[5], matrix[7]
        return a, b, c - shift * (a + b), d, e, f - shift * (d + e)
    return None


def _ground_control_points(geo: GeoTags, shift: float) -> tuple[tuple[float, float, float, float, float], ...]:
    tie = geo.tiepoints
    return tuple(
        (tie[at] + shift, tie[at + 1] + shift, tie[at + 3], tie[at + 4], tie[at + 5])
        for at in range(0, len(tie) - _TIEPOINT + 1, _TIEPOINT)
    )
