"""Scenes taken apart: every full-resolution image with its overviews becomes a layer, or is refused with its reason."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from rasteret_refs.errors import TiffError
from rasteret_refs.tiff.chunks import inside
from rasteret_refs.tiff.georeference import georeference
from rasteret_refs.tiff.values import Georeference, ImageDescription, TiffImage
from rasteret_refs.virtual.facts import Facts, facts_of
from rasteret_refs.virtual.grids import Grid, grid_of
from rasteret_refs.virtual.names import derived_from, name_problem
from rasteret_refs.virtual.profiles import Profiles
from rasteret_refs.virtual.repeated import can_be_made, why_not
from rasteret_refs.virtual.values import CodecChain, Level, PlannedScene, Pyramid, SceneAsset

_HEADER_BYTES = 8
_ANY_SIZE = 1 << 61
"""Bytes of an object of unknown size: more than any has, and sums of two still fit int64."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One full-resolution image of a scene, with its overviews: what the planner places."""

    scene: int
    """Number of the scene in the order of the batch."""
    name: str
    """Name of the array: the asset's, or `<asset>_1`, … for further pages."""
    url: str
    levels: tuple[Level, ...]
    grid: Grid
    facts: Facts


class Descriptions:
    """Grids and facts of descriptions, each worked out once: equal IFDs share one object, so identity is enough."""

    def __init__(self, profiles: Profiles) -> None:
        self.profiles = profiles
        self.wkt: dict[str, str] = {}
        """WKT of each CRS by `Grid.crs`."""
        self._known: dict[int, tuple[Grid, Facts]] = {}
        self._grids: dict[Grid, Grid] = {}

    def of(self, description: ImageDescription) -> tuple[Grid, Facts]:
        """Return grid and facts of a full-resolution image."""
        known = self._known.get(id(description))
        if known is None:
            place = georeference(description)
            profile = self.profiles.of(description)
            grid = grid_of(place, description.height, description.width)
            facts = facts_of(description, place, profile.chain.dtype, profile.bands or 1)
            self._remember_wkt(grid, place)
            known = self._known[id(description)] = (self._grids.setdefault(grid, grid), facts)
        return known

    def learn(self, description: ImageDescription, grid: Grid, facts: Facts, wkt: str | None) -> None:
        """Take grid and facts of an image, and the WKT of its CRS, from whoever knows them."""
        self._known[id(description)] = (self._grids.setdefault(grid, grid), facts)
        if grid.crs is not None and wkt is not None:
            self.wkt.setdefault(grid.crs, wkt)

    def _remember_wkt(self, grid: Grid, place: Georeference | None) -> None:
        if place is not None and grid.crs is not None and place.crs_wkt is not None:
            self.wkt.setdefault(grid.crs, place.crs_wkt)


@dataclass(slots=True)
class _Names:
    """Array names given so far, and to what; names are compared without case."""

    taken: dict[str, tuple[str, str]]

    def claim(self, name: str, asset: str, page: str) -> bool:
        return self.taken.setdefault(name.casefold(), (asset, page)) == (asset, page)


def take_apart(
    scenes: Sequence[PlannedScene], descriptions: Descriptions, reserved: Iterable[str]
) -> tuple[list[Layer], list[tuple[str, str, str]]]:
    """Return the layers of all scenes, and what had to be refused.

    Parameters
    ----------
    scenes
        In the order of the batch.
    descriptions
        Cache of this plan.
    reserved
        Names of coordinates that the plan will have besides the usual ones (scene columns).

    Returns
    -------
    layers
        In order of scenes and assets.
    refused
        (scene id, asset, reason) of assets (pages, as `<asset>_1`) whose name, codec or references cannot be used.
    """
    problems = _name_problems(scenes, reserved)
    names = _Names({})
    layers: list[Layer] = []
    refused: list[tuple[str, str, str]] = []
    for number, scene in enumerate(scenes):
        seen: set[str] = set()
        for asset in scene.assets:
            reason = problems.get(asset.name)
            if reason is None and asset.name in seen:
                reason = f"the scene has two assets named {asset.name!r}"
            if reason is None and not asset.pyramids:
                reason = "the file has no image"
            seen.add(asset.name)
            if reason is not None:
                refused.append((scene.id, asset.name, reason))
                continue
            for pyramid in asset.pyramids:
                layer = _layer(number, asset, pyramid, descriptions, names)
                if isinstance(layer, Layer):
                    layers.append(layer)
                else:
                    refused.append((scene.id, asset.name + pyramid.name.removeprefix("image"), layer))
    return layers, refused


def _name_problems(scenes: Sequence[PlannedScene], reserved: Iterable[str]) -> dict[str, str]:
    found = dict.fromkeys(asset.name for scene in scenes for asset in scene.assets)
    columns = {name.casefold() for name in reserved}
    problems: dict[str, str] = {}
    for name in found:
        problem = name_problem(name)
        if problem is None and name.casefold() in columns:
            problem = "is also the name of a scene column"
        origin = derived_from(name, found)
        if problem is None and origin is not None:
            problem = f"is what the mask, bands or radiometry of the asset {origin!r} are called"
        if problem is not None:
            problems[name] = f"the name {name!r} {problem}; rename the asset"
    return problems


def _layer(scene: int, asset: SceneAsset, pyramid: Pyramid, descriptions: Descriptions, names: _Names) -> Layer | str:
    """Return the layer of one full-resolution page, or the reason why it cannot be one."""
    name = asset.name + pyramid.name.removeprefix("image")
    if not names.claim(name, asset.name, pyramid.name):
        return f"its array would be called {name!r}, which is taken by another asset or page; rename the asset"
    try:
        grid, facts = descriptions.of(pyramid.levels[0].image.description)
        reason = _check_levels(pyramid, asset, descriptions)
    except TiffError as error:
        return str(error)
    if reason is not None:
        return reason
    return Layer(scene, name, asset.url, pyramid.levels, grid, facts)


def _check_levels(pyramid: Pyramid, asset: SceneAsset, descriptions: Descriptions) -> str | None:
    """Make sure that every image decodes and lies inside its object."""
    profiles = descriptions.profiles
    chains: list[CodecChain] = []
    images: list[TiffImage] = []
    for level in pyramid.levels:
        chains.append(profiles.of(level.image.description).chain)
        images.append(level.image)
        if level.mask is not None:
            chains.append(profiles.of(level.mask.description, mask=True).chain)
            images.append(level.mask)
    size = _ANY_SIZE if asset.size is None else asset.size
    if all(map(_complete, images)) and inside(images, size, _HEADER_BYTES):
        return None
    for image, chain in zip(images, chains, strict=True):
        reason = _outside(image, size)
        if reason is None and not image.byte_counts.all() and not can_be_made(chain):
            reason = f"IFD at byte {image.ifd_offset}: {why_not(chain)}"
        if reason is not None:
            return reason
    return None


def _complete(image: TiffImage) -> bool:
    return len(image.offsets) == len(image.byte_counts) == image.description.chunk_count


def _outside(image: TiffImage, size: int) -> str | None:
    """Say which chunk reference points outside the object of `size` bytes, if one does."""
    offsets, sizes = image.offsets, image.byte_counts
    if not _complete(image):
        return (
            f"IFD at byte {image.ifd_offset}: expected {image.description.chunk_count} chunk offsets and byte counts, "
            f"got {len(offsets)} and {len(sizes)}"
        )
    present = sizes != 0
    ends = offsets.astype(np.float64) + sizes
    bad = (sizes < 0) | (present & ((offsets < _HEADER_BYTES) | (ends > size)))
    if not bad.any():
        return None
    chunk = int(np.flatnonzero(bad)[0])
    return (
        f"IFD at byte {image.ifd_offset}: chunk {chunk} is said to be bytes {offsets[chunk]} to "
        f"{offsets[chunk] + sizes[chunk]}, outside the object of {size} bytes"
    )
