"""Encoded chunks of one value that are too large to be made whole: one encoded row, deflated over and over."""

import math
import zlib
from typing import Any, Final

from rasteret_refs.errors import UnsupportedTiffError
from rasteret_refs.virtual.values import CodecChain

LARGEST_WHOLE: Final = 64 * 1024 * 1024
"""Decoded bytes of a chunk that is made whole, in memory, several times over."""
_PIECE: Final = 1024 * 1024
"""Bytes of rows that are deflated once and then repeated."""
_ADLER: Final = 65521
"""The modulus of Adler-32 (RFC 1950 section 9)."""
_ROW_BY_ROW: Final = frozenset(
    f"rasteret_refs.{name}"
    for name in (
        "band_first", "byte_order", "complex_int", "floating_point_predictor", "horizontal_predictor", "mask_bits",
        "pad", "unpack_bits",
    )
)  # fmt: skip
"""Codecs that give equal rows for equal rows."""


def can_be_made(chain: CodecChain) -> bool:
    """Whether a chunk of one value can be made within bounds: it is small, or its rows can be repeated."""
    import numpy as np

    if math.prod(chain.chunk_shape) * np.dtype(chain.dtype).itemsize <= LARGEST_WHOLE:
        return True
    deflated = chain.compressor is not None and chain.compressor["id"] == "zlib"
    return deflated and all(config["id"] in _ROW_BY_ROW for config in chain.filters)


def why_not(chain: CodecChain) -> str:
    """Say why no chunk of one value can be made."""
    return (
        f"a sparse tile or strip of {'×'.join(map(str, chain.chunk_shape))} samples ({chain.dtype}) would have to be "
        f"made and stored: expected at most {LARGEST_WHOLE} bytes decoded, or Deflate"
    )


def repeated_rows(chain: CodecChain, sample: Any) -> bytes:
    """Encode a chunk that holds `sample` everywhere.

    Parameters
    ----------
    chain
        Deflate, and codecs that work row by row.
    sample
        NumPy scalar of the chain's dtype.

    Raises
    ------
    UnsupportedTiffError
        The chain is another one.
    """
    import numcodecs  # type: ignore[import-untyped] # it carries no types
    import numpy as np

    if not can_be_made(chain):
        raise UnsupportedTiffError(why_not(chain))
    *bands, rows, columns = chain.chunk_shape
    row: Any = np.full((*bands, 1, columns), sample)
    for config in chain.filters:
        if config["id"] != "rasteret_refs.pad":  # whole chunks need no padding
            of_a_row = {**config, "shape": [1, *config["shape"][1:]], "short_rows": 0}
            row = numcodecs.get_codec(of_a_row).encode(row)
    return _deflated(np.ascontiguousarray(row).tobytes(), rows)


def _deflated(row: bytes, rows: int) -> bytes:
    """Return a zlib stream (RFC 1950) of equal rows.

    After a full flush nothing refers to what came before, and the next block begins with a byte: the deflated piece
    can be repeated as it stands.
    """
    together = min(rows, max(1, _PIECE // len(row)))
    times, rest = divmod(rows, together)
    piece, tail = row * together, row * rest
    deflate = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = deflate.compress(piece) + deflate.flush(zlib.Z_FULL_FLUSH)
    end = deflate.compress(tail) + deflate.flush(zlib.Z_FINISH)
    checksum = 1
    for part, count in ((piece, times), (tail, 1)):
        own = zlib.adler32(part)
        for _ in range(count):
            checksum = _joined(checksum, own, len(part))
    return b"".join([b"\x78\x9c", block * times, end, checksum.to_bytes(4, "big")])


def _joined(first: int, second: int, length: int) -> int:
    """Return the Adler-32 of two texts in a row from theirs, and the length of the second (zlib: `adler32_combine`)."""
    sum_first, sum_second = first & 0xFFFF, second & 0xFFFF
    low = (sum_first + sum_second - 1) % _ADLER
    high = ((first >> 16) + (second >> 16) + length * (sum_first - 1)) % _ADLER
    return high << 16 | low
