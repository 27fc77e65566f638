"""One slot to Zarr groups: arrays with their manifests and attributes, coordinates, and where each scene went."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from rasteret_refs.virtual.axis import RADIOMETRY, SceneAxis, radiometry_coordinate, scene_axis
from rasteret_refs.virtual.bands import BandDimensions
from rasteret_refs.virtual.conventions import georeferencing_attributes, multiscales_attributes
from rasteret_refs.virtual.coordinates import pixel_centres, spatial_ref
from rasteret_refs.virtual.existing import MARK, ExistingArray, ExistingLayout
from rasteret_refs.virtual.facts import Facts, facts_from_attributes, shared_attributes, varying
from rasteret_refs.virtual.grids import overview_transform
from rasteret_refs.virtual.layers import Descriptions
from rasteret_refs.virtual.manifests import stack_manifest
from rasteret_refs.virtual.placed import place_coordinates
from rasteret_refs.virtual.profiles import Profile, Profiles, profile_key
from rasteret_refs.virtual.resolutions import Resolution, Stack, array_names, resolutions
from rasteret_refs.virtual.slots import Slot
from rasteret_refs.virtual.values import (
    CodecChain,
    CoordinateArray,
    Placement,
    PlannedScene,
    VirtualArray,
    VirtualGroup,
)

_VARIANT: Final = re.compile(r"__[0-9a-f]{8}$")


@dataclass(slots=True, kw_only=True)
class Batch:
    """What all slots of one plan share."""

    scenes: Sequence[PlannedScene]
    columns: Mapping[str, npt.NDArray[Any]]
    axis: str
    """Name of the scene axis."""
    descriptions: Descriptions
    fill_chunk: Callable[[CodecChain, Any], bytes]
    existing: ExistingLayout | None
    padded: bool
    """`stack` with a tolerance."""
    fills: dict[tuple[str, str], bytes] = field(default_factory=dict)
    """Encoded chunks by profile and value."""

    @property
    def profiles(self) -> Profiles:
        """Profiles of this plan."""
        return self.descriptions.profiles

    def fill(self, profile: Profile, value: Any) -> bytes:
        """Return an encoded chunk of one value, made once."""
        key = (profile.key, repr(value))
        chunk = self.fills.get(key)
        if chunk is None:
            chunk = self.fills[key] = self.fill_chunk(profile.chain, value)
        return chunk


@dataclass(slots=True, kw_only=True)
class _Array:
    """One array in the making."""

    name: str
    base: str
    profile: Profile
    stack: Stack
    mask: bool
    old: ExistingArray | None
    facts: list[Facts]
    """Distinct facts of its images, those of the existing rows first."""


def assemble(slot: Slot, batch: Batch) -> tuple[list[VirtualGroup], list[Placement]]:
    """Return the groups of a slot, parent first, and the placement of each of its layers."""
    numbers = sorted({layer.scene for layer in slot.layers})
    factors = {} if batch.existing is None or slot.existing is None else batch.existing.factors(slot.path)
    old = (batch.existing, factors["factor_1"]) if batch.existing is not None and factors else None
    axis = scene_axis(batch.axis, numbers, batch.scenes, batch.columns, old)
    rows = {number: row for row, number in enumerate(numbers)}
    found, places = resolutions(slot.layers, rows, batch.profiles, padded=batch.padded, existing=factors)
    groups = []
    names: dict[str, dict[str, dict[Profile, str]]] = {}
    bands = BandDimensions(slot, batch.profiles, batch.existing, factors)
    for resolution in found:
        arrays = _arrays(resolution)
        names[resolution.name] = {}
        for array in arrays:
            names[resolution.name].setdefault(array.base, {})[array.profile] = array.name
        groups.append(_group(slot, batch, axis, resolution, arrays, bands))
    parent = VirtualGroup(path=slot.path, attributes=_parent_attributes(slot, batch, found))
    return [parent, *groups], _placements(slot, batch, axis, rows, places, names)


def _placements(
    slot: Slot,
    batch: Batch,
    axis: SceneAxis,
    rows: Mapping[int, int],
    places: Sequence[Sequence[tuple[int, Resolution, Profile]]],
    names: Mapping[str, Mapping[str, Mapping[Profile, str]]],
) -> list[Placement]:
    prefix = f"{slot.path}/" if slot.path else ""
    shared: dict[tuple[tuple[int, str, str], ...], tuple[tuple[int, str, str], ...]] = {}
    result = []
    for layer, place in zip(slot.layers, places, strict=True):
        levels = tuple(
            [(factor, prefix + found.name, names[found.name][layer.name][profile]) for factor, found, profile in place]
        )
        levels = shared.setdefault(levels, levels)
        result.append(
            Placement(
                scene_id=batch.scenes[layer.scene].id,
                asset=layer.name,
                group=levels[0][1],
                array=levels[0][2],
                index=axis.start + rows[layer.scene],
                levels=levels,
            )
        )
    return result


def _arrays(resolution: Resolution) -> list[_Array]:
    """Return the group's arrays: the new stacks, and existing arrays that get no new image but more rows."""
    old = {} if resolution.existing is None else {n: a for n, a in resolution.existing.arrays.items() if a.is_image}
    by_base: dict[str, dict[str, str]] = {}
    for name, array in old.items():
        by_base.setdefault(_VARIANT.sub("", name), {})[profile_key(array.chain, array.bands)] = name
    made: dict[str, _Array] = {}
    for base, stacks in sorted(resolution.stacks.items()):
        for profile, name in array_names(base, stacks, by_base.get(base, {}), old).items():
            made[name] = _array(name, base, profile, stacks[profile], base in resolution.masks, old.get(name))
    for name, array in old.items():
        if name not in made:
            profile = Profile(chain=array.chain, bands=array.bands, key=profile_key(array.chain, array.bands))
            mask = "mask" in array.attributes.get(MARK, {})
            made[name] = _array(name, _VARIANT.sub("", name), profile, Stack(), mask, array)
    return [made[name] for name in sorted(made)]


def _array(name: str, base: str, profile: Profile, stack: Stack, mask: bool, old: ExistingArray | None) -> _Array:
    facts = list(stack.facts.values())
    if old is not None:
        facts.insert(0, facts_from_attributes(old.attributes, old.bands or 1))
    return _Array(name=name, base=base, profile=profile, stack=stack, mask=mask, old=old, facts=facts)


def _group(
    slot: Slot, batch: Batch, axis: SceneAxis, resolution: Resolution, arrays: Sequence[_Array], bands: BandDimensions
) -> VirtualGroup:
    dimensions = {array.name: bands.dimension(resolution, array.name, array.profile) for array in arrays}
    common = [*axis.coordinates, *place_coordinates(slot, batch.existing, resolution, axis, batch.padded)]
    own = {
        array.name: list(_radiometry(array, axis, batch, resolution, slot, dimensions[array.name])) for array in arrays
    }
    listed = [coordinate.name for coordinate in common if coordinate.name != axis.name]
    georeferenced = slot.grid is not None and (slot.grid.crs is not None or slot.grid.transform is not None)
    if georeferenced:
        listed.append("spatial_ref")
    georeferencing = _georeferencing(slot, resolution)
    virtual = []
    for array in arrays:
        attributes: dict[str, Any] = {"coordinates": " ".join([*listed, *(c.name for c in own[array.name])])}
        if georeferenced:
            attributes["grid_mapping"] = "spatial_ref"
        attributes |= {MARK: {"mask": array.base.removesuffix("_mask")}} if array.mask else {}
        if not array.mask and array.facts:
            attributes |= shared_attributes(array.facts, overview=resolution.factor > 1)
        virtual.append(
            _virtual(array, arrays, axis, batch, resolution, dimensions[array.name], attributes | georeferencing)
        )
    fixed = (
        [] if resolution.existing is not None else list(_fixed(slot, batch, resolution, georeferenced=georeferenced))
    )
    labels = bands.coordinates(resolution, [(dimensions[a.name], a.facts) for a in arrays if a.profile.bands])
    coordinates = (*common, *fixed, *labels, *(c for found in own.values() for c in found))
    prefix = f"{slot.path}/" if slot.path else ""
    mark: dict[str, Any] = {"factor": resolution.factor}
    return VirtualGroup(
        path=prefix + resolution.name, attributes={MARK: mark}, arrays=tuple(virtual), coordinates=coordinates
    )


def _virtual(
    array: _Array,
    arrays: Sequence[_Array],
    axis: SceneAxis,
    batch: Batch,
    resolution: Resolution,
    band_dimension: str | None,
    attributes: Mapping[str, Any],
) -> VirtualArray:
    profile = array.profile
    height, width = resolution.shape
    high, wide = profile.chain.chunk_shape[-2:]
    start = axis.start if array.old is not None else 0
    shift = axis.start - start
    entries = array.stack.entries
    if shift:
        entries = [entry._replace(row=entry.row + shift) for entry in entries]
    rows = len(axis) - start
    if array.mask:
        holes: Any = _mask_holes(array, arrays, rows, shift)
    else:
        holes = next((facts.nodata for facts in array.facts if facts.nodata is not None), 0)
    manifest = stack_manifest(
        entries,
        rows=rows,
        grid=(profile.planes, -(-height // high), -(-width // wide)),
        hole_fills=holes,
        fill_chunk=lambda value: batch.fill(profile, value),
    )
    return VirtualArray(
        name=array.name,
        shape=profile.shape(len(axis), height, width),
        chunks=profile.chunks,
        chain=profile.chain,
        dims=(axis.name, *([] if band_dimension is None else [band_dimension]), "y", "x"),
        attributes=attributes,
        manifest=manifest,
        start=start,
    )


def _mask_holes(mask: _Array, arrays: Sequence[_Array], rows: int, shift: int) -> list[int]:
    """Fill of each row without a mask: 255 (all valid, as rasterio says) where the scene has the image, else 0."""
    base = mask.base.removesuffix("_mask")
    images = [array for array in arrays if array.base == base and not array.mask]
    holes = [255 if any(image.old is not None for image in images) else 0] * shift + [0] * (rows - shift)
    for image in images:
        for entry in image.stack.entries:
            holes[entry.row + shift] = 255
    return holes


def _radiometry(
    array: _Array, axis: SceneAxis, batch: Batch, resolution: Resolution, slot: Slot, band_dimension: str | None
) -> Iterator[CoordinateArray]:
    if array.mask:
        return
    differs = varying(array.facts)
    stored = {} if resolution.existing is None else resolution.existing.arrays
    kinds = [kind for kind in RADIOMETRY if differs[kind] or f"{array.name}_{kind}" in stored]
    if not kinds:
        return
    facts_of_row = {axis.start + row: facts for row, facts in array.stack.facts_of_row.items()}
    if array.old is not None and batch.existing is not None and resolution.existing is not None:
        path = f"{slot.path}/{resolution.name}" if slot.path else resolution.name
        values = {
            kind: batch.existing.values(path, f"{array.name}_{kind}")
            for kind in RADIOMETRY
            if f"{array.name}_{kind}" in stored
        }
        facts_of_row |= {row: _old_facts(array.facts[0], values, row) for row in range(axis.start)}
    for kind in kinds:
        yield radiometry_coordinate(array.name, kind, axis.name, len(axis), facts_of_row, band_dimension)


def _old_facts(shared: Facts, values: Mapping[str, npt.NDArray[Any]], row: int) -> Facts:
    """Facts of a row that exists already: its stored coordinates where there are some, else what all share."""
    bands = len(shared.scales)
    facts = shared
    if "scale" in values:
        facts = replace(facts, scales=tuple(np.broadcast_to(values["scale"][row], bands).tolist()))
    if "offset" in values:
        facts = replace(facts, offsets=tuple(np.broadcast_to(values["offset"][row], bands).tolist()))
    if "nodata" in values:
        facts = replace(facts, nodata=_stored_nodata(values["nodata"][row]))
    return facts


def _stored_nodata(value: Any) -> int | float | complex | None:
    if not isinstance(value, str):
        return float(value)
    return (complex(value) if "j" in value else int(value)) if value else None


def _georeferencing(slot: Slot, resolution: Resolution) -> dict[str, Any]:
    if slot.grid is None:
        return {}
    transform = slot.grid.transform
    if transform is not None:
        transform = overview_transform(transform, slot.shape, resolution.shape)
    return georeferencing_attributes(slot.grid, transform, *resolution.shape)


def _fixed(slot: Slot, batch: Batch, resolution: Resolution, *, georeferenced: bool) -> Iterator[CoordinateArray]:
    """Coordinates that never change: pixel centres and the grid mapping of a group of one grid."""
    grid = slot.grid
    if grid is None or not georeferenced:
        return
    wkt = None if grid.crs is None else batch.descriptions.wkt.get(grid.crs)
    if grid.rectilinear and grid.transform is not None:
        yield from pixel_centres(grid.transform, slot.shape, resolution.shape, wkt)
    transform = grid.transform
    yield spatial_ref(wkt, None if transform is None else overview_transform(transform, slot.shape, resolution.shape))


def _parent_attributes(slot: Slot, batch: Batch, found: Sequence[Resolution]) -> dict[str, Any]:
    levels = [(resolution.name, *resolution.shape) for resolution in found]
    attributes = multiscales_attributes(slot.grid, levels, slot.shape)
    attributes[MARK] = {"grid": slot.label, "identity": slot.identity, "shape": list(slot.shape)}
    codes = batch.columns.get("grid:code")
    if codes is not None:
        here = {str(codes[layer.scene]) for layer in slot.layers}
        if slot.existing is not None and "grid:code" in slot.existing.attributes:
            here.add(str(slot.existing.attributes["grid:code"]))
        if len(here) == 1 and "" not in here:
            attributes["grid:code"] = here.pop()
    return attributes
