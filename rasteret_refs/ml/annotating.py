"""What annotating and splitting change in a collection, decided before anything is written."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa

from rasteret_refs.errors import NotFoundError, QueryError
from rasteret_refs.ml.assign import (
    RECORDED,
    RECORDED_CHIPS,
    grown_splits,
    recorded_rules,
    rule_of,
    scene_leakage,
    scene_splits,
    split_rule,
)
from rasteret_refs.ml.chip_splits import CHIP, added_chips, chip_leakage, chip_splits
from rasteret_refs.ml.splits import LeakageReport, SplitRule
from rasteret_refs.refset.annotate import annotated
from rasteret_refs.refset.labels import along_scenes, matched
from rasteret_refs.refset.opened import OpenedRefset
from rasteret_refs.refset.tiles import tile_counts
from rasteret_refs.refset.tiles_labels import WINDOW, is_by_tile, merged_labels, moved_labels, tile_labels
from rasteret_refs.refset.views import View
from rasteret_refs.virtual.existing import existing_layout


@dataclass(frozen=True, kw_only=True, eq=False)
class Change:
    """Labels that are to be written, or carried by a view."""

    columns: Mapping[str, pa.Array] = field(default_factory=dict)
    """Of the scene table: one value for each scene of the view."""
    along: frozenset[str] = frozenset()
    """Those of them that become coordinates."""
    tiles: pa.Table | None = None
    """The whole new table of labels by tile."""
    record: Mapping[str, Any] = field(default_factory=dict)
    """What changes in the recipe."""

    def apply(self, view: View, write: bool | None) -> View | None:
        """Write, or give the view that carries the labels; see `refset.annotate.annotated`."""
        return annotated(view, self.columns, along_scenes=self.along, tiles=self.tiles, record=self.record, write=write)


def labelled(
    view: View, table: Any, on: str | Sequence[str], *, coordinates: Sequence[str] | None, ignore_unknown: bool
) -> Change:
    """Prepare a user's labels.

    Raises
    ------
    QueryError
        As `refset.labels.matched` and `refset.tiles_labels.tile_labels` say.
    """
    labels = as_table(table)
    if is_by_tile(on):
        new = tile_labels(view, labels, list(on), tile_counts(view), ignore_unknown=ignore_unknown)
        return Change(tiles=merged_labels(_tiles(view), new))
    if not isinstance(on, str):
        if len(on) != 1:
            raise QueryError(f"expected one key, or row and column of tiles, got {list(on)}")
        on = on[0]
    columns = matched(view.table, labels, on, ignore_unknown=ignore_unknown)
    along = along_scenes(columns, view.refset.metadata, coordinates)
    return Change(columns=columns, along=along, record=_record(view, dict.fromkeys(columns)))


def split(
    view: View,
    fractions: Mapping[str, float],
    by: str,
    *,
    unit: str,
    chip_size: int | None,
    stride: int | None,
    **options: Any,
) -> Change:
    """Prepare splits by a rule.

    Raises
    ------
    QueryError
        A rule that cannot be carried out.
    """
    known = set(SplitRule.__dataclass_fields__) - {"fractions", "by", "unit"}
    unknown = sorted(set(options) - known)
    if unknown:
        raise QueryError(f"expected options of a split among {sorted(known)}, got {unknown}")
    rule = split_rule(fractions, by, view.table.column_names, unit=unit, **options)
    if unit == "chip":
        size = CHIP if chip_size is None else chip_size
        table = chip_splits(view, rule, size=size, stride=stride)
        entry = {**rule.record(), "chip_size": size, "stride": size if stride is None else stride}
        return Change(
            tiles=merged_labels(_other_labels(view, table), table),
            record=_record(view, {rule.column: entry}, RECORDED_CHIPS),
        )
    if chip_size is not None or stride is not None:
        raise QueryError("expected chip_size and stride only together with unit='chip'")
    return _scene_change(view, rule)


def _scene_change(view: View, rule: SplitRule) -> Change:
    recorded = recorded_rules({**view.refset.seal.recipe, **view.record}).get(rule.column)
    same = recorded is not None and replace(rule, boundaries=rule.boundaries or recorded.boundaries) == recorded
    splits, rule = (
        grown_splits(view.table, recorded) if recorded is not None and same else scene_splits(view.table, rule)
    )
    columns = {rule.column: pa.array(splits.tolist(), pa.string())}
    along = along_scenes(columns, view.refset.metadata, [rule.column])
    return Change(columns=columns, along=along, record=_record(view, {rule.column: rule.record()}))


def grown(view: View) -> Change | None:
    """Prepare the splits of scenes and chips that were appended, by the rules that the set records.

    Returns
    -------
    Change or None
        None where there are none.
    """
    columns: dict[str, pa.Array] = {}
    rules: dict[str, Any] = {}
    for name, rule in recorded_rules(view.refset.seal.recipe).items():
        if name not in view.table.column_names or view.table[name].null_count:
            splits, found = grown_splits(view.table, rule)
            columns[name], rules[name] = pa.array(splits.tolist(), pa.string()), found.record()
    tiles = _grown_chips(view)
    if not columns and tiles is None:
        return None
    return Change(columns=columns, along=frozenset(columns), tiles=tiles, record=_record(view, rules))


def _grown_chips(view: View) -> pa.Table | None:
    """Labels by tile with the chips that were appended; None where there are none."""
    rules = view.refset.seal.recipe.get(RECORDED_CHIPS) or {}
    old = view.refset.tiles() if rules else None
    if old is None:
        return None
    tiles = old
    for record in rules.values():
        new = added_chips(view, rule_of(record), old, size=record["chip_size"], stride=record["stride"])
        tiles = tiles if new is None else merged_labels(tiles, new)
    return None if tiles is old else tiles


def joined(view: View, other: OpenedRefset, ids: Sequence[str]) -> Change | None:
    """Prepare the labels by tile of a set whose scenes were merged into this one, where they say something new.

    Parameters
    ----------
    view
        The set as it is now, without these labels.
    other
        The other set.
    ids
        Its scenes that came here.

    Raises
    ------
    QueryError
        The sets' labels go by different keys, or by windows of other sizes.
    """
    labels = other.tiles()
    if labels is None or not ids:
        return None
    here, there = (existing_layout(one.metadata, _unread).parents() for one in (view.refset, other))
    grids = {group.path: here[identity].path for identity, group in there.items() if identity in here}
    new = moved_labels(labels, grids, ids)
    return Change(tiles=merged_labels(new, old) if (old := view.refset.tiles()) is not None else new)


def _unread(path: str) -> NoReturn:
    raise NotImplementedError(path)


def leakage(view: View, column: str, unit: str | None = None) -> LeakageReport:
    """Report overlaps between splits.

    Parameters
    ----------
    column
        That holds the splits.
    unit
        `scene` or `chip`; None: scenes where the view carries splits of theirs, else chips where these are split.

    Raises
    ------
    QueryError
        There is no such column, or no such unit.
    """
    if unit not in {None, "scene", "chip"}:
        raise QueryError(f"expected unit='scene' or 'chip', got {unit!r}")
    tiles = _tiles(view)
    of_chips = tiles is not None and column in tiles.column_names and set(WINDOW) <= set(tiles.column_names)
    if unit == "chip" or (unit is None and of_chips and column not in view.columns):
        if tiles is None or not of_chips:
            raise QueryError(f"expected chips with the column {column!r}, got none")
        return chip_leakage(tiles, column)
    return scene_leakage(view.table, column)


def as_table(source: Any) -> pa.Table:
    """A user's table as Arrow.

    Parameters
    ----------
    source
        Arrow, pandas, Polars, a DuckDB relation, anything with Arrow's C stream, a mapping of columns, or the path of a
        Parquet or CSV file.

    Raises
    ------
    QueryError
        None of these.
    """
    if isinstance(source, str | os.PathLike):
        return _plain(_read(Path(source)))
    try:
        return _plain(_in_memory(source))
    except (pa.ArrowException, TypeError, ValueError, AttributeError) as error:
        raise QueryError(f"expected a table, got {type(source).__name__}: {error}") from error


def _in_memory(source: Any) -> pa.Table:
    if isinstance(source, pa.Table):
        return source
    if isinstance(source, Mapping):
        return pa.table(dict(source))
    if hasattr(source, "__arrow_c_stream__"):
        return pa.table(source)
    if type(source).__module__.partition(".")[0] in {"pandas", "geopandas"}:
        return pa.Table.from_pandas(source, preserve_index=False)
    return pa.Table.from_pylist(list(source))


def _plain(table: pa.Table) -> pa.Table:
    """Texts and bytes in their plain types: Polars gives views, pandas long ones, for which Arrow lacks functions."""
    kinds = {pa.string_view(): pa.string(), pa.large_string(): pa.string(), pa.binary_view(): pa.binary()}
    plain = []
    for column in table.schema:
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        plain.append(column.with_type(kinds.get(kind, kind)))
    return table.cast(pa.schema(plain))


def _read(path: Path) -> pa.Table:
    import pyarrow.csv
    import pyarrow.parquet

    try:
        if path.suffix.lower() in {".csv", ".tsv"}:
            options = pyarrow.csv.ParseOptions(delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
            return pyarrow.csv.read_csv(path, parse_options=options)
        return pyarrow.parquet.read_table(path)
    except FileNotFoundError as error:
        raise NotFoundError(f"{path}: expected a table of labels, got no file") from error
    except (pa.ArrowException, OSError) as error:
        raise QueryError(f"{path}: expected Parquet or CSV, got: {error}") from error


def _tiles(view: View) -> pa.Table | None:
    return view.tiles if view.tiles is not None else view.refset.tiles()


def _other_labels(view: View, new: pa.Table) -> pa.Table | None:
    """Labels by tile that stay beside new splits of chips: those of the same chips."""
    old = _tiles(view)
    if old is None or set(WINDOW) - set(old.column_names):
        return old
    column = new.column_names[-1]
    kept = old.drop_columns([column]) if column in old.column_names else old
    labels = set(kept.column_names) - set(new.column_names)
    return kept if labels else None


def _record(view: View, rules: Mapping[str, Any], key: str = RECORDED) -> dict[str, Any]:
    """The recipe's rules with some replaced, or taken out where None: labels of a user's own follow no rule."""
    old = {**view.refset.seal.recipe, **view.record}.get(key) or {}
    merged = {name: rule for name, rule in {**old, **rules}.items() if rule is not None}
    return {key: merged or None} if merged != old else {}
