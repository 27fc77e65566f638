"""Virtual Zarr arrays as values: what the planner makes of TIFF images and what `refset/` writes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from rasteret_refs.tiff.values import TiffImage


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecChain:
    """How one stored chunk becomes an array: Zarr v2's `dtype`, `filters`, `compressor` and the shape of a chunk."""

    dtype: str
    """Always little-endian or single-byte, as NumPy writes it (`<u2`, `|u1`, `<f4`, `<c8`)."""
    chunk_shape: tuple[int, ...]
    """(rows, columns), or (bands, rows, columns): bands is 1 where planes are separate."""
    filters: tuple[Mapping[str, Any], ...]
    """numcodecs configurations in encoding order (decoding runs from the last to the first)."""
    compressor: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One resolution of an asset's image."""

    factor: int
    """Decimation against the full resolution, rounded: 1, 2, 4, …"""
    image: TiffImage
    mask: TiffImage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pyramid:
    """A full-resolution image with its overviews, finest first."""

    name: str
    """`image`, `image_1`, … for the full-resolution pages of a file; the asset's name replaces `image`."""
    levels: tuple[Level, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneAsset:
    """One asset of a scene as the planner sees it."""

    name: str
    url: str
    size: int | None
    """Bytes of the object; None: unknown, since nobody asked for it (a header that the source held)."""
    pyramids: tuple[Pyramid, ...]
    etag: str | None = None
    last_modified: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedScene:
    """One scene, scanned: its id, its time and its assets. Input of the planner."""

    id: str
    assets: tuple[SceneAsset, ...]
    time: np.datetime64 | None = None
    """UTC, `datetime64[us]`; None for plain files."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChunkManifest:
    """References of one array's chunks in C order: either a byte range of an object, or inlined bytes.

    Arrays of one length; a row is inlined where `inline` is ≥ 0.
    """

    urls: Sequence[str]
    """Distinct objects."""
    url_index: npt.NDArray[np.int32]
    """Which of `urls`, -1 where inlined."""
    offsets: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    inlined: Sequence[bytes] = ()
    """Distinct inlined chunks (encoded tiles of nodata, mostly)."""
    inline: npt.NDArray[np.int32] | None = None
    """Which of `inlined`, -1 where referenced; None when nothing is inlined."""

    def __len__(self) -> int:
        """Chunks."""
        return len(self.offsets)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VirtualArray:
    """A Zarr v2 array whose chunks are references."""

    name: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    chain: CodecChain
    dims: tuple[str, ...]
    """Names of the dimensions; the writer stores them as `_ARRAY_DIMENSIONS`."""
    attributes: Mapping[str, Any]
    """JSON-safe: no NaN, no infinity, no NumPy value."""
    manifest: ChunkManifest
    """References of the rows `start` and after it, along the scene axis (the first dimension)."""
    start: int = 0
    """First row that `manifest` describes: above 0 when rows are appended to an array that exists."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CoordinateArray:
    """A small Zarr v2 array whose values are inlined: coordinates, `spatial_ref`, scene columns."""

    name: str
    values: npt.NDArray[Any]
    """Fixed-width dtypes only (strings as `<U`, times as int64 with CF units in the attributes)."""
    dims: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    chunks: tuple[int, ...] | None = None
    """None: one chunk."""
    compressor: Mapping[str, Any] | None = None
    filters: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VirtualGroup:
    """A Zarr group: a dataset (one factor of one grid), or a parent with only attributes."""

    path: str
    """`""` for the root, else without leading or trailing slash."""
    attributes: Mapping[str, Any]
    arrays: tuple[VirtualArray, ...] = ()
    coordinates: tuple[CoordinateArray, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where an asset of a scene ended up."""

    scene_id: str
    asset: str
    group: str
    """Group of the full resolution, e.g. `32643_600000_1500000_10/factor_1`."""
    array: str
    index: int
    """Position along the scene axis: never changes, and the same for every factor."""
    levels: tuple[tuple[int, str, str], ...] = ()
    """Every resolution of the image, finest first: (factor, group, array)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReferenceSetPlan:
    """All that a reference set holds besides its tables: ready to be written."""

    groups: tuple[VirtualGroup, ...]
    """Parents before children; the root first."""
    placements: tuple[Placement, ...]
    layout: str
    """`grids` or `stack`: what `auto` decided."""
    refused: tuple[tuple[str, str, str], ...] = ()
    """Assets that could not be planned: (scene id, asset, reason)."""
