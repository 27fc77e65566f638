"""Parquet encodings of the scene table's columns: what differs from row to row is packed, the rest is a dictionary.

The scene table is one file, which every append writes anew: its bytes are what growing a set costs. All encodings here
are those of Parquet 2 that Arrow (GeoPandas, GDAL), DuckDB and Polars read; chunk manifests have to do with fewer, see
`manifest`. Source of the names: https://parquet.apache.org/docs/file-format/data-pages/encodings/.
"""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc


def column_encodings(table: pa.Table) -> tuple[list[str], dict[str, str]]:
    """Return the paths of columns that get a dictionary, and the encodings of the others by path.

    Parameters
    ----------
    table
        Columns of any depth.

    Returns
    -------
    tuple
        Paths as Parquet writes them (`assets.red.href`, `links.list.element.rel`). A column gets a dictionary where
        half of its values, of whole numbers seven in eight, come again.
    """
    dictionaries: list[str] = []
    encodings: dict[str, str] = {}
    for path, values in _leaves(table):
        encoding = _packing(values.type)
        often = 8 if encoding == "DELTA_BINARY_PACKED" else 2
        if encoding is None or often * pc.count_distinct(values).as_py() <= len(values):
            dictionaries.append(path)
        else:
            encodings[path] = encoding
    return [path for path in dictionaries if path not in encodings], encodings


def _packing(kind: pa.DataType) -> str | None:
    """Encoding for values that hardly repeat; None where a dictionary, or nothing, does."""
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "DELTA_BYTE_ARRAY"  # ids and hrefs begin as those before them
    if pa.types.is_integer(kind) or pa.types.is_timestamp(kind):
        return "DELTA_BINARY_PACKED"
    if pa.types.is_floating(kind):
        return "BYTE_STREAM_SPLIT"
    return None


def _leaves(table: pa.Table) -> Iterator[tuple[str, pa.Array]]:
    """Give each column that Parquet stores: its path, and its values in one piece."""
    for name in table.column_names:
        column = table[name]
        yield from _below(name, column.chunk(0) if column.num_chunks == 1 else column.combine_chunks())


def _below(path: str, values: pa.Array) -> Iterator[tuple[str, pa.Array]]:
    kind = values.type
    if pa.types.is_struct(kind):
        for number in range(kind.num_fields):
            yield from _below(f"{path}.{kind.field(number).name}", values.field(number))
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        yield from _below(f"{path}.list.element", values.values)
    else:
        yield path, values
