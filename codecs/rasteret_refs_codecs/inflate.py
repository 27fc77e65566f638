"""Bounded decompression: the standard compressors, never writing more bytes than a chunk has, and fewer on request."""

import importlib
import lzma
import threading
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import imagecodecs
import numpy as np

from rasteret_refs_codecs.base import Bytes, CodecError, as_bytes
from rasteret_refs_codecs.lzw import decode_lzw

try:
    stoppable_zlib: Any = importlib.import_module("isal.isal_zlib")
except ImportError:  # isal is optional here: the standard library stops early as well, only slower
    stoppable_zlib = zlib

type Decompress = Callable[[Bytes, Bytes, int], Bytes]
"""(encoded bytes, output that bounds the result, bytes of the whole chunk) → leading bytes of the decoded chunk."""

_igzip: Any = getattr(imagecodecs, "isal_decode", None)
"""igzip into given memory, where imagecodecs has it; it does not look at the check sum."""
_OVERFLOW = "'ISAL_OUT_OVERFLOW'"
"""What igzip says when the memory is full to its last byte and the stream goes on."""
_DENSE = 4
"""Decoded bytes for one encoded byte up to which igzip is faster than libdeflate: of 2, as satellite images have, it
takes a sixth less time, of 6 a tenth more."""

# Errors of imagecodecs are RuntimeErrors, all of them.
_SCRATCH_BYTES = 32 * 1024 * 1024
_SLACK = 65536


class Scratch(threading.local):
    """Memory that each thread decodes into again and again: fresh pages would cost as much as inflating."""

    def __init__(self) -> None:
        self.memory: Bytes = np.empty(0, np.uint8)

    def take(self, size: int) -> Bytes:
        """Return `size` bytes, valid until this thread asks again."""
        if size > _SCRATCH_BYTES:
            return np.empty(size, np.uint8)
        if self.memory.size < size:
            self.memory = np.empty(size, np.uint8)
        return self.memory[:size]


scratch = Scratch()


def decompressor(config: Mapping[str, Any] | None) -> Decompress | None:
    """Return the bounded equivalent of a numcodecs configuration, or None where there is none."""
    if config is None:
        return copy_nothing
    return _DECOMPRESSORS.get(str(config["id"]))


def copy_nothing(data: Bytes, out: Bytes, whole: int) -> Bytes:  # noqa: ARG001 - a common signature
    """Give stored bytes as they are."""
    return data[: out.size]


def inflate(data: Bytes, out: Bytes, whole: int) -> Bytes:
    """Inflate; igzip where it may stop early, or where it is faster than libdeflate."""
    if out.size >= whole:
        if _igzip is not None and whole <= _DENSE * data.size and _igzip_agrees(data, out):
            return out
        try:
            return as_bytes(imagecodecs.deflate_decode(data, out=memoryview(out)))
        except RuntimeError:
            # Too long, truncated or damaged: the standard library tells which, and takes what libtiff takes.
            return _inflate_stepwise(data, out.size)
    if _igzip is not None and _igzip_overflows(data, out):
        return out
    stream = stoppable_zlib.decompressobj()
    try:
        return np.frombuffer(stream.decompress(data, out.size), np.uint8)
    except stoppable_zlib.error as error:
        raise CodecError(f"expected a zlib stream of {out.size} bytes, got damaged data: {error}") from error


def _igzip_agrees(data: Bytes, out: Bytes) -> bool:
    """Fill `out` by igzip; tell whether it is full and the check sum stands behind it: all else is libdeflate's."""
    try:
        decoded = as_bytes(_igzip(data, out=memoryview(out)))
    except RuntimeError:
        return False
    expected = int.from_bytes(data[-4:].tobytes(), "big")
    return decoded.size == out.size and imagecodecs.deflate_adler32(decoded) == expected


def _igzip_overflows(data: Bytes, out: Bytes) -> bool:
    """Fill `out` with the beginning of what `data` holds, by igzip; tell whether it is full, and more would follow.

    A stream takes a third longer for a tile of 100 KB: it grows its output, and keeps a copy of what it has not read.
    """
    try:
        _igzip(data, out=memoryview(out))
    except RuntimeError as error:
        return _OVERFLOW in str(error)
    return False


def _inflate_stepwise(data: Bytes, size: int) -> Bytes:
    stream = zlib.decompressobj()
    try:
        decoded = stream.decompress(data, size)
        if len(decoded) < size and not stream.eof:
            raise CodecError(f"expected a zlib stream of {size} bytes, got one that ends after {len(decoded)}")
        if len(decoded) == size and not stream.eof:
            # Let the check sum speak, if it follows at once; anything further is excess, and ignored.
            stream.decompress(stream.unconsumed_tail, 1)
    except zlib.error as error:
        raise CodecError(f"expected a zlib stream of {size} bytes, got damaged data: {error}") from error
    return np.frombuffer(decoded, np.uint8)


def _unzstd(data: Bytes, out: Bytes, whole: int) -> Bytes:
    """Decode Zstandard frames, which cannot stop early; a little excess is ignored."""
    memory = out if out.size >= whole else scratch.take(whole)
    try:
        return as_bytes(imagecodecs.zstd_decode(data, out=memoryview(memory)))[: out.size]
    except RuntimeError:
        try:
            return as_bytes(imagecodecs.zstd_decode(data, out=2 * whole + _SLACK))[: out.size]
        except RuntimeError as error:
            raise CodecError(f"expected a zstd frame of {whole} bytes, got damaged data: {error}") from error


def _unlzma(data: Bytes, out: Bytes, whole: int) -> Bytes:  # noqa: ARG001 - a common signature
    try:
        decoded = as_bytes(imagecodecs.lzma_decode(data, out=memoryview(out)))
    except RuntimeError as error:
        raise CodecError(f"expected an xz stream of {out.size} bytes, got damaged data: {error}") from error
    if decoded.size < out.size and not _is_whole_xz(data, out.size):
        raise CodecError(f"expected an xz stream of {out.size} bytes, got one that is cut off after {decoded.size}")
    return decoded


def _is_whole_xz(data: Bytes, most: int) -> bool:
    """Tell whether a stream comes to its end, which imagecodecs does not: a cut one is no short last strip."""
    stream = lzma.LZMADecompressor()
    with suppress(lzma.LZMAError):
        stream.decompress(data, most)
    return stream.eof


def _unlzw(data: Bytes, out: Bytes, whole: int) -> Bytes:  # noqa: ARG001 - a common signature
    """Decode TIFF's LZW, old-style streams (least significant bit first) included; stops when `out` is full."""
    return decode_lzw(data, out)


def _unpackbits(data: Bytes, out: Bytes, whole: int) -> Bytes:
    """Decode PackBits, whose output is at most 64 times its input."""
    memory = out if out.size >= whole else scratch.take(whole)
    try:
        return as_bytes(imagecodecs.packbits_decode(data, out=memoryview(memory)))[: out.size]
    except RuntimeError:
        # Longer than the chunk, or damaged: decoding all of it tells which.
        try:
            return as_bytes(imagecodecs.packbits_decode(data))[: out.size]
        except RuntimeError as error:
            raise CodecError(f"expected a PackBits stream of {whole} bytes, got damaged data: {error}") from error


_DECOMPRESSORS: dict[str, Decompress] = {
    "zlib": inflate,
    "zstd": _unzstd,
    "lzma": _unlzma,
    "imagecodecs_lzw": _unlzw,
    "rasteret_refs.lzw": _unlzw,
    "imagecodecs_packbits": _unpackbits,
}

BEGINS: frozenset[Decompress] = frozenset({copy_nothing, inflate})
"""Those that give the same bytes for a stream's beginning as for all of it, as far as it reaches, and no others."""
