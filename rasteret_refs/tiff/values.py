"""What a TIFF header says, as validated values: the hand-over from `tiff/` to every other layer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum

import numpy as np
import numpy.typing as npt


class SampleFormat(IntEnum):
    """SampleFormat, tag 339 (TIFF 6.0 section 19 and the supplement's complex types)."""

    UNSIGNED = 1
    SIGNED = 2
    FLOAT = 3
    UNDEFINED = 4
    COMPLEX_INT = 5
    COMPLEX_FLOAT = 6


class Planar(IntEnum):
    """PlanarConfiguration, tag 284."""

    CHUNKY = 1
    SEPARATE = 2


class Role(Enum):
    """What an IFD is for, from NewSubfileType (tag 254) and SubfileType (255)."""

    IMAGE = "image"
    OVERVIEW = "overview"
    MASK = "mask"
    OVERVIEW_MASK = "overview_mask"


@dataclass(frozen=True, slots=True, kw_only=True)
class GeoTags:
    """The georeferencing tags as they stand; `tiff.georeference` interprets them."""

    pixel_scale: tuple[float, ...] = ()
    """ModelPixelScale, tag 33550."""
    tiepoints: tuple[float, ...] = ()
    """ModelTiepoint, tag 33922: six numbers a point."""
    transformation: tuple[float, ...] = ()
    """ModelTransformation, tag 34264: 16 numbers, row-major."""
    key_directory: tuple[int, ...] = ()
    """GeoKeyDirectory, tag 34735."""
    double_params: tuple[float, ...] = ()
    """GeoDoubleParams, tag 34736."""
    ascii_params: str = ""
    """GeoAsciiParams, tag 34737."""
    has_rpc: bool = False
    """RPCCoefficient, tag 50844, is present."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDescription:
    """All that an IFD says about its image but where the tiles lie.

    Equal IFDs of different files share one object (parsing interns them), so `is` and `id()` are enough to group
    images by what they say. Hashable; every field is immutable. "Chunk" is a tile or a strip.
    """

    byte_order: str
    """`<` or `>`: byte order of the file, hence of uncompressed and predictor data."""
    width: int
    """ImageWidth in pixels."""
    height: int
    """ImageLength in pixels."""
    samples: int
    """SamplesPerPixel."""
    bits: int
    """BitsPerSample, equal for all samples (mixed ones are refused)."""
    sample_format: SampleFormat
    planar: Planar
    photometric: int
    """PhotometricInterpretation, tag 262."""
    extra_samples: tuple[int, ...] = ()
    compression: int
    """Compression, tag 259."""
    predictor: int = 1
    """Predictor, tag 317; 1 where the compression ignores it (libtiff: none, JPEG, …)."""
    fill_order: int = 1
    orientation: int = 1
    tiled: bool
    chunk_width: int
    """TileWidth, or the image's width for strips."""
    chunk_height: int
    """TileLength, or RowsPerStrip limited to the image's height."""
    role: Role
    page_type: int = 0
    """NewSubfileType as it stands."""
    jpeg_tables: bytes | None = None
    """JPEGTables, tag 347."""
    lerc_parameters: tuple[int, ...] = ()
    """LercParameters, tag 50674: (version, additional compression)."""
    ycbcr_subsampling: tuple[int, int] = (2, 2)
    ycbcr_coefficients: tuple[float, ...] = ()
    reference_black_white: tuple[float, ...] = ()
    t4_options: int = 0
    t6_options: int = 0
    color_map: tuple[int, ...] | None = None
    """ColorMap, tag 320: 3 · 2**bits values, red first."""
    nodata_text: str | None = None
    """GDAL_NODATA, tag 42113, as it stands, without the trailing NUL."""
    gdal_metadata: str | None = None
    """GDAL_METADATA, tag 42112: XML as it stands."""
    image_description: str | None = None
    """ImageDescription, tag 270."""
    datetime_text: str | None = None
    """DateTime, tag 306."""
    software: str | None = None
    geo: GeoTags | None = None

    @property
    def chunks_across(self) -> int:
        """Chunks along the width."""
        return -(-self.width // self.chunk_width)

    @property
    def chunks_down(self) -> int:
        """Chunks along the height."""
        return -(-self.height // self.chunk_height)

    @property
    def chunk_count(self) -> int:
        """Chunks in all: down × across, times the samples where planes are separate."""
        planes = self.samples if self.planar is Planar.SEPARATE else 1
        return self.chunks_down * self.chunks_across * planes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TiffImage:
    """One image (IFD) of a TIFF: what it says, and where its chunks lie."""

    description: ImageDescription
    offsets: npt.NDArray[np.int64]
    """Byte offset of each chunk, shape `(description.chunk_count,)`: planes, then rows of chunks; 0 where sparse."""
    byte_counts: npt.NDArray[np.int64]
    """Byte count of each chunk, same shape; 0 where sparse."""
    ifd_offset: int
    """Where the IFD stands in the file."""
    page: int
    """Number of the IFD in the main chain (of its parent, for a SubIFD)."""
    parent: int | None = None
    """For a SubIFD (tag 330): the page it belongs to."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TiffFile:
    """The parsed header of one TIFF."""

    images: tuple[TiffImage, ...]
    """Main chain in order, each followed by its SubIFDs."""
    byte_order: str
    big: bool
    """BigTIFF: 64-bit offsets."""
    header_end: int
    """End of the furthest byte that parsing read: how long the header is."""
    ghost: Mapping[str, str] = field(default_factory=dict)
    """GDAL's structural metadata ("ghost area") of a COG, when present."""
    refused: tuple[tuple[int, str], ...] = ()
    """IFDs that could not be described, other than the first: (offset, reason)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteRange:
    """Half-open range `[start, stop)` of a file's bytes."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedsBytes:
    """Parsing cannot go on without these ranges; it never reads past what it was given."""

    ranges: tuple[ByteRange, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Named bounds on what a header may ask for (hostile files)."""

    ifds: int = 4096
    entries: int = 4096
    """Entries of one IFD."""
    all_entries: int = 131_072
    """Entries of all IFDs together."""
    array_bytes: int = 32 * 1024 * 1024
    """Bytes of one tag's array of chunk offsets or byte counts."""
    text_bytes: int = 4 * 1024 * 1024
    """Bytes of a text or blob that decides something: GDAL_METADATA, JPEGTables, GeoAsciiParams, …"""
    list_bytes: int = 1024 * 1024
    """Bytes of any other tag's numbers: colour maps, tiepoints, GeoKeys, …"""
    note_bytes: int = 64 * 1024
    """Bytes of a text that decides nothing (ImageDescription, Software, DateTime): longer ones are left out."""
    header_bytes: int = 96 * 1024 * 1024
    """Memory that one file's values may take, by estimate, and bytes that one round of `NeedsBytes` may ask for."""
    chunks: int = 4_000_000
    """Chunks of one image."""
    chunk_bytes: int = 1 << 31
    """Decoded bytes of one chunk."""
    pixels_across: int = (1 << 31) - 1
    """Width or height of an image or of a tile, as in GDAL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Georeference:
    """CRS and affine transform of an image's pixel *corners* (PixelIsPoint already resolved, as GDAL does)."""

    crs_wkt: str | None
    """WKT2:2019, or None where only a transform is given."""
    epsg: int | None
    transform: tuple[float, float, float, float, float, float] | None
    """(a, b, c, d, e, f) as in affine.Affine: x = a·col + b·row + c, y = d·col + e·row + f. None for GCPs only."""
    pixel_is_point: bool = False
    gcps: tuple[tuple[float, float, float, float, float], ...] = ()
    """Ground control points (column, row, x, y, z), where there is no transform."""
    crs_problem: str | None = None
    """Why `crs_wkt` is None although the file names a CRS."""
