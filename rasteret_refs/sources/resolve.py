"""From whatever a user names as a source to a stream of scenes: the one door to this folder."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from rasteret_refs.errors import SourceError
from rasteret_refs.sources.dispatch import Dispatcher
from rasteret_refs.sources.hrefs import is_url, unsigned
from rasteret_refs.sources.item_filter import ItemFilter, geojson_of
from rasteret_refs.sources.options import Options
from rasteret_refs.sources.rasteret_header import Assumptions
from rasteret_refs.sources.storage import Consent
from rasteret_refs.sources.values import OnError, Progress, SceneStream, Source

_RECORDED_FACTS = (
    "id",
    "title",
    "licence",
    "licence_url",
    "commercial_use",
    "attribution",
    "source_url",
    "radiometry",
    "cloud_mask",
)
"""What of the catalog entry a reference set must remember: for citing, and for reading the numbers right."""


def resolve(
    source: Any,
    *,
    bbox: Sequence[float] | None = None,
    intersects: Any = None,
    datetime: Any = None,
    query: Mapping[str, Any] | Sequence[str] | None = None,
    filter: Any = None,  # noqa: A002 - STAC's name
    collections: Sequence[str] | str | None = None,
    ids: Sequence[str] | None = None,
    limit: int | None = None,
    assets: Sequence[str] | Mapping[str, str] | None = None,
    bands: Sequence[str] | None = None,
    columns: Mapping[str, Any] | None = None,
    url_rewrite: Mapping[str, str] | None = None,
    storage: Mapping[str, Any] | None = None,
    fetch_missing: bool = False,
    assume: Mapping[str, str] | None = None,
    catalog: Any = None,
    on_error: OnError = "raise",
    progress: Progress | None = None,
) -> SceneStream:
    """Understand a source; scenes are made, and remote things asked, while iterating over the result.

    Parameters
    ----------
    source
        A TIFF's path or URL, a glob, a `.txt` list; a STAC Item, ItemCollection, Catalog or Collection (path, URL,
        JSON value or pystac object); a STAC API's landing page or collection; a table (path, URL or value); the
        directory of a Rasteret collection; an id of the catalog; scenes; or a list of these.
    bbox
        (west, south, east, north) in degrees; west > east crosses the antimeridian.
    intersects
        Geometry in degrees: GeoJSON or an object with `__geo_interface__`.
    datetime
        A time, or START/END with `..` for an open end, as pystac-client reads it.
    query
        STAC API query extension: `{"eo:cloud_cover": {"lt": 20}}` or `["eo:cloud_cover<20"]`.
    filter
        STAC: CQL2 text or JSON. Tables: a pyarrow expression or SQL as in `WHERE`.
    collections, ids
        Collections to search in an API, and items in it.
    limit
        Scenes at most.
    assets
        Names of assets by key, alias or common name, or {name in the reference set: name to look up}. Default: TIFFs
        with the role `data`. For plain files: the one name that their images get.
    bands
        Names of bands: the assets that hold them are taken.
    columns
        Tables: part → column, see `tables.column_mapping`.
    url_rewrite
        Prefix → prefix.
    storage
        Options per URL prefix, see `objects.client.Objects`; also where the user agrees to pay for requests.
    fetch_missing, assume
        Rasteret collections: what to do about facts that they do not store, see `rasteret_header.Assumptions`.
    catalog
        More datasets: a path, a URL or values, see `catalog.load_catalog`.
    on_error
        `"raise"`: the first scene that cannot be understood raises; `"skip"`: it is recorded in `failures`.
    progress
        Called after each scene with the count and the total, where known.

    Raises
    ------
    NotFoundError
        A glob that matches nothing; a missing file (while iterating).
    AccessError
        Data that the reader pays for, without consent: before any request.
    SourceError, QueryError
        A source or a condition that cannot be understood.
    """
    if limit is not None and limit < 1:
        raise SourceError(f"expected a limit of at least 1, found {limit}")
    wanted = ItemFilter(bbox=bbox, intersects=intersects, datetime=datetime, query=query, filter=filter)
    options = Options(
        wanted=wanted,
        collections=[collections] if isinstance(collections, str) else collections,
        ids=ids,
        limit=limit,
        assets=assets,
        bands=bands,
        columns=columns,
        url_rewrite=dict(url_rewrite or {}),
        storage=dict(storage or {}),
        consent=Consent(storage),
        assumptions=Assumptions(assume, fetch_missing=fetch_missing),
        catalog=catalog,
    )
    found = Dispatcher(options).source(source)
    arguments = {
        "bbox": bbox,
        "intersects": geojson_of(intersects) if intersects is not None else None,
        "datetime": datetime,
        "query": query,
        "filter": filter,
        "collections": options.collections,
        "ids": ids,
        "limit": limit,
        "assets": assets,
        "bands": bands,
        "columns": columns,
        "url_rewrite": url_rewrite,
        "fetch_missing": fetch_missing or None,
        "assume": assume,
    }
    recipe = _recipe(found, source, arguments)
    return SceneStream(found, recipe=recipe, storage=storage, on_error=on_error, progress=progress, limit=limit)


def resolve_recipe(recipe: Mapping[str, Any], **changes: Any) -> SceneStream:
    """Ask a recorded source again.

    Parameters
    ----------
    recipe
        `SceneStream.recipe`, as a reference set records it.
    **changes
        Arguments of `resolve` that replace recorded ones (`datetime` for an update) or were not recorded (`storage`).

    Raises
    ------
    SourceError
        The source was a value in memory, or a filter that JSON cannot hold.
    """
    source = recipe.get("source")
    arguments = {**recipe.get("arguments", {}), **changes}
    if source is None:
        raise SourceError(f"the scenes came from a value in memory ({recipe.get('kind')}): it cannot be asked again")
    if isinstance(arguments.get("filter"), Mapping) and "pyarrow" in arguments["filter"]:
        raise SourceError("the filter was a pyarrow expression, which is not recorded; give filter= anew")
    return resolve(source, **arguments)


def _recipe(found: Source, source: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    recipe = {
        "kind": found.kind,
        "source": _recorded(source),
        "arguments": {name: _json(value) for name, value in arguments.items() if value is not None},
    }
    if found.dataset is not None:
        facts = found.dataset.as_dict()
        recipe["dataset"] = {name: facts[name] for name in _RECORDED_FACTS if facts[name] not in (None, "", {})}
    return recipe


def _recorded(source: Any) -> Any:
    """Paths and URLs as they were given; None for values in memory."""
    if isinstance(source, str | os.PathLike):
        text = os.fspath(source)
        return unsigned(text)[0] if is_url(text) else text
    if isinstance(source, list | tuple):
        members = [_recorded(member) for member in source]
        return None if any(member is None for member in members) else members
    return None


def _json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _json(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_json(member) for member in value]
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if type(value).__module__.startswith("pyarrow"):
        return {"pyarrow": str(value)}
    if hasattr(value, "item"):  # NumPy scalars
        return value.item()
    return str(value)
