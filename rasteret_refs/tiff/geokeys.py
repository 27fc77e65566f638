"""GeoKeys: the directory of OGC GeoTIFF 1.1 (19-008r4, section 7.1), read from its three tags."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from rasteret_refs.tiff.tags import Tag
from rasteret_refs.tiff.values import GeoTags

USER_DEFINED = 32767
_ENTRY = 4


class GeoKey(IntEnum):
    """GeoKeys that this library looks at, with the names of GeoTIFF 1.1."""

    GTModelType = 1024
    GTRasterType = 1025
    GTCitation = 1026
    GeodeticCRS = 2048
    GeodeticCitation = 2049
    GeodeticDatum = 2050
    PrimeMeridian = 2051
    GeogLinearUnits = 2052
    GeogLinearUnitSize = 2053
    GeogAngularUnits = 2054
    GeogAngularUnitSize = 2055
    Ellipsoid = 2056
    EllipsoidSemiMajorAxis = 2057
    EllipsoidSemiMinorAxis = 2058
    EllipsoidInvFlattening = 2059
    PrimeMeridianLong = 2061
    GeogTOWGS84 = 2062
    ProjectedCRS = 3072
    ProjectedCitation = 3073
    Projection = 3074
    ProjMethod = 3075
    ProjLinearUnits = 3076
    ProjLinearUnitSize = 3077
    ProjStdParallel1 = 3078
    ProjStdParallel2 = 3079
    ProjNatOriginLong = 3080
    ProjNatOriginLat = 3081
    ProjFalseEasting = 3082
    ProjFalseNorthing = 3083
    ProjFalseOriginLong = 3084
    ProjFalseOriginLat = 3085
    ProjFalseOriginEasting = 3086
    ProjFalseOriginNorthing = 3087
    ProjCenterLong = 3088
    ProjCenterLat = 3089
    ProjCenterEasting = 3090
    ProjCenterNorthing = 3091
    ProjScaleAtNatOrigin = 3092
    ProjScaleAtCenter = 3093
    ProjAzimuthAngle = 3094
    ProjStraightVertPoleLong = 3095
    ProjRectifiedGridAngle = 3096
    Vertical = 4096
    VerticalCitation = 4097
    VerticalDatum = 4098
    VerticalUnits = 4099


class ModelType(IntEnum):
    """Values of GTModelTypeGeoKey."""

    PROJECTED = 1
    GEOGRAPHIC = 2
    GEOCENTRIC = 3


@dataclass(frozen=True, slots=True)
class GeoKeys:
    """Values of a GeoKey directory."""

    revision: tuple[int, int]
    """Key revision: (1, 0) is GeoTIFF 1.0, (1, 1) is GeoTIFF 1.1."""
    values: Mapping[int, int | str | tuple[float, ...]]

    def code(self, key: GeoKey) -> int | None:
        """A short value other than 0 (undefined), or None."""
        value = self.values.get(key)
        return value if isinstance(value, int) and value > 0 else None

    def known_code(self, key: GeoKey) -> int | None:
        """A code of the EPSG registry: neither undefined nor user-defined."""
        value = self.code(key)
        return None if value == USER_DEFINED else value

    def number(self, *keys: GeoKey) -> float | None:
        """The value of the first of `keys` that is present, or None."""
        for key in keys:
            value = self.values.get(key)
            if isinstance(value, tuple) and value:
                return value[0]
            if isinstance(value, int):
                return float(value)
        return None

    def numbers(self, key: GeoKey) -> tuple[float, ...]:
        """All values of a key of doubles."""
        value = self.values.get(key)
        return value if isinstance(value, tuple) else ()

    def text(self, key: GeoKey) -> str | None:
        """Text without its closing `|`, or None."""
        value = self.values.get(key)
        return value.rstrip("|\0").strip() if isinstance(value, str) else None


def read_geokeys(geo: GeoTags) -> GeoKeys:
    """Read the directory; entries that point outside their tag are left out."""
    directory = geo.key_directory
    values: dict[int, int | str | tuple[float, ...]] = {}
    if len(directory) < _ENTRY:
        return GeoKeys((1, 0), values)
    for start in range(_ENTRY, len(directory) - _ENTRY + 1, _ENTRY):
        key, location, count, value = directory[start : start + _ENTRY]
        if key in values:
            continue
        if location == 0:
            values[key] = value
        elif location == Tag.GeoDoubleParams and value + count <= len(geo.double_params):
            values[key] = geo.double_params[value : value + count]
        elif location == Tag.GeoAsciiParams:
            values[key] = geo.ascii_params[value : value + count]
        elif location == Tag.GeoKeyDirectory and count == 1 and value < len(directory):
            values[key] = directory[value]
    return GeoKeys((directory[1], directory[2]), values)
