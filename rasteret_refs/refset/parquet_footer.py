"""What a Parquet file decodes to, by its footer and the heads of all its pages, read by Python alone: pure, bounded.

pyarrow tells what the footer claims by `ParquetFile.metadata`, but a damaged footer ends the whole process there
(pyarrow 26: `row_group(0).column(0)` lets C++'s `ParquetException` escape), and a footer may claim less than its pages
hold: pyarrow believes the pages. So each page's head is read here, and has to say what the footer says.
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

# ruff: noqa: PLR2004 - numbers of types and fields are those of the specification

from dataclasses import dataclass
from typing import Any, Final

from rasteret_refs.refset.thrift import Compact

MAGIC: Final = b"PAR1"
_FIXED_LEN_BYTE_ARRAY: Final = 7
_TEXTS: Final = frozenset({6, _FIXED_LEN_BYTE_ARRAY})
"""BYTE_ARRAY and FIXED_LEN_BYTE_ARRAY."""
_REPEATED: Final = 2
_DATA: Final = 0
_DATA_V2: Final = 3
_PAGES: Final = frozenset({_DATA, 1, 2, _DATA_V2})
"""1 is an index, 2 a dictionary."""
_DELTA_BYTE_ARRAY: Final = 7
MOST_PAGES: Final = 1 << 18
"""Pages and column chunks that a file may have: twice those of 100 columns over ten million rows."""
_DEEPEST: Final = 100
"""Groups within groups; pyarrow's own bound."""


@dataclass(slots=True)
class Column:
    """What one column holds, over all row groups."""

    path: str
    """As Parquet writes it: `assets.red.href`."""
    is_text: bool
    width: int
    """Bytes of each text, where all are of one length; else 0."""
    repeated: bool
    """Whether a row may hold several values: a list."""
    values: int = 0
    stored: int = 0
    """Bytes of its decompressed pages with their heads, before dictionaries and prefixes are filled in."""
    longest: int = 0
    """Bytes of the largest page: no single value is longer."""
    prefixed: bool = False
    """Whether a value may repeat what stood before it (DELTA_BYTE_ARRAY)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Footer:
    """What a file holds."""

    rows: int
    columns: tuple[Column, ...]
    """In the order of the schema."""


def read_footer(data: memoryview) -> Footer:
    """Read the footer of a whole file and the heads of its pages.

    Raises
    ------
    ValueError
        It is none, or not one that the format allows, or it does not say what its pages say.
    """
    data = data.cast("B")  # Arrow's buffers have signed bytes
    size = len(data)
    length = int.from_bytes(data[max(size - 8, 0) : max(size - 4, 0)], "little")
    if size < 12 or bytes(data[size - 4 :]) != MAGIC or length > size - 12:
        raise ValueError(f"expected a Parquet file of {size} bytes to end with a footer")
    try:
        return _Reader(data[: size - 8 - length]).read(Compact(bytes(data[size - 8 - length : size - 8])))
    except (IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"expected a Parquet footer, got a damaged one: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The head of one page."""

    head: int
    """Bytes of the head itself."""
    compressed: int
    decoded: int
    """Bytes of the page once decompressed."""
    values: int
    """Of a data page; else 0."""
    encoding: int


def read_fields(
    compact: Compact, kind: int, numbers: frozenset[int], texts: frozenset[int] = frozenset()
) -> dict[int, Any]:
    """Read numbers and texts of a struct by their fields, and pass over all others."""
    found: dict[int, Any] = {}

    def field_of(field: int, kind: int) -> bool:
        if field in numbers:
            found[field] = compact.number(kind)
        elif field in texts:
            found[field] = compact.text(kind)
        return field in found

    compact.struct(field_of, kind)
    return found


class _Reader:
    """Reads FileMetaData: 2 is the schema, 3 num_rows, 4 the row groups."""

    def __init__(self, pages: memoryview) -> None:
        self._pages = pages
        self._columns: list[Column] = []
        self._rows = self._claimed = self._compressed = self._pages_read = 0

    def read(self, compact: Compact) -> Footer:
        elements: list[dict[int, Any]] = []

        def file(field: int, kind: int) -> bool:
            if field == 2:  # SchemaElement: 1 type, 2 type_length, 3 repetition_type, 4 name, 5 num_children
                numbers, texts = frozenset({1, 2, 3, 5}), frozenset({4})
                compact.each(kind, lambda element: elements.append(read_fields(compact, element, numbers, texts)))
                self._columns = _leaves(elements)
            elif field == 3:
                self._claimed = compact.number(kind)
            elif field == 4:
                compact.each(kind, lambda element: self._group(compact, element))
            return field in {2, 3, 4}

        compact.struct(file)
        if self._rows != self._claimed:
            raise ValueError(f"expected {self._claimed} rows in the row groups of a Parquet file, got {self._rows}")
        return Footer(rows=self._rows, columns=tuple(self._columns))

    def _group(self, compact: Compact, kind: int) -> None:
        """Read RowGroup: 1 are the columns, 3 is num_rows."""
        chunks: list[dict[int, Any]] = []

        def group(field: int, kind: int) -> bool:
            if field == 1:
                compact.each(kind, lambda element: compact.struct(chunk, element))
            elif field == 3:
                rows = compact.number(kind)
                if rows < 0:
                    raise ValueError(f"expected counts in a Parquet footer, got {rows} rows")
                self._rows += rows
            return field in {1, 3}

        def chunk(field: int, kind: int) -> bool:
            """Read ColumnChunk: 1 is another file's path, 3 the metadata."""
            if field == 1:
                raise ValueError("expected a Parquet file of its own, got one whose columns lie in another")
            if field == 3:  # ColumnMetaData: 5 num_values, 7 total_compressed_size, 9 and 11 where pages begin
                chunks.append(read_fields(compact, kind, frozenset({5, 7, 9, 11})))
            return field == 3

        compact.struct(group, kind)
        if len(chunks) != len(self._columns):
            raise ValueError(f"expected {len(self._columns)} columns in a row group, got {len(chunks)}")
        for column, found in zip(self._columns, chunks, strict=True):
            self._chunk(column, found)

    def _chunk(self, column: Column, found: dict[int, Any]) -> None:
        """Go from page to page of a column chunk, which pyarrow finds as is done here."""
        if found.get(5) == 0:  # no page is read then, and writers give senseless places
            return
        start, length = found.get(9, -1), found.get(7, -1)
        if 0 < found.get(11, 0) < start:
            start = found[11]
        self._compressed += length
        self._pages_read += 1
        # Chunks lie beside each other: otherwise few pages could be gone through very often.
        if not 0 <= length <= len(self._pages) - start or start < 0 or self._compressed > len(self._pages):
            raise ValueError(f"expected pages within a Parquet file, got {length} bytes from {start}")
        at, stop, values = start, start + length, 0
        while at < stop:
            self._pages_read += 1
            if self._pages_read > MOST_PAGES:
                raise ValueError(f"expected at most {MOST_PAGES} pages in a Parquet file, got more")
            page = read_page_head(self._pages[:stop], at)
            at += page.head + page.compressed
            if at > stop:
                raise ValueError(f"expected pages within a column of {length} bytes, got one of {page.compressed}")
            values += page.values
            column.stored += page.head + page.decoded
            column.longest = max(column.longest, page.decoded)
            column.prefixed |= page.encoding == _DELTA_BYTE_ARRAY
        if values != found.get(5):
            raise ValueError(f"expected {found.get(5)} values in the pages of {column.path}, got {values}")
        column.values += values


def read_page_head(data: memoryview, at: int) -> Page:
    """Read PageHeader: 1 is the type, 2 and 3 the sizes; 5 and 8 are the heads of data pages of both versions."""
    compact = Compact(data, at)
    found: dict[int, int] = {}
    inner: dict[int, dict[int, int]] = {_DATA: {}, _DATA_V2: {}}

    def field_of(field: int, kind: int) -> bool:
        if field in {1, 2, 3}:
            found[field] = compact.number(kind)
        elif field == 5:  # DataPageHeader: 1 num_values, 2 encoding
            inner[_DATA] = read_fields(compact, kind, frozenset({1, 2}))
        elif field == 8:  # DataPageHeaderV2: 1 num_values, 4 encoding
            inner[_DATA_V2] = read_fields(compact, kind, frozenset({1, 4}))
        return field in {1, 2, 3, 5, 8}

    compact.struct(field_of)
    kind, decoded, compressed = (found.get(number, -1) for number in (1, 2, 3))
    values = inner.get(kind, {1: 0}).get(1, -1)
    if kind not in _PAGES or min(decoded, compressed, values) < 0:
        raise ValueError(f"expected a page of Parquet, got one of type {kind}, {decoded} bytes and {values} values")
    encoding = inner.get(kind, {}).get(2 if kind == _DATA else 4, 0)
    return Page(head=compact.at - at, compressed=compressed, decoded=decoded, values=values, encoding=encoding)


def _leaves(elements: list[dict[int, Any]]) -> list[Column]:
    """Give the columns of a schema, which lists its groups and columns depth first."""
    columns: list[Column] = []
    open_: list[tuple[int, str, bool]] = []
    """Groups that are not complete: children to come, path, whether within a list."""
    for number, element in enumerate(elements):
        if number and not open_:
            raise ValueError("expected one schema in a Parquet footer, got more")
        above, repeated = "", False
        if open_:
            left, above, repeated = open_.pop()
            if left > 1:
                open_.append((left - 1, above, repeated))
        path = f"{above}{element.get(4, '')}" if number else ""
        repeated |= element.get(3) == _REPEATED
        children = element.get(5, 0)
        if children > 0 or not number:
            if children:
                open_.append((children, f"{path}." if number else "", repeated))
        else:
            kind = element.get(1)
            width = element.get(2, 0) if kind == _FIXED_LEN_BYTE_ARRAY else 0
            columns.append(Column(path=path, is_text=kind in _TEXTS, width=width, repeated=repeated))
        if len(open_) > _DEEPEST:
            raise ValueError(f"expected a schema of at most {_DEEPEST} levels in a Parquet footer")
    if open_:
        raise ValueError("expected a whole schema in a Parquet footer, got one that is cut off")
    return columns
