"""Structure-aware damage to TIFFs: entries, pointers, arrays and pixels of a file, each changed on purpose."""

import random
import struct

INTERESTING = (
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    16,
    255,
    256,
    65535,
    65536,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63 - 1,
    2**63,
    2**64 - 1,
)
"""Where arithmetic goes wrong."""
TAGS = (254, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 317, 322, 323, 324, 325, 330, 338, 339, 347,
        33550, 33922, 34264, 34735, 42112, 42113, 50674)  # fmt: skip


def mutated(data: bytes, source: random.Random) -> bytes:
    """Change a file in one to four places."""
    out = bytearray(data)
    for _ in range(source.choice((1, 1, 1, 2, 3, 4))):
        if len(out) < 32:
            break
        entries = _entries(bytes(out))
        if entries and source.random() < 0.6:
            _change_entry(out, source.choice(entries), source)
        else:
            out = _change_anywhere(out, source)
    return bytes(out)


def mutated_anywhere(data: bytes, source: random.Random) -> bytes:
    """Change bytes of any file at one place."""
    return bytes(_change_anywhere(bytearray(data), source)) if len(data) > 16 else data


def _entries(data: bytes) -> list[tuple[int, str, bool]]:
    """Places of all entries of the main chain: (offset, byte order, BigTIFF)."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in {b"+\0", b"\0+"}
    width, pointer, counter = (20, "Q", "Q") if big else (12, "I", "H")
    found: list[tuple[int, str, bool]] = []
    seen: set[int] = set()
    try:
        at = struct.unpack_from(order + pointer, data, 8 if big else 4)[0]
        while at and at not in seen and len(seen) < 8:
            seen.add(at)
            count = min(struct.unpack_from(order + counter, data, at)[0], 64)
            first = at + struct.calcsize(counter)
            found += [(first + k * width, order, big) for k in range(count) if first + (k + 1) * width <= len(data)]
            at = struct.unpack_from(order + pointer, data, first + count * width)[0]
    except (struct.error, OverflowError):
        pass
    return found


def _change_entry(out: bytearray, entry: tuple[int, str, bool], source: random.Random) -> None:
    """Change tag, type, count or value of an entry, or what its value points to."""
    at, order, big = entry
    number = "Q" if big else "I"
    top = 2**64 if big else 2**32
    value_at = at + (12 if big else 8)
    kind = source.randrange(6)
    value = source.choice(INTERESTING) % top
    if kind == 0:
        struct.pack_into(order + "H", out, at, source.choice(TAGS))
    elif kind == 1:
        struct.pack_into(order + "H", out, at + 2, source.choice((0, 1, 2, 3, 4, 5, 7, 9, 11, 12, 13, 16, 17, 18, 999)))
    elif kind == 2:
        struct.pack_into(order + number, out, at + 4, value)
    elif kind == 3:
        struct.pack_into(order + number, out, value_at, source.choice((value, source.randrange(len(out)))))
    elif kind == 4:
        struct.pack_into(order + "H", out, value_at, value & 0xFFFF)
    else:
        place = struct.unpack_from(order + number, out, value_at)[0] + 4 * source.randrange(8)
        if place + 8 <= len(out):
            struct.pack_into(order + source.choice("HI"), out, place, value & 0xFFFF)


def _change_anywhere(out: bytearray, source: random.Random) -> bytearray:
    """Flip, overwrite, cut, repeat or exchange bytes, wherever they are."""
    at = source.randrange(len(out) - 8)
    kind = source.randrange(6)
    if kind == 0:
        out[at] ^= 1 << source.randrange(8)
    elif kind == 1:
        struct.pack_into(source.choice("<>") + "I", out, at, source.choice(INTERESTING) & 0xFFFFFFFF)
    elif kind == 2:
        return out[: max(at, 16)]
    elif kind == 3:
        length = source.randrange(1, 64)
        out[at:at] = out[at : at + length]
    elif kind == 4:
        length = source.randrange(1, 64)
        del out[at : at + length]
    else:
        length = min(source.randrange(1, 256), len(out) - at)
        out[at : at + length] = source.randbytes(length)
    return out
