"""Scenes to virtual Zarr groups: the plan of a whole reference set, or of what an append adds to one."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rasteret_refs.errors import LayoutError
from rasteret_refs.virtual.assemble import assemble
from rasteret_refs.virtual.batch import Batch
from rasteret_refs.virtual.codec_chain import codec_chain, fill_chunk, mask_chain
from rasteret_refs.virtual.existing import MARK, ExistingLayout
from rasteret_refs.virtual.layers import Descriptions, Layer, take_apart
from rasteret_refs.virtual.names import RESERVED_IN_STACKS, name_problem
from rasteret_refs.virtual.profiles import Profiles
from rasteret_refs.virtual.slots import Slot, choose_layout, choose_tolerance, grid_slots, stack_slots
from rasteret_refs.virtual.sparing import leaves_out, repeats_too_much, without_repeated
from rasteret_refs.virtual.validate import check_group
from rasteret_refs.virtual.values import Placement, PlannedScene, ReferenceSetPlan, VirtualGroup

_LAYOUTS = ("auto", "grids", "stack")
_AXES = ("time", "scene")
_MICROSECONDS = np.dtype("datetime64[us]")
_NEVER = int(np.iinfo(np.int64).max)


def plan(
    scenes: Sequence[PlannedScene],
    *,
    layout: str = "auto",
    axis: str = "time",
    tolerance: float | None = None,
    scene_columns: Mapping[str, npt.ArrayLike] | None = None,
    existing: ExistingLayout | None = None,
    teach: Callable[[Descriptions], None] | None = None,
) -> ReferenceSetPlan:
    """Plan the groups, arrays, manifests, coordinates and attributes of a reference set.

    Parameters
    ----------
    scenes
        The batch, in any order; it is sorted by time, then id, then the first object's URL. Equal descriptions should
        be the same objects, as parsing gives them: the work is done once for each.
    layout
        `grids`: a group for each grid. `stack`: images of equal shape in one array whatever their grid. `auto`:
        `grids` where there are at most 64 grids or at least 8 scenes a grid, else `stack`.
    axis
        Name of the scene axis of `grids`: `time` (a scene without a time is refused) or `scene`. `stack` always has
        `scene`.
    tolerance
        For `stack`: share of pixels, at most 0.25, by which an array may be larger than an image in it. None: 0 while
        there are at most 16 shapes, else 0.25, since a group for every shape is slow to open.
    scene_columns
        Columns of the scene table that become coordinates, one value a scene, in the order of `scenes`.
    existing
        The set that the scenes are appended to. Its layout, axis and tolerance hold, whatever the arguments say. The
        plan then has only the groups that change: their arrays with `start` at the first new row, their coordinates
        along the scene axis complete. Coordinates and arrays that are not named stay as they are.
    teach
        Tells codecs, grids and facts of images that come from no header (`Descriptions.learn`, `Profiles.learn`).

    Returns
    -------
    ReferenceSetPlan
        Its groups are consistent: one size for each dimension, one meaning for each name.

    Raises
    ------
    LayoutError
        An option, a column or its name that cannot be used. What is wrong with a single scene or asset is in
        `refused` instead.
    """
    if layout not in _LAYOUTS or axis not in _AXES:
        raise LayoutError(f"expected layout {_LAYOUTS} and axis {_AXES}, got {layout!r} and {axis!r}")
    if existing is not None:
        layout, axis, tolerance = existing.layout, existing.axis, existing.tolerance
    accepted, refused, columns = _accept(scenes, axis, scene_columns or {})
    profiles = Profiles(codec_chain, mask_chain)
    descriptions = Descriptions(profiles)
    if teach is not None:
        teach(descriptions)
    layers, unusable = take_apart(accepted, descriptions, columns)
    refused += unusable
    if layout == "auto":
        layout = choose_layout(layers)
    if layout == "stack":
        layers, clashes = _without_clashes(layers, accepted)
        refused += clashes
    if tolerance is None:
        tolerance = choose_tolerance(layers) if layout == "stack" else 0.0
    padded = layout == "stack" and tolerance > 0
    batch = Batch(
        scenes=accepted,
        columns=columns,
        axis=axis if layout == "grids" else "scene",
        timed=axis == "time",
        descriptions=descriptions,
        fill_chunk=fill_chunk,
        existing=existing,
        padded=padded,
    )
    slots = (
        grid_slots(layers, profiles, existing)
        if layout == "grids"
        else stack_slots(layers, profiles, existing, tolerance)
    )
    mark: dict[str, Any] = {"layout": layout, "axis": axis, "tolerance": float(tolerance)}
    root: dict[str, Any] = dict(existing.groups[""].attributes) if existing is not None else {MARK: mark}
    groups, placements = _assembled(slots, batch, root)
    if layout == "stack" and (leaves_out(root) if existing is not None else repeats_too_much(groups)):
        groups = without_repeated(groups)
    return ReferenceSetPlan(groups=groups, placements=placements, layout=layout, refused=tuple(refused))


def _assembled(
    slots: Sequence[Slot], batch: Batch, root: dict[str, Any]
) -> tuple[tuple[VirtualGroup, ...], tuple[Placement, ...]]:
    """Make the groups of all slots, the root first; a slot without a path of its own adds to the root's attributes."""
    groups: list[VirtualGroup] = []
    placements: list[Placement] = []
    for slot in slots:
        made, placed = assemble(slot, batch)
        placements += placed
        if slot.path:
            groups += made
        else:
            root |= {**made[0].attributes, MARK: {**root[MARK], **made[0].attributes[MARK]}}
            groups += made[1:]
    for group in groups:
        check_group(group, batch.existing)
    return (VirtualGroup(path="", attributes=root), *groups), tuple(placements)


def _accept(
    scenes: Sequence[PlannedScene], axis: str, columns: Mapping[str, npt.ArrayLike]
) -> tuple[list[PlannedScene], list[tuple[str, str, str]], dict[str, npt.NDArray[Any]]]:
    """Sort the batch with its columns, and set aside scenes that have no place on the axis."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    for name, column in columns.items():
        problem = name_problem(name)
        if name.casefold() in RESERVED_IN_STACKS:
            problem = "is the name of a coordinate of the stack layout"
        if problem is not None:
            raise LayoutError(f"the scene column {name!r} {problem}; rename it")
        try:
            values = arrays[name] = np.asarray(column)
        except ValueError as error:
            raise LayoutError(f"scene column {name!r}: expected one value a scene, got lists: {error}") from error
        if values.shape != (len(scenes),):
            raise LayoutError(f"scene column {name!r}: expected {len(scenes)} values, one a scene, got {values.shape}")
    refused: list[tuple[str, str, str]] = []
    usable: list[int] = []
    for number, scene in enumerate(scenes):
        if axis == "time" and scene.time is None:
            reason = "the scene has no datetime, so it has no place on the time axis"
            refused += [(scene.id, asset.name, reason) for asset in scene.assets]
        else:
            usable.append(number)
    order = sorted(usable, key=lambda number: _rank(scenes[number]))
    at = np.asarray(order, np.int64)
    return [scenes[number] for number in order], refused, {name: values[at] for name, values in arrays.items()}


def _rank(scene: PlannedScene) -> tuple[int, str, str]:
    """Time, id, first object: scenes without a time (of the axis `scene`) come last."""
    moment = _NEVER if scene.time is None else scene.time.astype(_MICROSECONDS).astype(np.int64)
    return (int(moment), scene.id, scene.assets[0].url if scene.assets else "")


def _without_clashes(
    layers: Sequence[Layer], scenes: Sequence[PlannedScene]
) -> tuple[list[Layer], list[tuple[str, str, str]]]:
    """Refuse assets that are called like a coordinate of the `stack` layout."""
    good: list[Layer] = []
    refused: list[tuple[str, str, str]] = []
    for layer in layers:
        if layer.name.casefold() in RESERVED_IN_STACKS:
            reason = f"the name {layer.name!r} is that of a coordinate of the stack layout; rename the asset"
            refused.append((scenes[layer.scene].id, layer.name, reason))
        else:
            good.append(layer)
    return good, refused
