"""Scenes to a published reference set: scan, plan, write into staging, publish."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rasteret_refs.build.footprint import footprints
from rasteret_refs.build.scan import OnError, ScannedScene, scan
from rasteret_refs.build.scene import Scene, SceneFailure
from rasteret_refs.errors import BuildError, ObjectError, RasteretRefsError, SourceError, UnsupportedTiffError
from rasteret_refs.objects.blocking import run
from rasteret_refs.objects.client import Objects
from rasteret_refs.virtual.values import PlannedScene, ReferenceSetPlan

type Axis = Literal["time", "scene"]
type Layout = Literal["auto", "grids", "stack"]
type Progress = Callable[[str, int, int | None], None]
"""Called with the phase (`scan`, `plan`, `write`), how much of it is done, and the total where it is known."""

_SHOWN = 3


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

    def as_json(self) -> dict[str, Any]:
        """Return JSON values for programs."""
        return {
            "out": str(self.out),
            "scenes": self.scenes,
            "assets": self.assets,
            "failures": len(self.failures),
            "requests": self.requests,
            "bytes": self.bytes,
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
    tolerance: float = 0.0,
    columns: Sequence[str] = (),
    on_error: OnError = "raise",
    overwrite: bool = False,
    recipe: Mapping[str, Any] | None = None,
    refusals: Callable[[], Sequence[SceneFailure]] = tuple,
    progress: Progress | None = None,
    objects: Objects | None = None,
) -> BuildReport:
    """Build a reference set and publish it in one step.

    Parameters
    ----------
    scenes
        Scenes with unique ids.
    out
        Directory to create, `NAME.refs`.
    storage
        Prefix → storage options, for reading.
    storage_hints
        What of `storage` is recorded: without secrets.
    layout, axis, tolerance
        As in `virtual.planner.plan`.
    columns
        Names of scene properties that become Zarr coordinates (split, label).
    on_error
        ``"raise"``: the first asset that cannot be referenced ends the build; ``"skip"``: it becomes a failure.
    overwrite
        Replace an existing set, atomically.
    recipe
        How the scenes were found; recorded.
    refusals
        Gives, after iteration, the scenes that the source itself refused.
    progress
        Called now and then.
    objects
        Client to read with; None: a new one with `storage`.

    Raises
    ------
    ExistsError
        The output exists and `overwrite` is not set. Nothing is requested then.
    BuildError
        No scene is left.
    TiffError, ObjectError, LayoutError, SourceError
        With ``on_error="raise"``, of the first scene that fails.
    """
    from rasteret_refs.refset.publish import staged

    began = time.monotonic()
    objects = objects or Objects(storage)
    with staged(Path(out), overwrite=overwrite) as directory:
        scanned, failures = run(_scan(scenes, objects, axis, on_error, progress))
        failures = [*refusals(), *failures]
        if not scanned:
            raise BuildError(_nothing_left(failures))
        if progress is not None:
            progress("plan", 0, len(scanned))
        plan, scanned, refused = _plan(
            scanned, layout=layout, axis=axis, tolerance=tolerance, columns=columns, on_error=on_error
        )
        failures += refused
        if not scanned:
            raise BuildError(_nothing_left(failures))
        if progress is not None:
            progress("write", 0, len(scanned))
        _write(plan, scanned, failures, directory, recipe=recipe, storage_hints=storage_hints)
    return BuildReport(
        out=Path(out),
        scenes=len(scanned),
        assets=sum(len(entry.assets) for entry in scanned),
        failures=tuple(failures),
        requests=objects.traffic.requests,
        bytes=objects.traffic.bytes,
        seconds=time.monotonic() - began,
        layout=plan.layout,
    )


async def _scan(
    scenes: Iterable[Scene], objects: Objects, axis: Axis, on_error: OnError, progress: Progress | None
) -> tuple[list[ScannedScene], list[SceneFailure]]:
    """Scan all scenes; return those with at least one asset in the order of the scene axis, and the failures."""
    total = len(scenes) if isinstance(scenes, (list, tuple)) else getattr(scenes, "total", None)
    results: list[ScannedScene] = []
    async for result in scan(scenes, objects, on_error=on_error):
        results.append(result)
        if progress is not None:
            progress("scan", len(results), total)
    # Results come as the network pleases; the set must not depend on it.
    results.sort(key=lambda result: result.position)
    failures = [failure for result in results for failure in result.failures]
    usable: list[ScannedScene] = []
    for result in results:
        if axis == "time" and _time(result.scene) is None:
            error = SourceError(f"scene {result.scene.id!r}: expected a datetime or start_datetime, got neither")
            if on_error == "raise":
                raise error
            failures.append(SceneFailure(scene=result.scene.id, asset=None, url=None, phase="plan", error=error))
        elif result.assets:
            usable.append(result)
    return usable, failures


def _plan(
    scanned: list[ScannedScene],
    *,
    layout: Layout,
    axis: Axis,
    tolerance: float,
    columns: Sequence[str],
    on_error: OnError,
) -> tuple[ReferenceSetPlan, list[ScannedScene], list[SceneFailure]]:
    """Plan, and drop the scenes of which nothing could be planned."""
    from rasteret_refs.virtual.planner import plan

    planned = [
        PlannedScene(
            id=entry.scene.id, assets=entry.assets, time=_time(entry.scene) if axis == "time" else None
        )
        for entry in scanned
    ]  # fmt: skip
    scene_columns: dict[str, Any] = {name: [entry.scene.properties.get(name) for entry in scanned] for name in columns}
    found = plan(planned, layout=layout, axis=axis, tolerance=tolerance, scene_columns=scene_columns)
    failures: list[SceneFailure] = []
    urls = {(entry.scene.id, asset.name): asset.url for entry in scanned for asset in entry.assets}
    for scene, name, reason in found.refused:
        url = urls.get((scene, name))
        error = UnsupportedTiffError(f"{url or scene}: {reason}")
        if on_error == "raise":
            raise error
        failures.append(SceneFailure(scene=scene, asset=name, url=url, phase="plan", error=error))
    placed = {placement.scene_id for placement in found.placements}
    return found, [entry for entry in scanned if entry.scene.id in placed], failures


def _write(
    plan: ReferenceSetPlan,
    scanned: list[ScannedScene],
    failures: list[SceneFailure],
    directory: Path,
    *,
    recipe: Mapping[str, Any] | None,
    storage_hints: Mapping[str, Any] | None,
) -> None:
    from rasteret_refs.refset.geoparquet import failure_table, scene_table
    from rasteret_refs.refset.write import write_reference_set

    order = {placement.scene_id: placement.index for placement in plan.placements}
    without = [entry for entry in scanned if entry.scene.geometry is None]
    found = dict(zip([entry.scene.id for entry in without], footprints([e.assets for e in without]), strict=True))
    records = [_record(entry, entry.scene.geometry or found[entry.scene.id]) for entry in scanned]
    records.sort(key=lambda record: (order[record["id"]], record["id"]))
    write_reference_set(
        plan,
        directory,
        scenes=scene_table(records, placements=plan.placements),
        failures=failure_table([failure_row(failure) for failure in failures]) if failures else None,
        recipe=recipe,
        storage=storage_hints,
    )


def _record(entry: ScannedScene, geometry: bytes | None) -> dict[str, Any]:
    """One scene as `scene_table` wants it."""
    scene = entry.scene
    stac = {asset.name: asset.properties for asset in scene.assets}
    return {
        "id": scene.id,
        "datetime": scene.datetime,
        "start_datetime": scene.start_datetime,
        "end_datetime": scene.end_datetime,
        "geometry": geometry,
        "collection": scene.collection,
        "properties": scene.properties,
        "assets": {
            asset.name: {
                "href": asset.url,
                "size": asset.size,
                "etag": asset.etag,
                "last_modified": asset.last_modified,
                "properties": stac.get(asset.name, {}),
            }
            for asset in entry.assets
        },
    }


def failure_row(failure: SceneFailure) -> dict[str, Any]:
    """One row of `failures.parquet`."""
    return {
        "url": failure.url,
        "scene": failure.scene,
        "asset": failure.asset,
        "phase": failure.phase,
        "error": type(failure.error).__name__,
        "message": str(failure.error),
        "attempts": failure.attempts,
    }


def _time(scene: Scene) -> np.datetime64 | None:
    """The scene's place in time: `datetime`, else `start_datetime` (STAC allows a null `datetime` only then)."""
    moment = scene.datetime or scene.start_datetime
    return None if moment is None else np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us")


def _nothing_left(failures: Sequence[SceneFailure]) -> str:
    errors: list[RasteretRefsError | ObjectError] = [failure.error for failure in failures]
    if not errors:
        return "expected at least one scene, got none"
    shown = "; ".join(f"{type(error).__name__}: {error}" for error in errors[:_SHOWN])
    more = f"; and {len(errors) - _SHOWN} more" if len(errors) > _SHOWN else ""
    return f"expected at least one asset that can be referenced, got none of {len(errors)}: {shown}{more}"
