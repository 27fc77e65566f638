"""GeoKeys to a coordinate reference system, through PROJ (pyproj) and its EPSG registry.

A user-defined CRS is put together as WKT 1, the form in which GDAL builds it: so ours and GDAL's compare as equal.
"""

import re
from math import pi
from typing import TYPE_CHECKING, Any

from rasteret_refs.tiff.crs_text import crs_problem
from rasteret_refs.tiff.geokeys import USER_DEFINED, GeoKey, GeoKeys, ModelType
from rasteret_refs.tiff.overrides import current, eastings_first, named, with_unit
from rasteret_refs.tiff.projections import axes, is_known, projection
from rasteret_refs.tiff.units import CrsError, Unit, given_unit, linear_unit, quoted, registered_unit
from rasteret_refs.tiff.vertical import with_vertical

if TYPE_CHECKING:
    from pyproj import CRS

_ESRI_PREFIX = "ESRI PE String ="
_DEGREE = pi / 180
_NOISE = 1e-10
"""Relative difference of ellipsoids below which a file's rounding, not another ellipsoid, is meant."""
_SPHEROID = re.compile(
    r'SPHEROID\["(?P<name>[^"]*)",(?P<a>[^,\]]+),(?P<rf>[^,\]]+)(?P<rest>(?:,AUTHORITY\[[^\]]*\])?\])'
)
_LATITUDE_FIRST = 'AXIS["Latitude",NORTH],AXIS["Longitude",EAST]'
_UNKNOWN_GEOGRAPHIC = (
    'GEOGCS["unknown",DATUM["unnamed",SPHEROID["unretrievable - using WGS84",6378137,298.257223563]],'
    f'PRIMEM["Greenwich",0],UNIT["unknown",0.0174532925199433],{_LATITUDE_FIRST}]'
)
"""What GDAL takes where a file says no more than that it is geographic."""
_OLD_WEB_MERCATOR = "WGS_1984_Web_Mercator"
_ENSEMBLE = " ensemble"
"""Ends the registry's names of datum ensembles; WKT 1 knows them by the rest."""
_LONGEST_CITATION = 32 * 1024
_CERTAIN = 100
"""PROJ's confidence that two CRSs are one: also the names agree."""


def crs_of(keys: GeoKeys) -> tuple["CRS", int | None] | None:
    """CRS of a GeoKey directory and its EPSG code, as GDAL understands it; None where the keys name none.

    Raises
    ------
    CrsError
        The keys contradict themselves or name something unknown.
    """
    from pyproj.exceptions import CRSError, ProjError

    if any(isinstance(value, str) and len(value) > _LONGEST_CITATION for value in keys.values.values()):
        raise CrsError(f"a citation of more than {_LONGEST_CITATION} characters")
    try:
        spelt_out = _esri_string(keys)
        if spelt_out is not None:  # its own order of axes counts, not the registry's
            return spelt_out, _identified(spelt_out)[1]
        found = _horizontal(keys)
        return None if found is None else _identified(with_vertical(_official(found), keys))
    except (CRSError, ProjError, ValueError, TypeError, ArithmeticError, KeyError, AttributeError) as error:
        # pyproj reports some senseless codes, names and numbers in ways of its own
        raise CrsError(f"PROJ refuses the CRS: {error}") from error


def _identified(crs: "CRS") -> tuple["CRS", int | None]:
    """Return a CRS and its EPSG code: the registry's own one where a file spells it out under its name.

    GDAL looks projected CRSs up likewise (`FindBestMatch`), no others. It takes PROJ a second at worst.
    """
    from pyproj import CRS

    name = crs.to_json_dict().get("id", {})
    if name:
        return crs, int(name["code"]) if name["authority"] == "EPSG" else None
    if crs.is_bound or not (crs.is_projected or crs.is_compound):
        return crs, None
    authority = crs.to_authority(min_confidence=_CERTAIN)
    if authority is None:
        return crs, None
    return CRS.from_authority(*authority), int(authority[1]) if authority[0] == "EPSG" else None


def _official(crs: "CRS") -> "CRS":
    """The registry's CRS of the same name, old names included, where it is the same: GDAL does as much."""
    from pyproj import CRS

    if crs.is_bound or not (crs.is_projected or crs.is_geographic) or "id" in crs.to_json_dict():
        return crs
    if crs.name == _OLD_WEB_MERCATOR:  # GDAL takes it for the code that it wrote under that name
        text = CRS.from_authority("ESRI", 102113).to_wkt("WKT2_2019")
        # Under its own name PROJ would read any definition as EPSG:3857's.
        return CRS.from_wkt(text.replace(_OLD_WEB_MERCATOR, "Web Mercator on a sphere", 1))
    found = named(crs.name)
    if found is None or found.type_name != crs.type_name:
        return crs
    same = crs.equals(found, ignore_axis_order=True) or crs.equals(CRS.from_wkt(found.to_wkt("WKT1_GDAL")))
    return found if same else crs


def _esri_string(keys: GeoKeys) -> "CRS | None":
    """CRS that a citation spells out in ESRI's form; None where there is a code beside it, which counts more."""
    from pyproj import CRS

    if keys.known_code(GeoKey.ProjectedCRS) is not None:
        return None
    for key in (GeoKey.ProjectedCitation, GeoKey.GTCitation):
        text = keys.text(key)
        if text is not None and text.startswith(_ESRI_PREFIX):
            text = text.removeprefix(_ESRI_PREFIX).strip()
            problem = crs_problem(text)
            if problem is not None:
                raise CrsError(f"expected WKT in a citation, got {problem}")
            return CRS.from_wkt(text)
    return None


def _horizontal(keys: GeoKeys) -> "CRS | None":
    from pyproj import CRS

    model = keys.code(GeoKey.GTModelType)
    if model in {None, USER_DEFINED} and keys.values.get(GeoKey.GTModelType) != 0:  # libgeotiff goes by what there is
        model = ModelType.PROJECTED if keys.known_code(GeoKey.ProjectedCRS) is not None else model
    if model == ModelType.PROJECTED:
        return _projected(keys)
    if model == ModelType.GEOGRAPHIC:
        return _geographic(keys) or CRS.from_wkt(_UNKNOWN_GEOGRAPHIC)
    if model == ModelType.GEOCENTRIC:
        return _geocentric(keys)
    return _local(keys)


def _projected(keys: GeoKeys) -> "CRS | None":
    from pyproj import CRS

    code = keys.known_code(GeoKey.ProjectedCRS)
    if code is not None:
        registered = current(CRS.from_epsg(code))
        return _adjusted(registered, registered.to_epsg(min_confidence=_CERTAIN) or code, keys)
    operation = keys.known_code(GeoKey.Projection)
    method = keys.code(GeoKey.ProjMethod)
    if operation is None and not is_known(method):
        return _local(keys)
    base = _geographic(keys) or CRS.from_wkt(_UNKNOWN_GEOGRAPHIC)
    base_wkt = base.to_wkt("WKT1_GDAL")
    citation = keys.text(GeoKey.GTCitation) or keys.text(GeoKey.ProjectedCitation)
    name = _names(citation).get("PCS Name") or citation or "unnamed"
    unit = linear_unit(keys)
    if operation is not None and not is_known(method):
        body, orientation = _registered_operation(operation, base, unit), ""
    else:
        factor = _angular_unit(keys).size / _base_unit(base)
        body = projection(keys, lambda angle: angle if abs(factor - 1) < _NOISE else angle * factor)
        orientation = axes(body, keys)
    text = f"PROJCS[{quoted(name)},{base_wkt},{body},UNIT[{quoted(unit.name)},{unit.size!r}]{orientation}]"
    return CRS.from_wkt(text)


def _adjusted(crs: "CRS", code: int, keys: GeoKeys) -> "CRS":
    """Let a registered projected CRS have the unit, the ellipsoid and the order of axes that further keys ask for.

    GDAL takes the registry's definition as it is only where no key describes the base CRS (`GTIFGetOGISDefnAsOSR`).
    """
    try:
        unit = given_unit(keys)
    except CrsError:  # a unit that nobody knows says less than the code
        unit = None
    if unit is not None and crs.axis_info and not _close(unit.size, crs.axis_info[0].unit_conversion_factor):
        crs = with_unit(crs, unit)
    described = (GeoKey.GeodeticCRS, GeoKey.GeodeticDatum, GeoKey.Ellipsoid, GeoKey.Projection, GeoKey.ProjMethod)
    if all(key not in keys.values for key in described):
        return crs
    axis, flattening, ellipsoid = keys.number(GeoKey.EllipsoidSemiMajorAxis), _inverse_flattening(keys), crs.ellipsoid
    other = (
        axis is not None
        and flattening is not None
        and ellipsoid is not None
        and not (_close(axis, ellipsoid.semi_major_metre) and _close(flattening, ellipsoid.inverse_flattening))
    )
    replacement = rf'SPHEROID["\g<name>",{axis!r},{flattening!r}\g<rest>' if other else None
    return eastings_first(crs, code, None if replacement is None else lambda text: _SPHEROID.sub(replacement, text, 1))


def _registered_operation(code: int, base: "CRS", unit: Unit) -> str:
    """WKT 1 of the projection of an EPSG conversion, such as 16043 (UTM zone 43N), lengths in `unit`."""
    from pyproj.crs import GeographicCRS, ProjectedCRS

    operation = _registered("CoordinateOperation", code)
    datum = base.datum if base.datum is not None else "World Geodetic System 1984"
    in_metres = ProjectedCRS(operation, name="unnamed", geodetic_crs=GeographicCRS(datum=datum))
    made = in_metres if _close(unit.size, 1.0) else with_unit(in_metres, unit)
    text = made.to_wkt("WKT1_GDAL")
    start = text.index("PROJECTION[")
    return text[start : text.index(",UNIT[", start)]


def _geographic(keys: GeoKeys) -> "CRS | None":
    """Geographic CRS of the keys, or None where they name nothing at all."""
    from pyproj import CRS

    code = keys.known_code(GeoKey.GeodeticCRS)
    if code is None:
        text = _user_geographic(keys)
        return None if text is None else CRS.from_wkt(text)
    crs = CRS.from_epsg(code)
    if crs.is_geocentric:
        return crs
    axis, flattening = keys.number(GeoKey.EllipsoidSemiMajorAxis), _inverse_flattening(keys)
    if axis is None or flattening is None or crs.ellipsoid is None:
        return crs
    ellipsoid = crs.ellipsoid
    same = _close(axis, ellipsoid.semi_major_metre) and _close(flattening, ellipsoid.inverse_flattening)
    if same or keys.code(GeoKey.GTModelType) != ModelType.PROJECTED or keys.known_code(GeoKey.ProjectedCRS) is not None:
        return crs
    text = crs.to_wkt("WKT1_GDAL")
    return CRS.from_wkt(_SPHEROID.sub(rf'SPHEROID["\g<name>",{axis!r},{flattening!r}\g<rest>', text, count=1))


def _close(first: float, second: float) -> bool:
    return abs(first - second) <= _NOISE * max(abs(first), abs(second))


def _user_geographic(keys: GeoKeys) -> str | None:
    """WKT 1 of a user-defined geographic CRS."""
    names = _names(keys.text(GeoKey.GeodeticCitation))
    datum_code = keys.known_code(GeoKey.GeodeticDatum)
    ellipsoid = _ellipsoid(keys, names, datum_code)
    if ellipsoid is None:
        return None
    datum = names.get("Datum", "unknown")
    if datum_code is not None:
        datum = _registered("Datum", datum_code).name.removesuffix(_ENSEMBLE)
    shift = keys.numbers(GeoKey.GeogTOWGS84)
    to_wgs84 = f",TOWGS84[{','.join(map(repr, (*shift, 0.0, 0.0, 0.0, 0.0)[:7]))}]" if len(shift) in {3, 7} else ""
    unit = _angular_unit(keys)
    name = names.get("GCS Name") or "unknown"
    return (
        f"GEOGCS[{quoted(name)},DATUM[{quoted(datum)},{ellipsoid}{to_wgs84}],"
        f"{_prime_meridian(keys, names)},UNIT[{quoted(unit.name)},{unit.size!r}],{_LATITUDE_FIRST}]"
    )


def _names(citation: str | None) -> dict[str, str]:
    """Names in a citation `PCS Name = …|GCS Name = …|Datum = …|Ellipsoid = …` (GDAL, ESRI, Imagine), or plain text."""
    if not citation:
        return {}
    pairs = (part.partition("=") for part in citation.split("|"))
    found = {key.strip(): value.strip() for key, mark, value in pairs if mark}
    return found or {"GCS Name": citation}


def _registered(kind: str, code: int) -> Any:
    """Return a part of a CRS from the EPSG registry: pyproj exports these classes, but its stubs do not say so."""
    import pyproj.crs

    return getattr(pyproj.crs, kind).from_epsg(code)


def _inverse_flattening(keys: GeoKeys) -> float | None:
    """Inverse flattening, 0 for a sphere; None where the keys say nothing."""
    flattening = keys.number(GeoKey.EllipsoidInvFlattening)
    if flattening is not None:
        return flattening
    major, minor = keys.number(GeoKey.EllipsoidSemiMajorAxis), keys.number(GeoKey.EllipsoidSemiMinorAxis)
    if major is None or minor is None:
        return None
    return 0.0 if major == minor else major / (major - minor)


def _ellipsoid(keys: GeoKeys, names: dict[str, str], datum_code: int | None) -> str | None:
    major, flattening = keys.number(GeoKey.EllipsoidSemiMajorAxis), _inverse_flattening(keys)
    code = keys.known_code(GeoKey.Ellipsoid)
    known = _registered("Ellipsoid", code) if code is not None else None
    if known is None and datum_code is not None:
        known = _ellipsoid_of(datum_code)
    if known is not None:
        name = known.name
        major = known.semi_major_metre if major is None else major
        flattening = known.inverse_flattening if flattening is None else flattening
    else:
        name = names.get("Ellipsoid", "unknown")
    if major is None or flattening is None:
        return None
    return f"SPHEROID[{quoted(name)},{major!r},{flattening!r}]"


def _ellipsoid_of(datum_code: int) -> Any:
    """Ellipsoid of a datum; pyproj gives none for ensembles (WGS 84, ETRS89), whose members all have the same."""
    import pyproj.crs

    datum = _registered("Datum", datum_code)
    classes: Any = pyproj.crs  # it exports these classes, but its stubs do not say so
    parts = {"type": "Ellipsoid"} | datum.to_json_dict()["ellipsoid"]
    return datum.ellipsoid or classes.Ellipsoid.from_json_dict(parts)


def _prime_meridian(keys: GeoKeys, names: dict[str, str]) -> str:
    code = keys.known_code(GeoKey.PrimeMeridian)
    if code is not None:
        meridian = _registered("PrimeMeridian", code)
        longitude = meridian.longitude * meridian.unit_conversion_factor / _angular_unit(keys).size
        return f"PRIMEM[{quoted(meridian.name)},{longitude!r}]"
    longitude = keys.number(GeoKey.PrimeMeridianLong) or 0.0
    return f"PRIMEM[{quoted(names.get('Primem', 'Greenwich' if longitude == 0 else 'unknown'))},{longitude!r}]"


def _base_unit(crs: "CRS") -> float:
    return float(crs.axis_info[0].unit_conversion_factor) if crs.axis_info else _DEGREE


def _geocentric(keys: GeoKeys) -> "CRS | None":
    from pyproj import CRS

    code = keys.known_code(GeoKey.GeodeticCRS)
    if code is not None:
        return CRS.from_epsg(code)
    text = _user_geographic(keys)
    if text is None:
        return None
    unit = linear_unit(keys, GeoKey.GeogLinearUnits, GeoKey.GeogLinearUnitSize)
    name = keys.text(GeoKey.GTCitation) or "unknown"
    body = text[text.index(",DATUM[") : text.rindex(",UNIT[")]
    return CRS.from_wkt(f"GEOCCS[{quoted(name)}{body},UNIT[{quoted(unit.name)},{unit.size!r}]]")


def _local(keys: GeoKeys) -> "CRS | None":
    """An engineering CRS where there are keys but none that tie it to the earth, as GDAL gives it."""
    from pyproj import CRS

    if not keys.values:
        return None
    citations = (GeoKey.GTCitation, GeoKey.ProjectedCitation, GeoKey.GeodeticCitation)
    name = next(filter(None, map(keys.text, citations)), "unnamed")
    unit = linear_unit(keys)
    return CRS.from_wkt(
        f'LOCAL_CS[{quoted(name)},UNIT[{quoted(unit.name)},{unit.size!r}],AXIS["Easting",EAST],AXIS["Northing",NORTH]]'
    )


def _angular_unit(keys: GeoKeys) -> Unit:
    code = keys.known_code(GeoKey.GeogAngularUnits)
    if code is not None:
        return registered_unit(code, "angular")
    size = keys.number(GeoKey.GeogAngularUnitSize)
    if size is None or size <= 0 or _close(size, _DEGREE):
        return Unit("degree", _DEGREE)
    return Unit("unknown", size)
