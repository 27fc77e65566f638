"""Splits within footprints: each grid cut into chips, and each chip given a split such that no two splits overlap."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rasteret_refs.errors import QueryError
from rasteret_refs.ml.splits import DROPPED, LeakageReport, SplitRule, block_split, leakage, random_split
from rasteret_refs.refset.geoparquet import BBOX
from rasteret_refs.refset.tiles_place import Place, is_image, places
from rasteret_refs.refset.views import View, grid_of

CHIP = 256
"""Pixels along a chip's side where nobody says otherwise."""


def chip_splits(view: View, rule: SplitRule, *, size: int = CHIP, stride: int | None = None) -> pa.Table:
    """Cut the grids of a view into chips and split these.

    Parameters
    ----------
    view
        The collection.
    rule
        For chips: by `id` (each chip on its own, for chips that do not overlap) or `block` (fixed squares on the
        ground, the same for all grids that see them; chips that reach into another split's block, or its buffer, are in
        no split).
    size
        Pixels along a chip's side, at full resolution.
    stride
        Pixels from one chip to the next; None: `size`.

    Returns
    -------
    pyarrow.Table
        One row a chip that lies within the image: `group`, `row`, `column`, `x_offset`, `y_offset`, `width`, `height`
        in pixels, `bbox` in degrees, and the split, `DROPPED` for chips of none. Where scenes have grids of their own
        (the `stack` layout) `id` names the scene.

    Raises
    ------
    QueryError
        Chips that overlap, split one by one; grids that have no place on the ground, split by blocks; another way.
    """
    parts = _cut(_images(view), rule, size=size, stride=stride)
    if not parts:
        raise QueryError(f"expected images of at least {size} × {size} pixels, got smaller ones")
    return pa.concat_tables(parts).combine_chunks()


def added_chips(view: View, rule: SplitRule, old: pa.Table, *, size: int, stride: int) -> pa.Table | None:
    """Split the chips of grids, or of scenes with grids of their own, that came after a rule was carried out.

    Parameters
    ----------
    view, rule, size, stride
        As for `chip_splits`. A chip's split depends on nothing but itself: the older ones are what they would be now.
    old
        The chips that there are.

    Returns
    -------
    pyarrow.Table or None
        As `chip_splits` gives; None where there is nothing to add.
    """
    known = set(_owners(old))
    new = [image for image in _images(view) if (image[0], image[1]) not in known]
    parts = _cut(new, rule, size=size, stride=stride)
    return pa.concat_tables(parts).combine_chunks() if parts else None


def _cut(
    images: list[tuple[str, str | None, Place, tuple[int, int]]], rule: SplitRule, *, size: int, stride: int | None
) -> list[pa.Table]:
    """Chips of each image that is large enough for one."""
    stride = size if stride is None else stride
    if size < 1 or stride < 1:
        raise QueryError(f"expected a chip size and a stride of at least 1 pixel, got {size} and {stride}")
    if rule.by not in {"id", "block"} or rule.stratify is not None:
        raise QueryError(f"expected by='id' or 'block' for chips, without stratify, got {rule.by!r}")
    if rule.by == "id" and stride < size:
        raise QueryError(
            f"expected by='block' for chips that overlap (stride {stride} below size {size}): one by one, they would "
            "share ground with chips of other splits"
        )
    parts = [_chips(grid, scene, place, shape, rule, size=size, stride=stride) for grid, scene, place, shape in images]
    return [part for part in parts if len(part)]


def _images(view: View) -> list[tuple[str, str | None, Place, tuple[int, int]]]:
    """Grid, scene where each has its own, place and (height, width) of what is cut."""
    sealed = view.refset.sealed
    shapes: dict[str, tuple[int, int]] = {}
    names: dict[str, str] = {}
    for key, attributes in sealed.documents.items():
        path, _, leaf = key.rpartition("/")
        group = path.rpartition("/")[0]
        if leaf == ".zattrs" and group.rpartition("/")[2] == "factor_1" and is_image(attributes):
            height, width = sealed.documents[f"{path}/.zarray"]["shape"][-2:]
            shapes[group] = (height, width)
            names[group] = path.rpartition("/")[2]
    found: list[tuple[str, str | None, Place, tuple[int, int]]] = []
    for group, shape in shapes.items():
        grid = grid_of(group)
        if grid not in view.places:
            continue
        where = places(sealed, group, names[group])
        if isinstance(where, Place):
            found.append((grid, None, where, shape))
            continue
        ids = _ids(view, group)
        found += [(grid, ids[k], where[k], where[k].size or shape) for k in view.places[grid].tolist()]
    return found


def _ids(view: View, group: str) -> list[str]:
    from rasteret_refs.refset.coordinates import stored_values

    return [str(name) for name in stored_values(view.refset.sealed, f"{group}/id").tolist()]


def _chips(
    grid: str, scene: str | None, place: Place, shape: tuple[int, int], rule: SplitRule, *, size: int, stride: int
) -> pa.Table:
    numbers = [max(0, (length - size) // stride + 1) for length in shape]
    row, column = (part.ravel() for part in np.indices(numbers))
    x, y = column * stride, row * stride
    windows = np.stack([x, y, x + size, y + size], axis=1).astype(np.int64)
    boxes = place.degrees(windows)
    splits = _split(grid, scene, windows, boxes, rule)
    count = len(row)
    data: dict[str, Any] = {} if scene is None else {"id": pa.array([scene] * count, pa.string())}
    data |= {
        "group": pa.array([grid] * count, pa.string()),
        "row": pa.array(row, pa.int32()),
        "column": pa.array(column, pa.int32()),
        "x_offset": pa.array(x, pa.int64()),
        "y_offset": pa.array(y, pa.int64()),
        "width": pa.array(np.full(count, size), pa.int64()),
        "height": pa.array(np.full(count, size), pa.int64()),
        "bbox": pa.StructArray.from_arrays(
            [pa.array(boxes[:, k]) for k in range(4)], fields=list(BBOX), mask=pa.array(np.isnan(boxes).any(axis=1))
        ),
        rule.column: pa.array(splits.tolist(), pa.string()),
    }
    return pa.table(data)


def _split(
    grid: str,
    scene: str | None,
    windows: npt.NDArray[np.int64],
    boxes: npt.NDArray[np.float64],
    rule: SplitRule,
) -> npt.NDArray[np.str_]:
    if not len(windows):
        return np.array([], dtype=np.str_)
    if rule.by == "id":
        return random_split([f"{grid}/{scene or ''}/{x}/{y}" for x, y in windows[:, :2].tolist()], rule)
    if np.isnan(boxes).any():
        raise QueryError(f"expected grids with a CRS and a transform to split by blocks, got {grid or 'one'!r} without")
    return block_split(boxes, replace(rule, unit="chip"))


def _owners(tiles: pa.Table) -> list[tuple[str, str | None]]:
    """Grid, and scene where each has its own, of each chip."""
    scenes = tiles["id"].to_pylist() if "id" in tiles.column_names else [None] * len(tiles)
    return list(zip(tiles["group"].to_pylist(), scenes, strict=True))


def chip_leakage(tiles: pa.Table, column: str) -> LeakageReport:
    """Count overlapping chips of different splits: in pixels within a grid, by their boxes in degrees between grids."""
    splits = np.array([value or DROPPED for value in tiles[column].to_pylist()], dtype=np.str_)
    owners = _owners(tiles)
    distinct = {owner: number for number, owner in enumerate(dict.fromkeys(owners))}
    owner = np.array([distinct[one] for one in owners], np.int64)
    x, y, width, height = (tiles[name].to_numpy().astype(float) for name in ("x_offset", "y_offset", "width", "height"))
    # Each grid far from the others: within one, pixels tell exactly what overlaps.
    shift = owner * (float((x + width).max()) + 1) if len(x) else x
    inside = leakage(np.stack([x + shift, y, x + shift + width, y + height], axis=1), splits)
    overlaps = dict(inside.overlaps)
    if len(distinct) > 1:
        boxes = tiles["bbox"].combine_chunks()
        bounds = np.stack([np.asarray(boxes.field(k), float) for k in range(4)], axis=1)
        placed = ~np.isnan(bounds).any(axis=1)
        between = leakage(bounds[placed], splits[placed], owner[placed])
        for pair, count in between.overlaps.items():
            overlaps[pair] = overlaps.get(pair, 0) + count
    return LeakageReport(overlaps=overlaps, units=inside.units)
