"""Tiles kept for the chips to come: decoded ones in memory, encoded ones on disk, both within a budget of bytes."""

import contextlib
import hashlib
import os
import tempfile
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy.typing as npt

from rasteret_refs.tiff.values import ByteRange

_LARGEST_HABIT = 512 * 1024 * 1024
"""Bytes that a reader keeps by itself at most; half of it where the system does not tell how much memory it has."""


class TileCache:
    """Decoded tiles in memory, the ones used last; thread-safe.

    Parameters
    ----------
    limit
        Bytes of pixels kept.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._tiles: OrderedDict[tuple[str, int], npt.NDArray[Any]] = OrderedDict()
        self._held = 0
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.limit,)

    def get(self, array_path: str, number: int) -> npt.NDArray[Any] | None:
        """Give a decoded tile, or None."""
        with self._lock:
            tile = self._tiles.get((array_path, number))
            if tile is not None:
                self._tiles.move_to_end((array_path, number))
            return tile

    def put(self, array_path: str, number: int, tile: npt.NDArray[Any]) -> None:
        """Keep a decoded tile, which nobody may change any more."""
        with self._lock:
            if (array_path, number) in self._tiles or tile.nbytes > self.limit:
                return
            self._tiles[array_path, number] = tile
            self._held += tile.nbytes
            while self._held > self.limit:
                _, dropped = self._tiles.popitem(last=False)
                self._held -= dropped.nbytes


class Habit:
    """Whether a reader that nobody gave a cache should keep tiles: it learns that from what is asked of it.

    A first batch keeps only what it decodes nearly whole anyway, so that a cold chip decodes few rows too many. A
    reader that reads parts of tiles again and again keeps them, as long as tiles come back: at least one in ten.
    """

    ALL, NEARLY_WHOLE, NONE = 0.0, 0.75, 2.0
    """Answers: the share of a tile's rows that must be wanted for it to be kept."""

    _SURE = 64
    """Tiles seen before the share of those that come back says anything."""
    _MEMORY = 8192
    """Tiles whose names are remembered."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._batches = self._tiles = self._again = 0
        self._seen: set[tuple[str, int]] = set()

    def begin(self, tiles: list[tuple[str, int]]) -> float:
        """Take note of a batch's tiles; tell which decoded ones are worth keeping."""
        with self._lock:
            self._batches += 1
            self._tiles += len(tiles)
            self._again += sum(tile in self._seen for tile in tiles)
            self._seen.update(tiles)
            if self._tiles > self._MEMORY:
                self._seen.clear()
                self._tiles, self._again = self._SURE, self._SURE * self._again // self._tiles
            if self._batches == 1:
                return self.NEARLY_WHOLE
            return self.ALL if self._tiles < self._SURE or self._again * 10 >= self._tiles else self.NONE


def default_limit() -> int:
    """Give the bytes of decoded tiles that a reader keeps by itself: 5 % of the memory, as GDAL's block cache does.

    But no more than half a gigabyte, for data loaders run many processes.
    https://gdal.org/en/stable/user/configoptions.html#config-GDAL_CACHEMAX
    """
    if not hasattr(os, "sysconf"):
        return _LARGEST_HABIT // 2
    return min(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 20, _LARGEST_HABIT)


DISK_BYTES = 10 * 1024**3
"""What a directory that somebody names as a cache may hold."""


def disk_cache(where: "DiskCache | str | os.PathLike[str] | None") -> "DiskCache | None":
    """Take over a cache, or make one of a directory, of at most 10 GiB."""
    return DiskCache(where, DISK_BYTES) if isinstance(where, str | os.PathLike) else where


class DiskCache:
    """Encoded tiles as files of one directory, which several processes may share.

    A file appears whole (written aside, then renamed) or not at all. When the directory outgrows its budget, the files
    read longest ago go.

    Parameters
    ----------
    directory
        Made when missing; nothing else should lie in it.
    limit
        Bytes kept, near enough: other processes' files count from the next trimming on.
    """

    def __init__(self, directory: str | os.PathLike[str], limit: int) -> None:
        self.directory, self.limit = Path(directory), limit
        self.directory.mkdir(parents=True, exist_ok=True)
        self._held = 0
        self._lock = threading.Lock()
        self._trim()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DiskCache) and (self.directory, self.limit) == (other.directory, other.limit)

    def __hash__(self) -> int:
        return hash((self.directory, self.limit))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.directory, self.limit)

    def _path(self, url: str, byte_range: ByteRange, etag: str | None) -> Path:
        identity = f"{url}\n{byte_range.start}\n{byte_range.stop}\n{etag or ''}"
        return self.directory / hashlib.sha256(identity.encode()).hexdigest()

    def get(self, url: str, byte_range: ByteRange, etag: str | None) -> bytes | None:
        """Give the bytes of a range of one version of an object, or None."""
        path = self._path(url, byte_range, etag)
        try:
            data = path.read_bytes()
            os.utime(path)
        except FileNotFoundError:
            return None
        return data if len(data) == byte_range.stop - byte_range.start else None

    def put(self, url: str, byte_range: ByteRange, etag: str | None, data: Any) -> None:
        """Keep the bytes of a range."""
        handle, name = tempfile.mkstemp(dir=self.directory, prefix=".")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        with contextlib.suppress(FileNotFoundError):  # another process trimmed it away
            Path(name).replace(self._path(url, byte_range, etag))
        with self._lock:
            self._held += byte_range.stop - byte_range.start
            if self._held > self.limit:
                self._trim()

    def _trim(self) -> None:
        entries = []
        with os.scandir(self.directory) as found:
            for entry in found:
                with contextlib.suppress(FileNotFoundError):  # another thread or process renamed or trimmed it
                    entries.append((entry.stat(), entry.path))
        self._held = sum(stat.st_size for stat, _ in entries)
        for stat, path in sorted(entries, key=lambda entry: entry[0].st_mtime_ns):
            if self._held <= self.limit * 9 // 10:  # room for some more, so that trimming stays rare
                break
            Path(path).unlink(missing_ok=True)
            self._held -= stat.st_size
