"""The scenes of a reference set as a scan would find them, taken from its chunk manifests: nothing is requested.

What a header says and a set does not keep is not needed again, or the set is one whose headers must be read: see
`stored_scenes`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rasteret_refs.build.scan import ScannedScene
from rasteret_refs.build.scene import Scene
from rasteret_refs.build.steps import Scanned
from rasteret_refs.refset.geoparquet import PAGE
from rasteret_refs.tiff.values import ImageDescription, Planar, Role, SampleFormat, TiffImage
from rasteret_refs.virtual.arrays import VARIANT
from rasteret_refs.virtual.existing import MARK, ExistingArray, ExistingGroup, ExistingLayout, existing_layout
from rasteret_refs.virtual.facts import facts_from_attributes
from rasteret_refs.virtual.grids import Grid, Transform
from rasteret_refs.virtual.layers import Descriptions
from rasteret_refs.virtual.radiometry import RADIOMETRY
from rasteret_refs.virtual.values import Level, Pyramid, SceneAsset

if TYPE_CHECKING:
    from rasteret_refs.refset.opened import OpenedRefset


class _UnlikeError(Exception):
    """Something of a set does not tell what its headers do."""


@dataclass(frozen=True, slots=True, eq=False)
class _StoredArray:
    """One Zarr array with its references, a row a scene."""

    array: ExistingArray
    description: ImageDescription
    offsets: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    """Shape `(scenes, chunks)`; 0 where a chunk is inlined, so sparse, or where there is no image."""
    owners: npt.NDArray[np.int32]
    urls: tuple[str, ...]

    def image(self, row: int, url: str) -> TiffImage:
        """One scene's image; the references must be those of its object."""
        here = self.sizes[row] > 0
        if any(self.urls[owner] != url for owner in np.unique(self.owners[row][here]).tolist()):
            raise _UnlikeError(url)
        return TiffImage(
            description=self.description, offsets=self.offsets[row], byte_counts=self.sizes[row], ifd_offset=0, page=0
        )


@dataclass(slots=True)
class _Grid:
    """One grid of the set."""

    grid: Grid
    wkt: str | None
    groups: dict[str, ExistingGroup]
    """By their paths, finest first."""
    arrays: dict[str, dict[str, _StoredArray]] = field(default_factory=dict)
    """By group and name."""


class StoredScenes:
    """Scenes of a set with their references; made by `stored_scenes`."""

    def __init__(self, grids: Mapping[str, _Grid], assets: Mapping[str, tuple[SceneAsset, ...]]) -> None:
        self._grids = grids
        self._assets = assets

    def scanned(self, scenes: Iterable[Scene]) -> Scanned:
        """Return what a scan of these scenes would."""
        found = [
            ScannedScene(position=number, scene=scene, assets=self._assets[scene.id], failures=())
            for number, scene in enumerate(scenes)
        ]
        return Scanned(scenes=found, failures=[])

    def teach(self, descriptions: Descriptions) -> None:
        """Tell a plan codecs, grid and facts of the images, which it would take from their headers."""
        for grid in self._grids.values():
            for arrays in grid.arrays.values():
                for stored in arrays.values():
                    facts = facts_from_attributes(stored.array.attributes, stored.array.bands or 1)
                    descriptions.profiles.learn(stored.description, stored.array.chain, stored.array.bands)
                    descriptions.learn(stored.description, grid.grid, facts, grid.wkt)


def stored_scenes(refset: "OpenedRefset") -> StoredScenes | None:
    """Take the scenes of a set from its manifests.

    Returns
    -------
    StoredScenes or None
        None where headers say more than the set: stacks (which images are padded), masks and fully sparse overviews
        (holes look alike), scale, offset, nodata or descriptions of bands that vary by scene, further pages, complex
        numbers, control points.
    """
    layout = existing_layout(refset.metadata, _unread)
    try:
        if layout.layout != "grids":
            return None
        grids = dict(_grids(refset, layout))
        assets: dict[str, tuple[SceneAsset, ...]] = {}
        names: set[str] = set()
        for scene, found in _rows(refset.scenes):
            assets[scene] = tuple(_asset(name, row, grids) for name, row in found.items())
            names |= found.keys()
    except (_UnlikeError, KeyError, IndexError, TypeError, ValueError):  # the latter: a set that others wrote
        return None
    arrays = {name for grid in grids.values() for group in grid.arrays.values() for name in group}
    further_pages = {VARIANT.sub("", name) for name in arrays} - names
    return None if further_pages else StoredScenes(grids, assets)


def _unread(path: str) -> npt.NDArray[Any]:
    raise _UnlikeError(path)


def _rows(table: pa.Table) -> Iterable[tuple[str, dict[str, dict[str, Any]]]]:
    """Give each scene's id and its assets as the scene table has them."""
    for scene, assets in zip(table["id"].to_pylist(), table["assets"].to_pylist(), strict=True):
        yield scene, {name: asset for name, asset in assets.items() if asset is not None and asset.get(PAGE) is None}


def _grids(refset: "OpenedRefset", layout: ExistingLayout) -> Iterable[tuple[str, _Grid]]:
    for parent in layout.parents().values():
        factors = layout.factors(parent.path)
        ordered = sorted(factors.values(), key=lambda group: (int(group.mark["factor"]), len(group.path), group.path))
        found = _Grid(_grid_of(parent), _wkt(ordered[0]), {group.path: group for group in ordered})
        for group in ordered:
            images = {name: array for name, array in group.arrays.items() if array.is_image}
            for name, array in images.items():
                _check_plain(name, array, group)
            found.arrays[group.path] = {
                name: _stored(refset, f"{group.path}/{name}", array) for name, array in images.items()
            }
        yield parent.path, found


def _grid_of(parent: ExistingGroup) -> Grid:
    height, width = parent.mark["shape"]
    transform = parent.attributes.get("spatial:transform")
    grid = Grid(
        crs=parent.attributes.get("proj:code", parent.attributes.get("proj:wkt2")),
        transform=None if transform is None else cast("Transform", tuple(map(float, transform))),
        gcps=(),
        height=int(height),
        width=int(width),
    )
    if not str(parent.mark["identity"]).startswith(grid.identity):
        raise _UnlikeError(parent.path)
    return grid


def _wkt(group: ExistingGroup) -> str | None:
    place = group.arrays.get("spatial_ref")
    return None if place is None else place.attributes.get("crs_wkt")


def _check_plain(name: str, array: ExistingArray, group: ExistingGroup) -> None:
    """Refuse arrays whose images say different things, or that stand beside others."""
    varies = any(f"{name}_{kind}" in group.arrays for kind in RADIOMETRY)
    numbered = array.bands is not None and np.dtype(group.arrays[array.dims[1]].dtype).kind != "U"
    # Numbers instead of descriptions that are there: images, or arrays, describe their bands differently.
    unlike = numbered and any(facts_from_attributes(array.attributes, array.bands or 1).labels)
    if varies or unlike or "mask_of" in array.attributes.get(MARK, {}) or np.dtype(array.dtype).kind == "c":
        raise _UnlikeError(name)


def _stored(refset: "OpenedRefset", path: str, array: ExistingArray) -> _StoredArray:
    from rasteret_refs.refset.metadata import chunk_count
    from rasteret_refs.refset.views_save import chosen_references

    height, width = array.shape[-2:]
    bands = array.bands or 1
    separate = array.bands is not None and array.chunks[1] == 1
    # Bits, compression and the like stand for nothing: codecs, grid and facts are taught.
    description = ImageDescription(
        byte_order="<",
        bits=8,
        sample_format=SampleFormat.UNDEFINED,
        photometric=0,
        compression=0,
        tiled=True,
        role=Role.IMAGE,
        width=width,
        height=height,
        samples=bands,
        planar=Planar.SEPARATE if separate else Planar.CHUNKY,
        chunk_width=array.chunks[-1],
        chunk_height=array.chunks[-2],
    )
    rows, chunks = array.shape[0], chunk_count(array.shape[1:], array.chunks[1:])
    if chunks != description.chunk_count:
        raise _UnlikeError(path)
    found = chosen_references(refset.sealed, path, np.arange(rows * chunks, dtype=np.int64))
    owners = found.url_index.reshape(rows, chunks)
    return _StoredArray(
        array=array,
        description=description,
        offsets=np.where(owners < 0, 0, found.offsets.reshape(rows, chunks)),
        sizes=np.where(owners < 0, 0, found.sizes.reshape(rows, chunks)),
        owners=owners,
        urls=tuple(found.urls),
    )


def _asset(name: str, row: Mapping[str, Any], grids: Mapping[str, _Grid]) -> SceneAsset:
    """One asset of a scene with all its resolutions."""
    from rasteret_refs.refset.views import grid_of

    url, place, index = row["href"], row["refs:group"], row["refs:index"]
    grid = None if place is None else grids.get(grid_of(place))
    if grid is None or VARIANT.sub("", row["refs:array"]) != name:
        raise _UnlikeError(name)
    levels = []
    for path, arrays in grid.arrays.items():
        held = [
            stored
            for array, stored in arrays.items()
            if (array == row["refs:array"] if path == place else _holds(stored, array, name, index))
        ]
        if len(held) > 1 or (path == place and not held):
            raise _UnlikeError(name)
        levels += [Level(factor=int(grid.groups[path].mark["factor"]), image=one.image(index, url)) for one in held]
    return SceneAsset(
        name=name,
        url=url,
        size=row["refs:size"],
        pyramids=(Pyramid(name="image", levels=tuple(levels)),),
        etag=row["refs:etag"],
        last_modified=row["refs:last_modified"],
    )


def _holds(stored: _StoredArray, array: str, asset: str, index: int) -> bool:
    return VARIANT.sub("", array) == asset and bool((stored.sizes[index] > 0).any())
