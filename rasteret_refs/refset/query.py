"""CQL2 text over a scene table: `"eo:cloud_cover" < 20 AND split = 'train'` to the rows it selects.

CQL2 (OGC 21-065r2) is the filter language of STAC APIs, so that one expression serves a search and a view.
The `cql2` package parses it; the comparison itself is done column-wise by Arrow, with SQL's three-valued logic.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from rasteret_refs.errors import QueryError
from rasteret_refs.extras import needed

Column = Any
"""An Arrow array, chunked array or scalar."""

_COMPARISONS: Mapping[str, Callable[[Column, Column], Column]] = {
    "=": pc.equal,
    "<>": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}
_ARITHMETIC: Mapping[str, Callable[[Column, Column], Column]] = {
    "+": pc.add,
    "-": pc.subtract,
    "*": pc.multiply,
    "/": lambda a, b: pc.divide(pc.cast(a, pa.float64()), b),
    "^": pc.power,
}
_SPATIAL = {
    "s_intersects": "intersects",
    "s_within": "within",
    "s_contains": "contains",
    "s_disjoint": "disjoint",
    "s_equals": "equals",
    "s_overlaps": "overlaps",
    "s_touches": "touches",
    "s_crosses": "crosses",
}
"""CQL2's spatial functions and the shapely predicates of the same meaning (OGC simple features)."""


def select_rows(table: pa.Table, expression: str | pc.Expression) -> npt.NDArray[np.int64]:
    """Rows of `table` for which `expression` is true.

    Parameters
    ----------
    table
        The scene table.
    expression
        CQL2 text, or a `pyarrow.compute.Expression`. Names with a colon may stand bare or in double quotes.

    Returns
    -------
    numpy.ndarray
        Row numbers, ascending, int64. Rows where the expression is null are left out, as SQL does.

    Raises
    ------
    QueryError
        The text is not CQL2, names no column, compares what cannot be compared, or uses a function that is not
        supported here.
    """
    if isinstance(expression, pc.Expression):
        return _rows_of_arrow_expression(table, expression)
    return _true_rows(table, _parse(expression), expression)


def _true_rows(table: pa.Table, node: Any, expression: str) -> npt.NDArray[np.int64]:
    mask = _Evaluator(table).evaluate(node)
    if isinstance(mask, pa.Scalar):
        mask = pa.array(np.full(table.num_rows, bool(mask.as_py())))
    if not pa.types.is_boolean(mask.type):
        raise QueryError(f"expected a condition that is true or false, got a value of type {mask.type}: {expression!r}")
    selected = pc.fill_null(mask, fill_value=False)
    chunks = selected.combine_chunks() if isinstance(selected, pa.ChunkedArray) else selected
    return np.flatnonzero(chunks.to_numpy(zero_copy_only=False)).astype(np.int64)


class Condition:
    """One of several conditions that all must hold.

    Attributes
    ----------
    names
        Columns that it names; None: unknown.
    """

    def __init__(self, node: Any, text: Any) -> None:
        self._node = node
        self._text = text
        self.names: frozenset[str] | None = None if isinstance(node, pc.Expression) else frozenset(_names(node))

    def mask(self, table: pa.Table) -> npt.NDArray[np.bool_]:
        """Whether it holds, row by row; null counts as not.

        Raises
        ------
        QueryError
            As `select_rows` says.
        """
        keep = np.zeros(table.num_rows, bool)
        if isinstance(self._node, pc.Expression):
            keep[_rows_of_arrow_expression(table, self._node)] = True
        else:
            keep[_true_rows(table, self._node, self._text)] = True
        return keep


def conditions(expression: str | pc.Expression) -> list[Condition]:
    """Take an expression apart into conditions that all must hold, so that each can be decided where it is cheapest.

    Parameters
    ----------
    expression
        CQL2 text; a pyarrow expression is one condition.
    """
    if isinstance(expression, pc.Expression):
        return [Condition(expression, expression)]
    pending, found = [_parse(expression)], []
    while pending:
        node = pending.pop()
        if isinstance(node, Mapping) and str(node.get("op", "")).lower() == "and":
            pending += node["args"]
        else:
            found.append(Condition(node, expression))
    return found


def _names(node: Any) -> set[str]:
    """Columns that a node of CQL2's JSON form names."""
    if isinstance(node, Mapping):
        own = {str(node["property"]).partition(".")[0]} if "property" in node else set()
        return own.union(*(_names(member) for member in node.values()))
    return set().union(*map(_names, node)) if isinstance(node, list) else set()


def _rows_of_arrow_expression(table: pa.Table, expression: pc.Expression) -> npt.NDArray[np.int64]:
    row = "__row__"
    numbered = table.append_column(row, pa.array(np.arange(table.num_rows, dtype=np.int64)))
    try:
        kept = numbered.filter(expression)
    except pa.ArrowException as error:
        raise QueryError(f"the expression {expression} does not fit the scene table: {error}") from error
    return np.sort(kept.column(row).to_numpy())


def _parse(text: str) -> Any:
    with needed("CQL2 text"):
        import cql2
    try:
        return cql2.parse_text(text).to_json()
    except (cql2.ParseError, cql2.ValidationError, ValueError) as error:
        raise QueryError(f'expected CQL2 text such as "eo:cloud_cover" < 20, got {text!r}:\n{error}') from error


class _Evaluator:
    """Evaluates CQL2's JSON form, node by node, over the columns of one table."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def evaluate(self, node: Any) -> Column:
        """Value of a node: a column, or a scalar for a literal."""
        if not isinstance(node, Mapping):
            return pa.scalar(node)
        if "property" in node:
            return self._column(node["property"])
        for kind in ("timestamp", "date"):
            if kind in node:
                return _instant(node[kind])
        if "op" not in node:
            raise QueryError(f"expected a CQL2 operation, a name or a literal, got {dict(node)!r}")
        name, arguments = str(node["op"]), node["args"]
        try:
            return self._operation(name.lower(), arguments)
        except pa.ArrowException as error:
            raise QueryError(f"{name} cannot be applied to {arguments!r}: {error}") from error

    def _operation(self, name: str, arguments: Sequence[Any]) -> Column:
        if name in ("and", "or"):
            combine = pc.and_kleene if name == "and" else pc.or_kleene
            return reduce(combine, (self.evaluate(argument) for argument in arguments))
        if name == "not":
            return pc.invert(self.evaluate(arguments[0]))
        if name in _COMPARISONS:
            return _COMPARISONS[name](*_comparable(self.evaluate(arguments[0]), self.evaluate(arguments[1])))
        if name in _ARITHMETIC:
            return _ARITHMETIC[name](self.evaluate(arguments[0]), self.evaluate(arguments[1]))
        if name in _SPATIAL:
            return self._spatial(name, arguments)
        if name.startswith("t_"):
            return self._temporal(name, arguments)
        simple: Mapping[str, Callable[[Sequence[Any]], Column]] = {
            "isnull": self._is_null,
            "in": self._is_in,
            "between": self._between,
            "like": self._like,
            "casei": lambda values: pc.utf8_lower(self.evaluate(values[0])),
        }
        if name not in simple:
            supported = ", ".join(sorted([*_COMPARISONS, *_ARITHMETIC, *_SPATIAL, *simple, "and", "or", "not"]))
            raise QueryError(f"CQL2's {name!r} is not supported here; supported are {supported}, t_after, t_before, …")
        return simple[name](arguments)

    def _column(self, name: str) -> Column:
        if name in self._table.column_names:
            return self._table.column(name)
        head, _, tail = name.partition(".")
        if tail and head in self._table.column_names and pa.types.is_struct(self._table.schema.field(head).type):
            fields = tail.split(".")
            try:
                return pc.struct_field(self._table.column(head), fields)
            except pa.ArrowException as error:
                raise QueryError(f"column {head!r} has no field {tail!r}: {error}") from error
        near = difflib.get_close_matches(name, self._table.column_names, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"columns are {', '.join(self._table.column_names)}"
        raise QueryError(f"the scene table has no column {name!r}; {hint}")

    def _is_null(self, arguments: Sequence[Any]) -> Column:
        return pc.is_null(self.evaluate(arguments[0]))

    def _is_in(self, arguments: Sequence[Any]) -> Column:
        column = self.evaluate(arguments[0])
        equal = [pc.equal(*_comparable(column, self.evaluate(item))) for item in arguments[1]]
        return reduce(pc.or_kleene, equal)

    def _between(self, arguments: Sequence[Any]) -> Column:
        column, low, high = (self.evaluate(argument) for argument in arguments)
        above = pc.greater_equal(*_comparable(column, low))
        return pc.and_kleene(above, pc.less_equal(*_comparable(column, high)))

    def _like(self, arguments: Sequence[Any]) -> Column:
        return pc.match_like(self.evaluate(arguments[0]), self.evaluate(arguments[1]).as_py())

    def _spatial(self, name: str, arguments: Sequence[Any]) -> Column:
        with needed(name):
            import shapely

        def geometries(node: Any) -> Any:
            if isinstance(node, Mapping) and "property" in node:
                return shapely.from_wkb(np.asarray(self._column(node["property"]).to_pylist(), dtype=object))
            if isinstance(node, Mapping) and "bbox" in node:
                return shapely.box(*node["bbox"])
            return shapely.geometry.shape(node)

        predicate = getattr(shapely, _SPATIAL[name])
        answer = np.asarray(predicate(geometries(arguments[0]), geometries(arguments[1])))
        return pa.array(np.broadcast_to(answer, (self._table.num_rows,)))

    def _temporal(self, name: str, arguments: Sequence[Any]) -> Column:
        start, stop = self._interval(arguments[0])
        other_start, other_stop = self._interval(arguments[1])
        relations: Mapping[str, Callable[[], Column]] = {
            "t_after": lambda: pc.greater(*_comparable(start, other_stop)),
            "t_before": lambda: pc.less(*_comparable(stop, other_start)),
            "t_during": lambda: pc.and_kleene(
                pc.greater_equal(*_comparable(start, other_start)), pc.less_equal(*_comparable(stop, other_stop))
            ),
            "t_intersects": lambda: pc.and_kleene(
                pc.less_equal(*_comparable(start, other_stop)), pc.greater_equal(*_comparable(stop, other_start))
            ),
            "t_disjoint": lambda: pc.or_kleene(
                pc.greater(*_comparable(start, other_stop)), pc.less(*_comparable(stop, other_start))
            ),
            "t_equals": lambda: pc.and_kleene(
                pc.equal(*_comparable(start, other_start)), pc.equal(*_comparable(stop, other_stop))
            ),
        }
        if name not in relations:
            raise QueryError(f"CQL2's {name!r} is not supported here; supported are {', '.join(sorted(relations))}")
        return relations[name]()

    def _interval(self, node: Any) -> tuple[Column, Column]:
        """Start and stop of a temporal argument; `..` leaves an end open."""
        if not isinstance(node, Mapping) or "interval" not in node:
            instant = self.evaluate(node)
            return instant, instant

        def end(value: Any, open_end: datetime) -> Column:
            if value == "..":
                return pa.scalar(open_end, pa.timestamp("us", "UTC"))
            return self.evaluate(value) if isinstance(value, Mapping) else _instant(value)

        low, high = node["interval"]
        return end(low, datetime.min.replace(tzinfo=UTC)), end(high, datetime.max.replace(tzinfo=UTC))


def _comparable(left: Column, right: Column) -> tuple[Column, Column]:
    """Both sides in types that Arrow compares: text beside a time is read as RFC 3339."""
    left_time, right_time = pa.types.is_temporal(left.type), pa.types.is_temporal(right.type)
    if left_time and isinstance(right, pa.StringScalar):
        right, right_time = _instant(right.as_py()), True
    if right_time and isinstance(left, pa.StringScalar):
        left, left_time = _instant(left.as_py()), True
    if left_time and right_time:
        utc = pa.timestamp("us", "UTC")
        return _as_utc(left, utc), _as_utc(right, utc)
    return left, right


def _as_utc(column: Column, utc: pa.DataType) -> Column:
    if pa.types.is_timestamp(column.type) and column.type.tz is None:
        return pc.assume_timezone(pc.cast(column, pa.timestamp("us")), "UTC")
    return pc.cast(column, utc)


def _instant(text: str) -> pa.Scalar:
    """An RFC 3339 time or date as UTC microseconds; a date is its midnight."""
    try:
        value = datetime.fromisoformat(text)
    except ValueError as error:
        raise QueryError(f"expected a date or time as RFC 3339 has it (2024-05-31T10:00:00Z), got {text!r}") from error
    if value.tzinfo is None:
        value = value.replace(tzinfo=UTC)
    return pa.scalar(value.astimezone(UTC), pa.timestamp("us", "UTC"))


def datetime_range(text: str) -> tuple[datetime | None, datetime | None]:
    """Ends of a STAC `datetime` argument: one instant, a date, a month, a year, or two of them with a slash.

    Parameters
    ----------
    text
        For example `2024-05-31`, `2024-01/2024-06` or `2024-05-31T10:00:00Z/..`. A date without a time means the whole
        day, a month without a day the whole month, a year the whole year, as pystac-client reads them.

    Returns
    -------
    tuple
        First and last instant, both inclusive and in UTC; None where open.

    Raises
    ------
    QueryError
        The text is none of these, or ends before it begins.
    """
    first, slash, last = text.partition("/")
    start = None if first in ("", "..") else _period(first)[0]
    stop_text = last if slash else first
    stop = None if stop_text in ("", "..") else _period(stop_text)[1]
    if start is not None and stop is not None and stop < start:
        raise QueryError(f"expected a period that ends after it begins, got {text!r}")
    return start, stop


def _period(text: str) -> tuple[datetime, datetime]:
    """First and last microsecond of a year, month, day or instant."""
    utc = UTC
    parts = text.split("-")
    one = timedelta(microseconds=1)
    try:
        if len(text) == len("2024"):
            return datetime(int(text), 1, 1, tzinfo=utc), datetime(int(text) + 1, 1, 1, tzinfo=utc) - one
        if len(text) == len("2024-05"):
            year, month = int(parts[0]), int(parts[1])
            following = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=utc)
            return datetime(year, month, 1, tzinfo=utc), following - one
        if len(text) == len("2024-05-31"):
            start = datetime.combine(date.fromisoformat(text), time(0), tzinfo=utc)
            return start, start + timedelta(days=1) - one
        value = datetime.fromisoformat(text)
    except ValueError as error:
        raise QueryError(f"expected a year, a month, a date or a time as RFC 3339 has it, got {text!r}") from error
    instant = value.replace(tzinfo=utc) if value.tzinfo is None else value.astimezone(utc)
    return instant, instant


def unknown_names(expected: Sequence[str], given: Sequence[str], what: str) -> None:
    """Raise `QueryError` for names that are not among `expected`, listing these.

    Parameters
    ----------
    expected
        Names that exist.
    given
        Names that were asked for.
    what
        What the names are of, for the message (`asset`, `scene id`, …).
    """
    known = set(expected)
    missing = [name for name in given if name not in known]
    if missing:
        shown = ", ".join(map(repr, missing[:5])) + (" …" if len(missing) > 5 else "")  # noqa: PLR2004 - a short message
        raise QueryError(f"no {what} named {shown}; there are {', '.join(sorted(known)[:20])}")
