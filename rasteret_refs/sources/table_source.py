"""Binds a table to the reader that its columns ask for: Rasteret's headers, STAC-GeoParquet, or a column of hrefs."""

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from rasteret_refs.build.scene import Scene
from rasteret_refs.errors import SourceError
from rasteret_refs.sources.geometry import horizontal
from rasteret_refs.sources.item_filter import ItemFilter
from rasteret_refs.sources.options import Options
from rasteret_refs.sources.rasteret import RasteretReader, band_columns
from rasteret_refs.sources.storage import merged
from rasteret_refs.sources.table_rows import has_times, table_scenes
from rasteret_refs.sources.tables import Table, column_mapping, open_table
from rasteret_refs.sources.values import Axis, Refusals, Source


def table_source(value: Any, options: Options, dataset: Any = None) -> Source:
    """A source of a table.

    Parameters
    ----------
    value
        Path, URL, directory, or table in memory.
    options
        What the user said.
    dataset
        The catalog entry that names the table, if any.

    Raises
    ------
    NotFoundError, SourceError, QueryError
        As `tables.open_table` and `tables.column_mapping`.
    """
    if options.collections is not None or options.ids is not None:
        raise SourceError("collections= and ids= search STAC; for a table, give a filter")
    storage = merged(dataset.storage if dataset is not None else {}, options.storage)
    table = open_table(value, filter=options.wanted.filter, storage=storage)
    wanted = ItemFilter(
        bbox=options.wanted.bbox,
        intersects=options.wanted.intersects,
        datetime=options.wanted.datetime,
        query=options.wanted.query,
    )
    wanted.tests()  # raises now rather than while iterating
    table = _pruned(table, wanted)
    total = None if options.searches else table.dataset.count_rows()
    if options.columns is None and band_columns(table.schema):
        return _rasteret(table, options, wanted, dataset, total)
    try:
        return _rows(table, options, wanted, dataset, total)
    except SourceError as error:
        if isinstance(value, str | os.PathLike):
            raise SourceError(f"{os.fspath(value)}: {error}") from error
        raise


def _pruned(table: Table, wanted: ItemFilter) -> Table:
    """The table without rows that a GeoParquet covering (`bbox`) rules out: their row groups are not even read.

    See https://geoparquet.org/releases/v1.1.0/ (bounding box columns). Rows without a box stay, for the exact test.
    """
    if wanted.bbox is None or "bbox" not in table.schema.names:
        return table
    kind = table.schema.field("bbox").type
    if not pa.types.is_struct(kind) or {"xmin", "ymin", "xmax", "ymax"} - {member.name for member in kind}:
        return table
    west, south, east, north = horizontal(wanted.bbox)
    overlaps = (pc.field("bbox", "ymin") <= north) & (pc.field("bbox", "ymax") >= south)
    if west <= east:
        # A box with xmin > xmax crosses the antimeridian.
        inside = (pc.field("bbox", "xmin") <= east) & (pc.field("bbox", "xmax") >= west)
        overlaps &= inside | (pc.field("bbox", "xmin") > pc.field("bbox", "xmax"))
    kept = overlaps | ~pc.field("bbox", "xmin").is_valid()
    return replace(table, filter=kept if table.filter is None else table.filter & kept)


def _rasteret(table: Table, options: Options, wanted: ItemFilter, dataset: Any, total: int | None) -> Source:
    def produce(refusals: Refusals) -> Iterator[Scene]:
        choice = options.choice(dataset.aliases if dataset is not None else None)
        items = options.reader(choice, dataset)
        reader = RasteretReader(
            choice=choice, assumptions=options.assumptions, url_rewrite=items.url_rewrite, consent=items.consent
        )
        yield from reader.scenes(table, wanted, refusals)
        choice.finish()

    return Source(produce=produce, kind="rasteret", axis="time", total=total, dataset=dataset)


def _rows(table: Table, options: Options, wanted: ItemFilter, dataset: Any, total: int | None) -> Source:
    columns = {**(dataset.columns if dataset is not None else {}), **(options.columns or {})}
    asset = "image"
    mapping = column_mapping(table.schema, columns, asset)
    if not mapping.stac and options.bands is not None:
        raise SourceError("bands= needs STAC items; the columns of a table are its assets: give assets= or columns=")
    if not mapping.stac and options.assets is not None:
        names = list(options.assets)
        if isinstance(columns.get("href"), str | None) and len(names) == 1:
            mapping = column_mapping(table.schema, columns, names[0])
        else:
            mapping = mapping.select(options.assets)

    def produce(refusals: Refusals) -> Iterator[Scene]:
        choice = options.choice(dataset.aliases if dataset is not None else None)
        yield from table_scenes(table, mapping, options.reader(choice, dataset), wanted, refusals)
        if mapping.stac:
            choice.finish()

    axis: Axis = "time" if has_times(mapping, table.schema.names) else "scene"
    return Source(produce=produce, kind="table", axis=axis, total=total, dataset=dataset)
