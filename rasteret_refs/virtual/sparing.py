"""Very large stacks: coordinates along the scene axis stand beside the full resolution only.

In a stack every scene has a CRS, a transform and, padded, a size of its own, and every resolution is a group. With many
shapes the repeated coordinates are most of a set's files, and there are none left to cut the references into pieces
that an append can leave alone. What stands beside the full resolution says it all: `refset.derived` gives the other
resolutions' coordinates from it, equal to those that would have been stored.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from rasteret_refs.virtual.existing import MARK
from rasteret_refs.virtual.radiometry import RADIOMETRY
from rasteret_refs.virtual.values import CoordinateArray, VirtualArray, VirtualGroup

COORDINATES: Final = "coordinates"
"""Key of the root's mark; there only where coordinates are left out."""
FULL_RESOLUTION: Final = "full resolution"
"""Its value."""
SIZES: Final = "sizes"
"""Key of an overview's mark: how its images' heights and widths follow from those of the full resolution."""
ROUNDED: Final[Mapping[str, Callable[[Any, int], Any]]] = {
    "up": lambda size, factor: -(-size // factor),
    "down": lambda size, factor: size // factor,
}
"""GDAL's overviews are rounded up, those of its COG driver down."""

MANY_REFERENCES: Final = 2_000_000
"""References of a stack that do not fit in 200 files of the smallest kind (`refset.manifest`)."""
MANY_FILES: Final = 48
"""Repeated coordinates that take so many files matter: a quarter of those that there are."""


def repeats_too_much(groups: Sequence[VirtualGroup]) -> bool:
    """Decide whether a new stack leaves out what overviews repeat."""
    references = sum(len(array.manifest) for group in groups for array in group.arrays)
    if references <= MANY_REFERENCES:
        return False
    return sum(len(_repeated(group, full)) for group, full in _overviews(groups)) > MANY_FILES


def without_repeated(groups: Sequence[VirtualGroup]) -> tuple[VirtualGroup, ...]:
    """Return the groups of a stack, overviews without the coordinates that follow from the full resolution's.

    The root, which is the first group, is marked, and overviews of padded images say how sizes were rounded.
    """
    spared = {group.path: _spared(group, full) for group, full in _overviews(groups)}
    root, *others = groups
    mark = {**root.attributes.get(MARK, {}), COORDINATES: FULL_RESOLUTION}
    return (
        replace(root, attributes={**root.attributes, MARK: mark}),
        *(spared.get(group.path, group) for group in others),
    )


def leaves_out(root: Mapping[str, Any]) -> bool:
    """Tell from the root's attributes whether overviews lack coordinates."""
    mark = root.get(MARK)
    return isinstance(mark, Mapping) and mark.get(COORDINATES) == FULL_RESOLUTION


def _overviews(groups: Sequence[VirtualGroup]) -> list[tuple[VirtualGroup, VirtualGroup]]:
    """Each overview with the full resolution beside it."""
    by_path = {group.path: group for group in groups}
    found = []
    for group in groups:
        full = by_path.get(f"{group.path.rpartition('/')[0]}/factor_1")
        if full is not None and group.attributes.get(MARK, {}).get("factor", 1) > 1:
            found.append((group, full))
    return found


def _repeated(group: VirtualGroup, full: VirtualGroup) -> set[str]:
    """Names of an overview's coordinates that follow from the full resolution's."""
    axis = full.arrays[0].dims[0] if full.arrays else None
    own = {f"{array.name}_{kind}" for array in (*group.arrays, *full.arrays) for kind in RADIOMETRY}
    known = {coordinate.name for coordinate in full.coordinates if coordinate.dims[:1] == (axis,)} - own
    names = {coordinate.name for coordinate in group.coordinates} & known
    return names if _rounding(group, full) is not None else names - {"height", "width"}


def _rounding(group: VirtualGroup, full: VirtualGroup) -> str | None:
    """How all sizes of an overview were rounded; None where there is no such rule."""
    here, there = _sizes(group), _sizes(full)
    if here is None or there is None or here.shape != there.shape:
        return None
    factor = group.attributes[MARK]["factor"]
    rules = [name for name, rule in ROUNDED.items() if np.array_equal(np.maximum(rule(there, factor), 1), here)]
    return rules[0] if rules else None


def _sizes(group: VirtualGroup) -> npt.NDArray[np.int64] | None:
    values = {c.name: c.values for c in group.coordinates if c.name in {"height", "width"}}
    return np.stack([values["height"], values["width"]]) if len(values) == 2 else None  # noqa: PLR2004 - both


def _spared(group: VirtualGroup, full: VirtualGroup) -> VirtualGroup:
    repeated = _repeated(group, full)
    mark = dict(group.attributes[MARK])
    mark.pop(SIZES, None)
    if {"height", "width"} <= repeated:
        mark[SIZES] = _rounding(group, full)
    kept: tuple[CoordinateArray, ...] = tuple(c for c in group.coordinates if c.name not in repeated)
    return replace(
        group,
        attributes={**group.attributes, MARK: mark},
        arrays=tuple(_listing_without(array, repeated) for array in group.arrays),
        coordinates=kept,
    )


def _listing_without(array: VirtualArray, names: set[str]) -> VirtualArray:
    listed = [name for name in str(array.attributes.get("coordinates", "")).split() if name not in names]
    return replace(array, attributes={**array.attributes, "coordinates": " ".join(listed)})
