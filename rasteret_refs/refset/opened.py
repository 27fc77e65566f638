"""An opened reference set, local or remote: metadata at once, manifests and tables when they are needed."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rasteret_refs.refset.files import files_of
from rasteret_refs.refset.geoparquet import DROPPED, FAILURES_SCHEMA, read_table
from rasteret_refs.refset.layout import FAILURES, SCENES, TILES
from rasteret_refs.refset.memory import ByteCache
from rasteret_refs.refset.seal import Seal
from rasteret_refs.refset.sealed import SealedSet
from rasteret_refs.refset.tables import cast_to, check_names, check_scenes
from rasteret_refs.refset.verify import Report, verify

TABLE_BYTES = 64 * 1024 * 1024
"""Bytes of record files kept in memory; whoever takes their columns over shares the memory."""


class OpenedRefset:
    """A reference set; picklable, safe in threads, and in forked children.

    Parameters
    ----------
    location
        Path or URL of the set, `NAME.refs`.
    storage
        Prefix → obstore options for the set's own files.
    sha256
        Hash of `refs.json` that the set must have: pins the whole set.
    table_bytes
        Bytes of record files to keep in memory.

    Raises
    ------
    NotFoundError
        There is no reference set.
    DamagedError, FormatVersionError
        `refs.json` or `.zmetadata` is altered, not the pinned one, or newer than this library.
    """

    def __init__(
        self,
        location: str | os.PathLike[str],
        storage: Mapping[str, Any] | None = None,
        *,
        sha256: str | None = None,
        table_bytes: int = TABLE_BYTES,
    ) -> None:
        self._take(SealedSet.open(files_of(location, storage), sha256=sha256), table_bytes)

    def _take(self, sealed: SealedSet, table_bytes: int) -> None:
        self._sealed = sealed
        self._scenes: pa.Table | None = None
        self._tables: ByteCache[pa.Table] = ByteCache(table_bytes, lambda table: int(table.nbytes))

    def __getstate__(self) -> tuple[SealedSet, int]:
        # Seal and metadata travel along: a worker sees the state that was opened, and reads nothing to begin with.
        return self._sealed, self._tables.limit

    def __setstate__(self, state: tuple[SealedSet, int]) -> None:
        self._take(*state)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OpenedRefset) and (self.location, self.sha256) == (other.location, other.sha256)

    def __hash__(self) -> int:
        return hash((self.location, self.sha256))

    def __repr__(self) -> str:
        return f"OpenedRefset({self.location!r})"

    @property
    def location(self) -> str:
        """Absolute path or URL, without trailing slash."""
        return self._sealed.files.location

    @property
    def sealed(self) -> SealedSet:
        """The set's files, each compared with the seal when it is read."""
        return self._sealed

    @property
    def seal(self) -> Seal:
        """The contents of `refs.json`."""
        return self._sealed.seal

    @property
    def sha256(self) -> str:
        """Hash of `refs.json`, which pins the whole set."""
        return self._sealed.digest

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Zarr v2 metadata documents by their keys (`a/b/.zarray`)."""
        return self._sealed.documents

    @property
    def record_size(self) -> int:
        """References of a full record file."""
        return self._sealed.record_size

    def records(self, array_path: str, k: int) -> pa.Table:
        """Return record file `k` of an array, verified when it is first read.

        Returns
        -------
        pyarrow.Table
            `path` (dictionary of text, "" where inlined), `offset` and `size` (int64, not null), `raw` (dictionary of
            bytes, null where referenced); one chunk a column. Row r is chunk `k * record_size + r` in C order.

        Raises
        ------
        DamagedError
            Missing, altered, or not in the seal.
        """
        return self._tables.get((array_path, k), lambda: self._sealed.table(array_path, k))

    @property
    def scenes(self) -> pa.Table:
        """The scene table without dropped scenes; page checksums are verified."""
        table = self.all_scenes
        if DROPPED not in table.column_names:
            return table
        kept = pc.invert(pc.fill_null(table[DROPPED], fill_value=False))
        return table.filter(kept).drop_columns([DROPPED])

    @property
    def all_scenes(self) -> pa.Table:
        """The scene table with dropped scenes, marked in `refs:dropped` once there are any."""
        if self._scenes is None:
            name = f"{self.location}/{SCENES}"
            table = check_scenes(read_table(pa.BufferReader(self._sealed.read(SCENES)), name), name)
            self._scenes = table if self._sealed.is_current else self._known(table)
        return self._scenes

    def tiles(self) -> pa.Table | None:
        """Return the table of labels by tile, or None."""
        if not self._sealed.has(TILES):
            return None
        table = read_table(pa.BufferReader(self._sealed.read(TILES)), f"{self.location}/{TILES}")
        check_names(table.schema, f"{self.location}/{TILES}")
        return table

    def failures(self) -> pa.Table:
        """Return what could not be referenced; empty where all could."""
        if not self._sealed.has(FAILURES):
            return FAILURES_SCHEMA.empty_table()
        name = f"{self.location}/{FAILURES}"
        return cast_to(read_table(pa.BufferReader(self._sealed.read(FAILURES)), name), FAILURES_SCHEMA, name)

    def verify(self) -> Report:
        """Check every file against the seal.

        Raises
        ------
        DamagedError
            Naming the files that are missing, altered or too many.
        """
        return verify(self._sealed.files, self.seal)

    def _known(self, table: pa.Table) -> pa.Table:
        """Leave out the scenes that were appended after this set was opened: its arrays do not have them."""
        sizes = {
            key.rpartition("/")[0].rpartition("/")[0]: document["shape"][0]
            for key, document in self.metadata.items()
            if key.endswith("/id/.zarray")
        }
        groups, indices = table["refs:group"].to_pylist(), table["refs:index"].to_pylist()
        known = [g is None or (g in sizes and i < sizes[g]) for g, i in zip(groups, indices, strict=True)]
        return table.filter(np.array(known, bool))
