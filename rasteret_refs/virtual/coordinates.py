"""Coordinates as small inlined arrays: the scene axis, pixel centres, bands and the columns of the scene table."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from rasteret_refs.errors import LayoutError
from rasteret_refs.virtual.conventions import spatial_ref_attributes
from rasteret_refs.virtual.grids import Transform, overview_transform
from rasteret_refs.virtual.values import CoordinateArray

SCENE_CHUNK: Final = 1024
"""Chunk length along the scene axis."""

ZLIB: Final = {"id": "zlib", "level": 6}
"""The compressor that every Zarr reader has."""

TIME_UNITS: Final = "microseconds since 1970-01-01 00:00:00"
"""CF units that hold STAC's datetimes exactly; one unit for life, so that appending never rewrites old values."""

_HEADROOM: Final = 16
"""Widths of strings are multiples of this, with a quarter to spare: later ids are rarely longer than that."""


def scene_coordinate(
    name: str,
    values: npt.ArrayLike,
    at_least: int = 0,
    *,
    axis: str,
    attributes: Mapping[str, Any] | None = None,
    second: str | None = None,
) -> CoordinateArray:
    """Return a coordinate along the scene axis: one value a scene, or a row of them.

    Parameters
    ----------
    name
        Name of the coordinate.
    values
        Shape `(scenes,)` or `(scenes, n)`: numbers, booleans, strings (None becomes empty) or `datetime64` (UTC).
    at_least
        Characters that strings have room for already; see `fixed_width`.
    axis
        Name of the scene axis: `time` or `scene`.
    attributes
        The coordinate's own attributes.
    second
        Name of the second dimension, where each scene has a row of values.

    Raises
    ------
    LayoutError
        The values have no fixed-width dtype, or a missing date, which CF integers cannot say.
    """
    array = fixed_width(name, values, at_least=at_least)
    facts = dict(attributes or {})
    filters: tuple[Mapping[str, Any], ...] = ()
    if array.dtype.kind == "M":
        if np.isnat(array).any():
            raise LayoutError(f"coordinate {name!r}: expected a date for every scene, got missing ones")
        array = array.astype("datetime64[us]").astype("<i8")
        facts = {"units": TIME_UNITS, "calendar": "proleptic_gregorian", **facts}
        filters = ({"id": "delta", "dtype": "<i8"},)
    return CoordinateArray(
        name=name,
        values=array,
        dims=(axis,) if second is None else (axis, second),
        attributes=facts,
        chunks=(SCENE_CHUNK, *array.shape[1:]),
        compressor=ZLIB,
        filters=filters,
    )


def fixed_width(name: str, values: npt.ArrayLike, *, at_least: int = 0) -> npt.NDArray[Any]:
    """Return values with a dtype of fixed width and little-endian bytes; strings get headroom.

    Parameters
    ----------
    name
        The coordinate's name, for messages.
    values
        Numbers, booleans, strings or dates; None becomes the empty string, or NaN among numbers.
    at_least
        Characters of the strings that are there already: kept while the new ones fit, so that appending keeps the
        dtype under readers that have the set open.

    Raises
    ------
    LayoutError
        There is no such dtype for them: mixed or nested objects, an integer column with missing values.
    """
    array = np.asarray(values)
    if array.dtype.kind == "O":
        array = _from_objects(name, array)
    if array.dtype.kind in "TS":
        array = array.astype(str)
    if array.dtype.kind == "U":
        longest = int(np.strings.str_len(array).max()) if array.size else 0
        roomy = -(-max(longest * 5 // 4, 1) // _HEADROOM) * _HEADROOM
        return array.astype(f"<U{at_least if 0 < longest <= at_least else max(roomy, at_least)}")
    if array.dtype.kind in "biuf":
        return array.astype(array.dtype.newbyteorder("<"), copy=False)
    if array.dtype.kind == "M":
        return array
    raise LayoutError(f"coordinate {name!r}: expected numbers, booleans, strings or dates, got dtype {array.dtype}")


def _from_objects(name: str, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    present = [value for value in array.ravel() if value is not None]
    if all(isinstance(value, str) for value in present):
        return np.array(["" if value is None else value for value in array.ravel()], dtype=str).reshape(array.shape)
    if present and all(isinstance(value, datetime) for value in present):
        naive = [v.astimezone(UTC).replace(tzinfo=None) if v.tzinfo else v for v in array.ravel() if v is not None]
        if len(naive) == array.size:
            return np.array(naive, "datetime64[us]").reshape(array.shape)
        raise LayoutError(f"coordinate {name!r}: expected a date for every scene, got missing ones")
    if all(isinstance(value, (bool, np.bool_)) for value in present) and len(present) == array.size:
        return array.astype(bool)
    if all(isinstance(value, (int, float, np.number)) for value in present):
        return np.array([np.nan if value is None else value for value in array.ravel()], np.float64).reshape(
            array.shape
        )
    raise LayoutError(f"coordinate {name!r}: expected one kind of value (numbers or text), got a mixture or objects")


def pixel_centres(
    transform: Transform, full: tuple[int, int], shape: tuple[int, int], wkt: str | None
) -> tuple[CoordinateArray, CoordinateArray]:
    """Return `x` and `y`: centres of columns and rows, to the last bit as rioxarray derives them.

    Parameters
    ----------
    transform
        Of the full resolution, without rotation.
    full, shape
        (height, width) in pixels of the full resolution and of this one.
    wkt
        The CRS, which tells degrees from metres.
    """
    a, b, c, d, e, f = overview_transform(transform, full, shape)
    x = np.arange(shape[1], dtype=np.float64) * a + (a * 0.5 + b * 0.5 + c)
    y = np.arange(shape[0], dtype=np.float64) * e + (d * 0.5 + e * 0.5 + f)
    return _axis("x", x, wkt), _axis("y", y, wkt)


def _axis(name: str, values: npt.NDArray[Any], wkt: str | None) -> CoordinateArray:
    # Differences of float bits (as integers) are exact for any values; differences of the values themselves pack far
    # better, but only where summing them up again gives the very same bits (UTM centres, not fractions of a degree).
    steps = np.concatenate([values[:1], np.diff(values)])
    exact = bool(np.array_equal(np.cumsum(steps), values))
    return CoordinateArray(
        name=name,
        values=values.astype("<f8", copy=False),
        dims=(name,),
        attributes={"axis": name.upper(), "long_name": f"{name} of pixel centres", **_axis_meaning(name, wkt)},
        filters=({"id": "delta", "dtype": "<f8" if exact else "<i8"},),
        compressor=ZLIB,
    )


def _axis_meaning(name: str, wkt: str | None) -> dict[str, str]:
    """CF standard name and units, where the kind of CRS tells them (CF 1.11 sections 4.1, 4.2 and 5.6)."""
    kind = (wkt or "").lstrip()[:4].upper()
    if kind == "GEOG":
        name = {"x": "longitude", "y": "latitude"}[name]
        return {"standard_name": name, "units": {"longitude": "degrees_east", "latitude": "degrees_north"}[name]}
    return {"standard_name": f"projection_{name}_coordinate"} if kind == "PROJ" else {}


def spatial_ref(wkt: str | None, transform: Transform | None) -> CoordinateArray:
    """Return the scalar that carries CRS and transform in its attributes."""
    return CoordinateArray(
        name="spatial_ref", values=np.zeros((), "<i8"), dims=(), attributes=spatial_ref_attributes(wkt, transform)
    )


def band_labels(descriptions: Sequence[str | None]) -> npt.NDArray[Any]:
    """Return a distinct label for each band: its description, or its number where it has none.

    Parameters
    ----------
    descriptions
        One a band; None or empty where the TIFF names none.

    Returns
    -------
    numpy.ndarray
        `<i8` numbers from 1 where no band is described (as rioxarray numbers them), else `<U`: a band without
        description is `band_<number>`, a repeated description gets `_<number>`.
    """
    if not any(descriptions):
        return np.arange(1, len(descriptions) + 1, dtype="<i8")
    labels: list[str] = []
    counts = {text: list(descriptions).count(text) for text in set(descriptions)}
    for number, text in enumerate(descriptions, 1):
        label = f"band_{number}" if not text else text if counts[text] == 1 else f"{text}_{number}"
        while label in labels:
            label += f"_{number}"
        labels.append(label)
    return np.array(labels, dtype=str).astype(f"<U{max(map(len, labels))}")


def band_coordinate(dimension: str, labels: npt.NDArray[Any]) -> CoordinateArray:
    """Return the coordinate of a band dimension."""
    return CoordinateArray(
        name=dimension, values=labels, dims=(dimension,), attributes={"long_name": "band"}, compressor=ZLIB
    )
