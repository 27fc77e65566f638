"""What the tables of a set may be, whoever wrote them: columns of one name each, and ours of their types."""

from collections.abc import Callable, Mapping
from typing import Final

import pyarrow as pa

from rasteret_refs.errors import DamagedError

type Test = Callable[[pa.DataType], bool]


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind))


def _is_integer(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_null(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_null(kind))


SCENE_COLUMNS: Final[Mapping[str, Test]] = {
    "id": _is_text,
    "geometry": _is_bytes,
    "bbox": pa.types.is_struct,
    "datetime": lambda kind: pa.types.is_timestamp(kind) or pa.types.is_null(kind),
    "assets": lambda kind: pa.types.is_struct(kind) and all(map(pa.types.is_struct, _kinds(kind))),
    "refs:group": _is_text,
    "refs:index": _is_integer,
    "refs:dropped": pa.types.is_boolean,
}
"""Columns of the scene table that readers take apart, where it has them."""

_ASSET_FIELDS: Final[Mapping[str, Test]] = {
    "href": _is_text,
    "refs:etag": _is_text,
    "refs:size": _is_integer,
    "refs:last_modified": _is_text,
    "refs:group": _is_text,
    "refs:array": _is_text,
    "refs:index": _is_integer,
}


def check_scenes(table: pa.Table, name: str) -> pa.Table:
    """Return a scene table that can be read as one.

    Raises
    ------
    DamagedError
        It has no ids, two columns of one name, or a column of ours of another type.
    """
    check_names(table.schema, name)
    if "id" not in table.column_names or table["id"].null_count:
        raise DamagedError(f"{name}: expected an id for each scene, got {table.column_names[:10]}")
    _check_types({field.name: field.type for field in table.schema}, SCENE_COLUMNS, name)
    if "assets" in table.column_names:
        for field in table.schema.field("assets").type:
            _check_types({inner.name: inner.type for inner in field.type}, _ASSET_FIELDS, f"{name}: asset {field.name}")
    return table


def check_names(schema: pa.Schema | pa.StructType, name: str) -> None:
    """Refuse two columns of one name, at any depth.

    Raises
    ------
    DamagedError
        Naming the column.
    """
    seen: set[str] = set()
    for field in schema:
        if field.name in seen:
            raise DamagedError(f"{name}: expected one column of each name, got two of {field.name!r}")
        seen.add(field.name)
        if pa.types.is_struct(field.type):
            check_names(field.type, name)


def cast_to(table: pa.Table, schema: pa.Schema, name: str) -> pa.Table:
    """Return a table's columns of a fixed schema.

    Raises
    ------
    DamagedError
        A column is missing, or of another type.
    """
    check_names(table.schema, name)
    try:
        return table.select(schema.names).cast(schema)
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise DamagedError(f"{name}: expected the columns {schema.names}, got others: {error}") from error


def _check_types(found: Mapping[str, pa.DataType], tests: Mapping[str, Test], name: str) -> None:
    for column, test in tests.items():
        if column in found and not test(found[column]):
            raise DamagedError(f"{name}: expected another type of {column!r} than {found[column]}")


def _kinds(kind: pa.StructType) -> list[pa.DataType]:
    return [kind.field(number).type for number in range(kind.num_fields)]
