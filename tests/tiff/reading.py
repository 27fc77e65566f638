"""How tests of this folder parse bytes and name corpus files."""

import csv
from pathlib import Path

from rasteret_refs.tiff.chunks import check_extents
from rasteret_refs.tiff.gdal import gdal_metadata, nodata_value
from rasteret_refs.tiff.georeference import georeference
from rasteret_refs.tiff.parse import parse
from rasteret_refs.tiff.values import ImageDescription, Limits, TiffFile
from rasteret_refs.tiff.windows import Windows
from rasteret_refs.virtual.pyramid import pyramids


def parsed(data: bytes, **limits: int) -> TiffFile:
    """The file whose bytes are all known."""
    windows = Windows(len(data))
    windows.add(0, data)
    file = parse(windows, limits=Limits(**limits))
    assert isinstance(file, TiffFile), "all bytes are known"
    return file


def checked(data: bytes) -> TiffFile:
    """The file, with all done that a build does with a header: references lie inside it, or an error of ours comes."""
    file = parsed(data)
    for image in file.images:
        check_extents(image, len(data))
    pyramids(file)
    for image in file.images:
        assert ((image.offsets >= 0) & (image.byte_counts >= 0)).all()
        assert (image.offsets + image.byte_counts <= len(data)).all(), "a reference leaves the object"
        assert len(image.offsets) == len(image.byte_counts) == image.description.chunk_count
        georeference(image.description)
        gdal_metadata(image.description.gdal_metadata or "")
        nodata_value(image.description, "uint8")
    assert file.header_end <= len(data)
    return file


def described(data: bytes) -> ImageDescription:
    """What the first IFD says."""
    return parsed(data).images[0].description


def manifest(corpus: Path) -> list[dict[str, str]]:
    """Rows of the corpus manifest."""
    with (corpus / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))
