"""The images of a collection's scenes: where each lies on the ground, and at which resolutions it can be read."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyproj

from rasteret_refs.errors import QueryError
from rasteret_refs.read.arrays import ReferencedArray
from rasteret_refs.read.dataset import group_arrays, groups
from rasteret_refs.read.overlap import meet, turned, turns
from rasteret_refs.read.reader import Reader, Window
from rasteret_refs.read.target import Grid, common_crs
from rasteret_refs.refset.documents import checked_crs

FACTOR = "factor_"
MASK = "_mask"
PIXELS = 'LOCAL_CS["pixels",UNIT["pixel",1]]'
"""Where images lie that do not say where."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Level:
    """One resolution of an image."""

    factor: int
    array: ReferencedArray
    grid: Grid
    mask: ReferencedArray | None = None
    """The TIFF's internal mask at this resolution: 0 where there is no data."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Image:
    """One asset of one scene."""

    scene: int
    """Row of the scene table that was asked with."""
    asset: str
    index: int
    """Position along the scene axis of its arrays."""
    levels: tuple[Level, ...]
    """Finest first."""
    nodata: int | float | complex | None
    scale: npt.NDArray[np.float64]
    """One a band, or one for all: shape (bands, 1, 1) or (1, 1)."""
    offset: npt.NDArray[np.float64]
    signed_square: bool = False
    """Whether sign(v) · (|v| · scale)² takes the place of v · scale."""

    @property
    def grid(self) -> Grid:
        """At full resolution."""
        return self.levels[0].grid

    @property
    def array(self) -> ReferencedArray:
        """At full resolution."""
        return self.levels[0].array


class Images:
    """Finds images; keeps what it has read of the groups' coordinates.

    Parameters
    ----------
    reader
        Of the set.
    placeless
        Give images without georeference a grid of pixels, instead of refusing them.
    """

    def __init__(self, reader: Reader, *, placeless: bool = False) -> None:
        self.reader = reader
        self._placeless = placeless
        self._groups = groups(reader)
        self._coordinates: dict[str, Mapping[str, npt.NDArray[Any]]] = {}
        self._shared: dict[tuple[str, str, int], tuple[Level, ...]] = {}

    def find(self, scenes: Any, assets: Iterable[str]) -> dict[str, list[Image]]:
        """Find the images of scenes by asset; scenes that lack an asset have none there.

        Parameters
        ----------
        scenes
            `pyarrow.Table`: the scene table, or some rows of it.

        Raises
        ------
        QueryError
            No scene has such an asset.
        """
        column = scenes["assets"].combine_chunks()
        known = self.assets(scenes)
        found: dict[str, list[Image]] = {}
        for asset in [assets] if isinstance(assets, str) else assets:
            if asset not in known:
                raise QueryError(f"expected assets among {known}, found {asset!r}")
            fields = column.field(asset)
            places = [fields.field(name).to_pylist() for name in ("refs:group", "refs:array", "refs:index")]
            found[asset] = [
                self._image(number, asset, str(group), str(name), int(index))
                for number, (group, name, index) in enumerate(zip(*places, strict=True))
                if group is not None
            ]
        return found

    def assets(self, scenes: Any) -> list[str]:
        """List the assets of the scene table."""
        kind = scenes.schema.field("assets").type
        return [kind.field(i).name for i in range(kind.num_fields)]

    def arrays(self, scenes: Any, asset: str) -> list[ReferencedArray]:
        """List the arrays that hold an asset of some scenes, that of the first scene first."""
        fields = scenes["assets"].combine_chunks().field(asset)
        places = zip(fields.field("refs:group").to_pylist(), fields.field("refs:array").to_pylist(), strict=True)
        return [self.reader.array(f"{group}/{name}") for group, name in dict.fromkeys(places) if group is not None]

    def _image(self, scene: int, asset: str, group: str, name: str, index: int) -> Image:
        array = self.reader.array(f"{group}/{name}")
        values = self._values(group)
        return Image(
            scene=scene,
            asset=asset,
            index=index,
            levels=self._levels(group, name, index),
            nodata=_nodata(array, values.get(f"{name}_nodata"), index),
            scale=_per_band(array, values.get(f"{name}_scale"), index, "scale", 1.0),
            offset=_per_band(array, values.get(f"{name}_offset"), index, "offset", 0.0),
        )

    def _levels(self, group: str, name: str, index: int) -> tuple[Level, ...]:
        """List the resolutions where an image may stand, finest first; those of a grid are shared by its scenes."""
        stacked = "transform" in self._values(group)
        key = (group, name, index if stacked else -1)
        if key not in self._shared:
            self._shared[key] = tuple(
                Level(
                    factor=factor,
                    array=self.reader.array(f"{path}/{name}"),
                    grid=self._grid(path, name, index),
                    mask=self._mask(path, name),
                )
                for factor, path in self._paths(group, name)
            )
        return self._shared[key]

    def _paths(self, group: str, name: str) -> list[tuple[int, str]]:
        parent = group.rpartition("/")[0]
        prefix = f"{parent}/{FACTOR}" if parent else FACTOR
        found = [(1, group)]
        for path in self._groups:
            factor = path.removeprefix(prefix).partition("__")[0] if path.startswith(prefix) else ""
            if path == group or not factor.isdecimal() or f"{path}/{name}/.zarray" not in self.reader.refset.metadata:
                continue
            if int(factor) > 1:
                found.append((int(factor), path))
        return sorted(found)

    def _mask(self, path: str, name: str) -> ReferencedArray | None:
        mask = f"{path}/{name}{MASK}"
        return self.reader.array(mask) if f"{mask}/.zarray" in self.reader.refset.metadata else None

    def _values(self, group: str) -> Mapping[str, npt.NDArray[Any]]:
        """Read the coordinates along the scene axis of a group, once."""
        if group not in self._coordinates:
            arrays = group_arrays(self.reader, group)
            wanted = {
                name: array
                for name, array in arrays.items()
                if name in {"crs", "transform", "height", "width"} or name.endswith(("_nodata", "_scale", "_offset"))
            }
            values = self.reader.read_many([Window(array=array, key=()) for array in wanted.values()])
            self._coordinates[group] = dict(zip(wanted, values, strict=True))
        return self._coordinates[group]

    def _grid(self, group: str, name: str, index: int) -> Grid:
        array = self.reader.array(f"{group}/{name}")
        height, width = array.shape[-2:]
        values = self._values(group)
        if "transform" in values and index < len(values["transform"]):
            height = int(values["height"][index]) if "height" in values else height
            width = int(values["width"][index]) if "width" in values else width
            coefficients, crs = values["transform"][index], str(values["crs"][index])
        else:
            spatial = self.reader.refset.metadata.get(f"{group}/spatial_ref/.zattrs", {})
            crs = str(spatial.get("crs_wkt", ""))
            coefficients = np.array(array.attributes.get("spatial:transform", [np.nan] * 6))
        if not crs or not bool(np.isfinite(coefficients).all()):
            if self._placeless:
                return Grid(crs=_crs(PIXELS), transform=(1.0, 0.0, 0.0, 0.0, -1.0, 0.0), height=height, width=width)
            raise QueryError(f"expected a georeferenced image, found neither CRS nor transform: {array.path}[{index}]")
        a, b, c, d, e, f = map(float, coefficients)
        return Grid(crs=_crs(crs), transform=(a, b, c, d, e, f), height=height, width=width)


def near(images: Iterable[Image], target: Grid) -> list[Image]:
    """Keep the images that may share ground with a target; scenes of one grid are asked about once.

    An image in degrees may come a full turn aside from where it says, or twice, where the target counts longitudes so.
    """
    answers: dict[int, list[tuple[Level, ...]]] = {}
    found = []
    for image in images:
        key = id(image.levels)
        if key not in answers:
            answers[key] = [
                _turned(image.levels, degrees) if degrees else image.levels
                for degrees in turns(image.grid, target)
                if meet(turned(image.grid, degrees) if degrees else image.grid, target)
            ]
        found += [image if levels is image.levels else replace(image, levels=levels) for levels in answers[key]]
    return found


def _turned(levels: tuple[Level, ...], degrees: float) -> tuple[Level, ...]:
    return tuple(replace(level, grid=turned(level.grid, degrees)) for level in levels)


def holds(reader: Reader, level: Level, index: int) -> bool:
    """Tell whether an image stands at an overview: its first tile is referenced, not a hole.

    A sparse one is taken for a hole, to be careful: then a finer resolution is read.
    """
    array = level.array
    if index >= array.shape[0]:
        return False
    first = np.array([index * array.strides[0]], dtype=np.int64)
    return reader.manifests.locate(array, first).urls[0] is not None


@lru_cache(maxsize=256)
def _crs(text: str) -> pyproj.CRS:
    return common_crs(checked_crs(text, "CRS of a scene"))


def _nodata(array: ReferencedArray, values: npt.NDArray[Any] | None, index: int) -> int | float | complex | None:
    """Give nodata as the pixels hold it; None where there is none, or none that they can hold."""
    value: Any = array.attributes.get("nodata") if values is None else values[index].item()
    if value is None or value == "":
        return None
    dtype = array.dtype
    if dtype.kind in "iu":
        number = float(value)
        if not np.isfinite(number) or number != int(number):
            return None
        whole = int(value) if isinstance(value, int | str) and str(value).lstrip("-").isdecimal() else int(number)
        return whole if np.iinfo(dtype).min <= whole <= np.iinfo(dtype).max else None
    with np.errstate(over="ignore"):  # beyond the largest float32 lies infinity, as in GDAL
        held: float | complex = dtype.type(complex(value) if dtype.kind == "c" else float(value)).item()
    return held


def _per_band(
    array: ReferencedArray, values: npt.NDArray[Any] | None, index: int, what: str, neutral: float
) -> npt.NDArray[np.float64]:
    if values is not None:
        numbers = np.atleast_1d(np.asarray(values[index], dtype=np.float64))
        numbers = np.where(np.isnan(numbers), neutral, numbers)
    else:
        bands: Sequence[Mapping[str, Any]] = array.attributes.get("gdal", {}).get("bands", [])
        numbers = np.array([float(band.get(what, neutral)) for band in bands] or [neutral])
    return numbers.reshape(-1, 1, 1) if len(array.shape) > 3 else numbers[:1].reshape(1, 1)  # noqa: PLR2004 - a band axis
