"""What a STAC API's search does, for items that come without an API: bbox, intersects, datetime, query, filter."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rasteret_refs.errors import SourceError
from rasteret_refs.sources.geometry import boxes_overlap, geojson_bbox, horizontal
from rasteret_refs.sources.times import overlaps as times_overlap
from rasteret_refs.sources.times import parse_datetime, parse_interval
from rasteret_refs.sources.wkb import wkb_bounds

# https://github.com/stac-api-extensions/query: operators and their meaning.
_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": lambda value, wanted: value == wanted,
    "neq": lambda value, wanted: value != wanted,
    "lt": lambda value, wanted: value < wanted,
    "lte": lambda value, wanted: value <= wanted,
    "gt": lambda value, wanted: value > wanted,
    "gte": lambda value, wanted: value >= wanted,
    "startsWith": lambda value, wanted: value.startswith(wanted),
    "endsWith": lambda value, wanted: value.endswith(wanted),
    "contains": lambda value, wanted: wanted in value,
    "in": lambda value, wanted: value in wanted,
}
# pystac-client's short form, longest sign first: "eo:cloud_cover<20".
_SIGNS = (("<=", "lte"), (">=", "gte"), ("<>", "neq"), ("!=", "neq"), ("<", "lt"), (">", "gt"), ("=", "eq"))


@dataclass(frozen=True, kw_only=True)
class ItemFilter:
    """Which items are wanted.

    Attributes
    ----------
    bbox
        (west, south, east, north) in degrees.
    intersects
        GeoJSON geometry, or an object with `__geo_interface__`, in degrees.
    datetime
        As pystac-client takes it.
    query
        `{"eo:cloud_cover": {"lt": 20}}` or `["eo:cloud_cover<20"]`.
    filter
        CQL2 as text or JSON.
    """

    bbox: Sequence[float] | None = None
    intersects: Any = None
    datetime: Any = None
    query: Mapping[str, Any] | Sequence[str] | None = None
    filter: str | Mapping[str, Any] | None = None

    def tests(self) -> list[Callable[[Mapping[str, Any]], bool]]:
        """One test for each condition given; an item is wanted when all of them hold.

        Raises
        ------
        SourceError
            A condition that cannot be understood, or whose library is missing.
        """
        found: list[Callable[[Mapping[str, Any]], bool]] = []
        if self.bbox is not None:
            box = horizontal(self.bbox)
            found.append(lambda item: _box_matches(item, box))
        if self.intersects is not None:
            found.append(_intersection(self.intersects))
        if self.datetime is not None:
            interval = parse_interval(self.datetime)
            found.append(lambda item: _time_matches(item, interval))
        if self.query is not None:
            conditions = query_conditions(self.query)
            found.append(lambda item: all(_holds(item, *condition) for condition in conditions))
        if self.filter is not None:
            found.append(_cql2(self.filter))
        return found


def query_conditions(query: Mapping[str, Any] | Sequence[str]) -> list[tuple[str, str, Any]]:
    """(property, operator, value) of a `query` in either form.

    Raises
    ------
    SourceError
        An unknown operator, or a text without one.
    """
    conditions: list[tuple[str, str, Any]] = []
    if isinstance(query, Mapping):
        for name, operators in query.items():
            pairs = operators.items() if isinstance(operators, Mapping) else [("eq", operators)]
            conditions.extend((name, operator, value) for operator, value in pairs)
    else:
        for text in [query] if isinstance(query, str) else query:
            sign, operator = next((pair for pair in _SIGNS if pair[0] in text), ("", ""))
            if not sign:
                raise SourceError(f"expected a condition such as 'eo:cloud_cover<20', found {text!r}")
            name, _, value = text.partition(sign)
            conditions.append((name.strip(), operator, _number(value.strip())))
    unknown = sorted({operator for _, operator, _ in conditions if operator not in _OPERATORS})
    if unknown:
        raise SourceError(f"expected the query operators {', '.join(_OPERATORS)}, found {', '.join(unknown)}")
    return conditions


def geojson_of(shape: Any) -> Mapping[str, Any]:
    """GeoJSON geometry of a mapping, a Feature, or anything with `__geo_interface__`."""
    value = shape if isinstance(shape, Mapping) else getattr(shape, "__geo_interface__", None)
    if isinstance(value, Mapping) and value.get("type") == "Feature":
        value = value.get("geometry")
    if not isinstance(value, Mapping) or "type" not in value:
        raise SourceError(f"expected a GeoJSON geometry or an object with __geo_interface__, found {type(shape)}")
    return value


def _number(text: str) -> Any:
    try:
        return int(text) if text.lstrip("+-").isdigit() else float(text)
    except ValueError:
        return text.strip("'\"")


def _holds(item: Mapping[str, Any], name: str, operator: str, wanted: Any) -> bool:
    properties = item.get("properties") or {}
    value = properties.get(name, item.get(name) if name in {"id", "collection"} else None)
    if value is None:
        return False
    try:
        return bool(_OPERATORS[operator](value, wanted))
    except (TypeError, AttributeError) as error:
        raise SourceError(f"query {name} {operator} {wanted!r}: cannot be compared with {value!r}") from error


def _item_box(item: Mapping[str, Any]) -> tuple[float, float, float, float] | None:
    bbox = item.get("bbox")
    if isinstance(bbox, Mapping):  # a GeoParquet covering
        bbox = [bbox.get(side) for side in ("xmin", "ymin", "xmax", "ymax")]
        bbox = None if None in bbox else bbox
    if bbox:
        return horizontal(bbox)
    geometry = item.get("geometry")
    if isinstance(geometry, bytes):
        return wkb_bounds(geometry)
    return geojson_bbox(geometry) if isinstance(geometry, Mapping) else None


def _box_matches(item: Mapping[str, Any], box: tuple[float, float, float, float]) -> bool:
    own = _item_box(item)
    return own is not None and boxes_overlap(own, box)


def _time_matches(item: Mapping[str, Any], interval: Any) -> bool:
    properties = item.get("properties") or {}
    ends = [properties.get(key) for key in ("start_datetime", "end_datetime")]
    if not any(ends):
        ends = [properties.get("datetime")] * 2
    start, stop = (parse_datetime(end) if end else None for end in ends)
    return times_overlap(start, stop, interval)


def _intersection(shape: Any) -> Callable[[Mapping[str, Any]], bool]:
    geometry = geojson_of(shape)
    try:
        import shapely
        from shapely.geometry import shape as to_shape
    except ImportError as error:
        raise SourceError("intersects= on items without an API needs the `geo` extra (shapely)") from error
    wanted = to_shape(geometry)
    shapely.prepare(wanted)

    def test(item: Mapping[str, Any]) -> bool:
        own = item.get("geometry")
        if isinstance(own, bytes):
            return bool(wanted.intersects(shapely.from_wkb(own)))
        return isinstance(own, Mapping) and bool(wanted.intersects(to_shape(own)))

    return test


def _cql2(expression: str | Mapping[str, Any]) -> Callable[[Mapping[str, Any]], bool]:
    try:
        import cql2
    except ImportError as error:
        raise SourceError("filter= on items without an API needs the `tables` extra (cql2)") from error
    try:
        parsed = cql2.Expr(expression if isinstance(expression, str) else dict(expression))
    except Exception as error:  # cql2 raises bare exceptions
        raise SourceError(f"expected a CQL2 expression, found {expression!r}: {error}") from error

    def test(item: Mapping[str, Any]) -> bool:
        try:
            return bool(parsed.matches(dict(item)))
        except Exception as error:  # cql2 raises bare exceptions for names that an item lacks
            raise SourceError(f"filter {expression!r} cannot be evaluated: {error}") from error

    return test
