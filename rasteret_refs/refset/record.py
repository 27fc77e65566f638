"""One record file in memory, as a plain reader asks for it: row → inlined bytes, or path, offset and size."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rasteret_refs.errors import DamagedError, UnauthorisedSourceError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Record:
    """References of consecutive chunks of one array."""

    name: str
    """The file's place in the set, for messages."""
    paths: tuple[str, ...]
    """Distinct objects."""
    path_codes: npt.NDArray[np.int32]
    """Which of `paths`, one a row."""
    offsets: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    inlined: tuple[bytes, ...]
    """Distinct inlined chunks."""
    inline_codes: npt.NDArray[np.int32]
    """Which of `inlined`; -1 where a reference stands."""

    @classmethod
    def from_table(cls, table: pa.Table, name: str) -> "Record":
        """Take a table of `manifest.SCHEMA` apart.

        Raises
        ------
        DamagedError
            A row that is neither a byte range nor inlined.
        """
        if not len(table):
            raise DamagedError(f"{name}: expected references, got an empty table")
        path, raw = (table[column].combine_chunks() for column in ("path", "raw"))
        record = cls(
            name=name,
            paths=tuple(path.dictionary.to_pylist()),
            path_codes=path.indices.to_numpy(zero_copy_only=False).astype(np.int32),
            offsets=table["offset"].combine_chunks().to_numpy(zero_copy_only=False),
            sizes=table["size"].combine_chunks().to_numpy(zero_copy_only=False),
            inlined=tuple(raw.dictionary.to_pylist()),
            inline_codes=raw.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32),
        )
        record._check()
        return record

    def _check(self) -> None:
        wrong = (self.inline_codes < 0) & ((self.offsets < 0) | (self.sizes < 1))
        if wrong.any():
            row = int(np.argmax(wrong))
            raise DamagedError(
                f"{self.name}: expected a byte range in row {row}, got {self.sizes[row]} bytes at {self.offsets[row]}"
            )

    def check_sources(self, prefixes: Sequence[str]) -> None:
        """Refuse paths outside the prefixes that the set's seal names.

        Raises
        ------
        UnauthorisedSourceError
            Naming the path and the prefixes.
        """
        whole = tuple(prefix if prefix.endswith("/") else f"{prefix}/" for prefix in prefixes)
        for path in self.paths:
            if path and not path.startswith(whole):
                raise UnauthorisedSourceError(f"{self.name}: expected references below {list(prefixes)}, got {path}")

    @property
    def nbytes(self) -> int:
        """Bytes that the record takes in memory, texts included."""
        arrays = (self.path_codes, self.offsets, self.sizes, self.inline_codes)
        return sum(a.nbytes for a in arrays) + sum(map(len, self.paths)) + sum(map(len, self.inlined))

    def reference(self, row: int) -> Any:
        """Return inlined bytes, or `[path, offset, size]`.

        Raises
        ------
        DamagedError
            The file has fewer rows: chunks of the array lie past its end.
        """
        if row >= len(self.offsets):
            raise DamagedError(f"{self.name}: expected more than {row} references, got {len(self.offsets)}")
        inline = int(self.inline_codes[row])
        if inline >= 0:
            return self.inlined[inline]
        return [self.paths[int(self.path_codes[row])], int(self.offsets[row]), int(self.sizes[row])]
