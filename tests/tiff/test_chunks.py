"""Offsets and byte counts where writers got them wrong: as libtiff completes them (rasterio's pixels), or refused."""

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError

from rasteret_refs.errors import TiffError, TruncatedError
from rasteret_refs.tiff.chunks import check_extents
from rasteret_refs.tiff.values import Planar
from tests.tiff.builder import LONG, SHORT, build, gray
from tests.tiff.reading import parsed

pytestmark = pytest.mark.filterwarnings("ignore", category=NotGeoreferencedWarning)

PIXELS = bytes(range(1, 65))


def ours(data: bytes) -> np.ndarray:
    """Pixels of an uncompressed 8-bit strip image, read through the references."""
    (image,) = parsed(data).images
    check_extents(image, len(data))
    found = image.description
    samples = 1 if found.planar is Planar.SEPARATE else found.samples
    rows = found.chunk_height * found.chunk_width * samples
    chunks = []
    for offset, count in zip(image.offsets.tolist(), image.byte_counts.tolist(), strict=True):
        chunks.append(data[offset : offset + count][:rows] if count else bytes(rows))
    flat = np.frombuffer(b"".join(chunks), np.uint8)
    if found.planar is Planar.SEPARATE:
        return flat.reshape(found.samples, found.height, found.width)
    return flat.reshape(found.height, found.width, found.samples).transpose(2, 0, 1)


def theirs(data: bytes, tmp_path) -> np.ndarray:
    path = tmp_path / "made.tif"
    path.write_bytes(data)
    with rasterio.open(path) as source:
        return source.read()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"t279": None},
        {"t279": (LONG, [0])},
        {"t279": (LONG, [5])},
        {"t279": (LONG, [10**6])},
        {"t279": (LONG, [12, 99])},
        {"t273": (LONG, [8, 99])},
        {"t278": None},
        {"t278": (LONG, [2**32 - 1])},
        {"t277": (SHORT, [3]), "t279": None},
        {"t277": (SHORT, [2]), "t284": (SHORT, [2]), "t273": (LONG, [8, 20]), "t279": None},
        {"t278": (SHORT, [1]), "t273": (LONG, [8, 12, 16]), "t279": (LONG, [4, 4, 4])},
        {"t278": (SHORT, [2]), "t273": (LONG, [20, 12]), "t279": (LONG, [8, 4])},
        {"t273": (LONG, [0]), "t279": (LONG, [0])},
        {"t278": (SHORT, [1]), "t273": (LONG, [8, 12, 16]), "t279": (LONG, [4, 3, 1])},
        {"t278": (SHORT, [2]), "t273": (LONG, [8, 20]), "t279": (LONG, [12, 8])},
        {"t278": (SHORT, [1]), "t273": (LONG, [8, 0, 16]), "t279": (LONG, [4, 0, 4])},
    ],
)
@pytest.mark.parametrize("big", [False, True])
def test_references_give_the_pixels_that_rasterio_gives(changes, big, tmp_path):
    data = build(gray(**changes), data=PIXELS, big=big)
    np.testing.assert_array_equal(ours(data), theirs(data, tmp_path))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"t278": (SHORT, [1]), "t273": (LONG, [8, 12, 16]), "t279": None}, TiffError, "byte counts .* missing"),
        (
            {"t278": (SHORT, [1]), "t273": (LONG, [8, 12, 16]), "t279": (LONG, [4, 4])},
            TiffError,
            "expected 3 byte counts",
        ),
        ({"t278": (SHORT, [1]), "t273": (LONG, [8, 12]), "t279": (LONG, [4, 4, 4])}, TiffError, "expected 3 offsets"),
        ({"t273": (LONG, [10**6])}, TruncatedError, "takes bytes 1000000"),
        ({"t273": (LONG, [190])}, TruncatedError, "the file has"),
    ],
)
def test_what_cannot_be_told_is_refused(changes, error, message):
    data = build(gray(**changes), data=PIXELS)
    with pytest.raises(error, match=message):
        ours(data)


@pytest.mark.parametrize(
    "changes",
    [
        {"t278": (SHORT, [1]), "t273": (LONG, [8, 12, 16]), "t279": None},
        {"t273": (LONG, [10**6])},
    ],
)
def test_rasterio_cannot_read_what_is_refused_either(changes, tmp_path):
    with pytest.raises(RasterioIOError):
        theirs(build(gray(**changes), data=PIXELS), tmp_path)


def test_a_compressed_strip_without_byte_count_reaches_to_the_end_of_the_file():
    data = build(gray(t259=(SHORT, [8]), t279=None), data=PIXELS)
    (image,) = parsed(data).images
    assert image.byte_counts.tolist() == [len(data) - 8]


def test_arrays_cannot_be_changed():
    (image,) = parsed(build(gray())).images
    with pytest.raises(ValueError, match="read-only"):
        image.offsets[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        image.byte_counts[0] = 1


def test_a_sparse_chunk_has_neither_offset_nor_count():
    tags = gray(t278=(SHORT, [1]), t273=(LONG, [8, 12, 16]), t279=(LONG, [4, 0, 4]))
    (image,) = parsed(build(tags)).images
    assert image.offsets.tolist() == [8, 0, 16]
