"""What a set's Zarr metadata may say, whoever wrote it: known codecs, plain dtypes, no more chunks than references."""

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from rasteret_refs.errors import DamagedError
from rasteret_refs.refset.seal import Seal
from rasteret_refs.tiff.crs_text import crs_problem

CODECS: Final = frozenset({
    "zlib", "zstd", "lzma", "delta", "imagecodecs_lzw", "imagecodecs_packbits",
    *(f"rasteret_refs.{name}" for name in (
        "horizontal_predictor", "floating_point_predictor", "unpack_bits", "mask_bits", "byte_order", "pad",
        "band_first", "complex_int", "fill_order", "jpeg", "webp", "jpegxl", "jpeg2000", "lerc", "lzw", "ccitt",
        "thunderscan", "next_rle",
    )),
})  # fmt: skip
"""Codecs that sets are written with. Any other name stays a name: nothing is looked up or imported by it."""

DIMENSIONS: Final = "_ARRAY_DIMENSIONS"
"""xarray's attribute."""

LARGEST_CHUNK: Final = 1 << 31
"""Bytes of a decoded chunk."""

MOST_CODECS: Final = 16
"""Codecs of one array: TIFF's longest chains have seven."""

_CRS: Final = ("crs_wkt", "spatial_ref", "proj:code", "proj:wkt2")
"""Attributes that hold a CRS."""
_ITEM_BYTES: Final = re.compile(r"[<>|=]?([biufcSU])([0-9]{1,10})\Z")
_DOCUMENTS: Final = frozenset({".zarray", ".zattrs", ".zgroup"})


def check_codecs(zarray: Mapping[str, Any], path: str) -> None:
    """Refuse codecs and dtypes that no set is written with: some of them run code that stands in the data.

    Parameters
    ----------
    zarray
        A Zarr v2 `.zarray` document.
    path
        Of the array, for messages.

    Raises
    ------
    DamagedError
        Naming what was found.
    """
    compressor = zarray.get("compressor")
    configs = [*(zarray.get("filters") or ()), *([compressor] if compressor is not None else [])]
    for config in configs:
        name = config.get("id") if isinstance(config, Mapping) else config
        if not isinstance(name, str) or name not in CODECS:
            raise DamagedError(f"{path}/.zarray: expected codecs that sets are written with, got {name!r}")
    dtype = zarray.get("dtype")
    if not isinstance(dtype, str) or dtype.lstrip("<>|=")[:1] not in set("biufcSU"):
        raise DamagedError(f"{path}/.zarray: expected numbers or text of a fixed width, got the dtype {dtype!r}")


def check_documents(documents: Mapping[str, Any], seal: Seal, location: str) -> None:
    """Refuse arrays that claim more chunks than the seal has references, or chunks beyond all bounds.

    Raises
    ------
    DamagedError
        Naming the array. Asking such an array for its pixels would take memory or time without end.
    """
    for key, document in documents.items():
        if not isinstance(key, str) or key.rpartition("/")[2] not in _DOCUMENTS or _leaves(key):
            raise DamagedError(f"{location}: expected documents of groups and arrays, got one of {key!r}")
        if not isinstance(document, Mapping):
            raise DamagedError(f"{location}: {key}: expected an object of JSON, got {type(document).__name__}")
    for key, document in documents.items():
        if key.endswith(".zattrs"):
            _check_attributes(document, f"{location}: {key}")
        if not key.endswith(".zarray"):
            continue
        _check_codec_list(document, f"{location}: {key}")
        path = key.removesuffix(".zarray").rstrip("/")
        dims = documents.get(f"{key.removesuffix('.zarray')}.zattrs", {}).get(DIMENSIONS)
        try:
            shape, chunks = [int(n) for n in document["shape"]], [int(n) for n in document["chunks"]]
            count = math.prod(-(-size // chunk) for size, chunk in zip(shape, chunks, strict=True))
            sound = all(size >= 0 for size in shape) and all(chunk > 0 for chunk in chunks)
            sound = sound and (dims is None or len(dims) == len(shape))
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            raise DamagedError(f"{location}: {key}: expected Zarr v2 array metadata, got {error!r}") from error
        sealed = len(seal.records.get(path, ())) * seal.record_size
        if not sound or count > sealed or math.prod(chunks) * item_bytes(document["dtype"]) > LARGEST_CHUNK:
            raise DamagedError(
                f"{location}: {key}: expected at most {sealed} chunks, as many as are sealed, of at most "
                f"{LARGEST_CHUNK} bytes, got the shape {shape} in chunks of {chunks} with the dimensions {dims} and "
                f"the dtype {document['dtype']!r}"
            )


def item_bytes(dtype: Any) -> int:
    """Return the bytes of a value by its dtype's text, without making the dtype; 1 for what is no such text."""
    found = _ITEM_BYTES.match(dtype) if isinstance(dtype, str) else None
    return 1 if found is None else int(found[2]) * (4 if found[1] == "U" else 1)


def _leaves(key: str) -> bool:
    """Tell whether a key is no plain path below the set."""
    return "\\" in key or any(part in {"", ".", ".."} for part in key.split("/"))


def _check_attributes(document: Mapping[str, Any], where: str) -> None:
    """Refuse attributes that readers take apart, where they are not of their kind."""
    dims = document.get(DIMENSIONS)
    if dims is not None and not (isinstance(dims, list) and all(isinstance(name, str) for name in dims)):
        raise DamagedError(f"{where}: expected names of dimensions, got {dims!r}")
    for name in ("coordinates", "grid_mapping", "GeoTransform", "units", *_CRS):
        value = document.get(name)
        if value is not None and not isinstance(value, str):
            raise DamagedError(f"{where}: expected a text as {name}, got {value!r}")
    for name in _CRS:
        if document.get(name):
            checked_crs(document[name], f"{where}: {name}")


def checked_crs(text: str, where: str) -> str:
    """Return the text of a set's CRS.

    Raises
    ------
    DamagedError
        It is one that PROJ must not see, see `tiff.crs_text`.
    """
    problem = crs_problem(text)
    if problem is not None:
        raise DamagedError(f"{where}: expected a code or WKT, got {problem}")
    return text


def _check_codec_list(document: Mapping[str, Any], where: str) -> None:
    """Refuse what is no list of codec configurations; which codecs is for `check_codecs` to say, array by array."""
    filters, compressor = document.get("filters"), document.get("compressor")
    if filters is not None and not (isinstance(filters, list) and len(filters) < MOST_CODECS):
        raise DamagedError(f"{where}: expected a list of less than {MOST_CODECS} filters, got {str(filters)[:100]}")
    for config in [*(filters or ()), *(() if compressor is None else (compressor,))]:
        if not isinstance(config, Mapping) or "id" not in config:
            raise DamagedError(f"{where}: expected codecs with an id, got {config!r}")
    if not isinstance(document.get("dtype"), str | list):
        raise DamagedError(f"{where}: expected a dtype, got {document.get('dtype')!r}")
