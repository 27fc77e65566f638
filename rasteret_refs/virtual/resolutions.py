"""Which group each resolution of a slot's images goes to, so that a dimension has one size within a group."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rasteret_refs.virtual.buckets import Shape
from rasteret_refs.virtual.existing import ExistingGroup
from rasteret_refs.virtual.facts import Facts
from rasteret_refs.virtual.layers import Layer
from rasteret_refs.virtual.manifests import Entry
from rasteret_refs.virtual.profiles import Profile, Profiles


@dataclass(slots=True)
class Stack:
    """Images of one name and one profile at one resolution: a Zarr array in the making."""

    entries: list[Entry] = field(default_factory=list)
    facts: dict[int, Facts] = field(default_factory=dict)
    """Distinct facts of the images, by identity."""
    facts_of_row: dict[int, Facts] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Resolution:
    """One group in the making: all images of one factor and shape."""

    name: str
    """`factor_2`, or `factor_2__<h>x<w>` for a shape that is not the factor's usual one."""
    factor: int
    shape: Shape
    stacks: dict[str, dict[Profile, Stack]] = field(default_factory=dict)
    """By array name (without variant) and profile; masks are `<name>_mask`."""
    masks: set[str] = field(default_factory=set)
    """Which of the names are masks."""
    existing: ExistingGroup | None = None


def resolutions(
    layers: Sequence[Layer],
    rows: Mapping[int, int],
    profiles: Profiles,
    *,
    padded: bool,
    existing: Mapping[str, ExistingGroup],
) -> tuple[list[Resolution], list[list[tuple[int, Resolution, Profile]]]]:
    """Distribute the images of a slot.

    Parameters
    ----------
    layers
        Of the slot.
    rows
        Row of each scene, counted from the first new one.
    profiles
        Of this plan.
    padded
        Smaller images may lie in larger arrays (`stack` with a tolerance).
    existing
        The slot's groups so far, by name.

    Returns
    -------
    resolutions
        By factor, the usual shape first.
    places
        For each layer, its levels as (factor, resolution, profile).
    """
    groups = _group_names(layers, padded=padded, existing=existing)
    made: dict[str, Resolution] = {
        name: Resolution(name=name, factor=int(group.mark["factor"]), shape=group.shape, existing=group)
        for name, group in existing.items()
    }
    places = []
    for layer in layers:
        place = []
        row = rows[layer.scene]
        fill = 0 if layer.facts.nodata is None else layer.facts.nodata
        for level in layer.levels:
            description = level.image.description
            name, shape = groups[level.factor, (description.height, description.width)]
            resolution = made.get(name)
            if resolution is None:
                resolution = made[name] = Resolution(name=name, factor=level.factor, shape=shape)
            profile = profiles.of(description)
            stack = _stack(resolution, layer.name, profile)
            stack.entries.append(Entry(row, level.image, layer.url, fill))
            stack.facts.setdefault(id(layer.facts), layer.facts)
            stack.facts_of_row[row] = layer.facts
            place.append((level.factor, resolution, profile))
            if level.mask is not None:
                mask_name = f"{layer.name}_mask"
                resolution.masks.add(mask_name)
                mask_stack = _stack(resolution, mask_name, profiles.of(level.mask.description, mask=True))
                mask_stack.entries.append(Entry(row, level.mask, layer.url, 0))
        places.append(place)
    return sorted(made.values(), key=lambda found: (found.factor, len(found.name), found.name)), places


def _stack(resolution: Resolution, name: str, profile: Profile) -> Stack:
    stacks = resolution.stacks.setdefault(name, {})
    stack = stacks.get(profile)
    if stack is None:
        stack = stacks[profile] = Stack()
    return stack


def _group_names(
    layers: Sequence[Layer], *, padded: bool, existing: Mapping[str, ExistingGroup]
) -> dict[tuple[int, Shape], tuple[str, Shape]]:
    """Name and array shape of the group for each (factor, image shape)."""
    counts: Counter[tuple[int, Shape]] = Counter(
        (level.factor, (level.image.description.height, level.image.description.width))
        for layer in layers
        for level in layer.levels
    )
    by_factor: dict[int, list[Shape]] = {}
    for factor, shape in counts:
        by_factor.setdefault(factor, []).append(shape)
    result: dict[tuple[int, Shape], tuple[str, Shape]] = {}
    for factor, shapes in by_factor.items():
        usual = f"factor_{factor}"
        if usual in existing:
            main = existing[usual].shape
        elif padded:
            main = (max(height for height, _ in shapes), max(width for _, width in shapes))
        else:
            main = max(shapes, key=lambda shape: (counts[factor, shape], shape))
        for shape in shapes:
            fits = shape == main or (padded and shape[0] <= main[0] and shape[1] <= main[1])
            result[factor, shape] = (usual, main) if fits else (f"{usual}__{shape[0]}x{shape[1]}", shape)
    return result


def array_names(
    name: str, stacks: Mapping[Profile, Stack], known: Mapping[str, str], taken: Iterable[str]
) -> dict[Profile, str]:
    """Name the arrays of one asset: the commonest profile has the asset's name, others `<asset>__<digest>`.

    Parameters
    ----------
    name
        The asset's.
    stacks
        Its profiles.
    known
        Names of existing arrays by profile key: they stay.
    taken
        Names of existing arrays.
    """
    result: dict[Profile, str] = {}
    free = name not in set(taken)
    for profile in sorted(stacks, key=lambda found: (-len(stacks[found].entries), found.digest)):
        if profile.key in known:
            result[profile] = known[profile.key]
        elif free:
            result[profile], free = name, False
        else:
            result[profile] = f"{name}__{profile.digest}"
    return result
