"""Which codecs, in which order, turn a stored tile or strip into an array: from an IFD's description to Zarr v2."""

# ruff: noqa: PLR2004 - bit depths, byte counts and tag values say what they are

import functools
import math
from collections.abc import Mapping
from typing import Any

from rasteret_refs.errors import UnsupportedTiffError
from rasteret_refs.tiff.tags import PREDICTOR_COMPRESSIONS
from rasteret_refs.tiff.values import ImageDescription, Planar, SampleFormat
from rasteret_refs.virtual.values import CodecChain

type Config = dict[str, Any]

_FLOATS = {16: "<f2", 24: "<f4", 32: "<f4", 64: "<f8"}
_WHOLE_BITS = (8, 16, 32, 64)
_LARGEST_PACKED = 31

COMPRESSORS: Mapping[int, Config | None] = {
    1: None,
    5: {"id": "imagecodecs_lzw"},
    8: {"id": "zlib", "level": 6},
    32946: {"id": "zlib", "level": 6},
    32773: {"id": "imagecodecs_packbits"},
    34925: {"id": "lzma", "format": 1, "check": -1, "preset": None, "filters": None},
    50000: {"id": "zstd", "level": 3, "checksum": False},
}
"""Compression (tag 259) to numcodecs' standard ids: they need nothing but the bytes (xz containers have format 1)."""

COMPRESSION_NAMES: Mapping[int, str] = {
    1: "none",
    2: "CCITT RLE",
    3: "CCITT Group 3",
    4: "CCITT Group 4",
    5: "LZW",
    6: "old-style JPEG",
    7: "JPEG",
    8: "Deflate",
    9: "JBIG (T.85)",
    10: "JBIG (T.43)",
    32766: "NeXT",
    32771: "CCITT RLE with words",
    32773: "PackBits",
    32809: "ThunderScan",
    32908: "PixarFilm",
    32909: "PixarLog",
    32946: "Deflate (old number)",
    34661: "JBIG",
    34676: "SGILog",
    34677: "SGILog24",
    34712: "JPEG 2000",
    34887: "LERC",
    34925: "LZMA",
    50000: "ZSTD",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL (DNG 1.7)",
}
"""For messages."""


@functools.lru_cache(maxsize=4096)
def codec_chain(description: ImageDescription) -> CodecChain:
    """Say how one chunk of an image decodes, in terms of Zarr v2.

    Decoding order: reverse bits (FillOrder 2), decompress, predictor, byte order or unpacking, pad a short last strip,
    bands first. The pixels are those that rasterio gives for `GTIFF_RAW:` (colour maps and CMYK not applied), with the
    YCbCr of JPEG turned to RGB.

    Raises
    ------
    UnsupportedTiffError
        Nothing here decodes it exactly; the message names the tag.
    """
    steps, dtype = _samples(description)
    return _assemble(description, steps, dtype)


@functools.lru_cache(maxsize=1024)
def mask_chain(description: ImageDescription) -> CodecChain:
    """Say how one chunk of a transparency mask decodes: `uint8`, 0 and 255 as rasterio's `dataset_mask` gives them.

    Raises
    ------
    UnsupportedTiffError
        The mask is neither 1-bit nor 8-bit, or has several samples, or its compression is not supported.
    """
    if description.samples != 1 or description.bits not in {1, 8}:
        raise UnsupportedTiffError(
            f"mask: expected one sample of 1 or 8 bits, found {description.samples} of {description.bits}"
        )
    chain = codec_chain(description)
    unpack = [config["id"] for config in chain.filters].count("rasteret_refs.unpack_bits")
    if description.bits == 8 or not unpack:
        return chain
    filters = tuple(
        _row_config("mask_bits", description) if config["id"] == "rasteret_refs.unpack_bits" else config
        for config in chain.filters
    )
    return CodecChain(dtype="|u1", chunk_shape=chain.chunk_shape, filters=filters, compressor=chain.compressor)


def decoded_bytes(chain: CodecChain) -> int:
    """Bytes of a decoded chunk: the bound of every decode."""
    import numpy as np

    return math.prod(chain.chunk_shape) * np.dtype(chain.dtype).itemsize


def fill_chunk(chain: CodecChain, value: complex) -> bytes:
    """Encode a chunk that decodes to `value` everywhere, exactly, even where the codec is lossy.

    Codecs of images (JPEG, …) write a constant chunk as an escape of their own, which no encoder produces.

    Raises
    ------
    ValueError
        The chain's samples cannot hold `value`.
    """
    import numcodecs
    import numpy as np

    dtype = np.dtype(chain.dtype)
    filled = np.empty(chain.chunk_shape, dtype)
    with np.errstate(all="ignore"):
        filled[...] = np.asarray(value).astype(dtype)
    held = filled.flat[0]
    if not (held == value or (held != held and value != value)):  # noqa: PLR0124 - NaN
        raise ValueError(f"samples of {dtype} cannot hold the value {value!r}")
    encoded: Any = filled
    for config in chain.filters:
        encoded = numcodecs.get_codec(dict(config)).encode(encoded)
    if chain.compressor is not None:
        encoded = numcodecs.get_codec(dict(chain.compressor)).encode(encoded)
    return encoded if isinstance(encoded, bytes) else np.ascontiguousarray(encoded).tobytes()


def _chunk_samples(description: ImageDescription) -> int:
    return 1 if description.planar is Planar.SEPARATE else description.samples


def _short_rows(description: ImageDescription) -> int:
    """Rows of the last strip where it is shorter than the others, else 0.

    Tiles are whole, except that old PackBits writers end them with the image, and GDAL asks for no more.
    """
    whole = description.tiled and description.compression != 32773  # PackBits
    return 0 if whole else description.height % description.chunk_height


def _row_config(name: str, description: ImageDescription, **options: Any) -> Config:
    """Configuration of one of our codecs that work on rows."""
    return {
        "id": f"rasteret_refs.{name}",
        "version": 1,
        "shape": [description.chunk_height, description.chunk_width, _chunk_samples(description)],
        "short_rows": _short_rows(description),
        **options,
    }


def _samples(description: ImageDescription) -> tuple[list[Config], str]:
    """Return the codecs between decompression and padding, in decoding order, and the dtype that they give."""
    kind, bits = description.sample_format, description.bits
    order = description.byte_order
    if description.predictor == 3:
        return [_row_config("floating_point_predictor", description, bits=bits)], _float(description)
    predicted = description.predictor == 2 and description.compression in PREDICTOR_COMPRESSIONS
    steps = [_row_config("horizontal_predictor", description, bits=bits, byte_order=order)] if predicted else []
    if predicted:
        order = "<"
    if kind is SampleFormat.COMPLEX_INT:
        return [*steps, _row_config("complex_int", description, bits=_part(description), byte_order=order)], "<c8"
    if kind is SampleFormat.COMPLEX_FLOAT:
        part = _part(description)
        swap = [_row_config("byte_order", description, bits=part, parts=2)] if order == ">" else []
        return [*steps, *swap], f"<c{part // 4}"
    if bits == 24 or bits not in _WHOLE_BITS:
        return _packed(description)
    swap = [_row_config("byte_order", description, bits=bits, parts=1)] if order == ">" and bits > 8 else []
    if kind is SampleFormat.FLOAT:
        return [*steps, *swap], _float(description)
    letter = "i" if kind is SampleFormat.SIGNED else "u"
    return [*steps, *swap], f"|{letter}1" if bits == 8 else f"<{letter}{bits // 8}"


def _packed(description: ImageDescription) -> tuple[list[Config], str]:
    bits, kind = description.bits, description.sample_format
    if kind is SampleFormat.FLOAT:
        dtype, sample_format, order = _float(description), "float", description.byte_order
    elif bits <= _LARGEST_PACKED:
        # GDAL reads signed odd depths as unsigned (GTiffOddBitsBand).
        dtype = "|u1" if bits < 8 else "<u2" if bits < 16 else "<u4"
        # 24 bits are whole bytes: most significant first in little-endian files (GDAL and tifffile agree); in
        # big-endian ones GDAL, writing and reading, has them the other way round (libtiff's _TIFFSwab24BitData).
        sample_format, order = "uint", ">" if bits != 24 or description.byte_order == "<" else "<"
    else:
        raise UnsupportedTiffError(
            f"BitsPerSample (tag 258) is {bits}: supported are 1 to {_LARGEST_PACKED}, 32 and 64 for integers"
        )
    options = {"bits": bits, "sample_format": sample_format, "byte_order": order}
    return [_row_config("unpack_bits", description, **options)], dtype


def _float(description: ImageDescription) -> str:
    if description.bits not in _FLOATS:
        raise UnsupportedTiffError(
            f"BitsPerSample (tag 258) is {description.bits} for floating point samples: supported are 16, 24, 32 and 64"
        )
    return _FLOATS[description.bits]


def _part(description: ImageDescription) -> int:
    """Bits of one part of a complex sample."""
    allowed = (32, 64) if description.sample_format is SampleFormat.COMPLEX_INT else (64, 128)
    if description.bits not in allowed:
        raise UnsupportedTiffError(
            f"BitsPerSample (tag 258) is {description.bits} for {description.sample_format.name} samples: "
            f"supported are {allowed[0]} and {allowed[1]}"
        )
    return description.bits // 2


def _assemble(description: ImageDescription, steps: list[Config], dtype: str) -> CodecChain:
    """Put decompression before the codecs that decode samples, padding and deinterleaving behind them."""
    name = COMPRESSION_NAMES.get(description.compression, "unknown")
    if description.compression not in COMPRESSORS:
        raise UnsupportedTiffError(f"Compression (tag 259) is {description.compression} ({name}): not supported")
    if description.photometric == 6:  # YCbCr
        raise UnsupportedTiffError(
            f"PhotometricInterpretation (tag 262) is YCbCr with compression {name}: supported with JPEG only"
        )
    compressor = COMPRESSORS[description.compression]
    decoding = [compressor] if compressor else []
    if description.fill_order == 2:
        decoding.insert(0, {"id": "rasteret_refs.fill_order", "version": 1})
    return _chain(description, decoding, steps, dtype)


def _chain(description: ImageDescription, decoding: list[Config], steps: list[Config], dtype: str) -> CodecChain:
    """Finish a chain whose first codec in decoding order becomes Zarr's compressor."""
    import numpy as np

    samples = _chunk_samples(description)
    size = np.dtype(dtype).itemsize
    if _short_rows(description):
        steps = [*steps, _row_config("pad", description, sample_bytes=size)]
    if samples > 1:
        interleave = _row_config("band_first", description, sample_bytes=size) | {"short_rows": 0}
        steps = [*steps, interleave]
    plane = (description.chunk_height, description.chunk_width)
    # One sample: no band axis. Several: bands of a chunky chunk, or one where planes are separate.
    shape = plane if description.samples == 1 else (samples, *plane)
    compressor = decoding[0] if decoding else None
    return CodecChain(
        dtype=dtype, chunk_shape=shape, filters=tuple(reversed([*decoding[1:], *steps])), compressor=compressor
    )
