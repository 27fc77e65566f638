"""Thrift's compact protocol, as far as Parquet needs it: pure, bounded, and stricter than pyarrow's C++.

https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md. Whatever two readers could take for
different things is refused: fields that come twice or of another type than theirs, numbers that do not fit.
"""

# ruff: noqa: PLR2004 - numbers of types are those of the specification

from collections.abc import Callable
from typing import Final

I32: Final = 5
I64: Final = 6
BINARY: Final = 8
STRUCT: Final = 12
LISTS: Final = frozenset({9, 10})
"""Lists and sets."""
_DEEPEST: Final = 32
_FIXED: Final = {1: 0, 2: 0, 3: 1, 7: 8}
"""Bytes of values of a fixed width: the two booleans, a byte, a double."""


class Compact:
    """Reads values one after the other.

    Parameters
    ----------
    data
        What is read; running out of it raises `IndexError`.
    at
        Where reading begins; afterwards, where it has come to.
    """

    def __init__(self, data: bytes | memoryview, at: int = 0) -> None:
        self._data, self.at, self._depth = data, at, 0

    def varint(self) -> int:
        """Read an unsigned number of at most 64 bits."""
        value = shift = 0
        while True:
            byte = self._data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift > 63:
                raise ValueError("expected numbers of at most 64 bits in Thrift")
        if value >> 64:
            raise ValueError("expected numbers of at most 64 bits in Thrift")
        return value

    def number(self, kind: int) -> int:
        """Read a signed number that has to be of a kind: `I32` or `I64`."""
        value = self.varint()
        value = (value >> 1) ^ -(value & 1)
        if kind not in {I32, I64} or (kind == I32 and not -(1 << 31) <= value < 1 << 31):
            raise ValueError(f"expected a number in Thrift, got {value} of type {kind}")
        return value

    def text(self, kind: int) -> str:
        """Read a text."""
        length = self.varint()
        if kind != BINARY or length > len(self._data) - self.at:
            raise ValueError(f"expected a text in Thrift, got {length} bytes of type {kind}")
        self.at += length
        return bytes(self._data[self.at - length : self.at]).decode()

    def struct(self, taken: Callable[[int, int], bool], kind: int = STRUCT) -> None:
        """Read fields; `taken` is called with number and type of each and says whether it read the value."""
        if kind != STRUCT:
            raise ValueError(f"expected a struct in Thrift, got a value of type {kind}")
        field = 0
        while (head := self._data[self.at]) != 0:
            self.at += 1
            before, field = field, field + (head >> 4) if head >> 4 else self.number(I32)
            if field <= before:
                raise ValueError(f"expected fields of Thrift in order, got {field} after {before}")
            if not taken(field, head & 15):
                self._skip(head & 15)
        self.at += 1

    def each(self, kind: int, read: Callable[[int], object]) -> None:
        """Read a list's elements; `read` is called with the type of each."""
        if kind not in LISTS:
            raise ValueError(f"expected a list in Thrift, got a value of type {kind}")
        head = self._data[self.at]
        self.at += 1
        count = head >> 4 if head >> 4 != 15 else self.varint()
        if count > len(self._data) - self.at:  # each element takes a byte or more
            raise ValueError(f"expected a list in Thrift, got one of {count} elements that is cut off")
        for _ in range(count):
            read(head & 15)

    def _skip(self, kind: int) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ValueError("expected Thrift, got structs without end")
        if kind in _FIXED:
            self.at += _FIXED[kind]
        elif kind in {4, 5, 6}:
            self.varint()
        elif kind == BINARY:
            length = self.varint()  # which moves on itself
            self.at += length
        elif kind in LISTS:
            self.each(kind, lambda element: self._skip(3 if element in {1, 2} else element))
        elif kind == STRUCT:
            self.struct(lambda _field, _kind: False)
        else:
            raise ValueError(f"expected Thrift, got a value of type {kind}")
        self._depth -= 1
