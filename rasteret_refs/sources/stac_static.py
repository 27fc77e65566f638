"""Items of STAC documents that no API serves: files, URLs, values in memory, and catalogs linked together."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rasteret_refs.errors import RasteretRefsError, SourceError
from rasteret_refs.sources.documents import read_json_all
from rasteret_refs.sources.geometry import boxes_overlap, horizontal
from rasteret_refs.sources.hrefs import absolute
from rasteret_refs.sources.item_filter import ItemFilter
from rasteret_refs.sources.times import overlaps, parse_datetime, parse_interval
from rasteret_refs.sources.values import Refusals

type LocatedItem = tuple[Mapping[str, Any], str | None]
"""An item, and the path or URL of its document."""

DOCUMENTS = 1_000_000
"""Documents of one static catalog that are read at most."""


def kind_of(document: Any) -> str:
    """What a JSON value is: `items`, `catalog`, `collection`, `api`, `api-collection` or `""`.

    STAC before 1.0 has no `type` on catalogs and collections; an API's landing page says what it conforms to or links
    to its search (https://github.com/radiantearth/stac-api-spec/blob/main/core/README.md).
    """
    if isinstance(document, list):
        return "items" if all(isinstance(one, Mapping) and one.get("type") == "Feature" for one in document) else ""
    if not isinstance(document, Mapping):
        return ""
    if document.get("type") in {"Feature", "FeatureCollection"}:
        return "items"
    if not isinstance(document.get("links"), list):
        return ""
    relations = {link.get("rel") for link in document["links"] if isinstance(link, Mapping)}
    is_collection = document.get("type") == "Collection" or ("extent" in document and "id" in document)
    if is_collection:
        return "api-collection" if "items" in relations and "item" not in relations else "collection"
    if document.get("conformsTo") or "search" in relations:
        return "api"
    return "catalog" if "id" in document or "stac_version" in document else ""


def items_in(document: Any) -> list[Mapping[str, Any]]:
    """Items of an Item, an ItemCollection (FeatureCollection) or a list of them.

    Raises
    ------
    SourceError
        Something else.
    """
    members = document if isinstance(document, list) else [document]
    found: list[Mapping[str, Any]] = []
    for member in members:
        if isinstance(member, Mapping) and member.get("type") == "FeatureCollection":
            features = member.get("features")
            if not isinstance(features, list):
                raise SourceError("expected an ItemCollection with a list of features")
            found.extend(features)
        elif isinstance(member, Mapping) and member.get("type") == "Feature":
            found.append(member)
        else:
            what = f"type {member.get('type')!r}" if isinstance(member, Mapping) else type(member).__name__
            raise SourceError(f"expected STAC items, found {what}")
    return found


def as_json(value: Any) -> Any:
    """JSON values of pystac's objects (and of lists of them); other values as they are."""
    if isinstance(value, list | tuple):
        return [as_json(member) for member in value]
    if hasattr(value, "items_as_dicts"):  # pystac_client.ItemSearch
        return list(value.items_as_dicts())
    if hasattr(value, "get_items") and hasattr(value, "to_dict"):  # pystac.Catalog and its kin
        return [as_json(item) for item in value.get_items(recursive=True)]
    if hasattr(value, "to_dict") and not isinstance(value, Mapping):  # pystac.Item, pystac.ItemCollection
        return value.to_dict(transform_hrefs=False)
    return value


def walk(
    document: Mapping[str, Any],
    location: str,
    wanted: ItemFilter,
    refusals: Refusals,
    storage: Mapping[str, Any] | None,
) -> Iterator[LocatedItem]:
    """Items below a static Catalog or Collection, children after the items of their parent, each document once.

    Parameters
    ----------
    document, location
        The catalog, and where it was read.
    wanted
        Collections whose extent lies outside its bbox or datetime are not descended into.
    refusals
        Takes documents that cannot be read or are no STAC.
    """
    seen = {location}
    level: list[tuple[Any, str]] = [(document, location)]
    while level:
        children: list[str] = []
        for parent, place in level:
            if not _extent_overlaps(parent, wanted):
                continue
            members: list[str] = []
            for link in parent.get("links") or ():
                if not isinstance(link, Mapping) or not isinstance(link.get("href"), str):
                    continue
                target = absolute(link["href"], place)
                if link.get("rel") in {"item", "items", "child"} and target not in seen:
                    seen.add(target)
                    (children if link["rel"] == "child" else members).append(target)
            if len(seen) > DOCUMENTS:
                raise SourceError(f"{location}: expected at most {DOCUMENTS} documents in a static catalog, found more")
            for target, content in _documents(members, refusals, storage):
                try:
                    found = items_in(content)
                except SourceError as error:
                    refusals.refuse(SourceError(f"{target}: {error}"), url=target)
                    continue
                yield from ((item, target) for item in found)
        level = []
        for target, content in _documents(children, refusals, storage):
            if kind_of(content) in {"catalog", "collection", "api-collection"}:
                level.append((content, target))
            else:
                refusals.refuse(SourceError(f"{target}: expected a STAC Catalog or Collection"), url=target)


def _documents(
    locations: Sequence[str], refusals: Refusals, storage: Mapping[str, Any] | None
) -> Iterator[tuple[str, Any]]:
    for target, content in read_json_all(locations, storage):
        if isinstance(content, RasteretRefsError):
            refusals.refuse(content, url=target)
        else:
            yield target, content


def _extent_overlaps(document: Mapping[str, Any], wanted: ItemFilter) -> bool:
    extent = document.get("extent")
    if not isinstance(extent, Mapping):
        return True
    try:
        boxes = (extent.get("spatial") or {}).get("bbox") or []
        if wanted.bbox is not None and boxes:
            # The first box holds all others (STAC 1.0 collection spec, spatial extent object).
            return boxes_overlap(horizontal(boxes[0]), horizontal(wanted.bbox)) and _times_overlap(extent, wanted)
        return _times_overlap(extent, wanted)
    except (SourceError, AttributeError, TypeError, KeyError, IndexError):
        return True  # an extent that cannot be understood excludes nothing


def _times_overlap(extent: Mapping[str, Any], wanted: ItemFilter) -> bool:
    intervals = (extent.get("temporal") or {}).get("interval") or []
    if wanted.datetime is None or not intervals:
        return True
    start, stop = (parse_datetime(end) if end else None for end in intervals[0])
    if start is None and stop is None:
        return True
    return overlaps(start, stop, parse_interval(wanted.datetime))
