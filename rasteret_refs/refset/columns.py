"""Arrow columns from the loose values of STAC properties: one type a column, JSON text where values disagree."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import pyarrow as pa

TIMESTAMP: Final = pa.timestamp("us", tz="UTC")


def column(values: Sequence[Any]) -> pa.Array:
    """Return a column of values that come from different documents.

    Integers and floats mix to float64. Where values do not share a type, or have one that Parquet lacks (an empty
    object), all of them become JSON text: nothing is lost, and nothing depends on which document came first.

    Parameters
    ----------
    values
        JSON values, datetimes, bytes, NumPy scalars; None where absent.

    Returns
    -------
    pyarrow.Array
        As long as `values`.
    """
    try:
        array = pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        if all(value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in values):
            return pa.array([None if value is None else float(value) for value in values], pa.float64())
        return _as_json(values)
    if _has_empty_struct(array.type):
        return _as_json(values)
    wanted = _without_nulls(array.type)
    return array if wanted == array.type else array.cast(wanted)


def timestamps(values: Sequence[datetime | None], name: str) -> pa.Array:
    """Return UTC timestamps in microseconds.

    Raises
    ------
    ValueError
        A datetime without a time zone.
    """
    for value in values:
        if value is not None and value.tzinfo is None:
            raise ValueError(f"{name}: expected a datetime with a time zone, got {value!r}")
    return pa.array([None if value is None else value.astimezone(UTC) for value in values], TIMESTAMP)


def _as_json(values: Sequence[Any]) -> pa.Array:
    texts = [
        value if value is None or isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
        for value in values
    ]
    return pa.array(texts, pa.string())


def _has_empty_struct(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind) and kind.num_fields == 0:
        return True
    return any(_has_empty_struct(kind.field(i).type) for i in range(kind.num_fields))


def _without_nulls(kind: pa.DataType) -> pa.DataType:
    """Replace the null type, which some Parquet readers lack, by text, at any depth."""
    if pa.types.is_null(kind):
        return pa.string()
    if pa.types.is_struct(kind):
        fields = [kind.field(i) for i in range(kind.num_fields)]
        return pa.struct([pa.field(field.name, _without_nulls(field.type)) for field in fields])
    if pa.types.is_list(kind):
        return pa.list_(_without_nulls(kind.value_type))
    return kind
