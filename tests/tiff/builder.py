"""Hand-made TIFF bytes for tests: any tags, field types, byte order, classic or BigTIFF, any chain of IFDs."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

CODES = {
    1: "B", 2: "B", 3: "H", 4: "I", 5: "I", 6: "b", 7: "B", 8: "h", 9: "i", 10: "i", 11: "f", 12: "d", 13: "I",
    16: "Q", 17: "q", 18: "Q",
}  # fmt: skip
RATIONALS = (5, 10)
BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, DOUBLE, IFD, LONG8, SLONG8, IFD8 = 1, 2, 3, 4, 5, 7, 12, 13, 16, 17, 18


@dataclass
class Ifd:
    """Tags of one IFD: tag → (field type, values) or (field type, values, count that the entry claims)."""

    tags: dict[int, tuple]
    subs: Sequence["Ifd"] = ()
    next_offset: int | None = None
    """Overrides the pointer to the next IFD."""


def gray(**changes: tuple | None) -> dict[int, tuple]:
    """Tags of a 4 × 3 image of 8-bit samples in one strip; `t258=(SHORT, [16])` changes one, None drops it."""
    tags = {
        256: (SHORT, [4]),
        257: (SHORT, [3]),
        258: (SHORT, [8]),
        259: (SHORT, [1]),
        262: (SHORT, [1]),
        273: (LONG, [8]),
        277: (SHORT, [1]),
        278: (SHORT, [3]),
        279: (LONG, [12]),
    }
    for name, value in changes.items():
        number = int(name.removeprefix("t"))
        if value is None:
            tags.pop(number, None)
        else:
            tags[number] = value
    return tags


@dataclass
class Builder:
    """Lays IFDs one after another, each followed by its values; pixel data goes between header and first IFD."""

    order: str = "<"
    big: bool = False
    data: bytes = bytes(64)
    out: bytearray = field(default_factory=bytearray)

    def build(self, ifds: Sequence[Ifd]) -> bytes:
        """Bytes of a file with these IFDs in its main chain."""
        first = (16 if self.big else 8) + len(self.data)
        mark = b"II" if self.order == "<" else b"MM"
        if self.big:
            self.out += mark + struct.pack(self.order + "HHHQ", 43, 8, 0, first)
        else:
            self.out += mark + struct.pack(self.order + "HI", 42, first)
        self.out += self.data
        self._chain(ifds)
        return bytes(self.out)

    def _chain(self, ifds: Sequence[Ifd]) -> int:
        start = len(self.out)
        for number, ifd in enumerate(ifds):
            self._ifd(ifd, last=number == len(ifds) - 1)
        return start

    def _ifd(self, ifd: Ifd, *, last: bool) -> None:
        tags = dict(ifd.tags)
        if ifd.subs:
            tags[330] = (IFD8 if self.big else IFD, [0] * len(ifd.subs))
        start, inline = len(self.out), 8 if self.big else 4
        head, entry = (8, 20) if self.big else (2, 12)
        values_at = start + head + entry * len(tags) + inline
        body, outside, sub_slot = bytearray(), bytearray(), 0
        for tag, (kind, values, *claimed) in sorted(tags.items()):
            raw = (
                values if isinstance(values, bytes) else struct.pack(f"{self.order}{len(values)}{CODES[kind]}", *values)
            )
            count = claimed[0] if claimed else len(values) // (2 if kind in RATIONALS else 1)
            body += struct.pack(self.order + ("HHQ" if self.big else "HHI"), tag, kind, count)
            if len(raw) <= inline:
                if tag == 330:
                    sub_slot = start + head + len(body)
                body += raw.ljust(inline, b"\0")
            else:
                if tag == 330:
                    sub_slot = values_at + len(outside)
                body += struct.pack(self.order + ("Q" if self.big else "I"), values_at + len(outside))
                outside += raw
        self.out += struct.pack(self.order + ("Q" if self.big else "H"), len(tags)) + body
        pointer_at = len(self.out)
        self.out += bytes(inline) + outside
        for number, sub in enumerate(ifd.subs):
            where = self._chain([sub])
            self._patch(sub_slot + number * inline, where)
        following = 0 if last else len(self.out)
        self._patch(pointer_at, ifd.next_offset if ifd.next_offset is not None else following)

    def _patch(self, at: int, value: int) -> None:
        struct.pack_into(self.order + ("Q" if self.big else "I"), self.out, at, value)


def build(*ifds: Ifd | dict[int, tuple], order: str = "<", big: bool = False, data: bytes = bytes(64)) -> bytes:
    """Bytes of a TIFF with these IFDs."""
    return Builder(order, big, data).build([each if isinstance(each, Ifd) else Ifd(each) for each in ifds])
