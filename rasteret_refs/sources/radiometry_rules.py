"""Scale and offset by what a product's own documentation says, one pure function a product, each with its source."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a rule may look at."""

    scene: str
    key: str
    """Key of the asset in its item, before renaming."""
    item: Mapping[str, Any] = field(default_factory=dict)
    """Properties of the scene."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Properties of the asset."""
    collection: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a rule says of one asset."""

    statement: str
    scale: float | None = None
    """None: the rule cannot say."""
    offset: float = 0.0
    signed_square: bool = False
    unit: str | None = None
    doubts: tuple[str, ...] = ()


_S2_REFLECTANCE = frozenset(
    {
        *("b01", "b02", "b03", "b04", "b05", "b06", "b07", "b08", "b8a", "b09", "b11", "b12"),
        *("coastal", "blue", "green", "red", "rededge1", "rededge2", "rededge3", "nir", "nir08", "nir09"),
        *("swir16", "swir22"),
    }
)
_S2_RESOLUTION = re.compile(r"[_-](10|20|60)m$")
_S2_FLAGS = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")
_S2_PRODUCT = re.compile(r"_N(\d{2})\.?(\d{2})(?:_|$|\.)")
_S2_OFFSET_SINCE = (4, 0)


def sentinel_2_l2a(facts: Facts) -> Finding | None:
    """Sentinel-2 Level-2A: reflectance = (DN + BOA_ADD_OFFSET) / 10000, with an offset of −1000 since baseline 04.00.

    The offset counts by the *processing* baseline, not by the date: reprocessed old scenes have it as well. Earth
    Search has taken it out of some files and says so in `earthsearch:boa_offset_applied`. That flag and `raster:bands`
    both err for some scenes, so a flag that cannot be true is a doubt, and `raster:bands` is compared by the caller.
    Aerosol optical thickness and water vapour are stored in thousandths; the scene classification has no scale.

    Sources
    -------
    https://sentinels.copernicus.eu/web/sentinel/-/copernicus-sentinel-2-major-products-upgrade-upcoming;
    https://github.com/stactools-packages/sentinel2/issues/44;
    https://github.com/Element84/earth-search/issues/9 and 66;
    https://github.com/microsoft/PlanetaryComputer/issues/134.
    """
    key = _S2_RESOLUTION.sub("", facts.key.lower())
    if key in {"aot", "wvp"}:
        return Finding(statement=f"Sentinel-2 L2A, {key.upper()}", scale=0.001, unit="cm" if key == "wvp" else None)
    if key not in _S2_REFLECTANCE:
        return None
    baseline = _s2_baseline(facts.item)
    applied = next((facts.item[name] for name in _S2_FLAGS if isinstance(facts.item.get(name), bool)), None)
    if baseline is None:
        return Finding(
            statement="Sentinel-2 L2A",
            doubts=("the item does not tell its processing baseline, so whether an offset is due is unknown",),
        )
    words = f"Sentinel-2 L2A, baseline {baseline[0]:02d}.{baseline[1]:02d}"
    if baseline < _S2_OFFSET_SINCE:
        doubts = ("boa_offset_applied is true, but before baseline 04.00 there was no offset",) if applied else ()
        return Finding(statement=words, scale=1e-4, doubts=doubts)
    if applied:
        return Finding(statement=words + ", boa_offset_applied true", scale=1e-4)
    if applied is not None:
        words += ", boa_offset_applied false"
    return Finding(statement=words, scale=1e-4, offset=-0.1)


def _s2_baseline(item: Mapping[str, Any]) -> tuple[int, int] | None:
    for name in ("s2:processing_baseline", "sentinel:processing_baseline", "processing:version"):
        match = re.fullmatch(r"N?(\d{1,2})\.?(\d{2})", str(item.get(name, "")).strip())
        if match is not None:
            return int(match[1]), int(match[2])
    for name in ("s2:product_uri", "s2:datatake_id", "sentinel:product_id"):
        match = _S2_PRODUCT.search(str(item.get(name, "")))
        if match is not None:
            return int(match[1]), int(match[2])
    return None


_LANDSAT_REFLECTANCE = frozenset({"coastal", "blue", "green", "red", "nir08", "swir16", "swir22"})
_LANDSAT_TEMPERATURE = frozenset({"lwir", "lwir11"})
_LANDSAT_OTHERS: Mapping[str, tuple[float, str | None]] = {
    "qa": (0.01, "kelvin"),
    "cdist": (0.01, "kilometer"),
    "atran": (0.0001, None),
    "emis": (0.0001, None),
    "emsd": (0.0001, None),
    "drad": (0.001, "watt/steradian/square_meter/micrometer"),
    "urad": (0.001, "watt/steradian/square_meter/micrometer"),
    "trad": (0.001, "watt/steradian/square_meter/micrometer"),
    "atmos_opacity": (0.001, None),
}


def landsat_c2_l2(facts: Facts) -> Finding | None:
    """Landsat Collection 2 Level-2: reflectance = DN · 0.0000275 − 0.2, temperature = DN · 0.00341802 + 149.0 kelvin.

    The intermediate bands of surface temperature have scales of their own; quality bands have none.

    Sources
    -------
    https://www.usgs.gov/faqs/how-do-i-use-a-scale-factor-landsat-level-2-science-products; intermediate bands:
    https://github.com/microsoft/planetary-computer-tasks/tree/main/datasets/landsat.
    """
    key = facts.key.lower().removesuffix(".tif")
    if key in _LANDSAT_REFLECTANCE or re.fullmatch(r"sr_b[1-7]", key):
        return Finding(statement="Landsat C2 L2 surface reflectance", scale=2.75e-5, offset=-0.2)
    if key in _LANDSAT_TEMPERATURE or re.fullmatch(r"st_b(6|10)", key):
        return Finding(statement="Landsat C2 L2 surface temperature", scale=0.00341802, offset=149.0, unit="kelvin")
    if key in _LANDSAT_OTHERS:
        scale, unit = _LANDSAT_OTHERS[key]
        return Finding(statement=f"Landsat C2 L2, {key}", scale=scale, unit=unit)
    return None


_HLS_NAMES = frozenset(
    {
        *("coastal_aerosol", "coastal", "blue", "green", "red", "red_edge_1", "red_edge_2", "red_edge_3"),
        *("nir_broad", "nir_narrow", "water_vapor", "cirrus", "swir_1", "swir_2"),
    }
)
_HLS_BAND = re.compile(r"b(0[1-9]|1[0-2]|8a)")


def hls_v2(facts: Facts) -> Finding | None:
    """HLS v2.0: reflectance in ten-thousandths; brightness temperature of L30 in hundredths of a degree Celsius.

    B10 and B11 are thermal in L30 and cirrus and shortwave infrared in S30: the product is taken from the collection
    or the id. Angles are in hundredths of a degree; Fmask has no scale.

    Sources
    -------
    HLS v2.0 user guide, tables of L30 and S30 bands (https://lpdaac.usgs.gov/documents/1698/HLS_User_Guide_V2.pdf).
    """
    key = facts.key.lower()
    product = f"{facts.collection} {facts.scene}".upper()
    if key in {"saa", "sza", "vaa", "vza"}:
        return Finding(statement="HLS v2.0 angles", scale=0.01, unit="degree")
    if key in {"b10", "b11"}:
        landsat, sentinel = "L30" in product, "S30" in product
        if landsat == sentinel:
            doubt = f"neither the collection nor the id tells L30 from S30, where {facts.key} is another band"
            return Finding(statement="HLS v2.0", doubts=(doubt,))
        if landsat:
            return Finding(statement="HLS v2.0 L30 brightness temperature", scale=0.01, unit="degree Celsius")
    if key in _HLS_NAMES or _HLS_BAND.fullmatch(key):
        return Finding(statement="HLS v2.0 surface reflectance", scale=0.0001)
    return None


def alphaearth_v1(facts: Facts) -> Finding | None:
    """AlphaEarth annual embeddings: value = sign(v) · (|v| / 127.5)², in [−1, 1]; −128 is nodata.

    Sources
    -------
    https://developers.google.com/earth-engine/guides/aef_on_gcs_readme (de-quantization).
    """
    del facts  # all assets are embeddings
    return Finding(statement="AlphaEarth de-quantization", scale=1 / 127.5, signed_square=True)
