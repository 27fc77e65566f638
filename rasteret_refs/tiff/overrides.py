"""Registered CRSs with some part replaced, as WKT 1, and the search for registered CRSs by name."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from rasteret_refs.tiff.units import Unit, quoted

if TYPE_CHECKING:
    from pyproj import CRS

_FALSE_ORIGIN = re.compile(r'PARAMETER\["(?P<name>false_(?:east|north)ing)",(?P<value>[^\]]+)\]')
_AXIS = re.compile(r"AXIS\[[^\]]*\]")
_UNIT = re.compile(r'UNIT\["[^"]*",[^,\]]+(?:,AUTHORITY\[[^\]]*\])?\]')
_NAME = re.compile(r"[\w][\w ()/.,'+-]{2,99}")
"""Names to look up: nothing that PROJ could take for a definition, a URN, a file or a pipeline."""


def with_unit(crs: "CRS", unit: Unit) -> "CRS":
    """Return a projected CRS in another unit of length, its false easting and northing converted (and no code)."""
    from pyproj import CRS

    head, tail = _split(crs.to_wkt("WKT1_GDAL"))
    factor = crs.axis_info[0].unit_conversion_factor / unit.size

    def convert(found: re.Match[str]) -> str:
        return f'PARAMETER["{found["name"]}",{float(found["value"]) * factor!r}]'

    axes = "".join(f",{axis}" for axis in _AXIS.findall(tail))
    return CRS.from_wkt(f"{_FALSE_ORIGIN.sub(convert, head)}UNIT[{quoted(unit.name)},{unit.size!r}]{axes}]")


def eastings_first(crs: "CRS", code: int, change: Callable[[str], str] | None) -> "CRS":
    """Return a projected CRS whose northings come first with eastings first; `change` edits its WKT 1 besides."""
    from pyproj import CRS

    northings_first = [axis.direction for axis in crs.axis_info[:2]] == ["north", "east"]
    if change is None and not northings_first:
        return crs
    text = crs.to_wkt("WKT1_GDAL") if change is None else change(crs.to_wkt("WKT1_GDAL"))
    if not northings_first:
        return CRS.from_wkt(text)
    head, tail = _split(text)
    unit = _UNIT.match(tail)
    written = tail if unit is None else unit[0]
    identity = f',AUTHORITY["EPSG","{code}"]' if f'AUTHORITY["EPSG","{code}"]' in tail else ""
    return CRS.from_wkt(f'{head}{written},AXIS["Easting",EAST],AXIS["Northing",NORTH]{identity}]')


def current(crs: "CRS") -> "CRS":
    """Return the registered CRS that replaces a deprecated one, where there is one only; GDAL reads it likewise.

    (`OGRSpatialReference::importFromEPSGA`, unless OSR_USE_NON_DEPRECATED says no.)
    """
    replacements = crs.get_non_deprecated() if crs.is_deprecated else []
    return replacements[0] if len(replacements) == 1 else crs


def named(name: str) -> "CRS | None":
    """Return the registered CRS of a name, aliases included; None where there is none."""
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    if not _NAME.fullmatch(name) or name.lower() in {"unnamed", "unknown"}:
        return None
    try:
        found = CRS.from_user_input(name)
    except CRSError:
        return None
    return found if found.to_json_dict().get("id") else None


def _split(text: str) -> tuple[str, str]:
    """WKT 1 of a projected CRS before its unit, and from there on."""
    at = text.rindex("UNIT[")
    return text[:at], text[at:]
