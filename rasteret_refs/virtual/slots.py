"""Which layers share a scene axis: one slot a grid, or a shape in the `stack` layout."""

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from rasteret_refs.virtual.buckets import LARGEST_TOLERANCE, Shape, buckets
from rasteret_refs.virtual.existing import ExistingGroup, ExistingLayout
from rasteret_refs.virtual.grids import Grid
from rasteret_refs.virtual.layers import Layer
from rasteret_refs.virtual.profiles import Profiles

FEW_GRIDS: Final = 64
"""`auto`: up to so many grids have groups of their own."""
SCENES_A_GRID: Final = 8
"""`auto`: more grids have groups of their own only when each holds so many scenes on average."""
FEW_SHAPES: Final = 16
"""Up to so many shapes have stacks of their own unless a tolerance is asked for."""
MOST_VARIANTS: Final = 16
"""An asset in more profiles than this gets a slot a profile: holes would outnumber the references."""


@dataclass(slots=True, kw_only=True)
class Slot:
    """A parent group with one scene axis, and the layers that go there."""

    path: str
    """`""` for the root, else the label."""
    label: str
    identity: str
    """Equal for the same grid (or shape) in any set; appending finds the slot by it."""
    shape: Shape
    """Of the full resolution's arrays."""
    grid: Grid | None
    """None in the `stack` layout, where each scene has its own."""
    layers: list[Layer] = field(default_factory=list)
    existing: ExistingGroup | None = None


def choose_layout(layers: Sequence[Layer]) -> str:
    """Decide `auto`: `grids` when there are few grids, or many scenes a grid, else `stack`."""
    grids = {layer.grid for layer in layers}
    if len(grids) <= FEW_GRIDS:
        return "grids"
    pairs = len({(layer.scene, layer.grid) for layer in layers})
    return "grids" if pairs >= SCENES_A_GRID * len(grids) else "stack"


def choose_tolerance(layers: Sequence[Layer]) -> float:
    """Return the tolerance of a `stack` that names none: 0 for few shapes, else the largest that there is."""
    shapes = {(layer.grid.height, layer.grid.width) for layer in layers}
    return 0.0 if len(shapes) <= FEW_SHAPES else LARGEST_TOLERANCE


def grid_slots(layers: Sequence[Layer], profiles: Profiles, existing: ExistingLayout | None) -> list[Slot]:
    """Return one slot a grid; at the root when there is only one and nothing exists yet."""
    parents = {} if existing is None else existing.parents()
    taken = set() if existing is None else set(existing.groups)
    by_key = _split_variants(layers, [layer.grid for layer in layers], profiles)
    slots = []
    alone = existing is None and len(by_key) == 1
    for (grid, variant), found in sorted(by_key.items(), key=lambda item: _order(item[0][0], item[0][1], item[1])):
        identity = grid.identity + variant
        parent = parents.get(identity)
        label = parent.mark["grid"] if parent is not None else _free_label(grid, variant, taken)
        taken.add(label)
        path = parent.path if parent is not None else "" if alone else label
        slots.append(
            Slot(
                path=path,
                label=label,
                identity=identity,
                shape=(grid.height, grid.width),
                grid=grid,
                layers=found,
                existing=parent,
            )
        )
    return slots


def stack_slots(
    layers: Sequence[Layer], profiles: Profiles, existing: ExistingLayout | None, tolerance: float
) -> list[Slot]:
    """Return one slot a shape (or bucket of shapes).

    A scene with several grids of one shape has the second in a slot of its own: CRS and transform are one a scene.
    """
    parents = {} if existing is None else existing.parents()
    known = [parent.mark["shape"] for parent in parents.values()]
    tiled = {(layer.grid.height, layer.grid.width) for layer in layers if layer.levels[0].image.description.tiled}
    # Strips are as wide as their image, so padding would only give each width a profile of its own.
    padded = buckets(tiled, tolerance, [(int(height), int(width)) for height, width in known])
    keys = _stack_keys(layers, padded)
    slots = []
    for ((shape, number), variant), found in sorted(
        _split_variants(layers, keys, profiles).items(), key=lambda i: i[0]
    ):
        label = f"{shape[0]}x{shape[1]}" + (f"_{number + 1}" if number else "") + (f"__{variant}" if variant else "")
        slots.append(
            Slot(
                path=label,
                label=label,
                identity=label,
                shape=shape,
                grid=None,
                layers=found,
                existing=parents.get(label),
            )
        )
    return slots


def _stack_keys(layers: Sequence[Layer], padded: Mapping[Shape, Shape]) -> list[tuple[Shape, int]]:
    """(array shape, number of the grid among the scene's grids of that shape) of each layer."""
    keys = []
    scene = -1
    grids: dict[Shape, list[Grid]] = {}
    for layer in layers:
        if layer.scene != scene:
            scene, grids = layer.scene, {}
        own = (layer.grid.height, layer.grid.width)
        shape = padded.get(own, own) if layer.levels[0].image.description.tiled else own
        seen = grids.setdefault(shape, [])
        if layer.grid not in seen:
            seen.append(layer.grid)
        keys.append((shape, seen.index(layer.grid)))
    return keys


def _split_variants[Key: Hashable](
    layers: Sequence[Layer], keys: Sequence[Key], profiles: Profiles
) -> dict[tuple[Key, str], list[Layer]]:
    """Group layers by key; an asset with more than `MOST_VARIANTS` profiles there is set apart, profile by profile."""
    many: set[tuple[Key, str]] = set()
    if len(profiles) > MOST_VARIANTS:
        kinds: dict[tuple[Key, str], set[tuple[int, ...]]] = {}
        for layer, key in zip(layers, keys, strict=True):
            signature = tuple([id(profiles.of(level.image.description)) for level in layer.levels])
            kinds.setdefault((key, layer.name), set()).add(signature)
        many = {place for place, found in kinds.items() if len(found) > MOST_VARIANTS}
    grouped: dict[tuple[Key, str], list[Layer]] = {}
    for layer, key in zip(layers, keys, strict=True):
        variant = _digest(layer, profiles) if many and (key, layer.name) in many else ""
        grouped.setdefault((key, variant), []).append(layer)
    return grouped


def _digest(layer: Layer, profiles: Profiles) -> str:
    keys = "\n".join(profiles.of(level.image.description).key for level in layer.levels)
    return hashlib.sha256(keys.encode()).hexdigest()[:8]


def _order(grid: Grid, variant: str, layers: Sequence[Layer]) -> tuple[int, int, str, str]:
    """Grids with more layers first, then larger ones: the first of two that share a label keeps it."""
    return (-len(layers), -grid.height * grid.width, grid.identity, variant)


def _free_label(grid: Grid, variant: str, taken: set[str]) -> str:
    """Return the grid's label, with its shape and then a piece of its identity where that tells it from others."""
    plain = grid.label() + (f"__{variant}" if variant else "")
    for label in (plain, f"{plain}__{grid.height}x{grid.width}"):
        if label not in taken:
            return label
    return f"{plain}__{grid.identity[:8]}"
