"""The planner's own check that no group can be written which `xarray.open_zarr` would refuse."""

from rasteret_refs.errors import LayoutError
from rasteret_refs.virtual.existing import ExistingLayout
from rasteret_refs.virtual.values import CoordinateArray, VirtualArray, VirtualGroup


def check_group(group: VirtualGroup, existing: ExistingLayout | None = None) -> None:
    """Refuse a group in which a dimension has two sizes or a name two meanings.

    Parameters
    ----------
    group
        As planned.
    existing
        The set that is appended to: arrays that the plan does not name stay, and take part.

    Raises
    ------
    LayoutError
        Names the group, the dimension or name, and who says what.
    """
    sizes: dict[str, tuple[int, str]] = {}
    names: dict[str, str] = {}
    found = [(array.name, array.dims, array.shape) for array in group.arrays]
    found += [(coordinate.name, coordinate.dims, coordinate.values.shape) for coordinate in group.coordinates]
    planned = {name for name, _, _ in found}
    if existing is not None and group.path in existing.groups:
        old = existing.groups[group.path].arrays.values()
        found += [(array.name, array.dims, array.shape) for array in old if array.name not in planned]
    for name, dims, shape in found:
        where = f"group {group.path!r}, array {name!r}"
        if names.setdefault(name.casefold(), where) is not where:
            raise LayoutError(f"{where}: the name is taken by {names[name.casefold()]}")
        if len(dims) != len(shape) or len(set(dims)) != len(dims):
            raise LayoutError(f"{where}: expected one distinct dimension for each of {len(shape)} sizes, got {dims}")
        if name in dims and len(dims) > 1:
            raise LayoutError(f"{where}: has the name of one of its dimensions {dims}")
        for dimension, size in zip(dims, shape, strict=True):
            known, owner = sizes.setdefault(dimension, (size, name))
            if known != size:
                raise LayoutError(f"{where}: dimension {dimension!r} has size {size}, but {known} in {owner!r}")
    available = {name for name, _, _ in found}
    for array in group.arrays:
        _check_array(array, group.path, available)
    for coordinate in group.coordinates:
        _check_coordinate(coordinate, group.path)


def _check_array(array: VirtualArray, path: str, available: set[str]) -> None:
    where = f"group {path!r}, array {array.name!r}"
    chunks = 1
    for size, chunk in zip((array.shape[0] - array.start, *array.shape[1:]), array.chunks, strict=True):
        chunks *= -(-size // chunk)
    if len(array.manifest) != chunks:
        raise LayoutError(f"{where}: expected {chunks} chunk references, got {len(array.manifest)}")
    missing = set(array.attributes.get("coordinates", "").split()) - available
    if missing:
        raise LayoutError(f"{where}: lists coordinates that the group does not have: {sorted(missing)}")


def _check_coordinate(coordinate: CoordinateArray, path: str) -> None:
    dtype = coordinate.values.dtype
    if dtype.kind in "OMV":
        raise LayoutError(f"group {path!r}, coordinate {coordinate.name!r}: expected a fixed-width dtype, got {dtype}")
