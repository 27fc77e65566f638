"""Scene tables of two batches as one: columns that different documents filled get types that go together."""

import json
from typing import Any

import pyarrow as pa

from rasteret_refs.refset.geoparquet import concatenated


def joined(old: pa.Table, new: pa.Table) -> pa.Table:
    """Return the rows of two scene tables, with the columns and assets of both.

    A column, or a field at any depth, that is empty in one batch takes the other's type; integers and floats become
    floats; what else does not go together becomes JSON text, as within one batch (`columns.column`).

    Parameters
    ----------
    old, new
        Tables of `geoparquet.scene_table`.

    Raises
    ------
    RefsetError
        An id in both.
    """
    left: dict[str, Any] = {name: _whole(old[name]) for name in old.column_names}
    right: dict[str, Any] = {name: _whole(new[name]) for name in new.column_names}
    for name in left.keys() & right.keys():
        left[name], right[name] = _alike(left[name], right[name])
    return concatenated(pa.table(left), pa.table(right))


def _whole(values: pa.ChunkedArray) -> pa.Array:
    return values.chunk(0) if values.num_chunks == 1 else values.combine_chunks()


def _alike(first: pa.Array, second: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Return two columns with types that `concat_tables` joins."""
    one, other = first.type, second.type
    if one == other or (_is_number(one) and _is_number(other)):
        return first, second
    if first.null_count == len(first):
        return pa.nulls(len(first), other), second
    if second.null_count == len(second):
        return first, pa.nulls(len(second), one)
    if pa.types.is_struct(one) and pa.types.is_struct(other):
        return _alike_structs(first, second)
    return _as_json(first), _as_json(second)


def _alike_structs(first: pa.StructArray, second: pa.StructArray) -> tuple[pa.Array, pa.Array]:
    sides: list[dict[str, Any]] = [
        {array.type.field(number).name: array.field(number) for number in range(array.type.num_fields)}
        for array in (first, second)
    ]
    for name in sides[0].keys() & sides[1].keys():
        sides[0][name], sides[1][name] = _alike(sides[0][name], sides[1][name])
    made = [
        pa.StructArray.from_arrays(list(side.values()), names=list(side), mask=array.is_null())
        for side, array in zip(sides, (first, second), strict=True)
    ]
    return made[0], made[1]


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _as_json(values: pa.Array) -> pa.Array:
    texts = [
        value if value is None or isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
        for value in values.to_pylist()
    ]
    return pa.array(texts, pa.string())
