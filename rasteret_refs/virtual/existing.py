"""A reference set that is appended to, as the planner sees it: groups, arrays and grids out of `.zmetadata`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from rasteret_refs.errors import LayoutError
from rasteret_refs.virtual.values import CodecChain

MARK: Final = "rasteret_refs"
"""Attribute of groups: layout and axis at the root, label and identity of the grid above its resolutions, factor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExistingArray:
    """One array or coordinate of the set."""

    name: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dims: tuple[str, ...]
    dtype: str
    filters: tuple[Mapping[str, Any], ...]
    compressor: Mapping[str, Any] | None
    attributes: Mapping[str, Any]

    @property
    def is_image(self) -> bool:
        """Holds pixels, so its chunks are references; anything else is a coordinate."""
        return self.dims[-2:] == ("y", "x")

    @property
    def bands(self) -> int | None:
        """Bands of an image; None without a band dimension."""
        return self.shape[1] if len(self.shape) == 4 else None  # noqa: PLR2004 - (scene, band, y, x)

    @property
    def chain(self) -> CodecChain:
        """The codec chain that the array's metadata says."""
        return CodecChain(
            dtype=self.dtype, chunk_shape=self.chunks[1:], filters=self.filters, compressor=self.compressor
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExistingGroup:
    """One group of the set."""

    path: str
    attributes: Mapping[str, Any]
    arrays: Mapping[str, ExistingArray]

    @property
    def mark(self) -> Mapping[str, Any]:
        """What we wrote about the group."""
        mark: Mapping[str, Any] = self.attributes.get(MARK, {})
        return mark

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the group's images, in pixels."""
        height, width = next(array.shape[-2:] for array in self.arrays.values() if array.is_image)
        return height, width


@dataclass(frozen=True, slots=True, kw_only=True)
class ExistingLayout:
    """A whole set."""

    groups: Mapping[str, ExistingGroup]
    """By path."""
    read: Callable[[str], npt.NDArray[Any]]
    """Stored values of a coordinate by its path `<group>/<name>` (times as the int64 that are stored)."""

    @property
    def layout(self) -> str:
        """`grids` or `stack`."""
        return str(self.groups[""].mark["layout"])

    @property
    def axis(self) -> str:
        """`time` or `scene`: whether scenes have times (the `stack` layout's dimension is `scene` in any case)."""
        return str(self.groups[""].mark["axis"])

    @property
    def tolerance(self) -> float:
        """Of the `stack` layout's buckets."""
        return float(self.groups[""].mark.get("tolerance", 0.0))

    def parents(self) -> dict[str, ExistingGroup]:
        """Return the groups above resolutions, by the identity of their grid or shape."""
        return {str(group.mark["identity"]): group for group in self.groups.values() if "identity" in group.mark}

    def factors(self, parent: str) -> dict[str, ExistingGroup]:
        """Return the resolutions below a parent, by the last part of their path."""
        prefix = f"{parent}/" if parent else ""
        found = {}
        for path, group in self.groups.items():
            name = path.removeprefix(prefix)
            if path.startswith(prefix) and "/" not in name and "factor" in group.mark:
                found[name] = group
        return found

    def values(self, group: str, name: str) -> npt.NDArray[Any]:
        """Return a coordinate's stored values."""
        return np.asarray(self.read(f"{group}/{name}" if group else name))


def existing_layout(metadata: Mapping[str, Any], read: Callable[[str], npt.NDArray[Any]]) -> ExistingLayout:
    """Take `.zmetadata` apart.

    Parameters
    ----------
    metadata
        The `metadata` object of a kerchunk-Parquet `.zmetadata`: `.zgroup`, `.zarray` and `.zattrs` by key.
    read
        Gives a coordinate's stored values by its path; called only for those that an append needs.

    Raises
    ------
    LayoutError
        The set was not laid out by this planner.
    """
    arrays: dict[str, dict[str, ExistingArray]] = {}
    paths = {""}
    for key, value in metadata.items():
        parent, _, leaf = key.rpartition("/")
        if leaf == ".zgroup":
            paths.add(parent)
        elif leaf == ".zarray":
            group, _, name = parent.rpartition("/")
            attributes = dict(metadata.get(f"{parent}/.zattrs", {}))
            dims = tuple(attributes.pop("_ARRAY_DIMENSIONS", ()))
            arrays.setdefault(group, {})[name] = ExistingArray(
                name=name,
                shape=tuple(value["shape"]),
                chunks=tuple(value["chunks"]),
                dims=dims,
                dtype=value["dtype"],
                filters=tuple(value["filters"] or ()),
                compressor=value["compressor"],
                attributes=attributes,
            )
    groups = {
        path: ExistingGroup(
            path=path,
            attributes=metadata.get(f"{path}/.zattrs" if path else ".zattrs", {}),
            arrays=arrays.get(path, {}),
        )
        for path in sorted(paths | set(arrays))
    }
    if not {"layout", "axis"} <= set(groups[""].mark):
        raise LayoutError(f"expected a root attribute {MARK!r} with layout and axis, got a set of another origin")
    return ExistingLayout(groups=groups, read=read)
