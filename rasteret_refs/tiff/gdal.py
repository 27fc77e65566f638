"""GDAL's private tags, GDAL_METADATA (XML, per band) and GDAL_NODATA (text), and its reading of colour maps."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from xml.parsers import expat
from xml.sax.saxutils import unescape

import numpy as np
import numpy.typing as npt

from rasteret_refs.tiff.values import ImageDescription

type Items = Mapping[str, Mapping[str, str]]
"""Items of metadata by domain (the default one is the empty string) and name."""

_DEPTH = 32
_BYTE = 255
_QUOTES = {"&quot;": '"', "&apos;": "'"}
_SAMPLE = re.compile("[0-9]{1,5}")


@dataclass(frozen=True, slots=True, kw_only=True)
class GdalBand:
    """What GDAL_METADATA says of one band."""

    scale: float | None = None
    """Physical value = stored value · scale + offset."""
    offset: float | None = None
    unit: str | None = None
    description: str | None = None
    color_interpretation: str | None = None
    items: Items = field(default_factory=dict)
    """All other items of the band."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GdalMetadata:
    """What GDAL_METADATA says."""

    dataset: Items = field(default_factory=dict)
    """Items of the whole image."""
    bands: Mapping[int, GdalBand] = field(default_factory=dict)
    """Bands that something is said of, by number from 0 on (the attribute `sample`)."""
    problem: str | None = None
    """Why the text could not be read, or not to its end; what came before it is kept."""

    def band(self, number: int) -> GdalBand:
        """Return what is said of a band (from 0 on); an empty value where nothing is."""
        return self.bands.get(number, _NO_BAND)


_NO_BAND = GdalBand()


class _RefusedXmlError(Exception):
    """XML that metadata has no need of: document types, entities, deep nesting."""


class _Reader:
    """Expat handlers that collect `<Item name= domain= sample= role=>` under the root.

    There is no document type and no entity in what GDAL writes; both are refused before they are expanded.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.StartDoctypeDeclHandler = self._refuse
        self._parser.EntityDeclHandler = self._refuse
        self._depth = 0
        self._attributes: dict[str, str] | None = None
        self._text: list[str] = []
        self._nested_at: int | None = None
        self.found: list[tuple[dict[str, str], str]] = []

    def read(self) -> str | None:
        """Read everything; the reason where that fails."""
        try:
            self._parser.Parse(self._data, True)
        except expat.ExpatError as error:
            return f"not well-formed XML: {error}"
        except _RefusedXmlError as error:
            return str(error)
        return None

    def _refuse(self, *_: object) -> None:
        raise _RefusedXmlError("a document type or an entity in GDAL_METADATA")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > _DEPTH:
            raise _RefusedXmlError(f"XML nested deeper than {_DEPTH} elements in GDAL_METADATA")
        if self._depth == 2 and name == "Item":  # noqa: PLR2004 - right under the root
            self._attributes, self._text, self._nested_at = attributes, [], None
        elif self._attributes is not None and self._nested_at is None:
            self._nested_at = self._parser.CurrentByteIndex

    def _end(self, _name: str) -> None:
        if self._depth == 2 and self._attributes is not None:  # noqa: PLR2004 - likewise
            text = "".join(self._text)
            if self._attributes.get("format") != "xml":
                text = unescape(text, _QUOTES)  # GDAL escapes values before it escapes the document
            if self._nested_at is not None:  # domains such as xml:XMP hold XML itself
                text = self._data[self._nested_at : self._parser.CurrentByteIndex].decode("utf-8", "replace")
            self.found.append((self._attributes, text))
            self._attributes = None
        self._depth -= 1

    def _characters(self, text: str) -> None:
        if self._attributes is not None and self._nested_at is None:
            self._text.append(text)


@lru_cache(maxsize=1024)
def gdal_metadata(text: str) -> GdalMetadata:
    """Read the text of GDAL_METADATA (tag 42112); never raises.

    Items belong to the whole image, or to one band where they have a `sample`. The roles `scale`, `offset`, `unittype`,
    `description` and `colorinterp` become fields of the band. An empty text gives an empty value.
    """
    if not text.strip("\0 \t\r\n"):
        return GdalMetadata()
    reader = _Reader(text.encode())
    problem = reader.read()
    dataset: dict[str, dict[str, str]] = {}
    fields: dict[int, dict[str, float | str]] = {}
    items: dict[int, dict[str, dict[str, str]]] = {}
    for attributes, value in reader.found:
        name, domain, role = attributes.get("name", ""), attributes.get("domain", ""), attributes.get("role", "")
        if "sample" not in attributes:
            dataset.setdefault(domain, {})[name] = value
            continue
        number = _band_number(attributes["sample"])
        if number is None:
            problem = problem or f"an item of sample {attributes['sample'][:20]!r}"
            continue
        known = _role_value(role, value)
        if known is not None:
            fields.setdefault(number, {})[known[0]] = known[1]
        else:
            items.setdefault(number, {}).setdefault(domain, {})[name] = value
    bands = {
        number: GdalBand(**fields.get(number, {}), items=items.get(number, {}))  # type: ignore[arg-type]
        for number in sorted(fields.keys() | items.keys())
    }
    return GdalMetadata(dataset=dataset, bands=bands, problem=problem)


def _band_number(text: str) -> int | None:
    return int(text) if _SAMPLE.fullmatch(text) else None


def _role_value(role: str, value: str) -> tuple[str, float | str] | None:
    """Field and value of an item with a role; None for other items, and for numbers that are none."""
    if role in {"scale", "offset"}:
        number = _number(value)
        return None if number is None else (role, float(number))
    name = _TEXT_ROLES.get(role)
    return None if name is None else (name, value)


_TEXT_ROLES = {"unittype": "unit", "description": "description", "colorinterp": "color_interpretation"}
_INTEGER = re.compile(r"[+-]?[0-9]{1,40}")
_REAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_NAN = re.compile(r"[+-]?(?:nan.*|1\.#(?:qnan|snan|ind).*)", re.IGNORECASE)
_INFINITY = re.compile(r"(?P<sign>[+-]?)(?:inf(?:inity)?|1\.#inf)", re.IGNORECASE)


def _number(text: str) -> int | float | None:
    """A number as C's `strtod` and GDAL's `CPLAtof` read it: also what begins with one; integers stay exact."""
    text = text.strip()
    if _NAN.match(text):
        return float("nan")
    if found := _INFINITY.match(text):
        return float(found["sign"] + "inf")
    if _INTEGER.fullmatch(text):
        return int(text)
    found = _REAL.match(text)
    return float(found[0]) if found else None


def nodata_value(description: ImageDescription, dtype: npt.DTypeLike) -> int | float | complex | None:
    """GDAL_NODATA as a value of the pixels' dtype.

    Parameters
    ----------
    description : ImageDescription
    dtype : dtype
        Of the decoded pixels.

    Returns
    -------
    int, float, complex or None
        Exactly representable in `dtype`: floats are rounded to it, integers are exact beyond 2⁵³. None where the tag is
        absent, is no number, or no pixel could have its value (-9999 or `nan` for uint8): the text stays in
        `ImageDescription.nodata_text`.
    """
    if description.nodata_text is None:
        return None
    number = _number(description.nodata_text)
    if number is None:
        return None
    kind = np.dtype(dtype)
    if kind.kind in "iu":
        return _as_integer(number, kind)
    if kind.kind == "f":
        return _as_float(float(number), kind)
    if kind.kind == "c":
        part = _as_float(float(number), np.empty(0, kind).real.dtype)
        return None if part is None else complex(part)
    return None


def eight_bit_colors(color_map: Sequence[int]) -> npt.NDArray[np.uint8]:
    """Return the colours of a palette as GDAL gives them, shape (values, 3): red, green, blue.

    TIFF has 16 bits a colour (ColorMap, tag 320). Writers disagree on how to make them of 8: most multiply by 257, some
    by 256 or not at all; GDAL tells by the values.
    """
    colors = np.asarray(color_map, np.int64).reshape(3, -1).T
    largest = colors.max(initial=0)
    if largest > _BYTE:
        colors = colors // (256 if not (colors % 256).any() else 257)
    return colors.astype(np.uint8)


def _as_integer(number: float, kind: np.dtype[np.generic]) -> int | None:
    if isinstance(number, float) and not number.is_integer():
        return None
    whole = int(number)
    bounds = np.iinfo(str(kind))
    return whole if bounds.min <= whole <= bounds.max else None


def _as_float(number: float, kind: np.dtype[np.generic]) -> float | None:
    """Rounded to the dtype; text that rounds just past the largest value means that one (GDAL: close to FLT_MAX)."""
    if not np.isfinite(number):
        return number
    largest = float(np.finfo(str(kind)).max)
    if abs(number) > largest:
        return None if abs(number) > largest * (1 + 1e-6) else float(np.copysign(largest, number))
    return float(np.asarray(number, kind))
