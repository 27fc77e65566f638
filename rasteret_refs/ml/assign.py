"""Splits of the scenes or chips of a collection: a rule applied to its table, and done again as it grows."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from rasteret_refs.errors import QueryError
from rasteret_refs.ml.splits import (
    DROPPED,
    LeakageReport,
    SplitRule,
    block_split,
    leakage,
    random_split,
    stratified_split,
    time_boundaries,
    time_split,
)
from rasteret_refs.refset.query import unknown_names
from rasteret_refs.refset.views_subset import DUPLICATE_OF, bounds_of

RECORDED = "splits"
"""Key of the recipe in `refs.json`: column → the rule that scenes were split by."""
RECORDED_CHIPS = "chip_splits"
"""The same for chips, with their size and stride."""
Strings = npt.NDArray[np.str_]


def split_rule(fractions: Mapping[str, float], by: str, columns: list[str], **options: Any) -> SplitRule:
    """Make a rule of what a user says.

    Parameters
    ----------
    fractions
        Share of each split; those of 0 are left out.
    by
        `id`, `block`, `time`, or the name of a column whose groups stay together.
    columns
        Columns that there are.
    """
    if by not in {"id", "block", "time"} and not by.startswith("column:"):
        unknown_names([*columns, "id", "block", "time"], [by], "column, or way to split,")
        by = f"column:{by}"
    used = {name: share for name, share in fractions.items() if share}
    return SplitRule(fractions=used, by=by, **options)


def scene_splits(table: pa.Table, rule: SplitRule) -> tuple[Strings, SplitRule]:
    """Split each scene of a table.

    Parameters
    ----------
    table
        The scene table.
    rule
        For scenes.

    Returns
    -------
    tuple
        Names, `DROPPED` for scenes of no split, shape `(scenes,)`; and the rule with what it took from the scenes (the
        instants at which splits by time begin), so that later scenes are split likewise.

    Raises
    ------
    QueryError
        Scenes without what the rule goes by.
    """
    if rule.stratify is not None:
        unknown_names(table.column_names, [rule.stratify], "column")
        if rule.by != "id":
            raise QueryError(f"expected by='id' together with stratify, got {rule.by!r}")
        return stratified_split(_origins(table), table[rule.stratify].to_pylist(), rule), rule
    if rule.by == "id":
        return random_split(_origins(table), rule), rule
    if rule.by == "time":
        times = _times(table)
        if not rule.boundaries:
            rule = replace(rule, boundaries=time_boundaries(times, rule))
        return time_split(times, rule), rule
    if rule.by == "block":
        bounds = bounds_of(table)
        _refuse_missing(table, np.isnan(bounds).any(axis=1), "a footprint")
        return block_split(bounds, rule), rule
    name = rule.by.removeprefix("column:")
    unknown_names(table.column_names, [name], "column")
    _refuse_missing(table, np.asarray(pc.is_null(table[name])), f"a value of {name!r}")
    return random_split([str(value) for value in table[name].to_pylist()], rule), rule


def grown_splits(table: pa.Table, rule: SplitRule) -> tuple[Strings, SplitRule]:
    """Split the scenes that have no split yet; the others keep theirs.

    Parameters
    ----------
    table
        The scene table; its column `rule.column`, where it is there, holds the splits so far: null for new scenes.
    """
    if rule.column not in table.column_names:
        return scene_splits(table, rule)
    old = table[rule.column].to_pylist()
    fresh = np.array([value is None for value in old], bool)
    result = np.array([DROPPED if value is None else str(value) for value in old], dtype=object)
    if fresh.any():
        added = table.filter(pa.array(fresh))
        if rule.stratify is None:
            found, rule = scene_splits(added, rule)
        else:
            found = _completed(table, old, fresh, rule)
        result[fresh] = found
    return result.astype(np.str_), rule


def _completed(table: pa.Table, old: list[Any], fresh: npt.NDArray[np.bool_], rule: SplitRule) -> Strings:
    """Give each new scene the split that its label lacks most; what was assigned stays."""
    labels = [repr(value) for value in table[str(rule.stratify)].to_pylist()]
    counts: dict[str, dict[str, int]] = {}
    for label, split in zip(labels, old, strict=True):
        if split in rule.fractions:
            here = counts.setdefault(label, dict.fromkeys(rule.fractions, 0))
            here[split] += 1
    found = []
    for row in np.flatnonzero(fresh):
        here = counts.setdefault(labels[row], dict.fromkeys(rule.fractions, 0))
        total = sum(here.values()) + 1
        split = max(rule.fractions, key=lambda name: rule.fractions[name] * total - here[name])
        here[split] += 1
        found.append(split)
    return np.array(found, dtype=np.str_)


def recorded_rules(recipe: Mapping[str, Any]) -> dict[str, SplitRule]:
    """Rules that a set records for scenes, by column."""
    return {name: rule_of(record) for name, record in (recipe.get(RECORDED) or {}).items()}


def rule_of(record: Mapping[str, Any]) -> SplitRule:
    """A rule from its record."""
    known = {name: value for name, value in record.items() if name in SplitRule.__dataclass_fields__}
    return SplitRule(**{**known, "boundaries": tuple(known.get("boundaries", ()))})


def scene_leakage(table: pa.Table, column: str) -> LeakageReport:
    """Count overlapping footprints of different splits.

    Raises
    ------
    QueryError
        There is no such column.
    """
    unknown_names(table.column_names, [column], "column")
    bounds = bounds_of(table)
    splits = np.array([value or DROPPED for value in table[column].to_pylist()], dtype=np.str_)
    placed = ~np.isnan(bounds).any(axis=1)
    return leakage(_unwrapped(bounds[placed]), splits[placed])


def _unwrapped(bounds: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    east = np.where(bounds[:, 2] < bounds[:, 0], bounds[:, 2] + 360, bounds[:, 2])
    return np.column_stack([bounds[:, 0], bounds[:, 1], east, bounds[:, 3]])


def _origins(table: pa.Table) -> list[str]:
    """Ids by which scenes are split: duplicates of a scene go where it goes."""
    ids: list[str] = table["id"].to_pylist()
    if DUPLICATE_OF not in table.column_names:
        return ids
    return [origin or own for origin, own in zip(table[DUPLICATE_OF].to_pylist(), ids, strict=True)]


def _times(table: pa.Table) -> npt.NDArray[np.datetime64]:
    names = [name for name in ("datetime", "start_datetime") if name in table.column_names]
    columns = [pc.cast(table[name], pa.timestamp("us", "UTC")) for name in names]
    values = pc.coalesce(*columns)
    _refuse_missing(table, np.asarray(pc.is_null(values)), "a datetime")
    return np.asarray(pc.cast(values, pa.timestamp("us")), "datetime64[us]")


def _refuse_missing(table: pa.Table, missing: npt.NDArray[np.bool_], what: str) -> None:
    if missing.any():
        first = table["id"][int(np.argmax(missing))].as_py()
        raise QueryError(f"expected {what} for every scene, got {int(missing.sum())} without, first {first!r}")
