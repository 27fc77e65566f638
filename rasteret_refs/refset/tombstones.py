"""Dropping scenes: a mark in the scene table; their place on the scene axis stays, so nothing else moves."""

from collections.abc import Collection
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from rasteret_refs.errors import QueryError
from rasteret_refs.refset.geoparquet import DROPPED, read_table
from rasteret_refs.refset.layout import SCENES
from rasteret_refs.refset.seal import Seal
from rasteret_refs.refset.successor import Successor


def drop_scenes(base: Path, directory: Path, ids: Collection[str]) -> Seal:
    """Write a set in whose scene table these scenes are marked as dropped.

    Plain readers still find their pixels in the arrays; our views leave them out. Writing a new set from the scenes
    that are left removes them for good.

    Parameters
    ----------
    base, directory
        As for `successor.Successor`.
    ids
        Scenes to drop; those dropped before stay so.

    Raises
    ------
    QueryError
        An id that the set does not have.
    """
    successor = Successor(base, directory)
    table = read_table(pa.BufferReader(successor.sealed.read(SCENES)), str(base / SCENES))
    missing = sorted(set(ids) - set(table["id"].to_pylist()))
    if missing:
        raise QueryError(f"{base}: expected ids of its scenes, got {missing[:3]}")
    marks = pc.is_in(table["id"], pa.array(sorted(ids), pa.string()))
    if DROPPED in table.column_names:
        marks = pc.or_(marks, pc.fill_null(table[DROPPED], fill_value=False))
        table = table.drop_columns([DROPPED])
    successor.replace_table(SCENES, table.append_column(DROPPED, marks))
    return successor.finish()
