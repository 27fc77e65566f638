"""Views: which scenes of an opened set are meant, with columns that the set itself does not hold yet.

A view never copies: it is row numbers of the scene table, and what follows from them for each grid's scene axis.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from rasteret_refs.errors import QueryError
from rasteret_refs.refset.geoparquet import DROPPED
from rasteret_refs.refset.opened import OpenedRefset
from rasteret_refs.refset.query import select_rows

Rows = npt.NDArray[np.int64]
_SHOWN = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """Scenes of a set, and columns that were added to them."""

    refset: OpenedRefset
    rows: Rows | None = None
    """Rows of `refset.scenes`, ascending; None: all."""
    columns: Mapping[str, pa.Array] = field(default_factory=dict)
    """Columns that the set does not hold, or holds otherwise: one value for each row of `refset.scenes`."""
    along_scenes: frozenset[str] = frozenset()
    """Those of `columns` that are coordinates of the arrays as well."""
    tiles: pa.Table | None = None
    """Labels by tile that the set does not hold."""
    record: Mapping[str, Any] = field(default_factory=dict)
    """What a saved set records about the added columns, over its recipe."""

    def __len__(self) -> int:
        return len(self.rows) if self.rows is not None else int(self.refset.scenes.num_rows)

    @property
    def is_whole(self) -> bool:
        """Whether this is the set as it stands."""
        return self.rows is None and not self.columns and self.tiles is None

    @cached_property
    def table(self) -> pa.Table:
        """The view's part of the scene table, with its own columns."""
        table = with_columns(self.refset.scenes, self.columns)
        return table if self.rows is None else table.take(pa.array(self.rows))

    @property
    def coordinates(self) -> Mapping[str, pa.Array]:
        """Added columns as arrays see them: one value for each row of the view."""
        if self.rows is None:
            return self.columns
        at = pa.array(self.rows)
        return {name: values.take(at) for name, values in self.columns.items()}

    def take(self, rows: Rows) -> "View":
        """Narrow to rows of the view, by their numbers in it; order and repetitions are of no account."""
        kept = np.unique(np.asarray(rows, np.int64))
        return replace(self, rows=kept if self.rows is None else self.rows[kept])

    def where(self, expression: Any) -> "View":
        """Narrow by CQL2 text or a pyarrow expression; see `query.select_rows`."""
        return self.take(select_rows(self.table, expression))

    def select(self, ids: Sequence[str]) -> "View":
        """Narrow to scenes by their ids.

        Raises
        ------
        QueryError
            Ids that the view does not have.
        """
        wanted = [ids] if isinstance(ids, str) else list(ids)
        found = pc.index_in(pa.array(wanted, pa.string()), self.table["id"].combine_chunks())
        if found.null_count:
            missing = [name for name, row in zip(wanted, found.to_pylist(), strict=True) if row is None]
            more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
            raise QueryError(f"expected ids of the {len(self)} scenes here, got {missing[:_SHOWN]}{more}")
        return self.take(found.to_numpy(zero_copy_only=False))

    def carrying(
        self,
        columns: Mapping[str, pa.Array],
        along_scenes: frozenset[str],
        *,
        tiles: pa.Table | None = None,
        record: Mapping[str, Any] | None = None,
    ) -> "View":
        """Add columns of one value for each scene of the view, labels by tile, and what is to be recorded of them."""
        whole = {name: self._over_all(name, values) for name, values in columns.items()}
        return replace(
            self,
            columns={**self.columns, **whole},
            along_scenes=self.along_scenes | along_scenes,
            tiles=self.tiles if tiles is None else tiles,
            record={**self.record, **(record or {})},
        )

    def _over_all(self, name: str, values: pa.Array) -> pa.Array:
        """Values of the view's scenes as a column of the whole table; other scenes keep theirs, or have none."""
        if self.rows is None:
            return values
        count = int(self.refset.scenes.num_rows)
        at = np.full(count, -1, np.int64)
        at[self.rows] = np.arange(len(self.rows))
        spread = values.take(pa.array(at, mask=at < 0))
        table = with_columns(self.refset.scenes, self.columns)
        if name not in table.column_names:
            return spread
        old = table[name].combine_chunks()
        if old.type != values.type:
            return spread
        return pc.if_else(pa.array(at >= 0), spread, old)

    @cached_property
    def places(self) -> Mapping[str, Rows]:
        """Where the view's scenes lie: grid → their numbers along its scene axis, ascending.

        Grids are those that `groups` lists; an asset of another resolution gives a scene a second one.
        """
        groups, indices = [], []
        for group, index in _placed(self.table):
            groups.append(group)
            indices.append(index)
        return _distinct(groups, indices)

    @cached_property
    def is_narrowed(self) -> bool:
        """Whether some scene of the arrays does not belong to the view: left out, or dropped from the set."""
        if self.rows is not None:
            return True
        # Only a later state of a set has dropped scenes: a fresh one is read without its table.
        return bool(self.refset.seal.previous) and DROPPED in self.refset.all_scenes.column_names

    @cached_property
    def _known_grids(self) -> frozenset[str]:
        """Grids that assets of the set's scenes lie in, dropped ones included."""
        return frozenset(_distinct(*_columns(_placed(self.refset.all_scenes))))

    def axis_rows(self, grid: str) -> Rows | None:
        """Numbers along a grid's scene axis of the view's scenes; None: all of them.

        Raises
        ------
        KeyError
            The scene table names no asset in this grid: whoever asks must go by ids.
        """
        if not self.is_narrowed:
            return None
        if grid not in self.places and grid in self._known_grids:
            return np.empty(0, np.int64)
        return self.places[grid]


def with_columns(table: pa.Table, columns: Mapping[str, pa.Array]) -> pa.Table:
    """Return a table with columns added, or replaced where they stand."""
    for name, values in columns.items():
        position = table.schema.get_field_index(name)
        new = position < 0
        table = table.append_column(name, values) if new else table.set_column(position, name, values)
    return table


def grid_of(group: str) -> str:
    """Return the grid that a group of arrays belongs to: `a/factor_1` → `a`, `factor_1` → ``."""
    return group.rpartition("/")[0]


def _placed(table: pa.Table) -> list[tuple[pa.Array, pa.Array]]:
    """Groups and indices of each asset of each scene."""
    found = []
    if "assets" in table.column_names and table.num_rows:
        assets = table["assets"].combine_chunks()
        for number in range(assets.type.num_fields):
            kind = assets.type.field(number).type
            if pa.types.is_struct(kind) and kind.get_field_index("refs:group") >= 0:
                asset = pc.struct_field(assets, [number])
                found.append((pc.struct_field(asset, "refs:group"), pc.struct_field(asset, "refs:index")))
    if table.num_rows:
        found.append((table["refs:group"].combine_chunks(), table["refs:index"].combine_chunks()))
    return found


def _columns(pairs: Sequence[tuple[pa.Array, pa.Array]]) -> tuple[list[pa.Array], list[pa.Array]]:
    return [group for group, _ in pairs], [index for _, index in pairs]


def _distinct(groups: Sequence[pa.Array], indices: Sequence[pa.Array]) -> dict[str, Rows]:
    if not groups:
        return {}
    group = pa.concat_arrays([pa.array(part) if not isinstance(part, pa.Array) else part for part in groups])
    codes = group.dictionary_encode()
    numbers = pa.concat_arrays(list(indices))
    here = np.asarray(pc.is_valid(group)) & np.asarray(pc.is_valid(numbers))
    code = codes.indices.fill_null(0).to_numpy(zero_copy_only=False)[here].astype(np.int64)
    index = numbers.fill_null(0).to_numpy(zero_copy_only=False)[here].astype(np.int64)
    grids = [grid_of(name) for name in codes.dictionary.to_pylist()]
    distinct = list(dict.fromkeys(grids))
    code = np.array([distinct.index(name) for name in grids], np.int64)[code] if grids else code
    longest = int(index.max()) + 1 if len(index) else 1
    pairs = np.stack(np.divmod(np.unique(code * longest + index), longest), axis=1)
    starts = np.searchsorted(pairs[:, 0], np.arange(len(distinct) + 1))
    return {name: pairs[starts[k] : starts[k + 1], 1] for k, name in enumerate(distinct) if starts[k + 1] > starts[k]}
