"""Tables with a column of hrefs: Parquet, CSV, Arrow, GeoDataFrame, pandas, DuckDB, Polars, STAC-GeoParquet."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds

from rasteret_refs.errors import QueryError, SourceError
from rasteret_refs.sources.arrow_files import open_dataset

BATCH_ROWS = 1024
"""Rows that are turned into Python values at once."""
_HREF_NAMES = ("href", "url", "uri", "path", "location", "filename")
_DEFAULTS: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "scene_id", "item_id"),
    "datetime": ("datetime", "time", "timestamp", "date"),
    "start_datetime": ("start_datetime",),
    "end_datetime": ("end_datetime",),
    "geometry": ("geometry", "geom"),
    "collection": ("collection",),
}
_HREF_OF = "href."
"""Begins the name of the part that is the column of one asset among several."""
_ROLES = ("id", "href", "datetime", "start_datetime", "end_datetime", "geometry", "collection")


@dataclass(frozen=True, kw_only=True)
class ColumnMapping:
    """Which column plays which part."""

    href: Mapping[str, str]
    """Asset name → column of its hrefs. Empty for STAC-GeoParquet."""
    id: str | None = None
    """None: from file names."""
    datetime: str | None = None
    start_datetime: str | None = None
    end_datetime: str | None = None
    geometry: str | None = None
    collection: str | None = None
    stac: bool = False
    """The table is STAC-GeoParquet: hrefs lie in the struct column `assets`."""

    def used(self) -> set[str]:
        """Columns that play a part; the others are kept as properties of the scene."""
        named = {getattr(self, role) for role in _ROLES if role != "href"}
        return {name for name in named if name} | set(self.href.values())

    def select(self, assets: Sequence[str] | Mapping[str, str]) -> "ColumnMapping":
        """The same with these assets only, renamed where a mapping says so.

        Raises
        ------
        SourceError
            An asset that has no column.
        """
        wanted = dict(assets) if isinstance(assets, Mapping) else {name: name for name in assets}
        unknown = [name for name in wanted.values() if name not in self.href]
        if unknown:
            raise SourceError(f"assets {', '.join(unknown)}: the columns give {', '.join(self.href)}")
        return replace(self, href={name: self.href[old] for name, old in wanted.items()})


@dataclass(frozen=True)
class Table:
    """A table that can be read in batches, more than once."""

    dataset: ds.Dataset
    location: str | None = None
    """Path or URL of the file: relative hrefs are relative to it."""
    filter: Any = None
    """pyarrow expression."""

    @property
    def schema(self) -> pa.Schema:
        """Columns and their types."""
        return self.dataset.schema

    def rows(self) -> Iterator[dict[str, Any]]:
        """Rows as Python values."""
        for batch in self.batches():
            yield from batch.to_pylist()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Rows in their order, `BATCH_ROWS` at most at a time."""
        scanner = self.dataset.scanner(filter=self.filter, batch_size=BATCH_ROWS, use_threads=False)
        for batch in scanner.to_batches():
            if batch.num_rows:
                yield batch


def open_table(source: Any, *, filter: Any = None, storage: Mapping[str, Any] | None = None) -> Table:  # noqa: A002
    """A table of a path, a URL or a value in memory.

    Parameters
    ----------
    source
        Path or URL of Parquet, CSV or Arrow IPC; or an Arrow table, dataset or reader, a GeoDataFrame, a pandas or
        Polars frame, a DuckDB relation.
    filter
        A pyarrow expression, or SQL as in `WHERE` (needs DuckDB).
    storage
        Options per URL prefix.

    Raises
    ------
    NotFoundError, SourceError
        No such file; not a table.
    QueryError
        The filter names no column of the table, or cannot be parsed.
    """
    location = source if isinstance(source, str) else None
    dataset = open_dataset(location, storage) if location is not None else _in_memory(source)
    if filter is None:
        return Table(dataset, location)
    if isinstance(filter, str):
        return Table(ds.dataset(_filtered_by_sql(dataset, filter)), location)
    if not isinstance(filter, ds.Expression):
        raise QueryError(f"expected a pyarrow expression or SQL text as filter, found {type(filter).__name__}")
    try:
        dataset.scanner(filter=filter)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowKeyError) as error:
        raise QueryError(f"filter {filter}: {error}; the columns are {', '.join(dataset.schema.names)}") from error
    return Table(dataset, location, filter)


def _in_memory(source: Any) -> ds.Dataset:
    if isinstance(source, ds.Dataset):
        return source
    if hasattr(source, "to_wkb") and hasattr(source, "to_crs"):  # GeoDataFrame
        return ds.dataset(_from_geodataframe(source))
    if hasattr(source, "collect") and hasattr(source, "lazy"):  # polars.LazyFrame (a DataFrame has no `collect`)
        source = source.collect()
    try:
        if hasattr(source, "iterrows"):  # pandas: its index is no column
            return ds.dataset(pa.Table.from_pandas(source, preserve_index=False))
        if hasattr(source, "__arrow_c_stream__"):
            return ds.dataset(_plain_strings(pa.table(source)))
        return ds.dataset(source.fetch_arrow_table())  # older DuckDB relations
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise SourceError(f"expected a table that Arrow can hold, found {type(source).__name__}: {error}") from error


def _from_geodataframe(frame: Any) -> pa.Table:
    # Footprints are in longitude and latitude throughout; a frame without CRS is taken to be.
    frame = frame.to_crs(4326) if frame.crs is not None else frame
    names = [name for name in frame.columns if frame[name].dtype.name == "geometry"]
    plain = pa.Table.from_pandas(frame.drop(columns=names), preserve_index=False)
    for name in names:
        plain = plain.append_column(name, pa.array(frame[name].to_wkb().tolist(), pa.binary()))
    return plain


def _plain_strings(table: pa.Table) -> pa.Table:
    # Views (Polars) are a newer layout that filters of older pyarrow versions do not know.
    plain = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
    fields = [column.with_type(plain.get(column.type, column.type)) for column in table.schema]
    return table.cast(pa.schema(fields, metadata=table.schema.metadata))


def _filtered_by_sql(dataset: ds.Dataset, condition: str) -> pa.Table:
    try:
        import duckdb
    except ImportError as error:
        raise SourceError("a filter in SQL needs the `tables` extra (duckdb); a pyarrow expression does not") from error
    with duckdb.connect(":memory:") as connection:
        try:
            # Columns that DuckDB must not interpret (geometries with GeoArrow metadata) come back as they went in:
            # only row numbers are selected there.
            numbered = dataset.to_table().append_column("__row", pa.array(range(dataset.count_rows()), pa.int64()))
            kept = connection.from_arrow(numbered.replace_schema_metadata(None)).filter(condition).project("__row")
            rows = kept.to_arrow_table().column("__row").combine_chunks().sort()
        except duckdb.Error as error:
            raise QueryError(
                f"filter {condition!r}: {str(error).splitlines()[0]}; the columns are {', '.join(dataset.schema.names)}"
            ) from error
        return numbered.take(rows).drop_columns("__row")


def column_mapping(schema: pa.Schema, columns: Mapping[str, Any] | None, asset: str = "image") -> ColumnMapping:
    """Which column plays which part, by the user's words and, for the rest, by usual names.

    Parameters
    ----------
    schema
        The table's.
    columns
        Part → column: `id`, `href` (a column, or a mapping from asset name to column; `href.red` is the column of the
        asset `red`), `datetime`, `start_datetime`, `end_datetime`, `geometry`, `collection`. None instead of a column:
        the part is left out.
    asset
        Name of the asset where `href` is one column.

    Raises
    ------
    SourceError
        An unknown part, a column that the table lacks, or no column of hrefs.
    """
    given = dict(columns or {})
    unused = {part for part, name in given.items() if name is None and part != "href"}
    given = {part: name for part, name in given.items() if part not in unused}
    names = schema.names
    listed = ", ".join(names)
    named = {part.removeprefix(_HREF_OF): given.pop(part) for part in list(given) if part.startswith(_HREF_OF)}
    unknown = sorted((set(given) | unused) - set(_ROLES))
    if unknown:
        raise SourceError(
            f"columns: expected the parts {', '.join(_ROLES)}, or {_HREF_OF}NAME for the asset NAME, "
            f"found {', '.join(unknown)}"
        )
    href = given.pop("href", None)
    hrefs = {**({asset: href} if isinstance(href, str) else href or {}), **named}
    spelt = {"href": href} if isinstance(href, str) else {_HREF_OF + name: column for name, column in hrefs.items()}
    spelt |= {_HREF_OF + name: column for name, column in named.items()}
    missing = [f"{part}={name!r}" for part, name in {**given, **spelt}.items() if name not in names]
    if missing:
        raise SourceError(f"columns: the table lacks {', '.join(missing)}; it has {listed}")
    stac = not hrefs and "assets" in names and _holds_assets(schema.field("assets").type)
    if not hrefs and not stac:
        usual = [name for name in _HREF_NAMES if name in names]
        if not usual:
            raise SourceError(f"expected a column of hrefs (columns={{'href': NAME}}); the table has {listed}")
        hrefs = {asset: usual[0]}
    parts: dict[str, Any] = dict(given)
    for part, candidates in _DEFAULTS.items():
        if part not in parts and part not in unused:
            parts[part] = next((name for name in candidates if name in names and name not in hrefs.values()), None)
    if parts.get("geometry") is not None:
        _check_degrees(schema, parts["geometry"])
    return ColumnMapping(href=hrefs, stac=stac, **parts)


def _check_degrees(schema: pa.Schema, column: str) -> None:
    """Refuse footprints that GeoParquet or GeoArrow say are in metres: a search would miss them in silence.

    Raises
    ------
    SourceError
        Names the CRS.
    """
    field = schema.field(column)
    stated: Any = None
    try:
        stated = json.loads((schema.metadata or {}).get(b"geo", b"{}")).get("columns", {}).get(column, {}).get("crs")
        if stated is None:
            stated = json.loads((field.metadata or {}).get(b"ARROW:extension:metadata", b"{}") or b"{}").get("crs")
    except (ValueError, AttributeError):
        return  # metadata of another kind say nothing of a CRS
    if stated is None:
        return
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    try:
        crs = CRS.from_user_input(stated)
    except CRSError as error:
        raise SourceError(f"column {column!r}: its CRS cannot be understood: {error}") from error
    if not crs.is_geographic:
        raise SourceError(
            f"column {column!r}: expected footprints in longitude and latitude, found {crs.name}; convert them "
            "(GeoDataFrame.to_crs(4326)) or leave them out (columns={'geometry': None})"
        )


def _holds_assets(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(pa.types.is_struct(one.type) and one.type.get_field_index("href") >= 0 for one in kind)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_map(kind))
