"""fsspec's reference mapper over a sealed set: pyarrow instead of pandas, errors instead of fill values."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import numpy as np
from fsspec.implementations.reference import LazyReferenceMapper

from rasteret_refs.errors import RefsetError, UnauthorisedSourceError
from rasteret_refs.refset.documents import check_codecs
from rasteret_refs.refset.files import SetFiles
from rasteret_refs.refset.layout import record_name
from rasteret_refs.refset.memory import ByteCache
from rasteret_refs.refset.record import Record
from rasteret_refs.refset.sealed import SealedSet

MANIFEST_BYTES = 128 * 1024 * 1024
"""Bytes of manifests that one mapper keeps in memory."""


class SealedReferenceMapper(LazyReferenceMapper):  # type: ignore[misc]
    """Zarr key → inlined bytes, or path, offset and size; read-only.

    Differs from fsspec's own mapper in what was measured to go wrong there: it pickles; it needs neither pandas nor
    fastparquet; a missing, cut or altered manifest raises `DamagedError` (there it reads as fill value); listing a
    group does not scan all metadata; references outside the sealed prefixes are refused.

    Parameters
    ----------
    files
        Reads the set's files.
    manifest_bytes
        Bytes of manifests to keep in memory.
    """

    def __init__(self, files: SetFiles, manifest_bytes: int = MANIFEST_BYTES) -> None:
        # The base class's file system, caches and pandas reader are all replaced: its __init__ has nothing to add.
        self.files = files
        self.root = files.location
        self.manifest_bytes = manifest_bytes
        self.chunk_sizes: dict[str, list[int]] = {}
        self._records: ByteCache[Record] = ByteCache(manifest_bytes, lambda record: record.nbytes)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.files, self.manifest_bytes)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.root!r})"

    def __getattr__(self, item: str) -> Any:
        if item in {"sealed", "zmetadata", "record_size", "_items", "_children"}:
            self.setup()
            return self.__dict__[item]
        raise AttributeError(item)

    def setup(self) -> None:
        """Read and check `refs.json` and `.zmetadata`.

        Raises
        ------
        NotFoundError
            There is no `refs.json`: not a reference set.
        DamagedError, FormatVersionError
            As `Seal.from_bytes` and the hash of `.zmetadata` say.
        """
        sealed = SealedSet.open(self.files)
        self.__dict__["_items"] = {".zmetadata": _consolidated(sealed)}
        self.__dict__["record_size"] = sealed.record_size
        self.__dict__["_children"] = _children(sealed.documents)
        self.__dict__["sealed"] = sealed
        self.__dict__["zmetadata"] = sealed.documents

    def record(self, field: str, number: int) -> Record:
        """Return a record file, from memory or read and checked now.

        Raises
        ------
        DamagedError
            Missing, or not what was sealed.
        UnauthorisedSourceError
            It leads outside the sealed prefixes, or from a remote set to local files.
        """
        return self._records.get((field, number), lambda: self._read(field, number))

    def is_at_hand(self, key: str) -> bool:
        """Tell whether looking a key up needs no file."""
        place = self._place(key)
        return place is None or self._records.peek(place[:2]) is not None

    def _read(self, field: str, number: int) -> Record:
        name = record_name(field, number)
        record = Record.from_table(self.sealed.table(field, number), name)
        record.check_sources(self.sealed.sources)
        if "://" in self.root and (local := [p for p in record.paths if p and ("://" not in p or _is_file(p))]):
            raise UnauthorisedSourceError(f"{name}: expected no local files in a set from {self.root}, got {local[0]}")
        return record

    def _place(self, key: str) -> tuple[str, int, int] | None:
        """Return array, record number and row of a chunk's key; None for anything else."""
        field, _, chunk = key.rpartition("/")
        if f"{field}/.zarray" not in self.zmetadata:
            return None
        counts = self._get_chunk_sizes(field)
        parts = chunk.split(".")
        if len(parts) != len(counts) or not all(part.isascii() and part.isdigit() for part in parts):
            return None
        number = 0
        for part, count in zip(map(int, parts), counts, strict=True):
            if part >= count:
                return None
            number = number * count + part
        return field, number // self.record_size, number % self.record_size

    def _load_one_key(self, key: str) -> Any:
        if key in self._items:
            return self._items[key]
        document = self.zmetadata.get(key)
        if document is not None:
            if key.endswith(".zarray"):
                check_codecs(document, f"{self.root}: {key.removesuffix('/.zarray')}")
            return json.dumps(document).encode()
        place = self._place(key)
        if place is None:
            raise KeyError(key)
        field, number, row = place
        return self.record(field, number).reference(row)

    def open_refs(self, field: str, record: int) -> dict[str, Any]:
        """Return a record file's columns as the base class's iterators want them."""
        rows = [self.record(field, record).reference(i) for i in range(len(self.record(field, record).offsets))]
        references = [(None, 0, 0, row) if isinstance(row, bytes) else (*row, None) for row in rows]
        columns = zip(*references, strict=True)
        return dict(zip(("path", "offset", "size", "raw"), (np.array(c, dtype=object) for c in columns), strict=True))

    def listdir(self) -> set[str]:
        """Return all paths that have metadata of their own."""
        return {key.rpartition("/")[0] for key in self.zmetadata if "/" in key}

    def ls(self, path: str = "", detail: bool = True) -> list[Any]:
        """List a group's members, or an array's metadata and chunks."""
        path = path.strip("/")
        if path and path not in self._children:
            raise KeyError(path)
        entries: list[dict[str, Any]] = []
        for name, is_directory in self._children[path].items():
            full = f"{path}/{name}" if path else name
            size = 0 if is_directory else len(json.dumps(self.zmetadata[full]))
            entries.append({"name": full, "type": "directory" if is_directory else "file", "size": size})
        if f"{path}/.zarray" in self.zmetadata:
            entries += [self._chunk_entry(key, detail=detail) for key in self._keys_in_field(path)]
        return sorted(entries, key=lambda e: e["name"]) if detail else [entry["name"] for entry in entries]

    def _chunk_entry(self, key: str, *, detail: bool) -> dict[str, Any]:
        reference = self[key] if detail else b""
        return {"name": key, "type": "file", "size": len(reference) if isinstance(reference, bytes) else reference[2]}

    def __len__(self) -> int:
        counts = [math.prod(self._get_chunk_sizes(f)) for f in self.listdir() if f"{f}/.zarray" in self.zmetadata]
        return int(sum(counts)) + len(self.zmetadata)

    def __iter__(self) -> Iterator[str]:
        yield from self.zmetadata
        for field in sorted(self.listdir()):
            if f"{field}/.zarray" in self.zmetadata:
                yield from self._keys_in_field(field)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and (key in self._items or key in self.zmetadata or self._place(key) is not None)

    def __setitem__(self, key: str, value: Any) -> NoReturn:
        raise RefsetError(f"{self.root}: expected only reads, got an attempt to write {key}")

    def __delitem__(self, key: str) -> NoReturn:
        raise RefsetError(f"{self.root}: expected only reads, got an attempt to delete {key}")


def _consolidated(sealed: SealedSet) -> bytes:
    """Return `.zmetadata` as it stands, or with the coordinates that are not stored."""
    if sealed.documents is sealed.stored:
        return sealed.zmetadata
    return json.dumps({"metadata": sealed.documents, "record_size": sealed.record_size}).encode()


def _is_file(path: str) -> bool:
    return path.startswith(("file:", "local:"))


def _children(documents: Mapping[str, Any]) -> dict[str, dict[str, bool]]:
    """Return each group's and array's direct members: name → whether it has members itself."""
    children: dict[str, dict[str, bool]] = {"": {}}
    for key in documents:
        parent, _, name = key.rpartition("/")
        children.setdefault(parent, {})[name] = False
        while parent:
            above, _, name = parent.rpartition("/")
            children.setdefault(above, {})[name] = True
            parent = above
    return children
