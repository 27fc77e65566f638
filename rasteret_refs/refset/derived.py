"""Coordinates that a very large stack does not repeat beside its overviews: made from those of the full resolution.

See `virtual.sparing` for why. Values, dtypes, chunks and attributes are those that a set without this saving holds, so
that nobody who reads through this library sees a difference.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rasteret_refs.errors import DamagedError
from rasteret_refs.refset.manifest import record_tables
from rasteret_refs.refset.metadata import DIMENSIONS, coordinate_manifest
from rasteret_refs.virtual.existing import MARK
from rasteret_refs.virtual.radiometry import RADIOMETRY
from rasteret_refs.virtual.sparing import ROUNDED, SIZES, leaves_out

if TYPE_CHECKING:
    from rasteret_refs.refset.sealed import SealedSet

_FULL: Final = "factor_1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """A coordinate of an overview that is not stored."""

    full: str
    """Path of the same coordinate beside the full resolution."""
    group: str
    """The overview."""
    factor: int
    rounded: str | None
    """How sizes follow from those of the full resolution; None where they are stored, or all images fill the array."""

    @property
    def name(self) -> str:
        """The coordinate's name."""
        return self.full.rpartition("/")[2]


def derived_coordinates(stored: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Derived]]:
    """Return a set's documents with those of the coordinates that are not stored, and what these are made from.

    Parameters
    ----------
    stored
        Checked documents (`documents.check_documents`) by key, as `.zmetadata` has them.

    Returns
    -------
    documents, by_path
        The very documents, and nothing, where all coordinates are stored.
    """
    if not leaves_out(stored.get(".zattrs", {})):
        return stored, {}
    documents = dict(stored)
    by_path: dict[str, Derived] = {}
    members: dict[str, list[str]] = {}
    for key in stored:
        if key.endswith("/.zarray"):
            group, _, name = key.removesuffix("/.zarray").rpartition("/")
            members.setdefault(group, []).append(name)
    for group, names in members.items():
        full = f"{group.rpartition('/')[0]}/{_FULL}"
        factor, rounded = _mark(stored.get(f"{group}/.zattrs", {}))
        if group == full or full not in members or factor is None:
            continue
        new = [name for name in _along_scenes(stored, full, members[full]) if name not in names]
        if rounded is None:
            new = [name for name in new if name not in {"height", "width"}]
        for name in new:
            by_path[f"{group}/{name}"] = Derived(full=f"{full}/{name}", group=group, factor=factor, rounded=rounded)
            documents[f"{group}/{name}/.zarray"] = stored[f"{full}/{name}/.zarray"]
            documents[f"{group}/{name}/.zattrs"] = stored.get(f"{full}/{name}/.zattrs", {})
        for name in names:
            _list(documents, f"{group}/{name}/.zattrs", new)
    return documents, by_path


def derived_table(sealed: "SealedSet", coordinate: Derived, number: int) -> pa.Table:
    """Return record file `number` of a coordinate that is not stored, as if it were.

    Raises
    ------
    DamagedError
        What it is made from is missing or altered.
    """
    if coordinate.name not in {"transform", "height", "width"}:
        return sealed.table(coordinate.full, number)
    from dataclasses import replace

    from rasteret_refs.refset.coordinates import stored_coordinate

    like = stored_coordinate(sealed, coordinate.full)
    values = like.values
    if coordinate.name == "transform":
        values = _transforms(sealed, coordinate, values)
    elif coordinate.rounded is not None:
        values = np.maximum(ROUNDED[coordinate.rounded](values, coordinate.factor), 1)
    made = dict(record_tables(coordinate_manifest(replace(like, values=values)), sealed.record_size))
    if number not in made:
        raise DamagedError(f"{sealed.files.location}: expected {len(made)} records of {coordinate.full}, got {number}")
    return made[number]


def _transforms(
    sealed: "SealedSet", coordinate: Derived, transforms: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Coefficients a, b, c, d, e, f of each scene's image at the overview: `grids.overview_transform`, row by row."""
    full = _sizes(sealed, coordinate.full.rpartition("/")[0], len(transforms))
    here = _sizes(sealed, coordinate.group, len(transforms))
    down, across = full[0] / here[0], full[1] / here[1]
    one = np.ones_like(down)
    return np.asarray(transforms * np.stack([across, down, one, across, down, one], axis=1))


def _sizes(sealed: "SealedSet", group: str, rows: int) -> npt.NDArray[np.int64]:
    """Height and width of each scene's image in a group, shape (2, rows): the arrays' own where none are told."""
    from rasteret_refs.refset.coordinates import stored_values

    if f"{group}/height/.zarray" in sealed.documents:
        return np.stack([stored_values(sealed, f"{group}/{name}") for name in ("height", "width")])
    for key, attributes in sealed.stored.items():
        path, _, leaf = key.rpartition("/")
        if leaf == ".zattrs" and path.rpartition("/")[0] == group and attributes.get(DIMENSIONS, [])[-2:] == ["y", "x"]:
            return np.repeat(np.array(sealed.stored[f"{path}/.zarray"]["shape"][-2:], np.int64)[:, None], rows, axis=1)
    raise DamagedError(f"{sealed.files.location}: expected an image in the group {group}, got none")


def _mark(attributes: Mapping[str, Any]) -> tuple[int | None, str | None]:
    """Factor of an overview, and how its sizes were rounded."""
    mark = attributes.get(MARK)
    factor = mark.get("factor") if isinstance(mark, Mapping) else None
    if not isinstance(mark, Mapping) or not isinstance(factor, int) or factor <= 1:
        return None, None
    rounded = mark.get(SIZES)
    return factor, rounded if rounded in ROUNDED else None


def _along_scenes(stored: Mapping[str, Any], group: str, names: list[str]) -> list[str]:
    """Coordinates of a group along its scene axis, without those that tell of one array's values."""
    dims = {name: stored.get(f"{group}/{name}/.zattrs", {}).get(DIMENSIONS) or [] for name in names}
    images = [name for name in names if dims[name][-2:] == ["y", "x"]]
    axes = {dims[name][0] for name in images}
    own = {f"{image}_{kind}" for image in images for kind in RADIOMETRY}
    return [name for name in names if name not in {*images, *own} and dims[name] and dims[name][0] in axes]


def _list(documents: dict[str, Any], key: str, names: list[str]) -> None:
    """Name coordinates in an image's attribute, before those that it lists already."""
    attributes = documents.get(key, {})
    if "coordinates" in attributes:
        listed = dict.fromkeys([*names, *str(attributes["coordinates"]).split()])
        documents[key] = {**attributes, "coordinates": " ".join(listed)}
