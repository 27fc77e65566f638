"""One slot to Zarr groups: arrays with their manifests and attributes, coordinates, and where each scene went."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rasteret_refs.virtual.arrays import ArrayDraft, array_drafts, hole_fills
from rasteret_refs.virtual.axis import SceneAxis, scene_axis
from rasteret_refs.virtual.bands import BandDimensions
from rasteret_refs.virtual.batch import Batch
from rasteret_refs.virtual.conventions import georeferencing_attributes, multiscales_attributes
from rasteret_refs.virtual.coordinates import pixel_centres, spatial_ref
from rasteret_refs.virtual.existing import MARK
from rasteret_refs.virtual.facts import shared_attributes, varying
from rasteret_refs.virtual.grids import Transform, overview_transform
from rasteret_refs.virtual.manifests import stack_manifest
from rasteret_refs.virtual.placed import place_coordinates
from rasteret_refs.virtual.profiles import Profile
from rasteret_refs.virtual.radiometry import RADIOMETRY, radiometry_coordinate, stored_facts
from rasteret_refs.virtual.resolutions import Resolution, resolutions
from rasteret_refs.virtual.slots import Slot
from rasteret_refs.virtual.values import CoordinateArray, Placement, VirtualArray, VirtualGroup


def assemble(slot: Slot, batch: Batch) -> tuple[list[VirtualGroup], list[Placement]]:
    """Return the groups of a slot, parent first, and the placement of each of its layers."""
    numbers = sorted({layer.scene for layer in slot.layers})
    factors = {} if batch.existing is None or slot.existing is None else batch.existing.factors(slot.path)
    old = (batch.existing, factors["factor_1"]) if batch.existing is not None and factors else None
    axis = scene_axis(batch, numbers, old)
    rows = {number: row for row, number in enumerate(numbers)}
    found, places = resolutions(slot.layers, rows, batch.profiles, padded=batch.padded, existing=factors)
    bands = BandDimensions(slot, batch.profiles, batch.existing, factors)
    drafts = {resolution.name: array_drafts(resolution) for resolution in found}
    groups = [_GroupMaker(slot, batch, axis, bands, resolution).group(drafts[resolution.name]) for resolution in found]
    parent = VirtualGroup(path=slot.path, attributes=_parent_attributes(slot, batch, found))
    names = {
        name: {(draft.base, draft.profile): draft.name for draft in made if draft.masks is None}
        for name, made in drafts.items()
    }
    indices = {number: axis.start + row for number, row in rows.items()}
    return [parent, *groups], _placements(slot, batch, indices, places, names)


@dataclass(frozen=True, slots=True)
class _GroupMaker:
    """One resolution of a slot on its way to a group."""

    slot: Slot
    batch: Batch
    axis: SceneAxis
    bands: BandDimensions
    resolution: Resolution

    @property
    def path(self) -> str:
        return f"{self.slot.path}/{self.resolution.name}" if self.slot.path else self.resolution.name

    @property
    def georeferenced(self) -> bool:
        return self.slot.grid is not None and self.slot.grid.georeferenced

    @property
    def transform(self) -> Transform | None:
        if self.slot.grid is None or self.slot.grid.transform is None:
            return None
        return overview_transform(self.slot.grid.transform, self.slot.shape, self.resolution.shape)

    def group(self, drafts: Sequence[ArrayDraft]) -> VirtualGroup:
        """Return the group with all its arrays and coordinates."""
        placed = place_coordinates(self.slot, self.batch, self.resolution, self.axis)
        common = [*self.axis.coordinates, *placed]
        listed = [coordinate.name for coordinate in common if coordinate.name != self.axis.name]
        listed += ["spatial_ref"] if self.georeferenced else []
        arrays = []
        own: list[CoordinateArray] = []
        for draft in drafts:
            radiometry = list(self._radiometry(draft))
            own += radiometry
            arrays.append(self._array(draft, drafts, [*listed, *(found.name for found in radiometry)]))
        fixed = [] if self.resolution.existing is not None else list(self._fixed())
        labels = self.bands.coordinates(
            self.resolution, [(self._band_dimension(draft), draft.facts) for draft in drafts if draft.profile.bands]
        )
        return VirtualGroup(
            path=self.path,
            attributes={MARK: {"factor": self.resolution.factor}},
            arrays=tuple(arrays),
            coordinates=(*common, *fixed, *labels, *own),
        )

    def _band_dimension(self, draft: ArrayDraft) -> str | None:
        return self.bands.dimension(self.resolution, draft.name, draft.profile)

    def _attributes(self, draft: ArrayDraft, coordinates: Sequence[str]) -> dict[str, Any]:
        attributes: dict[str, Any] = {"coordinates": " ".join(coordinates)}
        if self.georeferenced:
            attributes["grid_mapping"] = "spatial_ref"
        attributes |= draft.attributes
        if draft.masks is None:
            attributes |= shared_attributes(draft.facts, overview=self.resolution.factor > 1)
        if self.slot.grid is not None:
            attributes |= georeferencing_attributes(self.slot.grid, self.transform, *self.resolution.shape)
        return attributes

    def _array(self, draft: ArrayDraft, drafts: Sequence[ArrayDraft], coordinates: Sequence[str]) -> VirtualArray:
        profile = draft.profile
        height, width = self.resolution.shape
        high, wide = profile.chain.chunk_shape[-2:]
        start = self.axis.start if draft.old is not None else 0
        shift = self.axis.start - start
        entries = draft.stack.entries
        if shift:
            entries = [entry._replace(row=entry.row + shift) for entry in entries]
        rows = len(self.axis) - start
        manifest = stack_manifest(
            entries,
            rows=rows,
            grid=(profile.planes, -(-height // high), -(-width // wide)),
            hole_fills=hole_fills(draft, drafts, rows, shift),
            fill_chunk=lambda value: self.batch.fill(profile, value),
        )
        band = self._band_dimension(draft)
        return VirtualArray(
            name=draft.name,
            shape=profile.shape(len(self.axis), height, width),
            chunks=profile.chunks,
            chain=profile.chain,
            dims=(self.axis.name, *([] if band is None else [band]), "y", "x"),
            attributes=self._attributes(draft, coordinates),
            manifest=manifest,
            start=start,
        )

    def _radiometry(self, draft: ArrayDraft) -> Iterator[CoordinateArray]:
        """Coordinates of what varies by scene, or did so in the set that is appended to."""
        if draft.masks is not None:
            return
        differs = varying(draft.facts)
        stored = {} if self.resolution.existing is None else self.resolution.existing.arrays
        names = {kind: f"{draft.name}_{kind}" for kind in RADIOMETRY}
        kinds = [kind for kind in RADIOMETRY if differs[kind] or names[kind] in stored]
        if not kinds:
            return
        facts_of_row = {self.axis.start + row: facts for row, facts in draft.stack.facts_of_row.items()}
        if draft.old is not None and self.batch.existing is not None:
            existing = self.batch.existing
            values = {kind: existing.values(self.path, names[kind]) for kind in RADIOMETRY if names[kind] in stored}
            facts_of_row |= stored_facts(draft.facts[0], values, self.axis.start)
        for kind in kinds:
            yield radiometry_coordinate(
                names[kind],
                facts_of_row,
                len(self.axis),
                axis=self.axis.name,
                band_dimension=self._band_dimension(draft),
            )

    def _fixed(self) -> Iterator[CoordinateArray]:
        """Coordinates that never change: pixel centres and the grid mapping of a group of one grid."""
        grid = self.slot.grid
        if grid is None or not self.georeferenced:
            return
        wkt = None if grid.crs is None else self.batch.descriptions.wkt.get(grid.crs)
        if grid.rectilinear and grid.transform is not None:
            yield from pixel_centres(grid.transform, self.slot.shape, self.resolution.shape, wkt)
        yield spatial_ref(wkt, self.transform)


def _placements(
    slot: Slot,
    batch: Batch,
    indices: Mapping[int, int],
    places: Sequence[Sequence[tuple[int, Resolution, Profile]]],
    names: Mapping[str, Mapping[tuple[str, Profile], str]],
) -> list[Placement]:
    """Say where each layer went; equal tuples of levels are one object."""
    prefix = f"{slot.path}/" if slot.path else ""
    shared: dict[tuple[tuple[int, str, str], ...], tuple[tuple[int, str, str], ...]] = {}
    result = []
    for layer, place in zip(slot.layers, places, strict=True):
        levels = tuple(
            [(factor, prefix + found.name, names[found.name][layer.name, profile]) for factor, found, profile in place]
        )
        levels = shared.setdefault(levels, levels)
        result.append(
            Placement(
                scene_id=batch.scenes[layer.scene].id,
                asset=layer.name,
                group=levels[0][1],
                array=levels[0][2],
                index=indices[layer.scene],
                levels=levels,
            )
        )
    return result


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
