"""The arrays of one group in the making: new stacks of images, and arrays that exist and get more rows."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from rasteret_refs.virtual.existing import MARK, ExistingArray
from rasteret_refs.virtual.facts import Facts, facts_from_attributes
from rasteret_refs.virtual.profiles import Profile, profile_key
from rasteret_refs.virtual.resolutions import Resolution, Stack, array_names

VARIANT: Final = re.compile(r"__[0-9a-f]{8}$")
"""What `resolutions.array_names` puts behind the name of an asset in a further profile."""
_VALID = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayDraft:
    """One array in the making."""

    name: str
    base: str
    """Name without the variant's digest."""
    profile: Profile
    stack: Stack
    """New images; empty for an existing array whose new rows are all holes."""
    masks: str | None
    """For a mask: base name of the images that it belongs to."""
    old: ExistingArray | None

    @property
    def facts(self) -> list[Facts]:
        """Distinct facts of all its images, those of the existing rows first."""
        new = list(self.stack.facts.values())
        if self.old is None:
            return new
        return [facts_from_attributes(self.old.attributes, self.old.bands or 1), *new]

    @property
    def attributes(self) -> dict[str, Any]:
        """What marks a mask as one."""
        return {} if self.masks is None else {MARK: {"mask_of": self.masks}}


def array_drafts(resolution: Resolution) -> list[ArrayDraft]:
    """Return the arrays of a group, by name."""
    old = {} if resolution.existing is None else {n: a for n, a in resolution.existing.arrays.items() if a.is_image}
    by_base: dict[str, dict[str, str]] = {}
    for name, array in old.items():
        by_base.setdefault(VARIANT.sub("", name), {})[profile_key(array.chain, array.bands)] = name
    made: dict[str, ArrayDraft] = {}
    for base, stacks in sorted(resolution.stacks.items()):
        masks = base.removesuffix("_mask") if base in resolution.masks else None
        for profile, name in array_names(base, stacks, by_base.get(base, {}), old).items():
            made[name] = ArrayDraft(
                name=name, base=base, profile=profile, stack=stacks[profile], masks=masks, old=old.get(name)
            )
    for name, array in old.items():
        if name not in made:
            made[name] = _untouched(name, array)
    return [made[name] for name in sorted(made)]


def _untouched(name: str, array: ExistingArray) -> ArrayDraft:
    profile = Profile(chain=array.chain, bands=array.bands, key=profile_key(array.chain, array.bands))
    masks = array.attributes.get(MARK, {}).get("mask_of")
    return ArrayDraft(name=name, base=VARIANT.sub("", name), profile=profile, stack=Stack(), masks=masks, old=array)


def hole_fills(draft: ArrayDraft, drafts: Sequence[ArrayDraft], rows: int, shift: int) -> Any:
    """Return the values of rows without an image: nodata, else 0.

    A mask is 255 (all valid, as rasterio says of an image without a mask) where the scene has the image, else 0.

    Parameters
    ----------
    draft
        The array.
    drafts
        All arrays of the group.
    rows
        Rows that the manifest describes.
    shift
        How many of them exist already: 0 unless the array is new in a group that exists.
    """
    if draft.masks is None:
        return next((facts.nodata for facts in draft.facts if facts.nodata is not None), 0)
    images = [other for other in drafts if other.base == draft.masks and other.masks is None]
    before = _VALID if any(image.old is not None for image in images) else 0
    holes = [before] * shift + [0] * (rows - shift)
    for image in images:
        for entry in image.stack.entries:
            holes[entry.row + shift] = _VALID
    return holes
