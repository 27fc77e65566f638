"""New scenes into a set that stands: scan, plan against what is there, write the tail, publish."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from rasteret_refs.build.duplicates import DUPLICATE_OF
from rasteret_refs.build.journal import Journal, journaled
from rasteret_refs.build.known import KnownScenes
from rasteret_refs.build.scan import OnError
from rasteret_refs.build.scene import Scene, SceneFailure
from rasteret_refs.build.steps import Progress, Scanned, distinct, failure_rows, plan_scenes, scanned, scene_rows
from rasteret_refs.build.stored import StoredScenes
from rasteret_refs.errors import BuildError
from rasteret_refs.objects.client import Objects

if TYPE_CHECKING:
    from rasteret_refs.refset.seal import Seal
    from rasteret_refs.refset.sealed import SealedSet


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendReport:
    """What an append did."""

    out: Path
    scenes: int
    """Scenes in the set now, dropped ones included."""
    appended: tuple[str, ...]
    """Ids of the new scenes, in the order in which they came."""
    late: tuple[str, ...]
    """Those of them that are older than the newest scene that the set had."""
    replaced: tuple[str, ...]
    """Those of them whose id the set had already, with other objects: kept as `<id>~2`, with `refs:duplicate_of`."""
    known: int
    """Scenes that the set had already."""
    failures: tuple[SceneFailure, ...]
    requests: int
    bytes: int
    """Bytes of headers that were fetched."""
    rewritten: int
    """Bytes of the set's files that were written; all others are the files that were there."""
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Return JSON values for programs."""
        return {
            "out": str(self.out),
            "scenes": self.scenes,
            "appended": len(self.appended),
            "late": list(self.late),
            "replaced": list(self.replaced),
            "known": self.known,
            "failures": len(self.failures),
            "requests": self.requests,
            "bytes": self.bytes,
            "rewritten": self.rewritten,
            "seconds": round(self.seconds, 3),
        }


@dataclass(slots=True, kw_only=True)
class _Work:
    """An append under way."""

    base: Path
    known: KnownScenes
    found: Scanned = field(default_factory=lambda: Scanned(scenes=[], failures=[]))
    repeated: int = 0
    rows: int = 0
    rewritten: int = 0


class _NothingNewError(BuildError):
    """The set has all scenes already; the staging directory is thrown away."""


def append(
    scenes: Iterable[Scene],
    base: Path | str,
    *,
    storage: Mapping[str, Any] | None = None,
    storage_hints: Mapping[str, Any] | None = None,
    on_error: OnError = "raise",
    resume: bool = False,
    recipe: Mapping[str, Any] | None = None,
    refusals: Callable[[], Sequence[SceneFailure]] = tuple,
    progress: Progress | None = None,
    objects: Objects | None = None,
    stored: StoredScenes | None = None,
    executor: Any = None,
) -> AppendReport:
    """Append scenes to a reference set and publish the result in one step.

    Layout, axis and tolerance are the set's. No scene of the set changes its place, so readers that have it open go
    on. Scenes that it has (also as dropped ones) are left out; where there is nothing new, nothing is written.

    Parameters
    ----------
    scenes
        May hold scenes of the set.
    base
        The set, a local directory.
    storage
        Prefix → storage options, for reading.
    storage_hints
        What of `storage` is recorded, besides what the set records: without secrets.
    on_error
        ``"raise"``: the first asset that cannot be referenced ends the append, and the set stays as it was;
        ``"skip"``: it becomes a failure.
    resume
        Take over the headers that a stopped append to this set fetched.
    recipe
        The whole recipe to record; None: the set's stays.
    refusals
        Gives, after iteration, the scenes that the source itself refused.
    progress
        Called now and then.
    objects
        Client to read with; None: a new one with `storage`.
    stored
        References of the scenes, where they come from another set: then no header is read.
    executor
        Where headers are read besides this process, see `executors.opened_executor`. The set is the same.

    Raises
    ------
    NotFoundError, DamagedError, FormatVersionError
        The set is none, or is damaged.
    BuildError
        None of the new scenes can be referenced, or the executor failed.
    TiffError, ObjectError, LayoutError, SourceError
        With ``on_error="raise"``, of the first scene that fails.
    """
    from rasteret_refs.refset.files import LocalFiles
    from rasteret_refs.refset.publish import staged
    from rasteret_refs.refset.sealed import SealedSet

    began = time.monotonic()
    base = Path(base)
    SealedSet.open(LocalFiles(str(base)))  # a missing set is told before a lock beside it is made
    objects = objects or Objects(storage)
    work: _Work | None = None
    try:
        with (
            staged(base, overwrite=True) as directory,
            journaled(base, resume=resume, done=_NothingNewError) as journal,
        ):
            sealed = SealedSet.open(LocalFiles(str(base)))
            work = _Work(base=base, known=KnownScenes(_scenes(sealed, base)))
            _scan(
                work,
                scenes=scenes,
                objects=objects,
                sealed=sealed,
                on_error=on_error,
                progress=progress,
                journal=journal,
                refusals=refusals,
                stored=stored,
                executor=executor,
            )
            _write(
                work,
                sealed=sealed,
                directory=directory,
                on_error=on_error,
                progress=progress,
                recipe=recipe,
                storage_hints=storage_hints,
                stored=stored,
            )
    except _NothingNewError:
        if work is None:
            raise
    return _report(work, objects, time.monotonic() - began)


def _report(work: _Work, objects: Objects, seconds: float) -> AppendReport:
    new = [entry.scene for entry in work.found.scenes]
    replaced = [scene for scene in new if scene.properties.get(DUPLICATE_OF) in work.known.ids]
    return AppendReport(
        out=work.base,
        scenes=len(work.known.ids) + len(new),
        appended=tuple(scene.id for scene in new),
        late=tuple(scene.id for scene in new if work.known.is_late(scene)),
        replaced=tuple(scene.id for scene in replaced),
        known=work.known.skipped + work.repeated,
        failures=tuple(work.found.failures),
        requests=objects.traffic.requests,
        bytes=objects.traffic.bytes,
        rewritten=work.rewritten,
        seconds=seconds,
    )


def _scan(
    work: _Work,
    *,
    scenes: Iterable[Scene],
    objects: Objects,
    sealed: "SealedSet",
    on_error: OnError,
    progress: Progress | None,
    journal: Journal,
    refusals: Callable[[], Sequence[SceneFailure]],
    stored: StoredScenes | None,
    executor: Any,
) -> None:
    from rasteret_refs.virtual.existing import MARK

    axis = sealed.documents[".zattrs"][MARK]["axis"]
    unknown = work.known.unknown(scenes)
    if stored is not None:
        found = stored.scanned(unknown)
    else:
        how = {"axis": axis, "on_error": on_error, "progress": progress, "journal": journal, "executor": executor}
        found = scanned(unknown, objects, **how)
    found.failures = [*refusals(), *found.failures]
    new = [entry for entry in found.scenes if not work.known.holds(entry)]
    work.repeated = len(found.scenes) - len(new)
    found.scenes = new
    work.repeated += len(distinct(found, work.known.ids))
    work.found = found


def _write(
    work: _Work,
    *,
    sealed: "SealedSet",
    directory: Path,
    on_error: OnError,
    progress: Progress | None,
    recipe: Mapping[str, Any] | None,
    storage_hints: Mapping[str, Any] | None,
    stored: StoredScenes | None,
) -> None:
    from rasteret_refs.refset.append import joined
    from rasteret_refs.refset.coordinates import stored_values
    from rasteret_refs.refset.successor import append as write_successor
    from rasteret_refs.virtual.existing import existing_layout

    found = work.found
    if not found.scenes:
        raise _NothingNewError(f"{work.base}: expected new scenes, got none")
    if progress is not None:
        progress("plan", 0, len(found.scenes))
    existing = existing_layout(sealed.documents, lambda path: stored_values(sealed, path))
    names = [
        name
        for name in sealed.seal.recipe.get("coordinates", ())
        if any(entry.scene.properties.get(name) is not None for entry in found.scenes)
    ]
    plan = plan_scenes(
        found, axis="time" if existing.axis == "time" else "scene", coordinates=names, on_error=on_error,
        existing=existing, teach=None if stored is None else stored.teach,
    )  # fmt: skip
    if progress is not None:
        progress("write", 0, len(found.scenes))
    seal = write_successor(
        work.base,
        directory,
        plan,
        scenes=joined(_scenes(sealed, work.base), scene_rows(found, plan)),
        failures=_failures(sealed, work),
        recipe=recipe,
        storage=None if not storage_hints else {**sealed.seal.storage, **storage_hints},
    )
    work.rewritten = rewritten_bytes(directory, sealed.seal, seal)


def rewritten_bytes(directory: Path, before: "Seal", after: "Seal") -> int:
    """Return how many bytes of a set's files are not those of its earlier state, the seal included."""
    from rasteret_refs.refset.layout import SEAL

    old = before.all_files()
    changed = [name for name, sealed in after.all_files().items() if old.get(name) != sealed]
    return sum((directory / name).stat().st_size for name in [*changed, SEAL])


def _scenes(sealed: "SealedSet", base: Path) -> pa.Table:
    from rasteret_refs.refset.geoparquet import read_table
    from rasteret_refs.refset.layout import SCENES

    return read_table(pa.BufferReader(sealed.read(SCENES)), str(base / SCENES))


def _failures(sealed: "SealedSet", work: _Work) -> pa.Table | None:
    """The failures that still hold: old ones unless their object was referenced or failed again, and the new ones."""
    from rasteret_refs.refset.geoparquet import FAILURES_SCHEMA, read_table
    from rasteret_refs.refset.layout import FAILURES

    new = failure_rows(work.found.failures)
    if not sealed.has(FAILURES):
        return new
    table = read_table(pa.BufferReader(sealed.read(FAILURES)), str(work.base / FAILURES))
    seen = {asset.url for entry in work.found.scenes for asset in entry.assets}
    seen |= {failure.url for failure in work.found.failures if failure.url is not None}
    kept = table.filter(pa.array([url not in seen for url in table["url"].to_pylist()], pa.bool_()))
    return pa.concat_tables([kept, (new or FAILURES_SCHEMA.empty_table()).cast(kept.schema)])
