"""Units of GeoKeys, and what the modules that turn GeoKeys into a CRS share: their error and WKT strings."""

import re
from dataclasses import dataclass
from functools import lru_cache

from rasteret_refs.tiff.geokeys import GeoKey, GeoKeys

_IMAGINE = "IMAGINE GeoTIFF Support"
_IMAGINE_UNITS = {"meters": 1.0, "us_survey_feet": 1200 / 3937, "international_feet": 0.3048}
_NAMED_UNIT = re.compile(r"^Units = (\w+)", re.MULTILINE)


class CrsError(Exception):
    """The GeoKeys name no CRS that PROJ can express; stays inside `tiff/`."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of length or angle."""

    name: str
    size: float
    """In metres or radians."""


def linear_unit(keys: GeoKeys, unit: GeoKey = GeoKey.ProjLinearUnits, size: GeoKey = GeoKey.ProjLinearUnitSize) -> Unit:
    """Return the unit of a CRS that the keys describe; metres where they name none."""
    code = keys.known_code(unit)
    if code is not None:
        return registered_unit(code, "linear")
    metres = keys.number(size)
    return Unit("metre", 1.0) if metres is None or metres <= 0 or metres == 1 else Unit("unknown", metres)


def given_unit(keys: GeoKeys) -> Unit | None:
    """Return the unit that the keys name, or else the citation that ERDAS Imagine writes; None where neither does."""
    if GeoKey.ProjLinearUnits in keys.values or GeoKey.ProjLinearUnitSize in keys.values:
        return linear_unit(keys)
    citation = keys.text(GeoKey.GTCitation) or ""
    found = _NAMED_UNIT.search(citation) if citation.startswith(_IMAGINE) else None
    size = _IMAGINE_UNITS.get(found[1].lower()) if found else None
    return None if found is None or size is None else Unit(found[1], size)


@lru_cache(maxsize=64)
def registered_unit(code: int, category: str) -> Unit:
    """Return a unit of the EPSG registry; category is `linear` or `angular`.

    Raises
    ------
    CrsError
        There is none of that code.
    """
    from pyproj.database import get_units_map

    for name, unit in get_units_map(auth_name="EPSG", category=category, allow_deprecated=True).items():
        if unit.code == str(code):
            return Unit(name, unit.conv_factor)
    raise CrsError(f"EPSG knows no {category} unit {code}")


def quoted(name: str) -> str:
    """Return a WKT string; quotes inside are doubled."""
    return '"' + name.replace('"', '""') + '"'
