"""Scenes to a published reference set: scan, plan, write into staging, publish."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rasteret_refs.build.duplicates import DUPLICATE_OF
from rasteret_refs.build.journal import journaled
from rasteret_refs.build.memory import give_back
from rasteret_refs.build.scan import OnError
from rasteret_refs.build.scene import Scene, SceneFailure
from rasteret_refs.build.steps import (
    Axis,
    Layout,
    Progress,
    Scanned,
    distinct,
    failure_rows,
    plan_scenes,
    require_properties,
    require_scenes,
    scanned,
    scene_rows,
)
from rasteret_refs.objects.client import Objects

__all__ = ["Axis", "BuildReport", "Layout", "Progress", "build"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildReport:
    """What a build did."""

    out: Path
    scenes: int
    """Scenes in the set."""
    assets: int
    """Assets that the set refers to."""
    failures: tuple[SceneFailure, ...]
    """What could not be referenced: the rows of `failures.parquet`."""
    requests: int
    """Requests for headers, repeated ones included."""
    bytes: int
    """Bytes of headers."""
    seconds: float
    layout: str
    """`grids` or `stack`."""
    repeated: int = 0
    """Scenes that came again with the same id and objects, and stand in the set once."""
    duplicates: int = 0
    """Scenes whose id another scene had: kept under an id of their own, marked in `refs:duplicate_of`."""
    resumed: int = 0
    """Headers taken from the journal of a build that was stopped."""

    def as_json(self) -> dict[str, Any]:
        """Return JSON values for programs."""
        return {
            "out": str(self.out),
            "scenes": self.scenes,
            "assets": self.assets,
            "failures": len(self.failures),
            "repeated": self.repeated,
            "duplicates": self.duplicates,
            "requests": self.requests,
            "bytes": self.bytes,
            "resumed": self.resumed,
            "seconds": round(self.seconds, 3),
            "layout": self.layout,
        }


def build(
    scenes: Iterable[Scene],
    out: Path | str,
    *,
    storage: Mapping[str, Any] | None = None,
    storage_hints: Mapping[str, Any] | None = None,
    layout: Layout = "auto",
    axis: Axis = "time",
    tolerance: float | None = None,
    coordinates: Sequence[str] = (),
    on_error: OnError = "raise",
    overwrite: bool = False,
    resume: bool = False,
    recipe: Mapping[str, Any] | None = None,
    refusals: Callable[[], Sequence[SceneFailure]] = tuple,
    progress: Progress | None = None,
    objects: Objects | None = None,
    executor: Any = None,
) -> BuildReport:
    """Build a reference set and publish it in one step.

    Parameters
    ----------
    scenes
        Scenes; where several have one id, see `duplicates.told_apart`.
    out
        Directory to create, `NAME.refs`.
    storage
        Prefix → storage options, for reading.
    storage_hints
        What of `storage` is recorded: without secrets.
    layout, axis, tolerance
        As in `virtual.planner.plan`.
    coordinates
        Names of scene properties that become Zarr coordinates (split, label).
    on_error
        ``"raise"``: the first asset that cannot be referenced ends the build; ``"skip"``: it becomes a failure.
    overwrite
        Replace an existing set, atomically.
    resume
        Take over the headers that a stopped build of this output fetched (its journal lies hidden beside the output;
        without this it is thrown away). The set is what an uninterrupted build makes.
    recipe
        How the scenes were found; recorded.
    refusals
        Gives, after iteration, the scenes that the source itself refused.
    progress
        Called now and then.
    objects
        Client to read with; None: a new one with `storage`.
    executor
        Where headers are read besides this process, see `executors.opened_executor`. The set is the same.

    Raises
    ------
    ExistsError
        The output exists and `overwrite` is not set. Nothing is requested then.
    BuildError
        No scene is left, no scene has a property of `coordinates`, or the executor failed.
    TiffError, ObjectError, LayoutError, SourceError
        With ``on_error="raise"``, of the first scene that fails.
    """
    from rasteret_refs.refset.publish import staged
    from rasteret_refs.refset.write import write_reference_set

    began = time.monotonic()
    out = Path(out)
    objects = objects or Objects(storage)
    with staged(out, overwrite=overwrite) as directory, journaled(out, resume=resume) as journal:
        found = scanned(
            scenes, objects, axis=axis, on_error=on_error, progress=progress, journal=journal, executor=executor
        )
        found.failures = [*refusals(), *found.failures]
        repeated = distinct(found)
        require_scenes(found)
        require_properties(found, coordinates)
        _tell(progress, "plan", found)
        plan = plan_scenes(
            found, axis=axis, coordinates=coordinates, on_error=on_error, layout=layout, tolerance=tolerance
        )
        _tell(progress, "write", found)
        table = scene_rows(found, plan)
        counts = {
            "scenes": table.num_rows,
            "assets": sum(len(entry.assets) for entry in found.scenes),
            "repeated": len(repeated),
            "duplicates": sum(DUPLICATE_OF in entry.scene.properties for entry in found.scenes),
            "resumed": journal.used,
        }
        found.scenes.clear()  # the plan holds all offsets again, and writing takes memory too
        give_back()
        write_reference_set(
            plan,
            directory,
            scenes=table,
            failures=failure_rows(found.failures),
            recipe=with_coordinates(recipe, coordinates),
            storage=storage_hints,
        )
    return BuildReport(
        out=out,
        failures=tuple(found.failures),
        requests=objects.traffic.requests,
        bytes=objects.traffic.bytes,
        seconds=time.monotonic() - began,
        layout=plan.layout,
        **counts,
    )


def _tell(progress: Progress | None, phase: str, found: Scanned) -> None:
    if progress is not None:
        progress(phase, 0, len(found.scenes))


def with_coordinates(recipe: Mapping[str, Any] | None, coordinates: Sequence[str]) -> dict[str, Any]:
    """Record which properties are coordinates, so that scenes that are appended have them too."""
    recorded = dict(recipe or {})
    if coordinates:
        recorded["coordinates"] = list(coordinates)
    return recorded
