"""Tiles whose names hold the degrees of their south-western corner (`N48E006`) to scenes with footprints."""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from rasteret_refs.build.scene import Asset, Scene
from rasteret_refs.errors import SourceError
from rasteret_refs.sources.geometry import wkb_from_bbox
from rasteret_refs.sources.item_filter import ItemFilter
from rasteret_refs.sources.values import Refusals

_CORNER = re.compile(r"(?P<ns>[NS])(?P<lat>\d{2})(?:_00)?_?(?P<ew>[EW])(?P<lon>\d{3})")
_YEAR = re.compile(r"(?<!\d)(?:19|20)\d{2}(?!\d)")


def tile_scenes(urls: Iterable[str], dataset: Any, wanted: ItemFilter, refusals: Refusals) -> Iterator[Scene]:
    """One scene a tile that fits the search; its footprint and year follow from its name.

    Parameters
    ----------
    urls
        Objects of the bucket.
    dataset
        The catalog entry: `tile_degrees`, `temporal` for the year where names have none, `assets`, `aliases`.
    wanted
        The search.
    refusals
        Takes tiles whose names say no corner.
    """
    tests = wanted.tests()
    name = dataset.assets[0] if dataset.assets else "image"
    for url in urls:
        stem = url.rpartition("/")[2].rsplit(".", 1)[0]
        match = _CORNER.search(stem)
        if match is None:
            error = SourceError(f"{url}: expected a name with the degrees of a corner, such as N48E006")
            refusals.refuse(error, scene=stem, url=url)
            continue
        south = int(match["lat"]) * (1 if match["ns"] == "N" else -1)
        west = int(match["lon"]) * (1 if match["ew"] == "E" else -1)
        bbox = (west, south, west + dataset.tile_degrees, south + dataset.tile_degrees)
        year = _year(stem, dataset)
        start = datetime(year, 1, 1, tzinfo=UTC)
        stop = datetime(year + 1, 1, 1, tzinfo=UTC) - timedelta(microseconds=1)
        item = {
            "id": stem,
            "collection": dataset.id,
            "bbox": bbox,
            "geometry": wkb_from_bbox(bbox),
            "properties": {"start_datetime": start, "end_datetime": stop},
        }
        if all(test(item) for test in tests):
            yield Scene(
                id=stem,
                assets=(Asset(name=name, href=url),),
                start_datetime=start,
                end_datetime=stop,
                geometry=wkb_from_bbox(bbox),
                collection=dataset.id,
            )


def _year(stem: str, dataset: Any) -> int:
    match = _YEAR.search(stem)
    text = match.group() if match is not None else (dataset.temporal or ("",))[0][:4]
    if not text.isdigit():
        raise SourceError(f"{stem}: expected a year in the name or in the catalog's `temporal`, found neither")
    return int(text)
