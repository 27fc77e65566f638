"""What a TIFF says about its values besides how to decode them: nodata, scale, offset, bands, GDAL metadata.

Nothing here is called `scale_factor`, `add_offset`, `_FillValue` or `missing_value`: xarray would act on those names
and change the dtype. All of it is nested under one attribute `gdal`, per band; `nodata` alone stands beside it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from rasteret_refs.tiff.gdal import GdalBand, Items, eight_bit_colors, gdal_metadata, nodata_value
from rasteret_refs.tiff.values import Georeference, ImageDescription
from rasteret_refs.virtual.conventions import safe_number

NodataValue = int | float | complex | None

_ALPHA: Final = (1, 2)
"""Of ExtraSamples: associated and unassociated alpha."""
_FOR_OVERVIEWS: Final = ("nodata_text", "bands")
_BAND_FOR_OVERVIEWS: Final = ("scale", "offset", "unit", "description")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Facts:
    """What one image says about its values."""

    nodata: NodataValue = None
    """None: absent, or not representable in the image's dtype."""
    scales: tuple[float, ...]
    """One a band; 1 where the TIFF says nothing."""
    offsets: tuple[float, ...]
    """One a band; 0 where the TIFF says nothing."""
    labels: tuple[str | None, ...]
    """Description of each band."""
    gdal: Mapping[str, Any] = field(default_factory=dict)
    """JSON-safe value of the attribute `gdal`."""


def facts_of(description: ImageDescription, georeference: Georeference | None, dtype: str, bands: int) -> Facts:
    """Return the facts of a full-resolution image.

    Parameters
    ----------
    description
        The IFD.
    georeference
        For AREA_OR_POINT and ground control points.
    dtype
        Of the decoded pixels, as NumPy writes it.
    bands
        Samples of the decoded pixels.
    """
    metadata = gdal_metadata(description.gdal_metadata or "")
    per_band = [_band(metadata.band(number)) for number in range(bands)]
    for number in _alpha_bands(description, bands):
        per_band[number].setdefault("color_interpretation", "alpha")
    gdal = _items(metadata.dataset)
    texts = _tag_items(description, georeference)
    if texts:
        gdal["metadata"] = texts | gdal.get("metadata", {})
    if any(per_band):
        gdal["bands"] = per_band
    if description.nodata_text is not None:
        gdal["nodata_text"] = description.nodata_text
    if description.color_map is not None:
        gdal["color_table"] = eight_bit_colors(description.color_map).tolist()
    if georeference is not None and georeference.transform is None and georeference.gcps:
        gdal["gcps"] = [list(map(safe_number, point)) for point in georeference.gcps]
        if georeference.crs_wkt is not None:
            gdal["gcps_crs"] = georeference.crs_wkt
    return Facts(
        nodata=nodata_value(description, np.dtype(dtype)),
        scales=tuple(float(band.get("scale", 1.0)) for band in per_band),
        offsets=tuple(float(band.get("offset", 0.0)) for band in per_band),
        labels=tuple(band.get("description") for band in per_band),
        gdal=gdal,
    )


def facts_from_attributes(attributes: Mapping[str, Any], bands: int) -> Facts:
    """Return the facts that an existing array's attributes hold: those that all its images share."""
    gdal = attributes.get("gdal", {})
    per_band = gdal.get("bands") or [{} for _ in range(bands)]
    nodata = attributes.get("nodata")
    return Facts(
        nodata=float(nodata) if isinstance(nodata, str) else nodata,
        scales=tuple(float(band.get("scale", 1.0)) for band in per_band),
        offsets=tuple(float(band.get("offset", 0.0)) for band in per_band),
        labels=tuple(band.get("description") for band in per_band),
        gdal=gdal,
    )


def shared_attributes(images: Sequence[Facts], *, overview: bool) -> dict[str, Any]:
    """Return the attributes `nodata` and `gdal` of an array: what all its images say alike.

    Parameters
    ----------
    images
        Distinct facts of the array's images.
    overview
        Leave out what describes the full resolution only (statistics, colours, texts): overviews repeat it for nothing.
    """
    attributes: dict[str, Any] = {}
    if len({repr(facts.nodata) for facts in images}) == 1:
        nodata = images[0].nodata
        if isinstance(nodata, complex) and nodata.imag == 0:
            nodata = nodata.real
        if isinstance(nodata, (int, float)):
            attributes["nodata"] = safe_number(nodata) if isinstance(nodata, float) else nodata
    gdal = images[0].gdal
    for facts in images[1:]:
        gdal = _common(gdal, facts.gdal)
    if overview:
        gdal = _essentials(gdal)
    if gdal:
        attributes["gdal"] = gdal
    return attributes


def _tag_items(description: ImageDescription, georeference: Georeference | None) -> dict[str, str]:
    """Tags that GDAL shows among the metadata of the image, under GDAL's names for them."""
    texts = {
        "TIFFTAG_IMAGEDESCRIPTION": description.image_description,
        "TIFFTAG_DATETIME": description.datetime_text,
        "TIFFTAG_SOFTWARE": description.software,
    }
    items = {name: text for name, text in texts.items() if text}
    if georeference is not None:
        items["AREA_OR_POINT"] = "Point" if georeference.pixel_is_point else "Area"
    return items


def _alpha_bands(description: ImageDescription, bands: int) -> list[int]:
    """List the bands that say how opaque the others are: ExtraSamples 1 and 2, TIFF 6.0 section 18."""
    first = bands - len(description.extra_samples)
    return [first + place for place, kind in enumerate(description.extra_samples) if kind in _ALPHA and first > 0]


def _band(band: GdalBand) -> dict[str, Any]:
    """What is said of one band, without what is not said."""
    said: dict[str, Any] = {
        "description": band.description,
        "scale": None if band.scale is None else safe_number(band.scale),
        "offset": None if band.offset is None else safe_number(band.offset),
        "unit": band.unit,
        "color_interpretation": band.color_interpretation,
        **_items(band.items),
    }
    return {name: value for name, value in said.items() if value is not None}


def _items(items: Items) -> dict[str, Any]:
    """Items of the default domain under `metadata`, those of other domains under `domains`."""
    found: dict[str, Any] = {}
    if "" in items:
        found["metadata"] = dict(items[""])
    domains = {domain: dict(values) for domain, values in items.items() if domain}
    return found | ({"domains": domains} if domains else {})


def _essentials(gdal: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: gdal[name] for name in _FOR_OVERVIEWS if name in gdal}
    if "bands" in kept:
        bands = [{name: band[name] for name in _BAND_FOR_OVERVIEWS if name in band} for band in kept["bands"]]
        kept["bands"] = bands
        if not any(bands):
            del kept["bands"]
    return kept


def _common(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    """Return what two JSON objects say alike, going into objects and into lists of objects of one length."""
    if left is right or left == right:
        return dict(left)
    result: dict[str, Any] = {}
    for name, mine in left.items():
        if name not in right:
            continue
        theirs = right[name]
        if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
            if inner := _common(mine, theirs):
                result[name] = inner
        elif name == "bands" and len(mine) == len(theirs):
            bands = [_common(one, other) for one, other in zip(mine, theirs, strict=True)]
            if any(bands):
                result[name] = bands
        elif mine == theirs:
            result[name] = mine
    return result


def varying(images: Iterable[Facts]) -> dict[str, bool]:
    """Say which of `scale`, `offset` and `nodata` differ between images: those become coordinates."""
    scales, offsets, nodata = set(), set(), set()
    for facts in images:
        scales.add(repr(facts.scales))
        offsets.add(repr(facts.offsets))
        nodata.add(repr(facts.nodata))
    return {"scale": len(scales) > 1, "offset": len(offsets) > 1, "nodata": len(nodata) > 1}
