"""Chunk manifests as kerchunk-Parquet record files: values → Parquet bytes, and back to Arrow.

The encodings are those that fsspec's hard-wired engine (fastparquet) and pyarrow both read: plain and dictionary,
zstd, `offset` and `size` as non-null int64 with statistics (without them fastparquet returns floats), all four columns
always (GDAL's reader of this format refuses a file that lacks one:
https://github.com/OSGeo/gdal/blob/master/frmts/zarr/vsikerchunk_parquet_ref.cpp).
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rasteret_refs.errors import RefsetError
from rasteret_refs.refset.bounded import read_bounded
from rasteret_refs.refset.seal import MOST_RECORDS
from rasteret_refs.virtual.values import ChunkManifest

RECORD_SIZES: Final = (10_000, 25_000, 50_000, 100_000)
"""References a record file, smallest first; a set has one for life (a cold chip then reads 50–600 kB of manifest)."""
RECORD_FILES: Final = 125
"""A greater record size is taken where one array's manifest would make more files than this. No greater than that:
an append rewrites the last record file of each array."""
STACKED_FILES: Final = 194
"""Bound of all record files of a stacked set together, so that the set has at most 200 files."""
LARGEST_STACKED: Final = 200_000
"""References a record file of a stacked set at most: a cold chip reads one such file."""
_STEP: Final = 250
"""Record sizes of stacked sets are multiples of this."""
_APPENDS: Final = 10
"""Appends of a hundredth of the set that a stacked set's record size is good for, on average."""
COMPRESSION_LEVEL: Final = 9
"""4 % smaller than level 3 at three times the time, little beside the rest; 19 would save 3 % more at ten times."""

_MOST_INLINED: Final = 512 * 1024 * 1024
"""Bytes of distinct inlined chunks of one record file: uncompressed tiles of nodata shrink to nothing."""

SCHEMA: Final = pa.schema([
    pa.field("path", pa.dictionary(pa.int32(), pa.string()), nullable=False),
    pa.field("offset", pa.int64(), nullable=False),
    pa.field("size", pa.int64(), nullable=False),
    pa.field("raw", pa.dictionary(pa.int32(), pa.binary())),
])  # fmt: skip
"""Columns of a record file. `raw` is null where a reference stands; `path` is empty where bytes are inlined."""


def record_size_for(counts: list[int], *, stacked: bool = False) -> int:
    """Return the record size for arrays with these chunk counts: the smallest that keeps the number of files low.

    Parameters
    ----------
    counts
        Chunks of each array.
    stacked
        The layout is `stack`: few arrays of very many chunks, so that all their files together are bounded. Of the
        sizes that do, the one is taken with which the next appends write least: they write arrays' last files anew.
    """
    if stacked:
        return _stacked_size(np.array(counts, np.int64))
    largest = max(counts, default=0)
    return next((size for size in RECORD_SIZES if largest <= size * RECORD_FILES), RECORD_SIZES[-1])


def _stacked_size(counts: npt.NDArray[np.int64]) -> int:
    bound = STACKED_FILES - int((counts <= RECORD_SIZES[0]).sum())
    large = counts[counts > RECORD_SIZES[0]]
    if (-(-large // RECORD_SIZES[0])).sum() <= bound:
        return RECORD_SIZES[0]
    sizes = np.arange(RECORD_SIZES[0], LARGEST_STACKED + 1, _STEP)
    sizes = sizes[(-(-large[:, None] // sizes)).sum(axis=0) <= bound]
    if not len(sizes):
        return LARGEST_STACKED
    return int(sizes[np.argmin(_rewritten(large, sizes))])


def _rewritten(counts: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Count references that the next appends of a hundredth each write, for each record size: whole last files."""
    written = np.zeros(len(sizes), np.int64)
    for step in range(1, _APPENDS + 1):
        before, after = counts * (99 + step) // 100, counts * (100 + step) // 100
        written += (after[:, None] - before[:, None] // sizes * sizes).sum(axis=0)
    return written


def check_manifest(manifest: ChunkManifest, owner: str) -> None:
    """Refuse references that a plain reader would misread.

    Raises
    ------
    RefsetError
        Columns of unequal length; a chunk neither referenced nor inlined; an offset below zero; a size below one (zero
        means *the whole file* to fsspec, and an empty inlined chunk is not a chunk); a relative path (it would be
        looked up in whatever directory the reading process stands); inlined bytes that begin with `base64:` (fsspec
        would decode them).
    """
    count = len(manifest)
    inline = _inline(manifest)
    if not len(manifest.url_index) == len(manifest.sizes) == len(inline) == count:
        raise RefsetError(f"{owner}: expected manifest columns of one length, got {count} offsets among others")
    referenced = inline < 0
    indices = manifest.url_index[referenced]
    if indices.size and (int(indices.min()) < 0 or int(indices.max()) >= len(manifest.urls)):
        raise RefsetError(f"{owner}: expected each chunk referenced or inlined, got a chunk that is neither")
    if inline.size and int(inline.max()) >= len(manifest.inlined):
        raise RefsetError(f"{owner}: expected inlined chunks below {len(manifest.inlined)}, got {int(inline.max())}")
    sizes, offsets = manifest.sizes[referenced], manifest.offsets[referenced]
    if sizes.size and (int(sizes.min()) < 1 or int(offsets.min()) < 0):
        chunk = int(np.flatnonzero(referenced)[np.argmax((sizes < 1) | (offsets < 0))])
        raise RefsetError(
            f"{owner}: expected offsets ≥ 0 and sizes ≥ 1, got offset {manifest.offsets[chunk]} and size "
            f"{manifest.sizes[chunk]} for chunk {chunk} of {manifest.urls[manifest.url_index[chunk]]}"
        )
    for url in manifest.urls:
        if "://" not in url and not url.startswith("/"):
            raise RefsetError(f"{owner}: expected a URL or an absolute path, got {url!r}")
    for chunk_bytes in manifest.inlined:
        if not chunk_bytes or chunk_bytes.startswith(b"base64:"):
            raise RefsetError(f"{owner}: expected inlined bytes that are not empty and no base64 text")


def record_tables(manifest: ChunkManifest, record_size: int, start: int = 0) -> Iterator[tuple[int, pa.Table]]:
    """Cut a manifest into record files' tables of `SCHEMA`.

    Parameters
    ----------
    manifest
        References in C order of the chunks.
    record_size
        Rows of a full record file; the last one is only as long as it must be (reading past its end raises).
    start
        Number of the manifest's first chunk: above 0 when rows are appended. The first table then lacks the rows of
        its record file that are there already.

    Yields
    ------
    tuple of int and pyarrow.Table
        The record's number, and its rows.
    """
    inline = _inline(manifest)
    inlined = pa.array(manifest.inlined, pa.binary())
    for record in range(start // record_size, -(-(start + len(manifest)) // record_size)):
        rows = slice(max(record * record_size - start, 0), (record + 1) * record_size - start)
        columns = [
            _paths(manifest, manifest.url_index[rows], inline[rows]),
            pa.array(np.where(inline[rows] < 0, manifest.offsets[rows], 0), pa.int64()),
            pa.array(np.where(inline[rows] < 0, manifest.sizes[rows], 0), pa.int64()),
            _raws(inlined, inline[rows]),
        ]
        yield record, pa.Table.from_arrays(columns, schema=SCHEMA)


def record_bytes(table: pa.Table) -> pa.Buffer:
    """Encode one record file."""
    sink = pa.BufferOutputStream()
    # A dictionary over the limit falls back to plain values: an uncompressed tile of nodata would be repeated.
    pq.write_table(
        table,
        sink,
        compression="zstd",
        compression_level=COMPRESSION_LEVEL,
        use_dictionary=["path", "raw"],
        dictionary_pagesize_limit=1 << 30,
        write_statistics=["offset", "size"],
        store_schema=False,
        row_group_size=max(len(table), 1),
    )
    return sink.getvalue()


def read_record(data: Any) -> pa.Table:
    """Decode one record file.

    Parameters
    ----------
    data
        The file's bytes.

    Returns
    -------
    pyarrow.Table
        Columns as in `SCHEMA`, one chunk each.

    Raises
    ------
    RefsetError
        Not Parquet, or not these columns. (Callers add which file.)
    """
    try:
        # `read_table` would go through a dataset and a pool of threads, which takes longer than such a file.
        table = read_bounded(
            data, columns=SCHEMA.names, rows=MOST_RECORDS, small=_MOST_INLINED, read_dictionary=["path", "raw"]
        )
        return table.cast(SCHEMA).combine_chunks()
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise RefsetError(f"expected a record file with the columns {SCHEMA.names}, got: {error}") from error


def _inline(manifest: ChunkManifest) -> npt.NDArray[np.int32]:
    if manifest.inline is None:
        return np.full(len(manifest), -1, np.int32)
    return manifest.inline


def _paths(
    manifest: ChunkManifest, url_index: npt.NDArray[np.int32], inline: npt.NDArray[np.int32]
) -> pa.DictionaryArray:
    """Return the path column with only the URLs that these rows use, in order of their number; "" where inlined."""
    if not manifest.urls:
        return pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(inline), np.int32)), pa.array([""], pa.string()))
    used, codes = np.unique(np.where(inline < 0, url_index, -1), return_inverse=True)
    paths = ["" if number < 0 else manifest.urls[number] for number in used.tolist()]
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(paths, pa.string()))


def _raws(inlined: pa.Array, inline: npt.NDArray[np.int32]) -> pa.DictionaryArray:
    used = np.unique(inline[inline >= 0])
    codes = pa.array(np.searchsorted(used, inline).astype(np.int32), mask=inline < 0)
    return pa.DictionaryArray.from_arrays(codes, pc.take(inlined, pa.array(used, pa.int32())))
