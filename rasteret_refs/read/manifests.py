"""Where chunks lie: manifest files as NumPy arrays, loaded once, kept within a budget of bytes."""

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rasteret_refs.errors import DamagedError
from rasteret_refs.read.arrays import ReferencedArray

CACHE_BYTES = 128 * 1024 * 1024
"""Manifest bytes kept by default: about five million references."""


class Records(Protocol):
    """What manifests are read from: an opened reference set."""

    @property
    def record_size(self) -> int:
        """References per manifest file."""

    def records(self, array_path: str, k: int) -> Any:
        """Load manifest file `k` of an array as a verified `pyarrow.Table`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ManifestFile:
    """One `refs.<k>.parq` as arrays of one length."""

    urls: tuple[str, ...]
    url_codes: npt.NDArray[np.int32]
    """Which of `urls`; -1 where there is none."""
    offsets: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    inlined: tuple[bytes, ...]
    inline_codes: npt.NDArray[np.int32]
    """Which of `inlined`; -1 where the chunk is referenced."""

    @property
    def nbytes(self) -> int:
        """Bytes held, near enough for a cache."""
        arrays = (self.url_codes, self.offsets, self.sizes, self.inline_codes)
        return sum(a.nbytes for a in arrays) + sum(map(len, self.urls)) + sum(map(len, self.inlined))

    @classmethod
    def from_table(cls, table: Any, name: str) -> "ManifestFile":
        """Take over a kerchunk-Parquet table with the columns `path`, `offset`, `size` and `raw`.

        Raises
        ------
        DamagedError
            A column is missing or holds nulls where there can be none.
        """
        missing = [column for column in ("path", "offset", "size", "raw") if column not in table.column_names]
        if missing:
            raise DamagedError(f"expected the columns path, offset, size and raw, found no {missing}: {name}")
        urls, url_codes = _dictionary(table["path"])
        if "" in urls:  # inlined rows have an empty path: pandas 3 stumbles over nulls there
            url_codes = np.where(url_codes == urls.index(""), np.int32(-1), url_codes)
        inlined, inline_codes = _dictionary(table["raw"])
        offsets, sizes = _integers(table, "offset", name), _integers(table, "size", name)
        if bool(((url_codes < 0) & (inline_codes < 0)).any()):
            row = int(np.flatnonzero((url_codes < 0) & (inline_codes < 0))[0])
            raise DamagedError(f"expected a path or inlined bytes in every row, row {row} has neither: {name}")
        if bool(((inline_codes < 0) & ((offsets < 0) | (sizes <= 0))).any()):
            row = int(np.flatnonzero((inline_codes < 0) & ((offsets < 0) | (sizes <= 0)))[0])
            raise DamagedError(f"expected a byte range, row {row} has {offsets[row]} + {sizes[row]}: {name}")
        return cls(
            urls=tuple(urls),
            url_codes=url_codes,
            offsets=offsets,
            sizes=sizes,
            inlined=tuple(v.encode() if isinstance(v, str) else v for v in inlined),
            inline_codes=inline_codes,
        )


def _integers(table: Any, column: str, name: str) -> npt.NDArray[np.int64]:
    values = table[column]
    if values.null_count:
        raise DamagedError(f"expected no nulls in {column}, found {values.null_count}: {name}")
    return np.asarray(values.to_numpy(), dtype=np.int64)


def _dictionary(column: Any) -> tuple[list[Any], npt.NDArray[np.int32]]:
    """Split an Arrow column into its distinct values and int32 codes, -1 where it is null."""
    import pyarrow as pa

    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    combined = column.unify_dictionaries().combine_chunks()
    if isinstance(combined, pa.ChunkedArray):  # pyarrow keeps a chunked type for zero chunks
        return [], np.empty(0, dtype=np.int32)
    codes = combined.indices.to_numpy(zero_copy_only=False)
    if combined.indices.null_count:  # Arrow's own fill_null imports its bridge to pandas first: 9 ms of a cold read
        codes = np.where(np.isnan(codes), -1, codes)
    values = combined.dictionary.to_pylist()
    if values and values[-1] is None:  # a dictionary may itself hold null
        codes = np.where(codes == len(values) - 1, -1, codes)
    return values, codes.astype(np.int32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Locations:
    """References of some chunks, in the order that was asked for."""

    urls: Sequence[str | None]
    """Object of each chunk; None where it is inlined."""
    offsets: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    inlined: Sequence[bytes | None]
    """Bytes of each inlined chunk; None where it is referenced."""


class Manifests:
    """Looks references up in bulk; thread-safe; keeps the manifest files used last within `cache_bytes`."""

    def __init__(self, records: Records, *, cache_bytes: int = CACHE_BYTES) -> None:
        self._records = records
        self._cache_bytes = cache_bytes
        self._files: OrderedDict[tuple[str, int], ManifestFile] = OrderedDict()
        self._held = 0
        self._lock = threading.Lock()
        self._loading: dict[tuple[str, int], threading.Lock] = {}

    def file(self, array: ReferencedArray, k: int) -> ManifestFile:
        """Give manifest file `k` of an array, loaded at most once at a time.

        Raises
        ------
        DamagedError
            It is missing, altered, or not a manifest.
        """
        key = (array.path, k)
        with self._lock:
            found = self._files.get(key)
            if found is not None:
                self._files.move_to_end(key)
                return found
            loading = self._loading.setdefault(key, threading.Lock())
        with loading:
            with self._lock:
                if (found := self._files.get(key)) is not None:
                    return found
            found = ManifestFile.from_table(self._records.records(array.path, k), f"{array.path}/refs.{k}.parq")
            with self._lock:
                self._keep(key, found)
                self._loading.pop(key, None)
        return found

    def _keep(self, key: tuple[str, int], file: ManifestFile) -> None:
        self._files[key] = file
        self._held += file.nbytes
        while self._held > self._cache_bytes and len(self._files) > 1:
            _, dropped = self._files.popitem(last=False)
            self._held -= dropped.nbytes

    def locate(self, array: ReferencedArray, numbers: npt.NDArray[np.int64]) -> Locations:
        """Look the references of chunks up, by their C-order numbers.

        Raises
        ------
        DamagedError
            A manifest file is missing or altered, or has no row for a chunk.
        """
        file_numbers = numbers // self._records.record_size
        wanted = [int(k) for k in np.unique(file_numbers)]
        files = {k: self.file(array, k) for k in wanted}
        if len(wanted) == 1:
            return _locations(files[wanted[0]], numbers % self._records.record_size, array, wanted[0])
        urls = np.empty(len(numbers), dtype=object)
        inlined = np.empty(len(numbers), dtype=object)
        offsets, sizes = np.empty(len(numbers), dtype=np.int64), np.empty(len(numbers), dtype=np.int64)
        for k, file in files.items():
            at = file_numbers == k
            part = _locations(file, numbers[at] % self._records.record_size, array, k)
            offsets[at], sizes[at] = part.offsets, part.sizes
            urls[at], inlined[at] = _objects(part.urls), _objects(part.inlined)
        return Locations(urls=urls.tolist(), offsets=offsets, sizes=sizes, inlined=inlined.tolist())

    async def prefetch(self, wanted: Sequence[tuple[ReferencedArray, int]], executor: Executor) -> None:
        """Load manifest files side by side, in threads; those at hand cost nothing."""
        with self._lock:
            missing = [(array, k) for array, k in wanted if (array.path, k) not in self._files]
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(executor, self.file, array, k) for array, k in missing))

    @property
    def record_size(self) -> int:
        """References per manifest file."""
        return self._records.record_size


def _objects(values: Sequence[Any]) -> npt.NDArray[np.object_]:
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


def _locations(file: ManifestFile, rows: npt.NDArray[np.int64], array: ReferencedArray, k: int) -> Locations:
    if len(rows) and int(rows.max()) >= len(file.offsets):
        raise DamagedError(
            f"expected a row for each chunk, {int(rows.max()) + 1} or more, found {len(file.offsets)}: "
            f"{array.path}/refs.{k}.parq"
        )
    inline_codes = file.inline_codes[rows].tolist()
    url_codes = file.url_codes[rows].tolist()
    urls, inlined = file.urls, file.inlined
    return Locations(
        urls=[urls[u] if i < 0 else None for u, i in zip(url_codes, inline_codes, strict=True)],
        offsets=file.offsets[rows],
        sizes=file.sizes[rows],
        inlined=[inlined[i] if i >= 0 else None for i in inline_codes],
    )
