"""A recorded source asked again, for scenes that came later: narrowed to what may be new, with an overlap."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from rasteret_refs.errors import SourceError
from rasteret_refs.sources.resolve import resolve_recipe
from rasteret_refs.sources.times import parse_interval
from rasteret_refs.sources.values import SceneStream

if TYPE_CHECKING:
    import pyarrow as pa


def asked_again(recipe: Mapping[str, Any], scenes: "pa.Table", *, overlap: timedelta, **changes: Any) -> SceneStream:
    """Ask the recorded source for what came since, and what was published late or replaced.

    Parameters
    ----------
    recipe
        As the reference set records it.
    scenes
        The set's scene table, with `datetime` and `start_datetime`.
    overlap
        How far before the newest scene to begin.
    **changes
        Arguments of `resolve` that replace recorded ones; a `datetime` among them is taken as it is.

    Raises
    ------
    SourceError
        The source was a value in memory; or the recorded search had a limit, which would give the same scenes again.
    """
    arguments = recipe.get("arguments", {})
    if "limit" in arguments and "limit" not in changes:
        raise SourceError(
            f"the recorded search was limited to {arguments['limit']} scenes, and would give the same ones again: "
            "give limit=None for all that is new, or a number"
        )
    newest = _newest(scenes)
    if "datetime" not in changes and newest is not None and recipe.get("kind") not in {"files", "scenes"}:
        start, stop = parse_interval(arguments["datetime"]) if "datetime" in arguments else (None, None)
        since = (newest if stop is None else min(newest, stop)) - overlap
        start = since if start is None else max(start, since)
        changes["datetime"] = _text(start, stop)
    return resolve_recipe(recipe, **changes)


def appended_recipe(
    recipe: Mapping[str, Any], stream: Mapping[str, Any], *, again: bool, changes: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what to record once scenes were appended.

    Parameters
    ----------
    recipe
        What is recorded.
    stream
        How the new scenes were found.
    again
        The recorded source was asked again: its interval grows by that of `changes`; any other source is listed
        under `appended`.
    changes
        What the user changed of the recorded arguments.
    """
    if not again:
        return {**recipe, "appended": [*recipe.get("appended", ()), dict(stream)]}
    arguments = dict(recipe.get("arguments", {}))
    if changes.get("datetime") is not None and "datetime" in arguments:
        old, new = parse_interval(arguments["datetime"]), parse_interval(changes["datetime"])
        starts = [one[0] for one in (old, new)]
        stops = [one[1] for one in (old, new)]
        arguments["datetime"] = _text(
            None if None in starts else min(one for one in starts if one is not None),
            None if None in stops else max(one for one in stops if one is not None),
        )
    if "limit" in changes:
        arguments.pop("limit", None)
    return {**recipe, "arguments": arguments}


def _text(start: datetime | None, stop: datetime | None) -> str:
    return "/".join(".." if one is None else one.isoformat().replace("+00:00", "Z") for one in (start, stop))


def _newest(scenes: "pa.Table") -> datetime | None:
    import pyarrow.compute as pc

    times = [scenes[name] for name in ("datetime", "start_datetime") if name in scenes.column_names]
    newest: datetime | None = pc.max(pc.coalesce(*times)).as_py()
    return newest
