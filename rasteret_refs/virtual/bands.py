"""Band dimensions: one `band` for a slot whose images agree on their bands, else one for each array."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rasteret_refs.virtual.coordinates import band_coordinate, band_labels
from rasteret_refs.virtual.existing import ExistingGroup, ExistingLayout
from rasteret_refs.virtual.facts import Facts
from rasteret_refs.virtual.profiles import Profile, Profiles
from rasteret_refs.virtual.resolutions import Resolution
from rasteret_refs.virtual.slots import Slot
from rasteret_refs.virtual.values import CoordinateArray

_BAND = "band"


class BandDimensions:
    """Names of a slot's band dimensions, decided once for all its resolutions.

    Parameters
    ----------
    slot
        Its full-resolution images tell band counts and descriptions.
    profiles
        Of this plan.
    existing, factors
        The set that is appended to and the slot's groups in it: their dimensions never change.
    """

    def __init__(
        self, slot: Slot, profiles: Profiles, existing: ExistingLayout | None, factors: Mapping[str, ExistingGroup]
    ) -> None:
        self._factors = factors
        kinds: dict[str, set[tuple[int, tuple[str | None, ...]]]] = {}
        for layer in slot.layers:
            bands = profiles.of(layer.levels[0].image.description).bands
            if bands is not None:
                kinds.setdefault(layer.name, set()).add((bands, layer.facts.labels))
        counts = {bands for found in kinds.values() for bands, _ in found}
        labels = {_agreed([labels for _, labels in found]) for found in kinds.values()}
        for group in factors.values():
            for array in group.arrays.values():
                if array.is_image and array.bands is not None:
                    counts.add(array.bands if array.dims[1] == _BAND else -array.bands)
            if existing is not None and _BAND in group.arrays:
                values = existing.values(group.path, _BAND)
                labels.add(tuple(values.tolist()) if values.dtype.kind == "U" else (None,) * len(values))
        self._shared = len(counts) == 1 and len(labels) <= 1

    def dimension(self, resolution: Resolution, array: str, profile: Profile) -> str | None:
        """Return the band dimension of an array, or None where it has none."""
        if profile.bands is None:
            return None
        known = None if resolution.existing is None else resolution.existing.arrays.get(array)
        if known is not None:
            return known.dims[1]
        return _BAND if self._shared else f"{array}_band"

    def coordinates(
        self, resolution: Resolution, arrays: Sequence[tuple[str | None, Sequence[Facts]]]
    ) -> Iterator[CoordinateArray]:
        """Return the coordinate of each band dimension of a group: descriptions that all its images share.

        Parameters
        ----------
        resolution
            The group.
        arrays
            Band dimension and distinct facts of each array that has bands.
        """
        by_dimension: dict[str, list[tuple[str | None, ...]]] = {}
        for dimension, facts in arrays:
            if dimension is not None:
                by_dimension.setdefault(dimension, []).extend(found.labels for found in facts)
        for dimension, labels in sorted(by_dimension.items()):
            agreed = _agreed(labels)
            values: npt.NDArray[Any] = band_labels(agreed)
            known = None if resolution.existing is None else resolution.existing.arrays.get(dimension)
            if known is None or known.dtype != values.dtype.str or not np.any(values.dtype.kind == "i"):
                yield band_coordinate(dimension, values)


def _agreed(labels: Sequence[tuple[str | None, ...]]) -> tuple[str | None, ...]:
    """Return the descriptions if all say the same, else none for any band: a wrong name is worse than a number."""
    first = labels[0]
    return first if all(other == first for other in labels) else (None,) * len(first)
