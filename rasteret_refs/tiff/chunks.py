"""Where an image's chunks lie: offsets and byte counts, checked and completed as libtiff does."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rasteret_refs.errors import TiffError, TruncatedError, UnsupportedTiffError
from rasteret_refs.tiff.tags import Compression, tag_name
from rasteret_refs.tiff.values import ImageDescription, Planar, TiffImage

_YCBCR = 6


def chunk_table(
    description: ImageDescription,
    offsets: npt.NDArray[np.int64],
    byte_counts: npt.NDArray[np.int64] | None,
    size: int | None,
    tag: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Offset and byte count of each chunk, both 0 where sparse.

    Parameters
    ----------
    offsets, byte_counts : int64 arrays of any length
        Values of the tags; None where the byte counts are missing.
    size : int or None
        Bytes of the file, if known.
    tag : int
        Which tag gave the offsets, for messages.

    Raises
    ------
    TiffError
        There are fewer values than chunks, or byte counts are missing and cannot be told.
    """
    expected = description.chunk_count
    if len(offsets) < expected:
        raise TiffError(f"{tag_name(tag)}: expected {expected} offsets, found {len(offsets)}")
    offsets = offsets if len(offsets) == expected else offsets[:expected]
    single = expected == 1 and not description.tiled
    if byte_counts is None:
        byte_counts = _estimated(description, offsets, size)
    elif len(byte_counts) < expected:
        raise TiffError(f"expected {expected} byte counts of tiles or strips, found {len(byte_counts)}")
    elif single and _looks_bad(description, int(offsets[0]), int(byte_counts[0]), size):
        byte_counts = _estimated(description, offsets, size)
    elif len(byte_counts) > expected:
        byte_counts = byte_counts[:expected]
    # Counting is several times as fast as `all()` on arrays this short.
    if np.count_nonzero(byte_counts) < expected or np.count_nonzero(offsets) < expected:
        # GDAL: a chunk without bytes is sparse, wherever its offset points (GTiffDataset::IsBlockAvailable).
        present = byte_counts != 0
        if not offsets[present].all():
            raise TiffError(f"{tag_name(tag)}: offset 0 for a tile or strip that has bytes")
        offsets = np.where(present, offsets, 0)
    if description.compression == Compression.NONE and not _subsampled(description):
        # libtiff reads as many bytes as the pixels take, whatever the tag says (TIFFReadEncodedStrip, …Tile).
        byte_counts = np.where(byte_counts != 0, chunk_rows(description) * row_bytes(description), 0)
    if byte_counts.base is not None:
        byte_counts = byte_counts.copy()  # a slice would keep values alive that nobody needs
    if offsets.base is not None:
        offsets = offsets.copy()
    offsets.flags.writeable = byte_counts.flags.writeable = False
    return offsets, byte_counts


def chunk_rows(description: ImageDescription) -> npt.NDArray[np.int64]:
    """Rows that each chunk stores: tiles are whole, the last strip of a plane ends with the image."""
    rows = np.full(description.chunk_count, description.chunk_height, np.int64)
    if not description.tiled:
        rows[description.chunks_down - 1 :: description.chunks_down] = (
            description.height - (description.chunks_down - 1) * description.chunk_height
        )
    return rows


def row_bytes(description: ImageDescription) -> int:
    """Bytes of one uncompressed row of a chunk (libtiff: `TIFFScanlineSize`, `TIFFTileRowSize`)."""
    samples = 1 if description.planar is Planar.SEPARATE else description.samples
    return -(-description.chunk_width * samples * description.bits // 8)


def _looks_bad(description: ImageDescription, offset: int, count: int, size: int | None) -> bool:
    """Whether a single strip's byte count cannot be meant (libtiff: `ByteCountLooksBad`)."""
    if offset == 0:
        return False
    if count == 0:
        return True
    if description.compression != Compression.NONE or _subsampled(description):
        return False
    if size is not None and offset <= size < offset + count:
        return True
    return count < row_bytes(description) * description.height


def _estimated(
    description: ImageDescription, offsets: npt.NDArray[np.int64], size: int | None
) -> npt.NDArray[np.int64]:
    """Byte counts where the tag is missing (libtiff: `EstimateStripByteCounts`).

    libtiff accepts that for one strip a plane. An uncompressed strip's length follows from its shape; a compressed
    one ends somewhere before the file's end, and its decoder knows where.
    """
    planes = description.samples if description.planar is Planar.SEPARATE else 1
    if description.tiled or description.chunk_count != planes:
        raise TiffError("the byte counts of tiles or strips are missing")
    if description.compression == Compression.NONE:
        if _subsampled(description):
            raise UnsupportedTiffError("subsampled YCbCr without byte counts: their number cannot be told")
        return np.full(planes, row_bytes(description) * description.height, np.int64)
    if size is None or planes != 1:
        raise TiffError("the byte counts of compressed strips are missing")
    return np.maximum(size - offsets, 0)


def _subsampled(description: ImageDescription) -> bool:
    return description.photometric == _YCBCR and description.ycbcr_subsampling != (1, 1)


def inside(images: Sequence[TiffImage], size: int, least: int = 0) -> bool:
    """Whether all chunks of all images have bytes, and those lie within `[least, size)` of their object.

    One look at all images of a file costs as much as one at a single image.
    """
    if len(images) == 1:
        offsets, counts = images[0].offsets, images[0].byte_counts
    else:
        offsets = np.concatenate([image.offsets for image in images])
        counts = np.concatenate([image.byte_counts for image in images])
    # Each is bounded by itself too: a sum of two huge numbers may overflow.
    wrong = (counts < 1) | (offsets < least) | (counts > size) | (offsets > size - counts)
    return not np.count_nonzero(wrong)


def check_extents(image: TiffImage, size: int) -> None:
    """Check that all references lie inside their object of `size` bytes.

    Raises
    ------
    TruncatedError
        A tile or strip begins or ends past the end of the file.
    """
    offsets, counts = image.offsets, image.byte_counts
    beyond = (counts > size) | (offsets + counts > size)
    if beyond.any():
        worst = int(np.argmax(beyond))
        raise TruncatedError(
            f"tile or strip {worst} of {len(offsets)} (IFD at {image.ifd_offset}) takes bytes "
            f"{offsets[worst]} to {offsets[worst] + counts[worst]}, the file has {size}"
        )
