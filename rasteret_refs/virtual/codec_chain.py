"""Which codecs, in which order, turn a stored tile or strip into an array: from an IFD's description to Zarr v2."""

# ruff: noqa: PLR2004 - bit depths, byte counts and tag values say what they are

import base64
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

from rasteret_refs.errors import UnsupportedTiffError
from rasteret_refs.tiff.tags import PREDICTOR_COMPRESSIONS
from rasteret_refs.tiff.values import ImageDescription, Planar, SampleFormat
from rasteret_refs.virtual.repeated import LARGEST_WHOLE, repeated_rows
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

IMAGE_CODECS: Mapping[int, str] = {
    2: "ccitt",
    3: "ccitt",
    4: "ccitt",
    7: "jpeg",
    32766: "next_rle",
    32771: "ccitt",
    32809: "thunderscan",
    34712: "jpeg2000",
    34887: "lerc",
    50001: "webp",
    50002: "jpegxl",
    52546: "jpegxl",
}
"""Compression to the codec of ours that decodes a chunk as an image: it needs the chunk's shape, or the tags."""

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
    if description.compression in IMAGE_CODECS:
        return _image_chain(description)
    return _row_chain(description)


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
    if description.bits == 8:
        return chain
    if description.compression in IMAGE_CODECS:
        raise UnsupportedTiffError(f"mask: {_compression(description)} is not supported for masks of 1 bit")
    filters = tuple(
        _row_config("mask_bits", description) if config["id"] == "rasteret_refs.unpack_bits" else config
        for config in chain.filters
    )
    return CodecChain(dtype="|u1", chunk_shape=chain.chunk_shape, filters=filters, compressor=chain.compressor)


def decoded_bytes(chain: CodecChain) -> int:
    """Bytes of a decoded chunk: the bound of every decode."""
    return math.prod(chain.chunk_shape) * _itemsize(chain.dtype)


def fill_chunk(chain: CodecChain, value: complex) -> bytes:
    """Encode a chunk that decodes to `value` everywhere, exactly, even where the codec is lossy.

    Codecs of images (JPEG, …) encode to a form of their own: deflated pixels, after a mark that no image starts with.

    Raises
    ------
    ValueError
        The chain's samples cannot hold `value`.
    UnsupportedTiffError
        The chunk is larger than `repeated.LARGEST_WHOLE`, and the chain is none whose chunks can be made row by row.
    """
    import numcodecs  # type: ignore[import-untyped] # it carries no types
    import numpy as np

    dtype = np.dtype(chain.dtype)
    try:
        with np.errstate(all="ignore"):
            sample = np.asarray(value).astype(dtype)
    except OverflowError as error:
        raise ValueError(f"samples of {dtype} cannot hold the value {value!r}") from error
    held = sample.item()
    # Integers have to be equal; floats may round (0.1), but neither overflow nor lose a NaN.
    exact = held == value if dtype.kind in "iu" else np.isfinite(held) == np.isfinite(value)
    if not exact or np.isnan(held) != np.isnan(value):
        raise ValueError(f"samples of {dtype} cannot hold the value {value!r}")
    if decoded_bytes(chain) > LARGEST_WHOLE:
        return repeated_rows(chain, sample)
    encoded: Any = np.full(chain.chunk_shape, sample)
    for config in chain.filters:
        encoded = numcodecs.get_codec(dict(config)).encode(encoded)
    if chain.compressor is not None:
        encoded = numcodecs.get_codec(dict(chain.compressor)).encode(encoded)
    return encoded if isinstance(encoded, bytes) else np.ascontiguousarray(encoded).tobytes()


def _chunk_samples(description: ImageDescription) -> int:
    return 1 if description.planar is Planar.SEPARATE else description.samples


def _stored_bytes(description: ImageDescription) -> int:
    """Bytes of a whole chunk between decompression and everything else; rows begin at whole bytes."""
    return description.chunk_height * -(-description.chunk_width * _chunk_samples(description) * description.bits // 8)


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


def _row_chain(description: ImageDescription) -> CodecChain:
    """Put decompression before the codecs that decode samples row by row."""
    if description.compression not in COMPRESSORS:
        raise UnsupportedTiffError(f"{_compression(description)}: not supported")
    if description.photometric == 6:
        raise UnsupportedTiffError(
            f"PhotometricInterpretation (tag 262) is YCbCr, with {_compression(description)}: supported with JPEG only"
        )
    steps, dtype = _samples(description)
    # Streams of LZW and PackBits may run on past their chunk, which nothing but a codec of rows cuts off.
    if _short_rows(description) or (not steps and description.compression in {5, 32773}):
        steps.append(_row_config("pad", description, sample_bytes=_itemsize(dtype)))
    compressor = COMPRESSORS[description.compression]
    if description.compression == 5 and not description.tiled:
        # Strips come from writers of every kind, and some of their streams run on into codes that mean nothing:
        # imagecodecs_lzw decodes to the end and raises. Tiles come from writers that end them (GDAL, libtiff).
        compressor = {
            "id": "rasteret_refs.lzw",
            "version": 1,
            "decoded_bytes": _stored_bytes(description),
            "rows": description.chunk_height,
            "short_rows": _short_rows(description),
        }
    decoding = [compressor] if compressor else []
    return _chain(description, [*_reversed_bits(description), *decoding], steps, dtype)


def _image_chain(description: ImageDescription) -> CodecChain:
    """Take the codec that decodes whole chunks as images; it pads short strips itself."""
    name = IMAGE_CODECS[description.compression]
    options, dtype = _IMAGE_OPTIONS[name](description)
    # JPEG streams know no fill order, and the fax decoders see to it themselves (libtiff's TIFF_NOBITREV).
    before = [] if name in {"jpeg", "ccitt"} else _reversed_bits(description)
    return _chain(description, [*before, _row_config(name, description, **options)], [], dtype)


def _compression(description: ImageDescription) -> str:
    name = COMPRESSION_NAMES.get(description.compression, "unknown")
    return f"Compression (tag 259) {description.compression} ({name})"


def _reversed_bits(description: ImageDescription) -> list[Config]:
    return [{"id": "rasteret_refs.fill_order", "version": 1}] if description.fill_order == 2 else []


def _itemsize(dtype: str) -> int:
    return int(dtype[2:])


def _expect(description: ImageDescription, expected: str, *, holds: bool) -> None:
    """Refuse an image that a codec cannot hold."""
    if not holds:
        raise UnsupportedTiffError(
            f"{_compression(description)}: expected {expected}, found {description.samples} samples of "
            f"{description.bits} bits, {description.sample_format.name}, {description.planar.name}, "
            f"photometric interpretation {description.photometric}, byte order {description.byte_order}"
        )


def _jpeg(description: ImageDescription) -> tuple[Config, str]:
    bits, signed = description.bits, description.sample_format is SampleFormat.SIGNED
    integer = signed or description.sample_format in {SampleFormat.UNSIGNED, SampleFormat.UNDEFINED}
    depth = bits == 8 or (bits == 12 and not signed)
    _expect(description, "integers of 8 bits, or unsigned ones of 12", holds=integer and depth)
    ycbcr = description.photometric == 6
    chunky = _chunk_samples(description) == 3 and not signed
    _expect(description, "three chunky unsigned samples for YCbCr", holds=chunky or not ycbcr)
    tables = base64.b64encode(description.jpeg_tables or b"").decode()
    return {"bits": bits, "ycbcr": ycbcr, "tables": tables}, "<u2" if bits == 12 else "|i1" if signed else "|u1"


def _lerc(description: ImageDescription) -> tuple[Config, str]:
    kinds = {SampleFormat.UNSIGNED: "u", SampleFormat.SIGNED: "i", SampleFormat.FLOAT: "f"}
    letter = kinds.get(description.sample_format, "")
    allowed = {"u": (8, 16, 32), "i": (8, 16, 32), "f": (32, 64)}.get(letter, ())
    _expect(description, "integers of 8, 16 or 32 bits or floats of 32 or 64", holds=description.bits in allowed)
    parameters = description.lerc_parameters
    sound = len(parameters) >= 2 and all(0 <= value < 1 << 32 for value in parameters[:2])
    _expect(description, "LercParameters (tag 50674) of two values of 32 bits", holds=sound)
    dtype = f"{'|' if description.bits == 8 else '<'}{letter}{description.bits // 8}"
    extra = description.extra_samples if _chunk_samples(description) > 1 else ()
    _expect(description, "ExtraSamples (tag 338) of 16 bits", holds=all(0 <= value < 1 << 16 for value in extra))
    options = {"dtype": dtype, "parameters": list(parameters[:2]), "extra_samples": list(extra)}
    return options | {"byte_order": description.byte_order}, dtype


def _webp(description: ImageDescription) -> tuple[Config, str]:
    bytes_ = description.bits == 8 and description.sample_format is SampleFormat.UNSIGNED
    _expect(description, "3 or 4 chunky bytes", holds=bytes_ and _chunk_samples(description) in {3, 4})
    return {}, "|u1"


def _coded_dtype(description: ImageDescription, kinds: Mapping[tuple[SampleFormat, int], str]) -> tuple[Config, str]:
    """Options of a codec that stores samples as they are; without an oracle for big-endian files of several bytes."""
    dtype = kinds.get((description.sample_format, description.bits), "")
    expected = f"one of {', '.join(sorted(set(kinds.values())))}, in a little-endian file beyond 8 bits"
    _expect(description, expected, holds=bool(dtype) and (description.bits == 8 or description.byte_order == "<"))
    return {"dtype": dtype}, dtype


def _jpegxl(description: ImageDescription) -> tuple[Config, str]:
    unsigned, floating = SampleFormat.UNSIGNED, SampleFormat.FLOAT
    kinds = {(unsigned, 8): "|u1", (unsigned, 16): "<u2", (floating, 16): "<f2", (floating, 32): "<f4"}
    return _coded_dtype(description, kinds)


def _jpeg2000(description: ImageDescription) -> tuple[Config, str]:
    unsigned, signed = SampleFormat.UNSIGNED, SampleFormat.SIGNED
    _expect(description, "samples other than YCbCr", holds=description.photometric != 6)
    kinds = {(unsigned, 8): "|u1", (unsigned, 16): "<u2", (signed, 8): "|i1", (signed, 16): "<i2"}
    return _coded_dtype(description, kinds)


def _ccitt(description: ImageDescription) -> tuple[Config, str]:
    _expect(description, "one 1-bit sample a plane", holds=description.bits == 1 and _chunk_samples(description) == 1)
    scheme = {2: "rle", 3: "group3", 4: "group4", 32771: "rle_words"}[description.compression]
    options = {"group3": description.t4_options, "group4": description.t6_options}.get(scheme, 0)
    return {"scheme": scheme, "options": options, "fill_order": description.fill_order}, "|u1"


def _thunderscan(description: ImageDescription) -> tuple[Config, str]:
    _expect(description, "one 4-bit sample a plane", holds=description.bits == 4 and _chunk_samples(description) == 1)
    return {}, "|u1"


def _next_rle(description: ImageDescription) -> tuple[Config, str]:
    _expect(description, "one 2-bit sample a plane", holds=description.bits == 2 and _chunk_samples(description) == 1)
    return {}, "|u1"


_IMAGE_OPTIONS: Mapping[str, Callable[[ImageDescription], tuple[Config, str]]] = {
    "jpeg": _jpeg,
    "lerc": _lerc,
    "webp": _webp,
    "jpegxl": _jpegxl,
    "jpeg2000": _jpeg2000,
    "ccitt": _ccitt,
    "thunderscan": _thunderscan,
    "next_rle": _next_rle,
}
"""What each codec of images needs to know, and the dtype that it gives; raises where the codec cannot hold an image."""


def _chain(description: ImageDescription, decoding: list[Config], steps: list[Config], dtype: str) -> CodecChain:
    """Finish a chain whose first codec in decoding order becomes Zarr's compressor."""
    samples = _chunk_samples(description)
    if samples > 1:
        interleave = _row_config("band_first", description, sample_bytes=_itemsize(dtype)) | {"short_rows": 0}
        steps = [*steps, interleave]
    plane = (description.chunk_height, description.chunk_width)
    # One sample: no band axis. Several: bands of a chunky chunk, or one where planes are separate.
    shape = plane if description.samples == 1 else (samples, *plane)
    compressor = decoding[0] if decoding else None
    return CodecChain(
        dtype=dtype, chunk_shape=shape, filters=tuple(reversed([*decoding[1:], *steps])), compressor=compressor
    )
