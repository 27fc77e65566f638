"""Numbers of the TIFF world: tags, field types, compressions. TIFF 6.0, its supplements, BigTIFF, GeoTIFF 1.1, GDAL."""

from enum import IntEnum
from typing import NamedTuple


class Tag(IntEnum):
    """Tags that this library looks at, with the names of their specifications."""

    NewSubfileType = 254
    SubfileType = 255
    ImageWidth = 256
    ImageLength = 257
    BitsPerSample = 258
    Compression = 259
    PhotometricInterpretation = 262
    FillOrder = 266
    ImageDescription = 270
    StripOffsets = 273
    Orientation = 274
    SamplesPerPixel = 277
    RowsPerStrip = 278
    StripByteCounts = 279
    PlanarConfiguration = 284
    T4Options = 292
    T6Options = 293
    Software = 305
    DateTime = 306
    Predictor = 317
    ColorMap = 320
    TileWidth = 322
    TileLength = 323
    TileOffsets = 324
    TileByteCounts = 325
    SubIFDs = 330
    ExtraSamples = 338
    SampleFormat = 339
    JPEGTables = 347
    YCbCrCoefficients = 529
    YCbCrSubSampling = 530
    ReferenceBlackWhite = 532
    ImageDepth = 32997
    TileDepth = 32998
    ModelPixelScale = 33550
    ModelTiepoint = 33922
    ModelTransformation = 34264
    GeoKeyDirectory = 34735
    GeoDoubleParams = 34736
    GeoAsciiParams = 34737
    GDALMetadata = 42112
    GDALNoData = 42113
    LercParameters = 50674
    RPCCoefficient = 50844


CHUNK_TAGS = frozenset({Tag.StripOffsets, Tag.StripByteCounts, Tag.TileOffsets, Tag.TileByteCounts, Tag.SubIFDs})
"""Tags that say where things lie: no part of what an image is."""

GEO_TAGS = frozenset(
    {
        Tag.ModelPixelScale,
        Tag.ModelTiepoint,
        Tag.ModelTransformation,
        Tag.GeoKeyDirectory,
        Tag.GeoDoubleParams,
        Tag.GeoAsciiParams,
    }
)
"""Tags that go into `GeoTags` by value; of RPCCoefficient only the presence counts."""

TEXT_TAGS = frozenset({Tag.ImageDescription, Tag.Software, Tag.DateTime})
"""Texts that describe but decide nothing."""


BLOB_TAGS = frozenset({Tag.JPEGTables, Tag.GeoAsciiParams, Tag.GDALMetadata, Tag.GDALNoData})
"""Texts and blobs that decide something, kept as they are."""


class FieldType(NamedTuple):
    """How the values of a field type lie in the file."""

    name: str
    dtype: str
    """NumPy type of one item, without byte order."""
    items: int
    """Items a value: 2 for rationals."""
    size: int
    """Bytes a value."""


FIELD_TYPES: dict[int, FieldType] = {
    1: FieldType("BYTE", "u1", 1, 1),
    2: FieldType("ASCII", "u1", 1, 1),
    3: FieldType("SHORT", "u2", 1, 2),
    4: FieldType("LONG", "u4", 1, 4),
    5: FieldType("RATIONAL", "u4", 2, 8),
    6: FieldType("SBYTE", "i1", 1, 1),
    7: FieldType("UNDEFINED", "u1", 1, 1),
    8: FieldType("SSHORT", "i2", 1, 2),
    9: FieldType("SLONG", "i4", 1, 4),
    10: FieldType("SRATIONAL", "i4", 2, 8),
    11: FieldType("FLOAT", "f4", 1, 4),
    12: FieldType("DOUBLE", "f8", 1, 8),
    13: FieldType("IFD", "u4", 1, 4),
    16: FieldType("LONG8", "u8", 1, 8),
    17: FieldType("SLONG8", "i8", 1, 8),
    18: FieldType("IFD8", "u8", 1, 8),
}
"""TIFF 6.0 section 2, Technical Note 1 (IFD), BigTIFF (16 to 18). libtiff skips entries of other types; so do we."""


class Compression(IntEnum):
    """Compression schemes that parsing itself must tell apart (tag 259)."""

    NONE = 1
    LZW = 5
    DEFLATE = 8
    PACKBITS = 32773
    DEFLATE_OLD = 32946
    LZMA = 34925
    ZSTD = 50000


PREDICTOR_COMPRESSIONS = frozenset(
    {Compression.LZW, Compression.DEFLATE, Compression.DEFLATE_OLD, Compression.LZMA, Compression.ZSTD}
)
"""Schemes for which libtiff applies the Predictor tag (`TIFFPredictorInit` callers); it ignores the tag elsewhere."""


def tag_name(number: int) -> str:
    """Name and number of a tag, as error messages print it."""
    try:
        return f"{Tag(number).name} (tag {number})"
    except ValueError:
        return f"tag {number}"
