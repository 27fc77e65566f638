"""Parquet of strangers, read within bounds: a few kilobytes may claim to be a billion rows, or a terabyte."""

import os
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rasteret_refs.errors import DamagedError
from rasteret_refs.refset.parquet_footer import Column, read_footer

MOST_ROWS: Final = 1 << 27
"""Rows of a table: 134 million scenes or tiles."""
LARGEST_RATIO: Final = 1_000
"""Decoded bytes for one byte of the file, which dictionaries and runs of equal values reach in sound tables …"""
SMALL: Final = 128 * 1024 * 1024
"""… and decoded bytes that any file may have."""
_PARALLEL: Final = 1024 * 1024
"""Bytes of a file from which on Arrow's threads read it: starting them takes 1 ms, which small tables do not."""
_VALUE: Final = 8
"""Bytes that a value takes at least, be it null: offsets, indices."""


def read_bounded(
    data: Any, *, columns: list[str] | None = None, rows: int = MOST_ROWS, small: int = SMALL, **options: Any
) -> pa.Table:
    """Read a Parquet file, as long as it decodes to no more than a sound one of its size.

    Parameters
    ----------
    data
        The file's bytes, a `pyarrow.BufferReader` of them, or its path.
    columns
        Those to read; None: all.
    rows
        Rows that it may have.
    small
        Decoded bytes that it may have whatever its size.
    **options
        Of `pyarrow.parquet.ParquetFile`.

    Raises
    ------
    DamagedError
        More rows or more decoded bytes: it can only be a bomb.
    pyarrow.ArrowException, OSError, ValueError
        It is no sound Parquet file.
    """
    data = Path(data).read_bytes() if isinstance(data, str | os.PathLike) else data
    source = data if isinstance(data, pa.NativeFile) else pa.BufferReader(data)
    size = source.size()
    footer = read_footer(memoryview(source.read_buffer()))
    most = max(small, size * LARGEST_RATIO)
    held = sum(column.stored + column.values * max(column.width, _VALUE) for column in footer.columns)
    if not 0 <= footer.rows <= rows or held > most:
        raise DamagedError(
            f"expected at most {rows} rows and {most} decoded bytes of a file of {size}, got one of "
            f"{footer.rows} rows and {held} bytes"
        )
    once = options.get("read_dictionary", ())
    doubtful = [c for c in footer.columns if c.is_text and not c.width and c.values * c.longest > most]
    doubtful = [column for column in doubtful if column.prefixed or column.path not in once]
    if doubtful:
        _measure(source, doubtful, most)
    table = pq.ParquetFile(source, **options).read(columns=columns, use_threads=columns is None and size >= _PARALLEL)
    table.validate(full=True)  # texts that are no UTF-8 would raise where they are first looked at
    return table


def _measure(source: Any, doubtful: list[Column], most: int) -> None:
    """Decode columns whose values could repeat a long text without end, in forms that do not, and add them up."""
    repeated = [column.path for column in doubtful if not column.prefixed]
    total = 0
    if repeated:
        table = pq.ParquetFile(source, read_dictionary=repeated).read(columns=repeated)
        total += sum(_decoded(column) for column in table.columns)
    for column in doubtful:
        if column.prefixed and column.repeated:
            # One row may hold them all, and pyarrow decodes whole rows. No writer of sets writes that.
            total += column.values * column.longest
        elif column.prefixed and total <= most:
            for batch in pq.ParquetFile(source).iter_batches(max(SMALL // column.longest, 1), columns=[column.path]):
                total += batch.nbytes
                if total > most:
                    break
    if total > most:
        raise DamagedError(f"expected at most {most} decoded bytes of a file of {source.size()}, got texts of {total}")


def _decoded(values: pa.ChunkedArray | pa.Array) -> int:
    """Bytes that texts have once each stands for itself, at any depth; those of other values count nothing."""
    if isinstance(values, pa.ChunkedArray):
        return sum(_decoded(chunk) for chunk in values.chunks)
    if pa.types.is_struct(values.type):
        return sum(_decoded(values.field(number)) for number in range(values.type.num_fields))
    if isinstance(values, pa.ListArray | pa.LargeListArray | pa.FixedSizeListArray):  # maps are lists too
        return _decoded(values.values)
    if not pa.types.is_dictionary(values.type):
        return 0
    lengths = pc.take(pc.cast(pc.binary_length(values.dictionary), pa.int64()), values.indices)
    return int(pc.sum(lengths).as_py() or 0)
