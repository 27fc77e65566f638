"""Write a plan and its tables as a sealed reference set into a directory (a staging one: `publish.staged`)."""

import importlib.metadata
from collections.abc import Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from rasteret_refs.errors import RefsetError
from rasteret_refs.refset.geoparquet import failures_bytes, scenes_bytes
from rasteret_refs.refset.layout import FAILURES, SCENES, SEAL, TILES, ZMETADATA, array_path, record_name
from rasteret_refs.refset.manifest import check_manifest, record_bytes, record_size_for, record_tables
from rasteret_refs.refset.metadata import coordinate_manifest, hierarchy_metadata, zmetadata_bytes
from rasteret_refs.refset.readback import read_back
from rasteret_refs.refset.seal import FileHash, Seal, source_prefixes
from rasteret_refs.refset.secrets import refuse_secrets
from rasteret_refs.refset.trust import note_written, was_written_here
from rasteret_refs.virtual.values import ChunkManifest, ReferenceSetPlan

LIBRARIES: Final = ("rasteret-refs", "zarr", "numcodecs", "imagecodecs", "pyarrow")
"""Distributions whose versions the seal records: those that decide what the bytes of a set are and mean."""

WRITERS: Final = 4
"""Threads that encode and write record files: no more, for each holds one file's table."""


def write_reference_set(
    plan: ReferenceSetPlan,
    directory: Path,
    *,
    scenes: pa.Table,
    failures: pa.Table | None = None,
    recipe: Mapping[str, Any] | None = None,
    storage: Mapping[str, Any] | None = None,
    sources: tuple[str, ...] | None = None,
    tiles: pa.Table | None = None,
    record_size: int | None = None,
    based_on: Sequence[str] = (),
) -> Seal:
    """Write a reference set: manifests, metadata, tables, and last the seal.

    The same arguments give the same bytes: nothing of the clock, the machine or the directory is recorded.

    Parameters
    ----------
    plan
        Groups, arrays and references.
    directory
        Existing, empty directory.
    scenes
        As `geoparquet.scene_table` builds it.
    failures
        Columns as `geoparquet.FAILURES_SCHEMA`; None or empty: no such file.
    recipe
        How the set was built; JSON values without secrets.
    storage
        Prefix → storage hints without secrets.
    sources
        Prefixes that references may begin with; None: taken from the references (scheme and host, or directory).
    tiles
        Labels by tile.
    record_size
        References a record file; None: chosen by the number of references.
    based_on
        Hashes of the seals of the sets that references were taken over from. What a stranger's set names stays
        foreign, see `trust`.

    Returns
    -------
    Seal
        What was written.

    Raises
    ------
    RefsetError
        A plan that some reader would misread, a secret in a URL, a directory that is not empty.
    """
    if any(directory.iterdir()):
        raise RefsetError(f"{directory}: expected an empty directory to write into, got one with files")
    documents = hierarchy_metadata(plan.groups)
    manifests = dict(_manifests(plan))
    size = record_size or record_size_for(
        [len(manifest) for manifest in manifests.values()], stacked=plan.layout == "stack"
    )
    urls = _urls(manifests)
    records = _write_manifests(directory, manifests, size)
    contents: dict[str, Any] = {SCENES: scenes_bytes(scenes)}
    if tiles is not None:
        contents[TILES] = scenes_bytes(tiles)
    if failures is not None and len(failures):
        contents[FAILURES] = failures_bytes(failures)
    contents[ZMETADATA] = zmetadata_bytes(documents, size)
    (directory / ZMETADATA).parent.mkdir(exist_ok=True)
    for name, data in contents.items():
        write_new(directory / name, data)
    read_back(directory, plan, size)
    seal = Seal(
        layout=plan.layout,
        record_size=size,
        sources=source_prefixes(urls) if sources is None else tuple(sorted(sources)),
        recipe=recipe or {},
        storage=storage or {},
        versions=library_versions(),
        files={name: FileHash.of(data) for name, data in contents.items()},
        records=records,
    )
    data = seal.to_bytes()
    write_new(directory / SEAL, data)
    if all(map(was_written_here, based_on)):
        note_written(FileHash.of(data).sha256)
    return seal


def _manifests(plan: ReferenceSetPlan) -> Iterator[tuple[str, ChunkManifest]]:
    """Give each array's and coordinate's path and references, checked; equal coordinates have one manifest."""
    made: dict[int, ChunkManifest] = {}
    for group in plan.groups:
        for array in group.arrays:
            path = array_path(group.path, array.name)
            check_manifest(array.manifest, f"array {path}")
            yield path, array.manifest
        for coordinate in group.coordinates:
            path = array_path(group.path, coordinate.name)
            manifest = made.get(id(coordinate))  # resolutions share the coordinates of their scenes
            if manifest is None:
                manifest = made[id(coordinate)] = coordinate_manifest(coordinate)
                check_manifest(manifest, f"coordinate {path}")
            yield path, manifest


def _urls(manifests: Mapping[str, ChunkManifest]) -> set[str]:
    """Return all distinct URLs, free of secrets."""
    seen: set[str] = set()
    for path, manifest in manifests.items():
        new = set(manifest.urls) - seen
        refuse_secrets(sorted(new), f"array {path}")
        seen |= new
    return seen


def _write_manifests(
    directory: Path, manifests: Mapping[str, ChunkManifest], record_size: int
) -> dict[str, tuple[FileHash, ...]]:
    """Write the record files of all arrays, some at a time: encoding, hashing and the file system wait for nobody."""
    parents = {parent for path in manifests for parent in (directory / record_name(path, 0)).parent.parents}
    for parent in sorted(parent for parent in parents if directory in parent.parents):
        parent.mkdir(exist_ok=True)
    # Many small arrays are equal (`spatial_ref`, the coordinates of each resolution): each is encoded once.
    paths: dict[Hashable, list[str]] = {}
    for path, manifest in manifests.items():
        paths.setdefault(identity(manifest), []).append(path)
    with ThreadPoolExecutor(WRITERS, thread_name_prefix="rasteret-refs-write") as pool:
        sealed = pool.map(
            lambda alike: _write_records(directory, alike, manifests[alike[0]], record_size), paths.values()
        )
        by_path = {path: files for alike, files in zip(paths.values(), sealed, strict=True) for path in alike}
    return {path: by_path[path] for path in manifests}


def identity(manifest: ChunkManifest) -> Hashable:
    """Return what is equal for equal manifests: their contents where all is inlined, else the manifest itself."""
    if manifest.urls or manifest.inline is None:
        return id(manifest)
    return (tuple(manifest.inlined), manifest.inline.tobytes())


def _write_records(
    directory: Path, paths: Sequence[str], manifest: ChunkManifest, record_size: int
) -> tuple[FileHash, ...]:
    """Write the record files of arrays that have one manifest."""
    sealed = []
    for path in paths:
        (directory / record_name(path, 0)).parent.mkdir(exist_ok=True)
    for number, table in record_tables(manifest, record_size):
        data = record_bytes(table)
        for path in paths:
            write_new(directory / record_name(path, number), data)
        sealed.append(FileHash.of(data))
        if number:  # a large array: Arrow would keep what each file took
            pa.default_memory_pool().release_unused()
    return tuple(sealed)


def write_new(path: Path, data: Any) -> None:
    """Write a file that must not exist: on a file system that ignores case, `Red` and `red` would be one."""
    try:
        with path.open("xb") as file:
            file.write(data)
    except FileExistsError as error:
        raise RefsetError(f"{path.name}: expected a name of its own, got one that {path} already has") from error
    except OSError as error:
        raise RefsetError(f"{path}: expected {memoryview(data).nbytes} bytes to be written, got: {error}") from error


def library_versions() -> dict[str, str]:
    """Return the versions of `LIBRARIES` as they are installed."""
    return {name: importlib.metadata.version(name) for name in LIBRARIES}
