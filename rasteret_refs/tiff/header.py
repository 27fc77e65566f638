"""The first bytes of a TIFF: byte order, classic or BigTIFF, first IFD, GDAL's ghost area."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from struct import Struct

from rasteret_refs.errors import NotATiffError, TiffError, TruncatedError

CLASSIC_HEADER = 8
BIG_HEADER = 16
GHOST_PREFIX = b"GDAL_STRUCTURAL_METADATA_SIZE="
GHOST_LINE = len(GHOST_PREFIX) + len(b"000000 bytes\n")
"""The ghost area begins with this line, whose six digits count the bytes that follow it (GDAL, COG driver page)."""

_SIGNATURES = {b"II*\0": ("<", False), b"MM\0*": (">", False), b"II+\0": ("<", True), b"MM\0+": (">", True)}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Format:
    """How numbers lie in a file, with the readers made for it once."""

    byte_order: str
    """`<` or `>`."""
    big: bool
    order_name: str = field(init=False)
    """`little` or `big`, as `int.from_bytes` wants it."""
    count_size: int = field(init=False)
    """Bytes of an IFD's number of entries."""
    entry_size: int = field(init=False)
    """Bytes of an IFD's entry."""
    offset_size: int = field(init=False)
    """Bytes of an offset, hence of an entry's inline value."""
    head: Struct = field(init=False)
    """Tag, field type, count: what comes before an entry's value."""

    def __post_init__(self) -> None:
        values = {
            "order_name": "little" if self.byte_order == "<" else "big",
            "count_size": 8 if self.big else 2,
            "entry_size": 20 if self.big else 12,
            "offset_size": 8 if self.big else 4,
            "head": Struct(self.byte_order + ("HHQ" if self.big else "HHI")),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)


_FORMATS = {key: Format(byte_order=key[0], big=key[1]) for key in _SIGNATURES.values()}


def read_signature(start: bytes, size: int | None) -> tuple[Format, int]:
    """Byte order and kind of a TIFF, and the offset of its first IFD.

    Parameters
    ----------
    start : bytes
        The file's first 16 bytes, or all of it where it is shorter.
    size : int or None
        Bytes of the file, if known.

    Raises
    ------
    NotATiffError
        There is no TIFF signature; the message says what there is.
    TruncatedError
        The file ends inside the header.
    TiffError
        The BigTIFF constants are wrong, or the first IFD's offset lies inside the header.
    """
    known = _SIGNATURES.get(bytes(start[:4]))
    if known is None:
        raise NotATiffError(f"expected a TIFF signature (II*, MM*, II+ or MM+), found {_what(bytes(start), size)}")
    form = _FORMATS[known]
    length = BIG_HEADER if form.big else CLASSIC_HEADER
    if len(start) < length:
        raise TruncatedError(f"the file ends after {len(start)} bytes, inside the TIFF header of {length}")
    if form.big:
        offset_size, reserved, first = Struct(form.byte_order + "4xHHQ").unpack_from(start)
        if (offset_size, reserved) != (8, 0):
            raise TiffError(f"BigTIFF header: expected offsets of 8 bytes and 0, found {offset_size} and {reserved}")
    else:
        (first,) = Struct(form.byte_order + "4xI").unpack_from(start)
    if first < length:
        raise TiffError(f"the first IFD's offset is {first}, expected at least {length}: the file has no image")
    return form, first


def _what(start: bytes, size: int | None) -> str:
    if size == 0 or not start:
        return "an empty file"
    if start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<error")):
        return f"an HTML or XML page ({start[:15]!r}…)"
    if start.lstrip().startswith((b"{", b"[")):
        return f"JSON ({start[:15]!r}…)"
    return repr(start[:8])


_ghosts: dict[bytes, Mapping[str, str]] = {}
_GHOSTS_KEPT = 256
EMPTY_GHOST: Mapping[str, str] = {}


def read_ghost(body: bytes) -> Mapping[str, str]:
    """GDAL's structural metadata: lines `KEY=VALUE` between header and first IFD.

    Parameters
    ----------
    body : bytes
        What follows the ghost area's first line.
    """
    found = _ghosts.get(body)
    if found is None:
        if len(_ghosts) >= _GHOSTS_KEPT:
            _ghosts.clear()
        lines = body.decode("utf-8", "replace").split("\n")
        pairs = (line.strip(" \0").partition("=") for line in lines)
        found = _ghosts[body] = {key: value for key, mark, value in pairs if mark}
    return found
