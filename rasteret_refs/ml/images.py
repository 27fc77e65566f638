"""Where the images of each scene lie: array, place along the scene axis, grid and nodata, as columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from rasteret_refs.errors import QueryError
from rasteret_refs.read.arrays import ReferencedArray
from rasteret_refs.read.reader import Reader, Window
from rasteret_refs.refset.documents import checked_crs

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

NONE = -1
"""In columns of codes: there is no such thing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AssetImages:
    """One asset of all scenes; row r of each column belongs to row r of the scene table."""

    name: str
    arrays: tuple[ReferencedArray, ...]
    """The arrays that hold this asset, one a grid or profile."""
    masks: tuple[ReferencedArray | None, ...]
    """Internal mask of each of `arrays`, where the TIFFs have one."""
    code: Integers
    """Which of `arrays`; `NONE` where a scene lacks the asset. Shape `(scenes,)`."""
    index: Integers
    """Place along the scene axis of the array."""
    transform: Floats
    """(a, b, c, d, e, f) from pixel corners to the CRS, NaN where there is none. Shape `(scenes, 6)`."""
    crs: npt.NDArray[np.object_]
    """Text that pyproj understands, or None."""
    height: Integers
    """Rows of the image itself: a stack of several shapes pads."""
    width: Integers
    nodata: npt.NDArray[np.object_]
    """A Python number, or None."""
    alpha: tuple[bool, ...]
    """For each of `arrays` whether its last band hides pixels of the others where it is 0, see `has_alpha`."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "AssetImages":
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values["arrays"], values["masks"] = map(_bare, self.arrays), map(_bare, self.masks)
        return _restored, ({**values, "arrays": tuple(values["arrays"]), "masks": tuple(values["masks"])},)

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """Which scenes have the asset."""
        return np.asarray(self.code != NONE)

    @property
    def bands(self) -> int:
        """Samples per pixel: the most that any of the arrays has."""
        return max((array.shape[1] if len(array.shape) > 3 else 1 for array in self.arrays), default=1)  # noqa: PLR2004

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the pixels; the arrays' common one where they differ."""
        return np.result_type(*(array.dtype for array in self.arrays))

    def band_names(self) -> list[str]:
        """Name each band: the asset, numbered where there are several."""
        return [self.name] if self.bands == 1 else [f"{self.name}_{band + 1}" for band in range(self.bands)]

    def fill(self, row: int) -> Any:
        """Give the value that stands where a scene has no data: its nodata, or 0."""
        value = self.nodata[row]
        return 0 if value is None else value


def _restored(values: dict[str, Any]) -> AssetImages:
    return AssetImages(**values)


def _bare(array: ReferencedArray | None) -> ReferencedArray | None:
    """Leave what an array has computed behind: compiled decoders do not travel."""
    return None if array is None else replace(array)


def asset_names(scenes: pa.Table) -> list[str]:
    """List the assets that scenes have, in the order of the table."""
    kind = scenes.schema.field("assets").type
    return [kind.field(i).name for i in range(kind.num_fields)]


def images_of(reader: Reader, scenes: pa.Table, names: Sequence[str]) -> dict[str, AssetImages]:
    """Find the images of some assets.

    Parameters
    ----------
    reader
        Of the reference set.
    scenes
        The scene table, or any rows of it.
    names
        Assets.

    Raises
    ------
    QueryError
        No scene has such an asset; the message names those that there are.
    """
    known = asset_names(scenes)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise QueryError(f"expected assets out of {known}, got {unknown}")
    places: dict[str, Places] = {}
    return {name: _asset_images(reader, scenes, name, places) for name in names}


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Georeferencing and sizes of one group; each column has one row, or one for each place along the scene axis."""

    transform: Floats
    crs: npt.NDArray[np.object_]
    height: Integers | None
    width: Integers | None


def _asset_images(reader: Reader, scenes: pa.Table, name: str, places: dict[str, Places]) -> AssetImages:
    column = scenes["assets"]
    references = [pc.struct_field(column, [name, f"refs:{what}"]).to_pylist() for what in ("group", "array", "index")]
    count = scenes.num_rows
    codes: dict[str, int] = {}
    code, index = np.full(count, NONE, np.int64), np.zeros(count, np.int64)
    transform = np.full((count, 6), np.nan)
    crs = np.full(count, None, object)
    height, width = np.zeros(count, np.int64), np.zeros(count, np.int64)
    nodata = np.full(count, None, object)
    for row, (group, array, place) in enumerate(zip(*references, strict=True)):
        if group is not None:
            code[row] = codes.setdefault(f"{group}/{array}", len(codes))
            index[row] = place
    arrays = tuple(reader.array(path) for path in codes)
    masks = []
    for number, array in enumerate(arrays):
        rows = np.flatnonzero(code == number)
        group = array.path.rpartition("/")[0]
        if group not in places:
            places[group] = places_of(reader, group)
        held, at = places[group], index[rows]
        transform[rows] = held.transform[_at(held.transform, at)]
        crs[rows] = held.crs[_at(held.crs, at)]
        height[rows] = array.shape[-2] if held.height is None else held.height[at]
        width[rows] = array.shape[-1] if held.width is None else held.width[at]
        nodata[rows] = _nodata(reader, array)[at]
        masks.append(internal_mask(reader, array))
    return AssetImages(
        name=name, arrays=arrays, masks=tuple(masks), code=code, index=index, transform=transform, crs=crs,
        height=height, width=width, nodata=nodata, alpha=tuple(map(has_alpha, arrays)),
    )  # fmt: skip


def _at(column: npt.NDArray[Any], index: Integers) -> Integers:
    """Rows of a column that may have one row for all."""
    return np.zeros_like(index) if len(column) == 1 else index


def places_of(reader: Reader, group: str) -> Places:
    """Find where the images of a group lie."""
    documents = reader.refset.metadata
    if f"{group}/transform/.zarray" in documents:  # a stack of many grids
        stacked = [name for name in ("transform", "crs", "height", "width") if f"{group}/{name}/.zarray" in documents]
        values = dict(zip(stacked, _coordinates(reader, [f"{group}/{name}" for name in stacked]), strict=True))
        for text in np.unique(values["crs"]).tolist():
            if text:
                checked_crs(text, f"{group}/crs")
        crs = np.array([str(text) or None for text in values["crs"]], object)
        return Places(values["transform"], crs, values.get("height"), values.get("width"))
    attributes: Mapping[str, Any] = documents.get(f"{group}/spatial_ref/.zattrs", {})
    crs = np.array([attributes.get("crs_wkt")], object)
    transform = np.full((1, 6), np.nan)
    if "GeoTransform" in attributes:
        c, a, b, f, d, e = map(float, attributes["GeoTransform"].split())
        transform[0] = (a, b, c, d, e, f)
    return Places(transform, crs, None, None)


def _coordinates(reader: Reader, paths: Sequence[str]) -> list[npt.NDArray[Any]]:
    return reader.read_many([Window(array=reader.array(path), key=()) for path in paths])


def _nodata(reader: Reader, array: ReferencedArray) -> npt.NDArray[np.object_]:
    """Nodata at each place along the scene axis; None where there is none."""
    if f"{array.path}_nodata/.zarray" in reader.refset.metadata:
        (values,) = _coordinates(reader, [f"{array.path}_nodata"])
        return np.array([_number(value, array.dtype) for value in values.tolist()], object)
    return np.full(array.shape[0], _number(array.attributes.get("nodata"), array.dtype), object)


def _number(value: Any, dtype: np.dtype[Any]) -> Any:
    """Nodata as a number of the pixels' kind; None where the dtype cannot hold it, so that no pixel can equal it."""
    if value is None or value == "":
        return None
    if dtype.kind in "iu":
        number = float(value)
        if number != number or number != int(number):  # noqa: PLR0124 - only NaN differs from itself
            return None
        exact = int(value)
        return exact if np.iinfo(dtype).min <= exact <= np.iinfo(dtype).max else None
    return complex(value) if dtype.kind == "c" else float(value)


def has_alpha(array: ReferencedArray) -> bool:
    """Tell whether the last band is an alpha band that GDAL takes for a mask: one of 2 or 4, of 8 or 16 bits.

    GDAL looks at it only where there is neither an internal mask nor nodata:
    https://gdal.org/en/stable/development/rfc/rfc15_nodatabitmask.html
    """
    bands = array.attributes.get("gdal", {}).get("bands") or [{}]
    known = len(array.shape) > 3 and array.shape[1] in {2, 4} and array.dtype in (np.uint8, np.uint16)  # noqa: PLR2004
    return known and len(bands) == array.shape[1] and bands[-1].get("color_interpretation") == "alpha"


def internal_mask(reader: Reader, array: ReferencedArray) -> ReferencedArray | None:
    """Give the internal mask of an array, where the TIFFs have one."""
    path = f"{array.path}_mask"
    return reader.array(path) if f"{path}/.zarray" in reader.refset.metadata else None


def times_of(scenes: pa.Table) -> npt.NDArray[np.datetime64]:
    """Give each scene's instant (UTC, `datetime64[us]`), `start_datetime` where there is no `datetime`, or NaT."""
    columns = [scenes[name] for name in ("datetime", "start_datetime") if name in scenes.column_names]
    column = columns[0] if columns else pa.nulls(scenes.num_rows, pa.timestamp("us"))
    if len(columns) > 1 and column.null_count:
        column = pc.coalesce(*columns)
    values = column.cast(pa.timestamp("us", tz=None) if not _zoned(column) else pa.timestamp("us", tz="UTC"))
    return cast("npt.NDArray[np.datetime64]", np.asarray(values.to_numpy(zero_copy_only=False) if isinstance(
        values, pa.Array) else values.to_numpy()).astype("datetime64[us]"))  # fmt: skip


def _zoned(column: Any) -> bool:
    return pa.types.is_timestamp(column.type) and column.type.tz is not None


def rows_between(scenes: pa.Table, time: str | tuple[Any, Any] | None) -> npt.NDArray[np.bool_]:
    """Tell which scenes were taken in an interval.

    Parameters
    ----------
    scenes
        Scene table.
    time
        `"2024-01/2024-06"` as in STAC, one such instant, or a pair; each end counts whole (`2024-06` lasts until the
        end of June); `..` or None is open.

    Raises
    ------
    QueryError
        The text is no such interval.
    """
    if time is None:
        return np.ones(scenes.num_rows, bool)
    ends = time.split("/") if isinstance(time, str) else [None if end is None else str(end) for end in time]
    if len(ends) == 1:
        ends = [ends[0], ends[0]]
    try:
        (low, _), (_, high) = (_span(end) for end in ends)
    except ValueError as error:
        raise QueryError(f"expected an interval like 2024-01/2024-06, got {time!r}") from error
    taken = times_of(scenes)
    kept = ~np.isnat(taken)
    if low is not None:
        kept &= taken >= low
    if high is not None:
        kept &= taken < high
    return kept


def _span(text: str | None) -> tuple[np.datetime64 | None, np.datetime64 | None]:
    """First instant of a date, month, year or second, and the first one after it."""
    if text is None or text in ("", ".."):
        return None, None
    instant = np.datetime64(text.removesuffix("Z").removesuffix("+00:00").replace(" ", "T"))
    following = instant + np.ones((), instant.dtype.str.replace("M8", "m8"))
    return instant.astype("datetime64[us]"), following.astype("datetime64[us]")
