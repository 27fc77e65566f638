"""Map projections of GeoKeys: ProjMethodGeoKey to WKT 1 projection and parameters, as libgeotiff and GDAL map them."""

from collections.abc import Callable
from dataclasses import dataclass

from rasteret_refs.tiff.geokeys import GeoKey, GeoKeys
from rasteret_refs.tiff.units import CrsError

_K = GeoKey

_LONGITUDES = (_K.ProjNatOriginLong, _K.ProjFalseOriginLong, _K.ProjCenterLong)
_LATITUDES = (_K.ProjNatOriginLat, _K.ProjFalseOriginLat, _K.ProjCenterLat)
_SCALES = (_K.ProjScaleAtNatOrigin, _K.ProjScaleAtCenter)
_EASTINGS = (_K.ProjFalseEasting, _K.ProjCenterEasting, _K.ProjFalseOriginEasting)
_NORTHINGS = (_K.ProjFalseNorthing, _K.ProjCenterNorthing, _K.ProjFalseOriginNorthing)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A projection's parameter: its WKT 1 name, the keys that may hold it in order of preference, its default."""

    name: str
    keys: tuple[GeoKey, ...]
    angle: bool = True
    default: float = 0.0


def _longitude(name: str, first: tuple[GeoKey, ...] = ()) -> Parameter:
    return Parameter(name, (*first, *(key for key in _LONGITUDES if key not in first)))


def _latitude(name: str, first: tuple[GeoKey, ...] = ()) -> Parameter:
    return Parameter(name, (*first, *(key for key in _LATITUDES if key not in first)))


_SCALE = Parameter("scale_factor", _SCALES, angle=False, default=1.0)
_PARALLELS = (
    Parameter("standard_parallel_1", (_K.ProjStdParallel1,)),
    Parameter("standard_parallel_2", (_K.ProjStdParallel2,)),
)
_ORIGIN = (_latitude("latitude_of_origin"), _longitude("central_meridian"))
_FALSE_ORIGIN = (
    _latitude("latitude_of_origin", (_K.ProjFalseOriginLat,)),
    _longitude("central_meridian", (_K.ProjFalseOriginLong,)),
)
_CENTER = (
    _latitude("latitude_of_center", (_K.ProjCenterLat,)),
    _longitude("longitude_of_center", (_K.ProjCenterLong,)),
)
_CENTER_AS_ORIGIN = (
    _latitude("latitude_of_origin", (_K.ProjCenterLat,)),
    _longitude("central_meridian", (_K.ProjCenterLong,)),
)
_CONIC_CENTER = (_latitude("latitude_of_center"), _longitude("longitude_of_center"))
_POLE = (
    _latitude("latitude_of_origin"),
    _longitude("central_meridian", (_K.ProjStraightVertPoleLong,)),
)
_OBLIQUE = (*_CONIC_CENTER, Parameter("azimuth", (_K.ProjAzimuthAngle,)))
_RECTIFIED = Parameter("rectified_grid_angle", (_K.ProjRectifiedGridAngle,), default=90.0)

_METHODS: dict[int, tuple[str, tuple[Parameter, ...]]] = {
    1: ("Transverse_Mercator", (*_ORIGIN, _SCALE)),
    3: ("Hotine_Oblique_Mercator", (*_OBLIQUE, _RECTIFIED, _SCALE)),
    4: ("Laborde_Oblique_Mercator", (*_OBLIQUE, _SCALE)),
    7: ("Mercator_1SP", (_longitude("central_meridian"), _SCALE)),
    8: ("Lambert_Conformal_Conic_2SP", (*_FALSE_ORIGIN, *_PARALLELS)),
    9: ("Lambert_Conformal_Conic_1SP", (*_ORIGIN, _SCALE)),
    10: ("Lambert_Azimuthal_Equal_Area", _CENTER),
    11: ("Albers_Conic_Equal_Area", (*_CONIC_CENTER, *_PARALLELS)),
    12: ("Azimuthal_Equidistant", _CENTER),
    13: ("Equidistant_Conic", (*_CONIC_CENTER, *_PARALLELS)),
    14: ("Stereographic", (*_CENTER_AS_ORIGIN, _SCALE)),
    15: ("Polar_Stereographic", (*_POLE, _SCALE)),
    16: ("Oblique_Stereographic", (*_ORIGIN, _SCALE)),
    17: ("Equirectangular", (_CENTER_AS_ORIGIN[0], _PARALLELS[0], _CENTER_AS_ORIGIN[1])),
    18: ("Cassini_Soldner", _ORIGIN),
    19: ("Gnomonic", _CENTER_AS_ORIGIN),
    20: ("Miller_Cylindrical", _CENTER),
    21: ("Orthographic", _CENTER_AS_ORIGIN),
    22: ("Polyconic", _ORIGIN),
    23: ("Robinson", (_CENTER[1],)),
    24: ("Sinusoidal", (_CENTER[1],)),
    25: ("VanDerGrinten", (_CENTER_AS_ORIGIN[1],)),
    26: ("New_Zealand_Map_Grid", _ORIGIN),
    27: ("Transverse_Mercator_South_Orientated", (*_ORIGIN, _SCALE)),
    28: ("Cylindrical_Equal_Area", (_PARALLELS[0], _longitude("central_meridian"))),
    9815: ("Hotine_Oblique_Mercator_Azimuth_Center", (*_OBLIQUE, _RECTIFIED, _SCALE)),
}
"""GeoTIFF 1.1 annex C, GeoTIFF 1.0 section 6.3.3.3; libgeotiff `GTIFFetchProjParms`, GDAL `GTIFGetOGISDefnAsOSR`."""

_MERCATOR_2SP = ("Mercator_2SP", (_PARALLELS[0], *_ORIGIN))
_MERCATOR = 7
_POLAR = "Polar_Stereographic"


def is_known(method: int | None) -> bool:
    """Whether a ProjMethodGeoKey names a projection that is known here."""
    return method in _METHODS


def projection(keys: GeoKeys, to_base_unit: Callable[[float], float]) -> str:
    """WKT 1 of PROJECTION and PARAMETERs, of a method that is known.

    Parameters
    ----------
    keys : GeoKeys
    to_base_unit : callable
        Converts an angle of the keys into the unit of the base CRS.

    Raises
    ------
    CrsError
        A scale factor of 0.
    """
    method = keys.code(_K.ProjMethod) or 0
    name, parameters = _METHODS[method]
    if method == _MERCATOR and keys.number(_K.ProjStdParallel1) is not None:
        name, parameters = _MERCATOR_2SP
    parts = [f'PROJECTION["{name}"]']
    for parameter in parameters:
        value = keys.number(*parameter.keys)
        value = parameter.default if value is None else to_base_unit(value) if parameter.angle else value
        if parameter is _SCALE and value == 0:
            raise CrsError("a scale factor of 0 puts everything into one point")
        parts.append(f'PARAMETER["{parameter.name}",{value!r}]')
    for name, choices in (("false_easting", _EASTINGS), ("false_northing", _NORTHINGS)):
        parts.append(f'PARAMETER["{name}",{keys.number(*choices) or 0.0!r}]')
    return ",".join(parts)


def axes(projection_text: str, keys: GeoKeys) -> str:
    """WKT 1 of the AXIS pair where a projection's axes are not east and north, else an empty string."""
    if projection_text.startswith(f'PROJECTION["{_POLAR}"'):
        direction = "SOUTH" if (keys.number(*_LATITUDES) or 0.0) > 0 else "NORTH"
        return f',AXIS["Easting",{direction}],AXIS["Northing",{direction}]'
    if "South_Orientated" in projection_text:
        return ',AXIS["Westing",WEST],AXIS["Southing",SOUTH]'
    return ""
