"""Tag values to `ImageDescription`, as libtiff and GDAL understand them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from struct import unpack
from typing import Any

import numpy as np

from rasteret_refs.errors import LimitError, TiffError, UnsupportedTiffError
from rasteret_refs.tiff.ifd import Entry
from rasteret_refs.tiff.tags import PREDICTOR_COMPRESSIONS, Tag, tag_name
from rasteret_refs.tiff.values import GeoTags, ImageDescription, Limits, Planar, Role, SampleFormat

_REDUCED, _PAGE, _MASK = 1, 2, 4
_WHOLE_ROWS = (1 << 32) - 1
"""RowsPerStrip's default: one strip (TIFF 6.0, section 3)."""
_HORIZONTAL, _FLOATING_POINT = 2, 3
_LARGEST_BITS = 128
_COLOR_MAP_BITS = 16


@dataclass(frozen=True, slots=True)
class TagValues:
    """Values of an IFD's tags as bytes, read as numbers or text when asked.

    Any integer type serves where an integer is wanted, as in libtiff (`TIFFReadDirEntryShort` and its siblings).
    """

    byte_order: str
    values: Mapping[int, tuple[Entry, bytes]]

    def __contains__(self, tag: int) -> bool:
        return tag in self.values

    def raw(self, tag: int) -> bytes | None:
        """Bytes of a value, or None where the tag is absent."""
        found = self.values.get(tag)
        return None if found is None else found[1][: found[0].nbytes]

    def numbers(self, tag: int) -> tuple[Any, ...]:
        """Values as Python numbers; rationals as floats; empty where the tag is absent."""
        found = self.values.get(tag)
        if found is None:
            return ()
        entry, data = found
        kind = entry.field_type
        if entry.count == 1 and kind.items == 1:
            return unpack(self.byte_order + _STRUCT_CODES[kind.dtype], data[: entry.nbytes])
        array = np.frombuffer(data, self.byte_order + kind.dtype, entry.count * kind.items)
        if kind.items == 1:
            return tuple(array.tolist())
        with np.errstate(divide="ignore", invalid="ignore"):
            return tuple((array[0::2] / array[1::2]).tolist())

    def integers(self, tag: int) -> tuple[int, ...]:
        """Values as integers.

        Raises
        ------
        TiffError
            The field type is not an integer's.
        """
        found = self.values.get(tag)
        if found is not None and (found[0].field_type.items != 1 or found[0].field_type.dtype[0] == "f"):
            kind = found[0].field_type.name
            raise TiffError(f"{tag_name(tag)}: expected integers, found type {kind}")
        return self.numbers(tag)

    def integer(self, tag: int, default: int | None = None) -> int:
        """The value of a tag that has one, which is not negative.

        Raises
        ------
        TiffError
            The tag is absent and has no default, or holds several values, or no integer, or a negative one.
        """
        values = self.integers(tag)
        if not values:
            if default is None:
                raise TiffError(f"{tag_name(tag)} is missing")
            return default
        if len(values) != 1 or values[0] < 0:
            raise TiffError(f"{tag_name(tag)}: expected one value from 0 on, found {_short(values)}")
        return values[0]

    def per_sample(self, tag: int, samples: int, default: int) -> int:
        """The value that all samples share (libtiff: `TIFFReadDirEntryPersampleShort`).

        Raises
        ------
        UnsupportedTiffError
            The samples differ.
        TiffError
            There are more samples than values.
        """
        values = self.integers(tag)
        if not values:
            return default
        if len(values) > 1:
            if len(values) < samples:
                raise TiffError(f"{tag_name(tag)}: expected {samples} values, one a sample, found {_short(values)}")
            values = values[:samples]
        if len(set(values)) != 1:
            raise UnsupportedTiffError(f"{tag_name(tag)} differs between samples: {_short(values)}; it must be equal")
        return values[0]

    def text(self, tag: int) -> str | None:
        """Text up to its first NUL, or None where the tag is absent."""
        data = self.raw(tag)
        if data is None:
            return None
        data = data.partition(b"\0")[0]
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            return data.decode("latin-1")  # what writers before UTF-8 meant, and never an error


_STRUCT_CODES = {
    "u1": "B", "i1": "b", "u2": "H", "i2": "h", "u4": "I", "i4": "i", "u8": "Q", "i8": "q", "f4": "f", "f8": "d",
}  # fmt: skip


def _short(values: Sequence[Any]) -> str:
    shown = ", ".join(map(str, values[:4]))
    return shown if len(values) <= 4 else f"{shown}, … ({len(values)} values)"  # noqa: PLR2004 - as many as are shown


def describe(tags: TagValues, limits: Limits) -> ImageDescription:
    """Interpret an IFD, without its georeferencing.

    Defaults and tolerances are libtiff's (`TIFFReadDirectory`), since its pixels are the reference.

    Raises
    ------
    TiffError
        A required tag is missing or senseless.
    UnsupportedTiffError
        The image is legal but cannot be referenced exactly.
    LimitError
        Sizes go beyond `limits`.
    """
    width = _extent(tags, Tag.ImageWidth, limits)
    height = _extent(tags, Tag.ImageLength, limits)
    samples = tags.integer(Tag.SamplesPerPixel, 1)
    bits = tags.per_sample(Tag.BitsPerSample, max(samples, 1), 1)
    if not 1 <= bits <= _LARGEST_BITS or samples < 1:
        raise TiffError(
            f"expected 1 to {_LARGEST_BITS} bits and at least 1 sample, found {bits} bits, {samples} samples"
        )
    for depth in (Tag.ImageDepth, Tag.TileDepth):
        if (found := tags.integer(depth, 1)) > 1:
            raise UnsupportedTiffError(f"{tag_name(depth)} is {found}: only two-dimensional images are supported")
    planar = _enumerated(Planar, tags.integer(Tag.PlanarConfiguration, 1), Tag.PlanarConfiguration)
    if samples == 1:
        planar = Planar.CHUNKY  # one plane either way
    sample_format = _enumerated(SampleFormat, tags.per_sample(Tag.SampleFormat, samples, 1), Tag.SampleFormat)
    tiled, chunk_width, chunk_height = _chunk_shape(tags, width, height, limits)
    planes, chunk_samples = (samples, 1) if planar is Planar.SEPARATE else (1, samples)
    chunk_bytes = -(-chunk_width * chunk_samples * bits // 8) * chunk_height
    if chunk_bytes > limits.chunk_bytes:
        raise LimitError(f"a tile or strip decodes to {chunk_bytes} bytes, allowed are {limits.chunk_bytes}")
    chunks = -(-width // chunk_width) * -(-height // chunk_height) * planes
    if chunks > limits.chunks:
        raise LimitError(f"the image has {chunks} tiles or strips, allowed are {limits.chunks}")
    compression = tags.per_sample(Tag.Compression, samples, 1)
    role, page_type = _role(tags)
    return ImageDescription(
        byte_order=tags.byte_order,
        width=width,
        height=height,
        samples=samples,
        bits=bits,
        sample_format=sample_format,
        planar=planar,
        compression=compression,
        predictor=_predictor(tags, compression, bits, sample_format),
        tiled=tiled,
        chunk_width=chunk_width,
        chunk_height=chunk_height,
        role=role,
        page_type=page_type,
        **_rendering(tags, bits),
        **_annotations(tags),
    )


def _extent(tags: TagValues, tag: Tag, limits: Limits) -> int:
    value = tags.integer(tag)
    if value == 0:
        raise TiffError(f"{tag_name(tag)} is 0, expected at least 1")
    if value > limits.pixels_across:
        raise LimitError(f"{tag_name(tag)} is {value}, allowed are {limits.pixels_across}")
    return value


def _enumerated[E: (Planar, SampleFormat)](kind: type[E], value: int, tag: Tag) -> E:
    try:
        return kind(value)
    except ValueError:
        raise TiffError(f"{tag_name(tag)} is {value}, expected one of {[int(known) for known in kind]}") from None


def _chunk_shape(tags: TagValues, width: int, height: int, limits: Limits) -> tuple[bool, int, int]:
    """Tiled or not, chunk width, chunk height: tiled is what gives a tile's size, as in libtiff."""
    if Tag.TileWidth in tags or Tag.TileLength in tags:
        return True, _extent(tags, Tag.TileWidth, limits), _extent(tags, Tag.TileLength, limits)
    rows = tags.integer(Tag.RowsPerStrip, _WHOLE_ROWS)
    if rows == 0:
        raise TiffError(f"{tag_name(Tag.RowsPerStrip)} is 0, expected at least 1")
    return False, width, min(rows, height)


def _role(tags: TagValues) -> tuple[Role, int]:
    """Role and NewSubfileType; the old SubfileType (2: reduced, 3: page) stands in for it, as in libtiff."""
    page_type = tags.integer(Tag.NewSubfileType, -1)
    if page_type < 0:
        page_type = {2: _REDUCED, 3: _PAGE}.get(tags.integer(Tag.SubfileType, 0), 0)
    if page_type & _MASK:
        return (Role.OVERVIEW_MASK if page_type & _REDUCED else Role.MASK), page_type
    return (Role.OVERVIEW if page_type & _REDUCED else Role.IMAGE), page_type


def _predictor(tags: TagValues, compression: int, bits: int, sample_format: SampleFormat) -> int:
    """Predictor, with libtiff's conditions (`PredictorSetup`, tif_predict.c)."""
    if compression not in PREDICTOR_COMPRESSIONS:
        return 1
    predictor = tags.integer(Tag.Predictor, 1)
    if predictor == 1 or (predictor == _HORIZONTAL and bits in {8, 16, 32, 64}):
        return predictor
    if predictor == _FLOATING_POINT and sample_format is SampleFormat.FLOAT and bits in {16, 24, 32, 64}:
        return predictor
    raise UnsupportedTiffError(
        f"{tag_name(Tag.Predictor)} is {predictor} for {bits}-bit samples of format {sample_format.name}: supported "
        "are 1, 2 (8, 16, 32, 64 bits) and 3 (FLOAT of 16, 24, 32, 64 bits)"
    )


def _optional(tags: TagValues, tag: Tag, default: int, allowed: range) -> int:
    """A tag that libtiff drops with a warning when its value is senseless."""
    values = tags.integers(tag)
    return values[0] if len(values) == 1 and values[0] in allowed else default


def _rendering(tags: TagValues, bits: int) -> dict[str, Any]:
    """Fields that say how samples are packed into codes and colours."""
    subsampling = tags.integers(Tag.YCbCrSubSampling)
    color_map = tags.integers(Tag.ColorMap) if bits <= _COLOR_MAP_BITS else ()
    return {
        "photometric": _optional(tags, Tag.PhotometricInterpretation, 1, range(1 << 16)),
        "extra_samples": tags.integers(Tag.ExtraSamples),
        "fill_order": _optional(tags, Tag.FillOrder, 1, range(1, 3)),
        "orientation": _optional(tags, Tag.Orientation, 1, range(1, 9)),
        "jpeg_tables": tags.raw(Tag.JPEGTables),
        "lerc_parameters": tags.integers(Tag.LercParameters),
        "ycbcr_subsampling": (subsampling[0], subsampling[1]) if len(subsampling) == 2 else (2, 2),  # noqa: PLR2004 - a pair
        "ycbcr_coefficients": tags.numbers(Tag.YCbCrCoefficients),
        "reference_black_white": tags.numbers(Tag.ReferenceBlackWhite),
        "t4_options": _optional(tags, Tag.T4Options, 0, range(1 << 32)),
        "t6_options": _optional(tags, Tag.T6Options, 0, range(1 << 32)),
        "color_map": color_map if len(color_map) == 3 << bits else None,
    }


def _annotations(tags: TagValues) -> dict[str, Any]:
    return {
        "nodata_text": tags.text(Tag.GDALNoData),
        "gdal_metadata": tags.text(Tag.GDALMetadata),
        "image_description": tags.text(Tag.ImageDescription),
        "datetime_text": tags.text(Tag.DateTime),
        "software": tags.text(Tag.Software),
    }


def describe_geo(tags: TagValues, *, has_rpc: bool) -> GeoTags:
    """Collect the georeferencing tags as they stand."""
    try:
        directory = tags.integers(Tag.GeoKeyDirectory)
    except TiffError:
        directory = ()  # not a directory: no CRS, but an image all the same
    return GeoTags(
        pixel_scale=tuple(map(float, tags.numbers(Tag.ModelPixelScale))),
        tiepoints=tuple(map(float, tags.numbers(Tag.ModelTiepoint))),
        transformation=tuple(map(float, tags.numbers(Tag.ModelTransformation))),
        key_directory=directory,
        double_params=tuple(map(float, tags.numbers(Tag.GeoDoubleParams))),
        ascii_params=_ascii_params(tags),
        has_rpc=has_rpc,
    )


def _ascii_params(tags: TagValues) -> str:
    """All of GeoAsciiParams: offsets into it count bytes, and a NUL inside is only a separator."""
    data = tags.raw(Tag.GeoAsciiParams)
    return "" if data is None else data.rstrip(b"\0").decode("latin-1")
