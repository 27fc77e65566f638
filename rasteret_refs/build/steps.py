"""The steps that building and appending share: scan, give every scene its id and place in time, plan, make rows."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import UTC
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from rasteret_refs.build.duplicates import told_apart
from rasteret_refs.build.executors import opened_executor
from rasteret_refs.build.footprint import footprints
from rasteret_refs.build.journal import Journal
from rasteret_refs.build.scan import OnError, ScannedScene, scan
from rasteret_refs.build.scene import Scene, SceneFailure
from rasteret_refs.errors import BuildError, SourceError, UnsupportedTiffError
from rasteret_refs.objects.blocking import run
from rasteret_refs.objects.client import Objects
from rasteret_refs.refset.geoparquet import PAGE
from rasteret_refs.virtual.existing import ExistingLayout
from rasteret_refs.virtual.layers import Descriptions
from rasteret_refs.virtual.values import PlannedScene, ReferenceSetPlan, SceneAsset

type Axis = Literal["time", "scene"]
type Layout = Literal["auto", "grids", "stack"]
type Progress = Callable[[str, int, int | None], None]
"""Called with the phase (`scan`, `plan`, `write`), how much of it is done, and the total where it is known."""

_SHOWN = 3


@dataclass(slots=True, kw_only=True)
class Scanned:
    """What a scan found."""

    scenes: list[ScannedScene]
    """Those with at least one asset, in the order of their source."""
    failures: list[SceneFailure]


async def scan_scenes(
    scenes: Iterable[Scene],
    objects: Objects,
    *,
    axis: Axis,
    on_error: OnError,
    progress: Progress | None,
    journal: Journal | None,
    executor: Executor | None = None,
) -> Scanned:
    """Scan all scenes; a scene that has no place on the axis is a failure.

    Raises
    ------
    TiffError, ObjectError, SourceError
        With ``on_error="raise"``.
    """
    total = len(scenes) if isinstance(scenes, (list, tuple)) else getattr(scenes, "total", None)
    results: list[ScannedScene] = []
    async for result in scan(scenes, objects, on_error=on_error, journal=journal, executor=executor):
        results.append(result)
        if progress is not None:
            progress("scan", len(results), total)
    # Results come as the network pleases; the set must not depend on it.
    results.sort(key=lambda result: result.position)
    failures = [failure for result in results for failure in result.failures]
    usable: list[ScannedScene] = []
    for result in results:
        if axis == "time" and time_of(result.scene) is None:
            error = SourceError(f"scene {result.scene.id!r}: expected a datetime or start_datetime, got neither")
            if on_error == "raise":
                raise error
            failures.append(SceneFailure(scene=result.scene.id, asset=None, url=None, phase="plan", error=error))
        elif result.assets:
            usable.append(result)
    return Scanned(scenes=usable, failures=failures)


def distinct(found: Scanned, known: Iterable[str] = ()) -> list[ScannedScene]:
    """Give each of the scanned scenes an id of its own; return those that only repeat another."""
    found.scenes, repeated = told_apart(found.scenes, known)
    return repeated


def scanned(
    scenes: Iterable[Scene],
    objects: Objects,
    *,
    axis: Axis,
    on_error: OnError,
    progress: Progress | None,
    journal: Journal | None,
    executor: Any,
) -> Scanned:
    """Run `scan_scenes` to its end, with headers read where `executors.opened_executor` says."""
    with opened_executor(executor) as pool:
        return run(
            scan_scenes(
                scenes, objects, axis=axis, on_error=on_error, progress=progress, journal=journal, executor=pool
            )
        )


def plan_scenes(
    found: Scanned,
    *,
    axis: Axis,
    coordinates: Sequence[str],
    on_error: OnError,
    layout: Layout = "auto",
    tolerance: float | None = None,
    existing: ExistingLayout | None = None,
    teach: Callable[[Descriptions], None] | None = None,
) -> ReferenceSetPlan:
    """Plan, and leave out the scenes of which nothing could be planned.

    Raises
    ------
    UnsupportedTiffError
        With ``on_error="raise"``, of the first asset that has no place.
    BuildError
        No scene is left.
    """
    from rasteret_refs.virtual.planner import plan

    planned = [
        PlannedScene(id=entry.scene.id, assets=entry.assets, time=time_of(entry.scene) if axis == "time" else None)
        for entry in found.scenes
    ]
    columns: dict[str, Any] = {
        name: [entry.scene.properties.get(name) for entry in found.scenes] for name in coordinates
    }
    made = plan(
        planned, layout=layout, axis=axis, tolerance=tolerance, scene_columns=columns, existing=existing, teach=teach
    )  # fmt: skip
    urls = {(entry.scene.id, asset.name): asset.url for entry in found.scenes for asset in entry.assets}
    for scene, name, reason in made.refused:
        url = urls.get((scene, name))
        error = UnsupportedTiffError(f"{url or scene}: {reason}")
        if on_error == "raise":
            raise error
        found.failures.append(SceneFailure(scene=scene, asset=name, url=url, phase="plan", error=error))
    placed = {placement.scene_id for placement in made.placements}
    found.scenes = [entry for entry in found.scenes if entry.scene.id in placed]
    require_scenes(found)
    return made


def require_scenes(found: Scanned) -> None:
    """Raise unless there is something to reference.

    Raises
    ------
    BuildError
        Naming the first failures.
    """
    if not found.scenes:
        raise BuildError(_nothing_left(found.failures))


def require_properties(found: Scanned, names: Sequence[str]) -> None:
    """Raise where no scene has a property that shall become a coordinate.

    Raises
    ------
    BuildError
        Naming those that there are.
    """
    known = sorted({name for entry in found.scenes for name in entry.scene.properties})
    unknown = [name for name in names if name not in known]
    if unknown:
        raise BuildError(f"coordinates: expected properties of the scenes, {known or 'which have none'}, got {unknown}")


def scene_rows(found: Scanned, plan: ReferenceSetPlan) -> pa.Table:
    """Make the scene table of a batch, in the order of the scene axis."""
    from rasteret_refs.refset.geoparquet import scene_table

    order = {placement.scene_id: placement.index for placement in plan.placements}
    without = [entry for entry in found.scenes if entry.scene.geometry is None]
    outlines = dict(zip([entry.scene.id for entry in without], footprints([e.assets for e in without]), strict=True))
    placed = {(placement.scene_id, placement.asset) for placement in plan.placements}
    records = [_record(entry, entry.scene.geometry or outlines[entry.scene.id], placed) for entry in found.scenes]
    records.sort(key=lambda record: (order[record["id"]], record["id"]))
    return scene_table(records, placements=plan.placements)


def failure_rows(failures: Sequence[SceneFailure]) -> pa.Table | None:
    """Make the rows of `failures.parquet`; None where there are none."""
    from rasteret_refs.refset.geoparquet import failure_table

    return failure_table([failure_row(failure) for failure in failures]) if failures else None


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


def time_of(scene: Scene) -> np.datetime64 | None:
    """The scene's place in time: `datetime`, else `start_datetime` (STAC allows a null `datetime` only then)."""
    moment = scene.datetime or scene.start_datetime
    return None if moment is None else np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us")


def _record(entry: ScannedScene, geometry: bytes | None, placed: AbstractSet[tuple[str, str]]) -> Mapping[str, Any]:
    """One scene as `scene_table` wants it; further pages of its files are assets of their own, as their arrays are."""
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
            **{asset.name: _object(asset, stac.get(asset.name, {})) for asset in entry.assets},
            **{
                name: _object(asset, {PAGE: page})
                for asset in entry.assets
                for name, page in _further_pages(asset)
                if (scene.id, name) in placed
            },
        },
    }


def _object(asset: SceneAsset, properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "href": asset.url,
        "size": asset.size,
        "etag": asset.etag,
        "last_modified": asset.last_modified,
        "properties": properties,
    }


def _further_pages(asset: SceneAsset) -> Iterator[tuple[str, int]]:
    """Name and number of each further full-resolution page; the first, which is the asset itself, is number 0."""
    for pyramid in asset.pyramids[1:]:
        number = pyramid.name.removeprefix("image_")
        yield f"{asset.name}_{number}", int(number)


def _nothing_left(failures: Sequence[SceneFailure]) -> str:
    errors = [failure.error for failure in failures]
    if not errors:
        return "expected at least one scene, got none"
    shown = "; ".join(f"{type(error).__name__}: {error}" for error in errors[:_SHOWN])
    more = f"; and {len(errors) - _SHOWN} more" if len(errors) > _SHOWN else ""
    return f"expected at least one asset that can be referenced, got none of {len(errors)}: {shown}{more}"
