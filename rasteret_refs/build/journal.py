"""The journal of a build: headers as they were fetched, beside the output, so that a stopped build can go on.

It holds bytes of TIFF headers, not what was made of them: they are parsed again, within the same limits as ever. Each
record is handed to the system as it comes, so that a killed process loses only the headers that were on their way; the
file is cut at the first record that is not whole, as a kill leaves it.
"""

import contextlib
import json
import os
import struct
import zlib
from collections.abc import Buffer, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rasteret_refs.errors import BuildError
from rasteret_refs.objects.location import is_url

_MAGIC: Final = b"rasteret_refs journal 1\n"
_RECORD: Final = struct.Struct("<III")
"""Bytes of a record's description, bytes of its windows, CRC-32 of both."""
_encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kept:
    """One file's header as it was fetched."""

    size: int
    """Bytes of the object."""
    etag: str | None
    last_modified: str | None
    windows: tuple[tuple[int, bytes], ...]
    """(start, bytes) of what was read."""


class Journal:
    """Headers by URL, on disk; in memory only where each lies.

    Parameters
    ----------
    path
        The file; it comes into being with the first header that is kept.
    resume
        Take over what a stopped build left; else it is removed.

    Raises
    ------
    BuildError
        The place cannot be written.
    """

    def __init__(self, path: Path, *, resume: bool) -> None:
        self.path = path
        self.used = 0
        """Headers that were not fetched again."""
        self._places: dict[str, tuple[int, int, int]] = {}
        self._file: int | None = None
        self._end = 0
        with self._system_errors():
            if resume and path.exists():
                self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
                self._load()
            else:
                path.unlink(missing_ok=True)

    def find(self, url: str) -> Kept | None:
        """Return a file's header, if an earlier build fetched it."""
        place = self._places.get(url)
        if place is None or self._file is None:
            return None
        start, about, length = place
        data = os.pread(self._file, about + length, start)
        facts = json.loads(data[:about])
        windows, at = [], about
        for offset, count in facts["windows"]:
            windows.append((offset, data[at : at + count]))
            at += count
        self.used += 1
        return Kept(
            size=facts["size"], etag=facts["etag"], last_modified=facts["last_modified"], windows=tuple(windows)
        )

    def keep(
        self, url: str, *, size: int, etag: str | None, last_modified: str | None, windows: Sequence[tuple[int, Buffer]]
    ) -> None:
        """Note a header that was fetched; files of this machine are as quickly read again."""
        if not is_url(url) or url.startswith("file:"):
            return
        facts = {
            "url": url,
            "size": size,
            "etag": etag,
            "last_modified": last_modified,
            "windows": [(start, memoryview(data).nbytes) for start, data in windows],
        }
        about = _encode(facts).encode()
        content = b"".join([about, *(data for _, data in windows)])
        with self._system_errors():
            self._write(_RECORD.pack(len(about), len(content) - len(about), zlib.crc32(content)) + content)

    def close(self, *, remove: bool) -> None:
        """Close the file; remove it once the set is published."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        if remove:
            self.path.unlink(missing_ok=True)

    def _write(self, record: bytes) -> None:
        if self._file is None:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            self._end = os.pwrite(self._file, _MAGIC, 0)
        left = memoryview(record)
        while left:
            written = os.pwrite(self._file, left, self._end)
            self._end += written
            left = left[written:]

    def _load(self) -> None:
        """Find the whole records, and cut the file behind the last of them."""
        if self._file is None:
            return
        size = os.fstat(self._file).st_size
        position = len(_MAGIC)
        if os.pread(self._file, position, 0) != _MAGIC:
            position = os.pwrite(self._file, _MAGIC, 0)
            size = 0
        while position + _RECORD.size <= size:
            about, length, checksum = _RECORD.unpack(os.pread(self._file, _RECORD.size, position))
            start = position + _RECORD.size
            if start + about + length > size:
                break
            content = os.pread(self._file, about + length, start)
            if zlib.crc32(content) != checksum:
                break
            self._places[json.loads(content[:about])["url"]] = (start, about, length)
            position = start + about + length
        os.ftruncate(self._file, position)
        self._end = position

    @contextlib.contextmanager
    def _system_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise BuildError(f"{self.path}: expected a journal that can be written, got: {error}") from error


@contextlib.contextmanager
def journaled(out: Path, *, resume: bool, done: type[BaseException] | tuple[()] = ()) -> Iterator[Journal]:
    """Keep a journal beside an output until the block ends without an error, or with one that means that all is done.

    Parameters
    ----------
    out
        The set that is written.
    resume
        Take over what a stopped build left.
    done
        Errors after which nothing is left to go on with.
    """
    journal = Journal(journal_path(out), resume=resume)
    finished = False
    try:
        yield journal
        finished = True
    except done:
        finished = True
        raise
    finally:
        journal.close(remove=finished)


def journal_path(out: Path) -> Path:
    """Return where the journal of a build of `out` lies: hidden, beside it."""
    place = Path(os.path.realpath(out))
    return place.parent / f".{place.name}.journal"
