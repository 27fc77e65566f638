"""Narrowing a scene table by place, time and values, and picking the latest of duplicates."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from rasteret_refs.errors import DamagedError, QueryError
from rasteret_refs.extras import needed
from rasteret_refs.refset.query import datetime_range, unknown_names
from rasteret_refs.refset.wkb import summarise

Rows = npt.NDArray[np.int64]
_SIDES = ("xmin", "ymin", "xmax", "ymax")
_UTC = pa.timestamp("us", "UTC")
DUPLICATE_OF = "refs:duplicate_of"
"""Column that a build fills for scenes that came with an id that another scene has."""
PRODUCED = ("processing:datetime", "s2:generation_time", "created", "updated")
"""When a scene was made, in the order in which these are believed: the processing extension, Sentinel-2, STAC."""


def subset_rows(
    table: pa.Table,
    *,
    bbox: Sequence[float] | None = None,
    intersects: Any = None,
    datetime: Any = None,
    values: Mapping[str, Any] | None = None,
) -> Rows:
    """Rows of a scene table that fulfil all conditions.

    Parameters
    ----------
    bbox
        (west, south, east, north) in degrees; west > east crosses the antimeridian. Boxes are compared, as catalogs
        without geometries do; `intersects` compares geometries.
    intersects
        GeoJSON geometry or Feature, WKB, or anything with `__geo_interface__`, in degrees.
    datetime
        A time or period as `query.datetime_range` reads it, a datetime, or a pair of them (None: open). A scene with a
        period counts where the periods share an instant.
    values
        Column → value, or list of values; None stands for a missing one.

    Returns
    -------
    numpy.ndarray
        Row numbers, ascending.

    Raises
    ------
    QueryError
        No such column, a condition that cannot be understood.
    """
    keep = np.ones(table.num_rows, bool)
    if bbox is not None:
        keep &= _in_box(table, bbox)
    if intersects is not None:
        keep &= _intersecting(table, intersects, keep)
    if datetime is not None:
        keep &= _in_period(table, *_ends(datetime))
    unknown_names(table.column_names, list(values or {}), "column")
    for name, wanted in (values or {}).items():
        keep &= _equal(table, name, wanted)
    return np.flatnonzero(keep).astype(np.int64)


def latest_rows(
    table: pa.Table, *, by: Sequence[str] | None = None, within: float = 1.0, order: Sequence[str] = PRODUCED
) -> Rows:
    """Rows that are left when only the latest of each set of duplicates is kept.

    Parameters
    ----------
    by
        Columns that duplicates share. None: grid, footprint's box where grids are stacked, collection and platform.
        Scenes that came with one id are duplicates in any case.
    within
        Seconds by which times of duplicates may differ from the one before: reprocessing moves them a little.
    order
        Columns that tell which is later; the first with a value counts. Between equals, and where none has a value, the
        one that was added to the set last is the latest.

    Returns
    -------
    numpy.ndarray
        Row numbers, ascending.
    """
    if by is not None:
        unknown_names(table.column_names, list(by), "column")
    columns = by if by is not None else [n for n in ("refs:group", "collection", "platform") if n in table.column_names]
    keys = [tuple(row) for row in zip(*(table[name].to_pylist() for name in columns), strict=True)]
    if not columns:
        keys = [()] * table.num_rows
    if by is None:
        keys = [(*key, box) for key, box in zip(keys, _rounded_boxes(table), strict=True)]
    times = _instants(table, "start_datetime", "datetime")
    ranks = _ranks(table, order)
    rows = sorted(_latest_of_ids(table, ranks), key=lambda row: (repr(keys[row]), _number(times[row]), row))
    kept: list[int] = []
    step = np.timedelta64(round(within * 1e6), "us")
    before: int | None = None
    for row in rows:
        same = before is not None and keys[before] == keys[row] and _close(times[before], times[row], step)
        if same and ranks[row] >= ranks[kept[-1]]:
            kept[-1] = row
        elif not same:
            kept.append(row)
        before = row
    return np.array(sorted(kept), np.int64)


def _latest_of_ids(table: pa.Table, ranks: Sequence[tuple[str, int]]) -> list[int]:
    """Rows without those whose id, as it came, a later row has as well."""
    origins = table["id"].to_pylist()
    if DUPLICATE_OF in table.column_names:
        given = table[DUPLICATE_OF].to_pylist()
        origins = [origin or own for origin, own in zip(given, origins, strict=True)]
    latest: dict[str, int] = {}
    for row, origin in enumerate(origins):
        if origin not in latest or ranks[row] >= ranks[latest[origin]]:
            latest[origin] = row
    return list(latest.values())


def _close(one: np.datetime64, other: np.datetime64, step: np.timedelta64) -> bool:
    return bool((np.isnat(one) and np.isnat(other)) or abs(other - one) <= step)


def _number(instant: Any) -> int:
    return int(instant.astype(np.int64))


def _ranks(table: pa.Table, order: Sequence[str]) -> list[tuple[str, int]]:
    """A value that grows with how late a scene was made, then with its place in the set."""
    index = table["refs:index"].to_pylist() if "refs:index" in table.column_names else list(range(table.num_rows))
    texts = [""] * table.num_rows
    for name in reversed([name for name in order if name in table.column_names]):
        texts = [
            old if value is None else _moment(value) for value, old in zip(table[name].to_pylist(), texts, strict=True)
        ]
    return [(text, -1 if i is None else i) for text, i in zip(texts, index, strict=True)]


def _moment(value: Any) -> str:
    """A time as text that sorts like it."""
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value)
        except ValueError:
            return str(value)
    if isinstance(value, dt.datetime):
        value = value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)
        return str(value.isoformat(timespec="microseconds"))
    return f"{value:020}" if isinstance(value, int) else str(value)


def _rounded_boxes(table: pa.Table) -> list[tuple[float, ...] | None]:
    """Boxes of footprints to a tenth of a degree where one group stacks many grids; else None: the grid tells."""
    stacked = "refs:group" in table.column_names and any(
        name is not None and _is_shape(name) for name in table["refs:group"].unique().to_pylist()
    )
    if not stacked:
        return [None] * table.num_rows
    return [None if row is None else tuple(round(row[side], 1) for side in _SIDES) for row in table["bbox"].to_pylist()]


def _is_shape(group: str) -> bool:
    """Tell the stack layout's `<h>x<w>/factor_1` from a grid's label."""
    height, _, width = group.partition("/")[0].partition("x")
    return height.isdigit() and width.partition("_")[0].isdigit()


def _in_box(table: pa.Table, bbox: Sequence[float]) -> npt.NDArray[np.bool_]:
    numbers = [float(value) for value in bbox]
    if len(numbers) == 6:  # noqa: PLR2004 - with heights
        numbers = [*numbers[:2], *numbers[3:5]]
    if len(numbers) != 4 or not numbers[1] <= numbers[3]:  # noqa: PLR2004 - two corners
        raise QueryError(f"expected bbox (west, south, east, north) in degrees, got {tuple(bbox)}")
    west, south, east, north = numbers
    boxes = table["bbox"].combine_chunks()
    xmin, ymin, xmax, ymax = (_floats(pc.struct_field(boxes, side)) for side in _SIDES)
    along = np.zeros(table.num_rows, bool)
    for left, right in _spans(west, east):
        plain = xmin <= xmax
        along |= plain & (xmin <= right) & (xmax >= left)
        along |= ~plain & ((xmin <= right) | (xmax >= left))
    return along & (ymin <= north) & (ymax >= south)


def _spans(west: float, east: float) -> list[tuple[float, float]]:
    return [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]


def _floats(values: Any) -> npt.NDArray[np.float64]:
    return np.asarray(pc.fill_null(values, np.nan), np.float64)


def _intersecting(table: pa.Table, shape: Any, candidates: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    with needed("intersects="):
        import shapely
    wanted = _geometry(shape)
    shapely.prepare(wanted)
    rows = np.flatnonzero(candidates)
    geometries = shapely.from_wkb(np.array(table["geometry"].take(pa.array(rows)).to_pylist(), object))
    answer = np.zeros(table.num_rows, bool)
    answer[rows] = shapely.intersects(wanted, geometries)
    return answer


def _geometry(shape: Any) -> Any:
    import shapely
    from shapely.geometry import shape as from_geojson

    if isinstance(shape, shapely.Geometry):
        return shape
    if isinstance(shape, bytes):
        return shapely.from_wkb(shape)
    value = shape if isinstance(shape, Mapping) else getattr(shape, "__geo_interface__", None)
    if isinstance(value, Mapping) and value.get("type") == "Feature":
        value = value.get("geometry")
    try:
        return from_geojson(value)
    except (AttributeError, TypeError, KeyError, ValueError, shapely.errors.ShapelyError) as error:
        raise QueryError(f"expected a GeoJSON geometry or an object with __geo_interface__, got {shape!r}") from error


def _ends(datetime: Any) -> tuple[dt.datetime | None, dt.datetime | None]:
    if isinstance(datetime, str):
        return datetime_range(datetime)
    pair = tuple(datetime) if isinstance(datetime, list | tuple) else (datetime, datetime)
    if len(pair) != 2:  # noqa: PLR2004 - first and last
        raise QueryError(f"expected a datetime, a period or a pair of datetimes, got {datetime!r}")
    ends = [datetime_range(end)[position] if isinstance(end, str) else _aware(end) for position, end in enumerate(pair)]
    if ends[0] is not None and ends[1] is not None and ends[1] < ends[0]:
        raise QueryError(f"expected a period that ends after it begins, got {datetime!r}")
    return ends[0], ends[1]


def _aware(value: Any) -> dt.datetime | None:
    if value is None:
        return None
    if isinstance(value, np.datetime64):
        value = value.astype("datetime64[us]").item()
    if not isinstance(value, dt.datetime):
        raise QueryError(f"expected a datetime or a text as RFC 3339 has it, got {value!r}")
    return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


def _in_period(table: pa.Table, start: dt.datetime | None, stop: dt.datetime | None) -> npt.NDArray[np.bool_]:
    begins, ends = _instants(table, "start_datetime", "datetime"), _instants(table, "end_datetime", "datetime")
    keep = ~np.isnat(begins) & ~np.isnat(ends)
    if start is not None:
        keep &= ends >= np.datetime64(start.replace(tzinfo=None), "us")
    if stop is not None:
        keep &= begins <= np.datetime64(stop.replace(tzinfo=None), "us")
    return keep


def _instants(table: pa.Table, first: str, second: str) -> npt.NDArray[np.datetime64]:
    """Times of a column, or of another where it has none; UTC."""
    found = [pc.cast(table[name].combine_chunks(), _UTC) for name in (first, second) if name in table.column_names]
    if not found:
        return np.full(table.num_rows, np.datetime64("NaT", "us"))
    values = pc.coalesce(*found)
    return np.asarray(pc.cast(values, pa.timestamp("us")), "datetime64[us]")


def _equal(table: pa.Table, name: str, wanted: Any) -> npt.NDArray[np.bool_]:
    column = table[name].combine_chunks()
    members = list(wanted) if isinstance(wanted, list | tuple | set | frozenset | np.ndarray) else [wanted]
    present = [member.item() if isinstance(member, np.generic) else member for member in members]
    try:
        values = pa.array([member for member in present if member is not None])
        if len(values) and values.type != column.type:
            values = values.cast(column.type)
        found = pc.is_in(column, values) if len(values) else pa.array(np.zeros(len(column), bool))
    except pa.ArrowException as error:
        raise QueryError(f"column {name!r} of type {column.type} cannot equal {wanted!r}: {error}") from error
    mask = np.asarray(found, bool)
    return mask | np.asarray(pc.is_null(column), bool) if None in present else mask & np.asarray(pc.is_valid(column))


def bounds_of(table: pa.Table) -> npt.NDArray[np.float64]:
    """(west, south, east, north) of each footprint in degrees, NaN where there is none; shape `(rows, 4)`."""
    found = np.full((len(table), len(_SIDES)), np.nan)
    if "bbox" in table.column_names:
        boxes = table["bbox"].combine_chunks()
        found = np.stack([_floats(pc.struct_field(boxes, side)) for side in _SIDES], axis=1)
    for row in np.flatnonzero(np.isnan(found).any(axis=1)):
        wkb = table["geometry"][int(row)].as_py()
        try:
            box = summarise(wkb).bounds if wkb is not None else None
        except ValueError as error:
            scene = table["id"][int(row)].as_py()
            raise DamagedError(f"scenes.parquet: the footprint of scene {scene!r}: {error}") from error
        if box is not None:
            found[row] = box
    return found
