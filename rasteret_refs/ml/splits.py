"""Which scene or chip is for training, validation or testing: reproducible, and stable as a collection grows.

Every method maps each unit on its own (its id, its place, its time or its group) to a number in [0, 1) or straight to
a split. So a unit never changes its split because others came or went.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from rasteret_refs.errors import QueryError

Strings = npt.NDArray[np.str_]
Floats = npt.NDArray[np.float64]

DROPPED = ""
"""The split of units that belong to none: those in a buffer between two splits."""

EARTH_METRES_PER_DEGREE = 6_371_007.181 * np.pi / 180
"""On the authalic sphere (MODIS's), so that blocks have equal areas everywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRule:
    """How units are assigned: enough to do it again, and what `refs.json` records."""

    fractions: Mapping[str, float]
    """Share of each split, by name, in order; they sum to 1."""
    by: str = "id"
    """`id` (random), `block` (spatial), `time`, or `column:<name>` (units of a group stay together)."""
    seed: int = 0
    stratify: str | None = None
    """Column within whose values the fractions hold exactly rather than on average; not stable under growth."""
    block_metres: float = 10_000.0
    """Side of a spatial block on the ground."""
    buffer_metres: float = 0.0
    """Units nearer than this to a block of another split are dropped."""
    boundaries: tuple[str, ...] = ()
    """For `time`: instants (RFC 3339) at which the next split begins; one fewer than the splits."""
    unit: str = "scene"
    """`scene` or `chip`."""
    column: str = field(default="split")
    """Name of the column that is written."""

    def __post_init__(self) -> None:
        """Refuse rules that cannot be carried out."""
        total = sum(self.fractions.values())
        if not self.fractions or abs(total - 1) > 1e-9 or min(self.fractions.values()) < 0:  # noqa: PLR2004 - rounding
            raise QueryError(f"expected fractions that are not negative and sum to 1, got {dict(self.fractions)}")
        if self.by not in ("id", "block", "time") and not self.by.startswith("column:"):
            raise QueryError(f"expected by='id', 'block', 'time' or 'column:<name>', got {self.by!r}")
        if self.unit not in ("scene", "chip"):
            raise QueryError(f"expected unit='scene' or 'chip', got {self.unit!r}")
        if not self.block_metres > 0 or not self.buffer_metres >= 0:
            raise QueryError(f"expected a block above 0 m and a buffer of 0 m or more, got {self}")
        if self.by == "time" and self.boundaries and len(self.boundaries) != len(self.fractions) - 1:
            raise QueryError(
                f"expected {len(self.fractions) - 1} boundaries for {len(self.fractions)} splits, got {self.boundaries}"
            )

    def record(self) -> dict[str, Any]:
        """The rule as JSON: `SplitRule(**record)` makes it again."""
        return {
            "fractions": dict(self.fractions),
            "by": self.by,
            "seed": self.seed,
            "stratify": self.stratify,
            "block_metres": self.block_metres,
            "buffer_metres": self.buffer_metres,
            "boundaries": list(self.boundaries),
            "unit": self.unit,
            "column": self.column,
        }


def stable_fractions(keys: Sequence[str], seed: int) -> Floats:
    """A number in [0, 1) for each key, from nothing but the key and the seed.

    Parameters
    ----------
    keys
        Any text.
    seed
        Another seed gives independent numbers.

    Returns
    -------
    numpy.ndarray
        Float64, shape `(len(keys),)`, uniform: the first 53 bits of BLAKE2b, keyed with the seed. Python's own `hash`
        differs from process to process; a cryptographic hash does not, here or in another language.
    """
    key = seed.to_bytes(8, "little", signed=True)
    digests = b"".join(hashlib.blake2b(text.encode(), digest_size=8, key=key).digest() for text in keys)
    return (np.frombuffer(digests, dtype="<u8") >> np.uint64(11)).astype(np.float64) / float(1 << 53)


def split_of_fractions(numbers: Floats, fractions: Mapping[str, float]) -> Strings:
    """Split of each number in [0, 1): the fractions laid end to end.

    Parameters
    ----------
    numbers
        Shape `(n,)`.
    fractions
        Share of each split.

    Returns
    -------
    numpy.ndarray
        Names, shape `(n,)`.
    """
    names = np.array(list(fractions), dtype=np.str_)
    edges = np.cumsum(list(fractions.values()))[:-1]
    return names[np.searchsorted(edges, numbers, side="right")]


def random_split(ids: Sequence[str], rule: SplitRule) -> Strings:
    """Split of each unit by the hash of its id.

    Parameters
    ----------
    ids
        Scene ids, chip keys, or the values of the group column: equal text, equal split.
    rule
        Its fractions and seed are used.
    """
    return split_of_fractions(stable_fractions(ids, rule.seed), rule.fractions)


def stratified_split(ids: Sequence[str], labels: Sequence[Any], rule: SplitRule) -> Strings:
    """Split of each unit such that each label's units divide by the fractions, to within one unit.

    Parameters
    ----------
    ids
        Unit ids.
    labels
        Label of each unit; None is a label of its own.
    rule
        Its fractions and seed are used.
    """
    numbers = stable_fractions(ids, rule.seed)
    text = np.array([repr(label) for label in labels], dtype=np.str_)
    result = np.empty(len(ids), dtype=np.array(list(rule.fractions), dtype=np.str_).dtype)
    for label in np.unique(text):
        members = np.flatnonzero(text == label)
        order = members[np.argsort(numbers[members], kind="stable")]
        ranks = (np.arange(len(order)) + 0.5) / len(order)
        result[order] = split_of_fractions(ranks, rule.fractions)
    return result


def equal_area_blocks(longitude: Floats, latitude: Floats, metres: float) -> npt.NDArray[np.int64]:
    """Block (row, column) of each point on a fixed ground grid of equal-area squares.

    Parameters
    ----------
    longitude, latitude
        Degrees, shape `(n,)`.
    metres
        Side of a block along a meridian.

    Returns
    -------
    numpy.ndarray
        Int64, shape `(n, 2)`. The grid is that of the sinusoidal projection (MODIS's tiles) in rows; within a row the
        columns are as many whole blocks as fit the parallel's length, so that none is cut at the antimeridian.
    """
    height = metres / EARTH_METRES_PER_DEGREE
    rows = np.floor((latitude + 90) / height).astype(np.int64)
    middle = np.clip((rows + 0.5) * height - 90, -90, 90)
    around = np.maximum(1, np.floor(360 * np.cos(np.radians(middle)) / height)).astype(np.int64)
    columns = np.floor((longitude + 180) % 360 / 360 * around).astype(np.int64)
    return np.stack([rows, columns], axis=1)


def block_split(bounds: Floats, rule: SplitRule) -> Strings:
    """Split of each footprint by the block that holds its centre; with a buffer, and for chips, `DROPPED` near others.

    Parameters
    ----------
    bounds
        (west, south, east, north) in degrees, shape `(n, 4)`; east is below west across the antimeridian.
    rule
        Its fractions, seed, `block_metres` and `buffer_metres` are used.

    Returns
    -------
    numpy.ndarray
        Names, shape `(n,)`. With a buffer, and always for chips, every point of a kept footprint and of the buffer
        around it lies in blocks of its own split: two kept footprints of different splits never overlap.
    """
    east = np.where(bounds[:, 2] < bounds[:, 0], bounds[:, 2] + 360, bounds[:, 2])
    longitude, latitude = (bounds[:, 0] + east) / 2, (bounds[:, 1] + bounds[:, 3]) / 2
    result = _split_of_points(longitude, latitude, rule)
    if rule.buffer_metres == 0 and rule.unit == "scene":
        return result
    margin = rule.buffer_metres / EARTH_METRES_PER_DEGREE
    south, north = np.clip(bounds[:, 1] - margin, -90, 90), np.clip(bounds[:, 3] + margin, -90, 90)
    widest = np.cos(np.radians(np.minimum(np.maximum(np.abs(south), np.abs(north)), 89.9)))
    west, east = bounds[:, 0] - margin / widest, east + margin / widest
    step = rule.block_metres / EARTH_METRES_PER_DEGREE / 2
    pure = np.ones(len(result), dtype=bool)
    for unit in range(len(result)):
        across = np.linspace(west[unit], east[unit], max(2, int(np.ceil((east[unit] - west[unit]) / step)) + 1))
        down = np.linspace(south[unit], north[unit], max(2, int(np.ceil((north[unit] - south[unit]) / step)) + 1))
        x, y = (axis.ravel() for axis in np.meshgrid(across, down))
        pure[unit] = bool(np.all(_split_of_points(x, y, rule) == result[unit]))
    return np.where(pure, result, DROPPED)


def _split_of_points(longitude: Floats, latitude: Floats, rule: SplitRule) -> Strings:
    blocks, inverse = np.unique(equal_area_blocks(longitude, latitude, rule.block_metres), axis=0, return_inverse=True)
    splits = random_split([f"{row}/{column}" for row, column in blocks.tolist()], rule)
    return splits[np.ravel(inverse)]


def time_split(times: npt.NDArray[np.datetime64], rule: SplitRule) -> Strings:
    """Split of each unit by when it was taken: the first split is the earliest.

    Parameters
    ----------
    times
        UTC, `datetime64`, shape `(n,)`.
    rule
        With `boundaries`, these decide, and growth changes nothing. Without, they are quantiles of `times`.
    """
    names = np.array(list(rule.fractions), dtype=np.str_)
    microseconds = times.astype("datetime64[us]")
    edges = np.array(rule.boundaries or time_boundaries(microseconds, rule), dtype="datetime64[us]")
    return names[np.searchsorted(edges, microseconds, side="right")]


def time_boundaries(times: npt.NDArray[np.datetime64], rule: SplitRule) -> tuple[str, ...]:
    """Instants that divide `times` by the fractions: recorded once, they hold for later units as well.

    Parameters
    ----------
    times
        UTC, `datetime64`, shape `(n,)`, at least one.
    rule
        Its fractions are used.
    """
    ordered = np.sort(times.astype("datetime64[us]"))
    shares = np.cumsum(list(rule.fractions.values()))[:-1]
    positions = np.minimum(np.round(shares * len(ordered)).astype(np.int64), len(ordered) - 1)
    return tuple(str(instant) for instant in ordered[positions])


@dataclass(frozen=True, slots=True, kw_only=True)
class LeakageReport:
    """How many pairs of units of different splits cover common ground."""

    overlaps: Mapping[tuple[str, str], int]
    """Overlapping pairs, by the names of their splits in alphabetical order."""
    units: Mapping[str, int]
    """Units of each split."""

    @property
    def total(self) -> int:
        """Overlapping pairs in all."""
        return sum(self.overlaps.values())

    def __str__(self) -> str:
        """One line a pair of splits."""
        sizes = ", ".join(f"{name or '(none)'}: {count}" for name, count in sorted(self.units.items()))
        pairs = "; ".join(f"{a}-{b}: {count}" for (a, b), count in sorted(self.overlaps.items())) or "none"
        return f"units {sizes}; overlapping footprints of different splits: {pairs}"


def leakage(bounds: Floats, splits: Strings, owners: npt.NDArray[np.int64] | None = None) -> LeakageReport:
    """Count overlaps (of positive area) between footprints of different splits.

    Parameters
    ----------
    bounds
        (west, south, east, north), shape `(n, 4)`, in one CRS; boxes that only touch do not overlap.
    splits
        Names, shape `(n,)`; `DROPPED` units are left out.
    owners
        Where given, pairs of one owner (a grid) are left out; shape `(n,)`.
    """
    names, counts = np.unique(splits, return_counts=True)
    order = np.argsort(bounds[:, 0], kind="stable")
    order = order[splits[order] != DROPPED]
    boxes, labels = bounds[order], splits[order]
    overlaps: dict[tuple[str, str], int] = {}
    for first in range(len(order)):
        stop = int(np.searchsorted(boxes[:, 0], boxes[first, 2], side="left"))
        later = slice(first + 1, stop)
        shared = (
            (boxes[later, 2] > boxes[first, 0])
            & (boxes[later, 1] < boxes[first, 3])
            & (boxes[later, 3] > boxes[first, 1])
            & (labels[later] != labels[first])
        )
        if owners is not None:
            shared &= owners[order][later] != owners[order][first]
        for other in labels[later][shared]:
            low, high = sorted((str(labels[first]), str(other)))
            overlaps[low, high] = overlaps.get((low, high), 0) + 1
    units = {str(name): int(count) for name, count in zip(names, counts, strict=True)}
    return LeakageReport(overlaps=overlaps, units=units)
