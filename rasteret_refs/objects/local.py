"""Byte ranges of local files, read where they are needed: a thread that decodes a tile reads it first."""

import os
import threading

from rasteret_refs.errors import AccessError, ChangedError, NotFoundError, ObjectError, ResponseError

_LARGEST_HELD = 16 * 1024 * 1024
"""Bytes that a thread keeps for reading into."""

_own = threading.local()


def read_range(path: str, start: int, stop: int, *, etag: str | None = None, size: int | None = None) -> memoryview:
    """Read bytes `[start, stop)` of a file; they stand there until the same thread reads again.

    Parameters
    ----------
    etag, size
        What the file must still be; the tag as obstore gives it for files (inode, modification time, size). The inode
        does not count: a file that was copied back with its time, as backups do, is the same.

    Raises
    ------
    NotFoundError, AccessError, ResponseError, ChangedError, ObjectError
        Each names the file, what was expected and what came.
    """
    expected = f"{path}: expected bytes [{start}, {stop})"
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            status = os.fstat(descriptor)
            _check_unchanged(path, status, etag, size)
            if stop > status.st_size:  # before memory is taken for bytes that are not there
                raise ResponseError(f"{expected}, but the object has only {status.st_size}")
            data = _read(descriptor, start, stop)
        finally:
            os.close(descriptor)
    except FileNotFoundError as error:
        raise NotFoundError(f"{expected}, got no such file") from error
    except PermissionError as error:
        raise AccessError(f"{expected}, got {error.strerror}") from error
    except ObjectError:
        raise
    except OSError as error:
        raise ObjectError(f"{expected}, got {error.strerror or error}") from error
    if len(data) != stop - start:
        raise ResponseError(f"{expected}, but the object has only {start + len(data)}")
    return data


def _read(descriptor: int, start: int, stop: int) -> memoryview:
    """Read into memory that the thread holds: faulting fresh memory in takes longer than reading a tile into it."""
    wanted = stop - start
    if wanted > _LARGEST_HELD or not hasattr(os, "preadv"):
        os.lseek(descriptor, start, os.SEEK_SET)
        return memoryview(os.read(descriptor, wanted))
    held: bytearray = getattr(_own, "held", bytearray())
    if len(held) < wanted:
        held = _own.held = bytearray(min(2 * wanted, _LARGEST_HELD))
    view = memoryview(held)[:wanted]
    return view[: os.preadv(descriptor, [view], start)].toreadonly()


def _check_unchanged(path: str, status: os.stat_result, etag: str | None, size: int | None) -> None:
    if size is not None and status.st_size != size:
        raise ChangedError(
            f"{path}: expected an object of {size} bytes, got {status.st_size}: it has changed since it was indexed"
        )
    if etag is not None:
        found = file_etag(status)
        if found.partition("-")[2] != etag.partition("-")[2]:
            raise ChangedError(f"{path}: expected ETag {etag}, got {found}: it has changed since it was indexed")


def file_etag(status: os.stat_result) -> str:
    """Give a file the tag that obstore gives it: inode, modification time in microseconds and size, hexadecimal.

    https://github.com/apache/arrow-rs-object-store/blob/main/src/local.rs (`get_etag`)
    """
    return f'"{status.st_ino:x}-{status.st_mtime_ns // 1000:x}-{status.st_size:x}"'
