"""Datetimes and intervals as STAC and tables write them (RFC 3339), always with a time zone."""

import calendar
import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

from rasteret_refs.errors import SourceError

type Interval = tuple[datetime | None, datetime | None]
"""Closed interval of UTC times; None: open."""
_PARTIAL = re.compile(r"^(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?$")


def parse_datetime(value: Any, what: str = "datetime") -> datetime:
    """A time with zone from RFC 3339 text, a `datetime`, a `date` or NumPy's `datetime64`.

    Text and values without a zone are taken as UTC, as STAC demands of every datetime. Fractions beyond microseconds
    are cut off.

    Raises
    ------
    SourceError
        Not a time.
    """
    if hasattr(value, "to_pydatetime"):  # pandas.Timestamp, which may be NaT
        value = value.to_pydatetime()
    elif hasattr(value, "astype") and hasattr(value, "dtype"):
        value = value.astype("datetime64[us]").item()
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip().upper().replace(" UTC", "Z"))
        except ValueError as error:
            raise SourceError(f"{what}: expected a date and time (RFC 3339), found {value!r}") from error
    elif isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    # NaT has no comparison that holds: it is unequal to itself.
    if not isinstance(value, datetime) or value != value:  # noqa: PLR0124
        raise SourceError(f"{what}: expected a date and time (RFC 3339), found {value!r}")
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def parse_interval(value: Any) -> Interval:
    """The interval that a search's `datetime` stands for, as pystac-client reads it.

    `"2024-01"` is the whole month, `"2024-01/2024-06"` lasts until the end of June, `"2024-01-01/.."` is open.
    Sequences of two give the ends.

    Raises
    ------
    SourceError
        Not an interval.
    """
    ends = value.split("/") if isinstance(value, str) else value
    if not isinstance(ends, list | tuple):
        ends = [ends]
    if len(ends) == 1:
        ends = [ends[0], ends[0]]
    if len(ends) != 2:  # noqa: PLR2004
        raise SourceError(f"expected one time or START/END, found {value!r}")
    start = None if ends[0] in {None, "", ".."} else _edge(ends[0], last=False)
    stop = None if ends[1] in {None, "", ".."} else _edge(ends[1], last=True)
    if start is not None and stop is not None and start > stop:
        raise SourceError(f"expected START/END in this order, found {value!r}")
    return start, stop


def _edge(value: Any, *, last: bool) -> datetime:
    match = _PARTIAL.match(value) if isinstance(value, str) else None
    if match is None:
        return parse_datetime(value)
    year, month, day = (int(part) if part else None for part in match.groups())
    try:
        first = datetime(year or 1, month or 1, day or 1, tzinfo=UTC)
    except ValueError as error:
        raise SourceError(f"expected a date, found {value!r}") from error
    if not last:
        return first
    end_month = month or 12
    end_day = day or calendar.monthrange(first.year, end_month)[1]
    return datetime(first.year, end_month, end_day, tzinfo=UTC) + timedelta(days=1) - timedelta(microseconds=1)


def overlaps(start: datetime | None, stop: datetime | None, interval: Interval) -> bool:
    """Whether `[start, stop]` shares a moment with `interval`."""
    low, high = interval
    if start is None and stop is None:
        return False
    return (high is None or start is None or start <= high) and (low is None or stop is None or stop >= low)
