"""What a Parquet file's footer claims of its columns, read by Python alone: pure, bounded.

pyarrow tells the same by `ParquetFile.metadata`, but a damaged footer ends the whole process there (pyarrow 26:
`row_group(0).column(0)` lets C++'s `ParquetException` escape). The footer is a struct of Thrift's compact protocol:
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md,
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift.
"""

# ruff: noqa: PLR2004 - numbers of types and fields are those of the two specifications

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

MAGIC: Final = b"PAR1"
_DEEPEST: Final = 32
_TEXTS: Final = frozenset({6, 7})
"""BYTE_ARRAY and FIXED_LEN_BYTE_ARRAY."""
_DELTA_BYTE_ARRAY: Final = 7
_FIXED: Final = {1: 0, 2: 0, 3: 1, 7: 8}
"""Bytes of values of a fixed width: the two booleans, a byte, a double."""
_STRUCT: Final = 12


@dataclass(slots=True)
class Column:
    """What the footer says of one column, over all row groups."""

    values: int = 0
    stored: int = 0
    """Bytes of its decompressed pages, before dictionaries and prefixes are filled in; of texts only."""
    prefixed: bool = False
    """Whether a value may repeat what stood before it (DELTA_BYTE_ARRAY)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Footer:
    """What a file claims."""

    rows: int
    columns: dict[str, Column]
    """By path, as Parquet writes it: `assets.red.href`."""


def read_footer(data: memoryview) -> Footer:
    """Read the footer of a whole file.

    Raises
    ------
    ValueError
        It is none, or not one that the format allows.
    """
    size = len(data)
    length = int.from_bytes(data[max(size - 8, 0) : max(size - 4, 0)], "little")
    if size < 12 or bytes(data[size - 4 :]) != MAGIC or length > size - 12:
        raise ValueError(f"expected a Parquet file of {size} bytes to end with a footer")
    try:
        return _footer(_Compact(bytes(data[size - 8 - length : size - 8])))
    except (IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"expected a Parquet footer, got a damaged one: {error}") from error


def _footer(compact: "_Compact") -> Footer:
    """Read FileMetaData: 3 is num_rows, 4 the row groups, whose 1 are the columns, whose 3 is their metadata."""
    rows: list[int] = [0]
    columns: dict[str, Column] = {}

    def file(field: int, kind: int) -> bool:
        if field == 3:
            rows[0] = compact.zigzag()
        elif field == 4:
            compact.each(kind, lambda _: compact.struct(group))
        return field in {3, 4}

    def group(field: int, kind: int) -> bool:
        if field == 1:
            compact.each(kind, lambda _: compact.struct(chunk))
        return field == 1

    def chunk(field: int, kind: int) -> bool:
        if field == 3 and kind == _STRUCT:
            _add(columns, _column(compact))
        return field == 3 and kind == _STRUCT

    compact.struct(file)
    return Footer(rows=rows[0], columns=columns)


def _column(compact: "_Compact") -> dict[int, Any]:
    """Read ColumnMetaData: 1 is the type, 2 the encodings, 3 the path, 5 num_values, 6 total_uncompressed_size."""
    found: dict[int, Any] = {1: 0, 2: [], 3: [], 5: 0, 6: 0}

    def field_of(field: int, kind: int) -> bool:
        if field in {1, 5, 6}:
            found[field] = compact.zigzag()
        elif field == 2:
            found[2] = []
            compact.each(kind, lambda _: found[2].append(compact.zigzag()))
        elif field == 3:
            found[3] = []
            compact.each(kind, lambda _: found[3].append(compact.text()))
        return field in found

    compact.struct(field_of)
    return found


def _add(columns: dict[str, Column], found: dict[int, Any]) -> None:
    if found[5] < 0 or found[6] < 0:
        raise ValueError(f"expected counts in the footer, got {found[5]} values in {found[6]} bytes")
    column = columns.setdefault(".".join(found[3]), Column())
    column.values += found[5]
    if found[1] in _TEXTS:
        column.stored += found[6]
        column.prefixed |= _DELTA_BYTE_ARRAY in found[2]


class _Compact:
    """Reads Thrift's compact protocol."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at, self._depth = data, 0, 0

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._data[self._at]
            self._at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("expected numbers of at most 64 bits in a Parquet footer")

    def zigzag(self) -> int:
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def text(self) -> str:
        length = self.varint()
        if length > len(self._data) - self._at:
            raise ValueError("expected a Parquet footer, got one that is cut off")
        self._at += length
        return self._data[self._at - length : self._at].decode()

    def struct(self, taken: Callable[[int, int], bool]) -> None:
        """Read fields; `taken` is called with number and type of each and says whether it read the value."""
        field = 0
        while (head := self._data[self._at]) != 0:
            self._at += 1
            field = field + (head >> 4) if head >> 4 else self.zigzag()
            if not taken(field, head & 15):
                self._skip(head & 15)
        self._at += 1

    def each(self, kind: int, read: Callable[[int], None]) -> None:
        """Read a list's elements."""
        if kind not in {9, 10}:
            raise ValueError(f"expected a list in a Parquet footer, got a value of type {kind}")
        head = self._data[self._at]
        self._at += 1
        count = head >> 4 if head >> 4 != 15 else self.varint()
        if count > len(self._data) - self._at:  # each element takes a byte or more
            raise ValueError(f"expected a Parquet footer, got a list of {count} elements in it")
        for _ in range(count):
            read(head & 15)

    def _skip(self, kind: int) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ValueError("expected a Parquet footer, got one of structs without end")
        if kind in _FIXED:
            self._at += _FIXED[kind]
        elif kind in {4, 5, 6}:
            self.varint()
        elif kind == 8:
            length = self.varint()  # which moves on itself
            self._at += length
        elif kind in {9, 10}:
            self.each(kind, lambda element: self._skip(3 if element in {1, 2} else element))
        elif kind == _STRUCT:
            self.struct(lambda _field, _kind: False)
        else:
            raise ValueError(f"expected a Parquet footer, got a value of type {kind} in it")
        self._depth -= 1
