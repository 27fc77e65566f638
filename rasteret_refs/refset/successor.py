"""The next state of a set: rows appended, tables or source prefixes replaced, everything else linked as it stands.

A successor keeps every reference's place on the scene axis; its seal therefore names the seals before it, and readers
that opened an older state go on with the new files.
"""

import os
import shutil
from collections.abc import Hashable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from rasteret_refs.errors import RefsetError
from rasteret_refs.refset.files import LocalFiles
from rasteret_refs.refset.geoparquet import failures_bytes, scenes_bytes
from rasteret_refs.refset.layout import FAILURES, SCENES, SEAL, TILES, ZMETADATA, array_path, record_name
from rasteret_refs.refset.manifest import check_manifest, record_bytes, record_tables
from rasteret_refs.refset.metadata import (
    array_metadata,
    chunk_count,
    coordinate_manifest,
    hierarchy_metadata,
    zmetadata_bytes,
)
from rasteret_refs.refset.readback import read_back
from rasteret_refs.refset.seal import FileHash, Seal, source_prefixes
from rasteret_refs.refset.sealed import SealedSet
from rasteret_refs.refset.secrets import refuse_secrets
from rasteret_refs.refset.trees import make_directories
from rasteret_refs.refset.trust import note_written
from rasteret_refs.refset.write import WRITERS, identity, library_versions, write_new
from rasteret_refs.virtual.values import ChunkManifest, ReferenceSetPlan, VirtualGroup


@dataclass(frozen=True, slots=True, eq=False)
class _Change:
    """References that several arrays get."""

    manifest: ChunkManifest
    start: int
    """Number of the first chunk."""
    paths: list[str]


class Successor:
    """Collects what changes against a base set, and writes the whole next state into a staging directory.

    Use inside `publish.staged(out, overwrite=True)`, with `out` as base: its lock keeps other writers away.

    Parameters
    ----------
    base
        The set as it stands, local.
    directory
        Empty directory on the same file system: unchanged files are hard links, which cost nothing.

    Raises
    ------
    NotFoundError, DamagedError, FormatVersionError
        The base is no sound set of a known version.
    """

    def __init__(self, base: Path, directory: Path) -> None:
        self.base = base
        self.directory = directory
        self.sealed = SealedSet.open(LocalFiles(str(base)))
        self.seal = self.sealed.seal
        self._documents = dict(self.sealed.stored)
        self._records = dict(self.seal.records)
        self._files = dict(self.seal.files)
        self._written: set[str] = set()
        self._sources = set(self.seal.sources)

    def append(self, plan: ReferenceSetPlan) -> None:
        """Add what a plan made against this set (`planner.plan(…, existing=…)`) says: rows, arrays, coordinates.

        Of an array that grows, only its last record file is written anew, and those that are new.

        Raises
        ------
        RefsetError
            The plan does not continue the arrays that are there, or some reader would misread it.
        """
        self._merge_metadata(plan.groups)
        changes: dict[Hashable, _Change] = {}
        for path, manifest, start in _changes(plan.groups):
            check_manifest(manifest, f"array {path}")
            refuse_secrets(sorted(set(manifest.urls)), f"array {path}")
            self._sources |= set(source_prefixes(manifest.urls))
            key = (path if start else None, identity(manifest))  # what is appended to is each array's own
            changes.setdefault(key, _Change(manifest, start, [])).paths.append(path)
        with ThreadPoolExecutor(WRITERS, thread_name_prefix="rasteret-refs-write") as pool:
            for change, sealed in zip(changes.values(), pool.map(self._write_tail, changes.values()), strict=True):
                for path in change.paths:
                    kept = self._records.get(path, ())[: change.start // self.sealed.record_size]
                    self._records[path] = (*kept, *sealed)

    def replace_table(self, name: str, table: pa.Table) -> None:
        """Write `scenes.parquet`, `tiles.parquet` or `failures.parquet` anew.

        Raises
        ------
        RefsetError
            Another name.
        """
        if name not in {SCENES, TILES, FAILURES}:
            raise RefsetError(f"{name}: expected {SCENES}, {TILES} or {FAILURES}")
        self._put(name, failures_bytes(table) if name == FAILURES else scenes_bytes(table))

    def replace_records(self, path: str, number: int, table: pa.Table) -> None:
        """Write one record file of an array anew."""
        sealed = list(self._records[path])
        sealed[number:] = [self._write_record(path, number, table), *sealed[number + 1 :]]
        self._records[path] = tuple(sealed)

    def set_attributes(self, path: str, attributes: Mapping[str, Any]) -> None:
        """Set the attributes of a group or an array that is there."""
        self._documents[f"{path}/.zattrs"] = dict(attributes)

    def replace_sources(self, prefixes: tuple[str, ...]) -> None:
        """Set the prefixes that references may begin with."""
        self._sources = set(prefixes)

    def finish(self, *, recipe: Mapping[str, Any] | None = None, storage: Mapping[str, Any] | None = None) -> Seal:
        """Link what did not change, write metadata and seal.

        Parameters
        ----------
        recipe, storage
            New values; None keeps the base's.

        Returns
        -------
        Seal
            What was written.

        Raises
        ------
        DamagedError
            A file to be kept is not what its seal says.
        """
        self._put(ZMETADATA, zmetadata_bytes(self._documents, self.sealed.record_size))
        seal = Seal(
            layout=self.seal.layout,
            record_size=self.seal.record_size,
            sources=tuple(sorted(self._sources)),
            recipe=self.seal.recipe if recipe is None else recipe,
            storage=self.seal.storage if storage is None else storage,
            versions=library_versions(),
            files=self._files,
            records=self._records,
            previous=(*self.seal.previous, self.sealed.digest),
        )
        self._link({name: sealed for name, sealed in seal.all_files().items() if name not in self._written})
        data = seal.to_bytes()
        write_new(self.directory / SEAL, data)
        before = self.seal.recipe.get("merged", ())
        merged = [entry["sha256"] for entry in seal.recipe.get("merged", ()) if entry not in before]
        note_written(FileHash.of(data).sha256, bases=[self.sealed.digest, *merged])
        return seal

    def _link(self, kept: Mapping[str, FileHash]) -> None:
        """Check files of the base, some at a time, and take them over."""
        make_directories((self.directory / name).parent for name in kept)

        def take(name: str) -> None:
            kept[name].check(self.sealed.files.read(name, kept[name].size), str(self.base / name))
            _link(self.base / name, self.directory / name)

        with ThreadPoolExecutor(WRITERS, thread_name_prefix="rasteret-refs-link") as pool:
            for _ in pool.map(take, kept):
                pass

    def _merge_metadata(self, groups: tuple[VirtualGroup, ...]) -> None:
        """Take over the plan's documents; groups above them, which a plan may leave out, are those of the base."""
        for group in groups:
            _check_continues(group, self._documents)
        self._documents |= hierarchy_metadata(_with_parents(groups, self._documents))

    def _write_tail(self, change: "_Change") -> list[FileHash]:
        """Write the record files from the change's first chunk on, for all arrays that have them."""
        size = self.sealed.record_size
        first, filled = divmod(change.start, size)
        sealed = []
        for number, table in record_tables(change.manifest, size, change.start):
            rows = table
            if number == first and filled:
                head = self.sealed.table(change.paths[0], first).slice(0, filled)
                if len(head) != filled:
                    raise RefsetError(
                        f"array {change.paths[0]}: expected {change.start} references to append to, got fewer"
                    )
                rows = pa.concat_tables([head, table]).unify_dictionaries().combine_chunks()
            data = record_bytes(rows)
            found = FileHash.of(data)
            for path in change.paths:
                if self._sealed_record(path, number) != found:
                    self._write(record_name(path, number), data)
            sealed.append(found)
        return sealed

    def _sealed_record(self, path: str, number: int) -> FileHash | None:
        """What the base has as this record file: the same bytes are linked, not written."""
        return dict(enumerate(self.seal.records.get(path, ()))).get(number)

    def _write_record(self, path: str, number: int, table: pa.Table) -> FileHash:
        data = record_bytes(table)
        self._write(record_name(path, number), data)
        return FileHash.of(data)

    def _write(self, name: str, data: Any) -> None:
        (self.directory / name).parent.mkdir(parents=True, exist_ok=True)
        write_new(self.directory / name, data)
        self._written.add(name)

    def _put(self, name: str, data: Any) -> None:
        self._write(name, data)
        self._files[name] = FileHash.of(data)


def append(
    base: Path,
    directory: Path,
    plan: ReferenceSetPlan,
    *,
    scenes: pa.Table,
    failures: pa.Table | None = None,
    recipe: Mapping[str, Any] | None = None,
    storage: Mapping[str, Any] | None = None,
) -> Seal:
    """Write a set with the plan's rows appended.

    Parameters
    ----------
    base, directory
        As for `Successor`.
    plan
        Made with `existing=`.
    scenes
        The whole new scene table (`geoparquet.concatenated`).
    failures
        The whole new table of failures; None keeps the base's.
    recipe, storage
        New values; None keeps the base's.

    Raises
    ------
    RefsetError
        As `Successor.append` says.
    """
    successor = Successor(base, directory)
    successor.append(plan)
    successor.replace_table(SCENES, scenes)
    if failures is not None and (len(failures) or FAILURES in successor.seal.files):
        successor.replace_table(FAILURES, failures)
    seal = successor.finish(recipe=recipe, storage=storage)
    read_back(directory, plan, seal.record_size)
    return seal


def _changes(groups: tuple[VirtualGroup, ...]) -> Iterator[tuple[str, ChunkManifest, int]]:
    """Give path, references and first chunk of each array and coordinate of a plan."""
    made: dict[int, ChunkManifest] = {}
    for group in groups:
        for array in group.arrays:
            start = array.start * chunk_count(array.shape[1:], array.chunks[1:])
            yield array_path(group.path, array.name), array.manifest, start
        for coordinate in group.coordinates:
            manifest = made.get(id(coordinate))  # resolutions share the coordinates of their scenes
            if manifest is None:
                manifest = made[id(coordinate)] = coordinate_manifest(coordinate)
            yield array_path(group.path, coordinate.name), manifest, 0


def _with_parents(groups: tuple[VirtualGroup, ...], documents: Mapping[str, Any]) -> list[VirtualGroup]:
    """Return the groups with those of the base above them that the plan leaves out."""
    planned = {group.path for group in groups}
    complete: list[VirtualGroup] = []
    for group in groups:
        parts = group.path.split("/") if group.path else []
        above = ["", *("/".join(parts[:depth]) for depth in range(1, len(parts)))] if parts else []
        for path in above:
            key = f"{path}/.zgroup" if path else ".zgroup"
            if path not in planned and key in documents:
                planned.add(path)
                attributes = documents.get(f"{path}/.zattrs" if path else ".zattrs", {})
                complete.append(VirtualGroup(path=path, attributes=attributes))
        complete.append(group)
    return complete


def _check_continues(group: VirtualGroup, documents: Mapping[str, Any]) -> None:
    """Refuse arrays that would give stored references another meaning, or drop some.

    Coordinates are written whole and may change.
    """
    for array in group.arrays:
        path = array_path(group.path, array.name)
        old = documents.get(f"{path}/.zarray")
        rows = 0 if old is None else old["shape"][0]
        if array.start != rows:
            raise RefsetError(f"array {path}: expected new references from row {rows} on, got them from {array.start}")
        if old is None:
            continue
        new = array_metadata(array)
        if old["shape"][1:] != new["shape"][1:]:
            raise RefsetError(f"array {path}: expected rows of shape {old['shape'][1:]}, got {new['shape'][1:]}")
        changed = [name for name in ("dtype", "chunks", "filters", "compressor") if old[name] != new[name]]
        if changed:
            raise RefsetError(f"array {path}: expected the chunks and codecs that are there, got another {changed[0]}")


def _link(old: Path, new: Path) -> None:
    """Give a file a second name, or copy it where the file system has no hard links."""
    try:
        os.link(old, new)
    except OSError:
        shutil.copyfile(old, new)
