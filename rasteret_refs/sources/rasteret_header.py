"""Rasteret's record of one band as a TIFF header, and what that record leaves open."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from rasteret_refs.errors import SourceError
from rasteret_refs.tiff.values import GeoTags, ImageDescription, Planar, Role, SampleFormat, TiffFile, TiffImage

_FORMATS = {"u": SampleFormat.UNSIGNED, "i": SampleFormat.SIGNED, "f": SampleFormat.FLOAT}
_BYTE_ORDERS = {"little": "<", "big": ">"}
# TIFF compression numbers whose streams carry their own byte order and bit depth.
_LERC, _JPEG_2000, _WEBP, _JPEG_XL = 34887, 34712, 50001, 50002
_SELF_DESCRIBING = frozenset({_JPEG_2000, _WEBP, _JPEG_XL, 52546})
_NONE = 1
_FLOATING_POINT_PREDICTOR = 3
_LARGEST_SHORT = 65535


@dataclass(frozen=True, kw_only=True, eq=False)
class BandRecord:
    """What Rasteret stores of one band (`COG_BAND_METADATA_STRUCT`, versions 0.3 to 0.4), checked."""

    width: int
    height: int
    tile_width: int
    tile_height: int
    dtype: np.dtype[Any]
    """Container type: 12 stored bits are `uint16` here."""
    compression: int
    predictor: int
    samples: int
    planar_separate: bool
    photometric: int
    extra_samples: tuple[int, ...]
    nodata: float | None
    transform: tuple[float, float, float, float] | None
    """(pixel width, left edge, pixel height, upper edge), PixelIsPoint already resolved."""
    offsets: npt.NDArray[np.int64]
    byte_counts: npt.NDArray[np.int64]

    @property
    def chunky_samples(self) -> int:
        """Samples that lie together in each tile."""
        return 1 if self.planar_separate else self.samples

    @property
    def tiles(self) -> int:
        """Tiles of one plane."""
        return -(-self.width // self.tile_width) * -(-self.height // self.tile_height)

    @classmethod
    def of(cls, values: Mapping[str, Any], offsets: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> Self:
        """Check a stored record.

        Raises
        ------
        SourceError
            Fields that contradict one another.
        """
        try:
            dtype = np.dtype(values["dtype"])
            sizes = [int(values[name]) for name in ("image_width", "image_height", "tile_width", "tile_height")]
        except (TypeError, ValueError, KeyError) as error:
            raise SourceError(f"expected a Rasteret header with sizes and a dtype, found {dict(values)}") from error
        transform = values.get("transform") or None
        record = cls(
            width=sizes[0],
            height=sizes[1],
            tile_width=sizes[2],
            tile_height=sizes[3],
            dtype=dtype,
            compression=int(values.get("compression") or _NONE),
            predictor=int(values.get("predictor") or 1),
            samples=int(values.get("samples_per_pixel") or 1),
            planar_separate=int(values.get("planar_configuration") or 1) == Planar.SEPARATE,
            photometric=1 if values.get("photometric") is None else int(values["photometric"]),
            extra_samples=tuple(int(one) for one in values.get("extra_samples") or ()),
            nodata=values.get("nodata"),
            transform=tuple(float(one) for one in transform) if transform else None,  # type: ignore[arg-type]
            offsets=offsets,
            byte_counts=counts,
        )
        if min(sizes) < 1 or dtype.kind not in _FORMATS or record.samples < 1:
            raise SourceError(f"expected a Rasteret header of an image, found sizes {sizes}, dtype {dtype}")
        if len(offsets) != len(counts) or len(offsets) != record.tiles:
            raise SourceError(
                f"expected {record.tiles} tile offsets and byte counts, found {len(offsets)} and {len(counts)}"
            )
        if bool((offsets < 0).any()) or bool((counts < 0).any()):
            raise SourceError("expected tile offsets and byte counts from 0 on, found negative ones")
        return record


class Assumptions:
    """What to do about facts that Rasteret's records lack.

    Rasteret stores neither the byte order nor the bits a sample, nor LERC's second compression. FillOrder is not
    stored either; it is 1 in every tiled file that GDAL writes, and Rasteret's own reader takes it to be.

    Parameters
    ----------
    assume
        `{"byte_order": "little" | "big", "bits": "full"}`: the user takes these for granted.
    fetch_missing
        Read the header of files whose record is not enough, one request each.
    """

    def __init__(self, assume: Mapping[str, str] | None = None, *, fetch_missing: bool = False) -> None:
        self.fetch_missing = fetch_missing
        self._assume = dict(assume or {})
        allowed = {"byte_order": ("little", "big"), "bits": ("full",)}
        for name, value in self._assume.items():
            if name not in allowed or value not in allowed[name]:
                raise SourceError(f"assume: expected byte_order='little'|'big' and bits='full', found {name}={value!r}")

    def lacking(self, record: BandRecord) -> list[str]:
        """Facts that decoding needs and that neither the record nor an assumption gives."""
        open_facts = _open_facts(record)
        names = {"byte_order": "the byte order", "bits": "the bits a sample", "lerc": "how LERC blobs are compressed"}
        return [names[name] for name in open_facts if name not in self._assume]

    def used(self, record: BandRecord) -> dict[str, str]:
        """Assumptions that this record's header rests on."""
        return {name: self._assume[name] for name in _open_facts(record) if name in self._assume}

    def example(self, lacking: Sequence[str]) -> str:
        """Assumptions that would do, for a message."""
        words = {"the byte order": '"byte_order": "little"', "the bits a sample": '"bits": "full"'}
        return "{" + ", ".join(words[one] for one in lacking if one in words) + "}"

    def byte_order(self) -> str:
        """`<` or `>`; `<` also where it makes no difference."""
        return _BYTE_ORDERS[self._assume.get("byte_order", "little")]


def _open_facts(record: BandRecord) -> list[str]:
    if record.compression in _SELF_DESCRIBING:
        return []
    if record.compression == _LERC:
        return ["lerc"]
    found = []
    # The floating-point predictor stores bytes by significance, whatever the file's byte order (TIFF Technical Note 3).
    if record.dtype.itemsize > 1 and record.predictor != _FLOATING_POINT_PREDICTOR:
        found.append("byte_order")
    # 15 bits in uint16 are common (Sentinel-2). Floats of other widths than 16, 32 and 64 bits Rasteret refuses, and
    # libtiff writes predictor 2 for 8, 16, 32 and 64 bits only.
    if record.dtype.kind != "f" and record.predictor == 1 and not _fills_tiles(record):
        found.append("bits")
    return found


def _fills_tiles(record: BandRecord) -> bool:
    """Whether uncompressed tiles are as large as whole samples make them."""
    full = record.tile_width * record.tile_height * record.chunky_samples * record.dtype.itemsize
    return record.compression == _NONE and bool(np.isin(record.byte_counts, (0, full)).all())


def header_of(records: Sequence[BandRecord], epsg: int | None, assumptions: Assumptions) -> TiffFile:
    """TIFF header of one image.

    Parameters
    ----------
    records
        One band, bands of one chunky image (equal records), or all planes of a separate one in their order. A single
        plane of several becomes an image of one sample.
    epsg
        CRS of the row.

    Raises
    ------
    SourceError
        Records that do not describe one image.
    """
    first = records[0]
    separate = first.planar_separate and len(records) > 1
    samples = len(records) if separate else first.chunky_samples
    if separate:
        offsets = np.concatenate([record.offsets for record in records])
        counts = np.concatenate([record.byte_counts for record in records])
    else:
        offsets, counts = first.offsets, first.byte_counts
        if any(not np.array_equal(record.offsets, offsets) for record in records[1:]):
            raise SourceError(
                "expected equal tile offsets for the bands of one interleaved image, found different ones"
            )
    byte_order = assumptions.byte_order()
    description = ImageDescription(
        byte_order=byte_order,
        width=first.width,
        height=first.height,
        samples=samples,
        bits=first.dtype.itemsize * 8,
        sample_format=_FORMATS[first.dtype.kind],
        planar=Planar.SEPARATE if separate else Planar.CHUNKY,
        photometric=first.photometric if samples == first.samples else 1,
        extra_samples=first.extra_samples if samples == first.samples else (),
        compression=first.compression,
        predictor=first.predictor,
        tiled=True,
        chunk_width=first.tile_width,
        chunk_height=first.tile_height,
        role=Role.IMAGE,
        nodata_text=_nodata_text(first.nodata),
        geo=_geo_tags(first, epsg),
    )
    image = TiffImage(description=description, offsets=offsets, byte_counts=counts, ifd_offset=0, page=0)
    return TiffFile(images=(image,), byte_order=byte_order, big=False, header_end=0)


def _nodata_text(value: float | None) -> str | None:
    if value is None:
        return None
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _geo_tags(record: BandRecord, epsg: int | None) -> GeoTags | None:
    """Tags that say what Rasteret worked out: the corners' affine transform and the EPSG code."""
    if record.transform is None and epsg is None:
        return None
    matrix: tuple[float, ...] = ()
    if record.transform is not None:
        width, left, height, upper = record.transform
        matrix = (width, 0.0, 0.0, left, 0.0, height, 0.0, upper, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    keys: list[tuple[int, int, int, int]] = []
    if epsg is not None:
        if not 0 < epsg < _LARGEST_SHORT:
            raise SourceError(f"expected an EPSG code that a GeoKey can hold, found {epsg}")
        from pyproj import CRS
        from pyproj.exceptions import CRSError

        try:
            geographic = CRS.from_epsg(epsg).is_geographic
        except CRSError as error:
            raise SourceError(f"expected a known EPSG code, found {epsg}") from error
        # OGC GeoTIFF 1.1, 7.1 and annex D: GTModelType 1024, GTRasterType 1025, GeodeticCRS 2048, ProjectedCRS 3072.
        keys = [(1024, 0, 1, 2 if geographic else 1), (1025, 0, 1, 1), (2048 if geographic else 3072, 0, 1, epsg)]
    directory = tuple(value for key in keys for value in key)
    return GeoTags(transformation=matrix, key_directory=(1, 1, 1, len(keys), *directory) if keys else ())
