"""Nodata to NaN, and scale and offset applied: only when asked for, and lazily."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from rasteret_refs.read.calibrate import Calibrations

_MASK_SUFFIX = "_mask"
_SMALL_INTEGER = 2
"""Bytes: integers up to this width fit float32 exactly."""
_PARTS = ("nodata", "has_nodata", "scale", "offset", "signed_square")
"""Fields of a rule that broadcast against the pixels."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Rule:
    """What happens to one array; each array here broadcasts against the pixels."""

    nodata: npt.NDArray[Any] | None = None
    """In the pixels' dtype."""
    has_nodata: npt.NDArray[np.bool_] | None = None
    """Where `nodata` counts: a scene may have none."""
    mask: xr.Variable | None = None
    """0 where there is no data (the TIFF's internal mask)."""
    scale: npt.NDArray[np.float64] | None = None
    offset: npt.NDArray[np.float64] | None = None
    signed_square: npt.NDArray[np.bool_] | None = None
    """Where the scaled value is squared with its sign."""
    unit: str | None = None
    dtype: np.dtype[Any]
    """Of the result."""


def decode(
    dataset: xr.Dataset,
    *,
    scale: bool = False,
    masked: bool = False,
    calibrations: Mapping[str, Calibrations] | None = None,
) -> xr.Dataset:
    """Apply what the TIFFs, or better sources, say about their values.

    Parameters
    ----------
    dataset
        A group as it was opened: nodata as the attribute `nodata` or the coordinate `<array>_nodata`, scale and offset
        in the attribute `gdal` or in `<array>_scale` and `<array>_offset`, internal masks as `<array>_mask`.
    scale
        value · scale + offset, per scene and band.
    masked
        NaN where a pixel is nodata or its internal mask is 0.
    calibrations
        Scale and offset by array, in place of what the TIFFs say; see `calibrate.calibrations`.

    Returns
    -------
    xarray.Dataset
        Arrays that nothing is said about keep their dtype. Integers of 8 and 16 bit become float32, wider ones float64
        (which holds integers up to 2⁵³ exactly); floats and complex numbers keep theirs. Lazy where the input is.
    """
    if not (scale or masked):
        return dataset
    decoded = dataset.copy()
    for name, array in dataset.data_vars.items():
        if _is_mask(str(name), dataset) or array.ndim < 2:  # noqa: PLR2004 - an image has rows and columns
            continue
        better = (calibrations or {}).get(str(name))
        rule = _rule(str(name), array, dataset, better, scale=scale, masked=masked)
        if rule is not None:
            decoded[name] = _applied(array, rule, scale=scale, masked=masked)
    return decoded


def _is_mask(name: str, dataset: xr.Dataset) -> bool:
    return name.endswith(_MASK_SUFFIX) and name.removesuffix(_MASK_SUFFIX) in dataset.data_vars


def _rule(
    name: str, array: xr.DataArray, dataset: xr.Dataset, better: Calibrations | None, *, scale: bool, masked: bool
) -> _Rule | None:
    """Gather what is known about one array; None where nothing is to be done."""
    nodata = has_nodata = mask = factor = offset = square = None
    if masked:
        nodata, has_nodata = _nodata(name, array, dataset)
        if f"{name}{_MASK_SUFFIX}" in dataset.data_vars:
            mask = dataset[f"{name}{_MASK_SUFFIX}"].variable
    if scale and better is not None:
        factor, offset, square = _calibrated(better, array)
    elif scale:
        factor = _per_band(name, "scale", 1.0, array, dataset)
        offset = _per_band(name, "offset", 0.0, array, dataset)
    if nodata is None and mask is None and factor is None and offset is None:
        return None
    kind, width = array.dtype.kind, array.dtype.itemsize
    floating = np.float32 if kind in "iub" and width <= _SMALL_INTEGER else np.float64
    dtype = array.dtype if kind in "fc" else np.dtype(floating)
    unit = better.unit if scale and better is not None else None
    return _Rule(
        nodata=nodata, has_nodata=has_nodata, mask=mask, scale=factor, offset=offset, signed_square=square, unit=unit,
        dtype=dtype,
    )  # fmt: skip


def _calibrated(
    better: Calibrations, array: xr.DataArray
) -> tuple[npt.NDArray[np.float64] | None, npt.NDArray[np.float64] | None, npt.NDArray[np.bool_] | None]:
    """Scale, offset and squaring as arrays that broadcast against the pixels; None where they change nothing."""
    if not better.signed_square.any() and bool((better.scale == 1).all() and (better.offset == 0).all()):
        return None, None, None
    bands = [dim for dim in array.dims[:-2] if dim == "band" or str(dim).endswith("_band")]
    axes = [dim for dim in array.dims[:-2] if dim not in bands]  # none where one scene was taken out
    shape = [len(better.scale) if dim in axes else -1 if dim in bands else 1 for dim in array.dims]

    def spread(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        wide = [values.shape[1] if size == -1 else size for size in shape]
        return values.reshape(wide)

    square = spread(better.signed_square) if better.signed_square.any() else None
    return spread(better.scale), spread(better.offset), square


def _nodata(
    name: str, array: xr.DataArray, dataset: xr.Dataset
) -> tuple[npt.NDArray[Any] | None, npt.NDArray[np.bool_] | None]:
    coordinate = dataset.coords.get(f"{name}_nodata")
    if coordinate is None:
        value = array.attrs.get("nodata")
        if value is None:
            return None, None
        return np.array(float(value) if isinstance(value, str) else value).astype(array.dtype), None
    values = [_number(value) for value in coordinate.to_numpy().tolist()]
    has = np.array([value is not None for value in values])
    numbers = np.array([0 if value is None else value for value in values], object).astype(array.dtype)
    return _spread(numbers, coordinate.dims, array.dims), _spread(has, coordinate.dims, array.dims)


def _number(value: Any) -> int | float | complex | None:
    """One scene's nodata; NaN and empty text mean none (NaN pixels need no masking)."""
    if isinstance(value, str):
        if not value:
            return None
        for kind in (int, float, complex):
            try:
                return kind(value)
            except ValueError:
                continue
        return None
    return None if value != value else value  # noqa: PLR0124 - only NaN differs from itself


def _per_band(
    name: str, what: str, neutral: float, array: xr.DataArray, dataset: xr.Dataset
) -> npt.NDArray[np.float64] | None:
    """Scale or offset as an array that broadcasts against the pixels; None where it changes nothing."""
    coordinate = dataset.coords.get(f"{name}_{what}")
    if coordinate is not None:
        values = coordinate.to_numpy().astype(np.float64)
        return _spread(np.where(np.isnan(values), neutral, values), coordinate.dims, array.dims)
    bands: Sequence[Mapping[str, Any]] = array.attrs.get("gdal", {}).get("bands", [])
    numbers = np.array([float(band.get(what, neutral)) for band in bands])
    if not len(numbers) or bool((numbers == neutral).all()):
        return None
    if len(numbers) == 1:
        return numbers.reshape((1,) * array.ndim)
    return numbers.reshape(-1, 1, 1)


def _spread(values: npt.NDArray[Any], dims: Sequence[Any], target: Sequence[Any]) -> npt.NDArray[Any]:
    """Give an array one axis for each dimension of the target, in its order."""
    order = [dims.index(dim) for dim in target if dim in dims]
    shape = [values.shape[dims.index(dim)] if dim in dims else 1 for dim in target]
    return values.transpose(order).reshape(shape)


def _applied(array: xr.DataArray, rule: _Rule, *, scale: bool, masked: bool) -> xr.DataArray:
    variable = array.variable
    if variable.chunks is not None:
        data: Any = _chunkwise(variable, rule)
    else:
        data = indexing.LazilyIndexedArray(_Decoded(variable, rule))
    attributes = dict(array.attrs)
    if masked:
        attributes.pop("nodata", None)
    if scale and "gdal" in attributes:
        bands = [{k: v for k, v in band.items() if k not in {"scale", "offset"}}
                 for band in attributes["gdal"].get("bands", [])]  # fmt: skip
        attributes["gdal"] = {**attributes["gdal"], **({"bands": bands} if bands else {})}
    if rule.unit is not None:
        attributes["units"] = rule.unit
    encoding = {key: value for key, value in variable.encoding.items() if key == "preferred_chunks"}
    return xr.DataArray(xr.Variable(variable.dims, data, attributes, encoding), coords=array.coords, name=array.name)


def _chunkwise(variable: xr.Variable, rule: _Rule) -> Any:
    """The same rule as a dask graph of one task a chunk."""
    import dask.array as da

    shape = variable.shape
    parts: dict[str, Any] = {}
    for name in _PARTS:
        values = getattr(rule, name)
        if values is not None:
            spread = np.broadcast_to(values, shape)
            parts[name] = da.from_array(spread, chunks=variable.chunks, name=False)  # type: ignore[no-untyped-call]
    if rule.mask is not None:
        mask = rule.mask.chunk({dim: variable.chunksizes[dim] for dim in rule.mask.dims})
        spread_mask = mask.set_dims(dict(zip(variable.dims, shape, strict=True)))  # type: ignore[no-untyped-call]
        parts["mask"] = spread_mask.data.rechunk(variable.chunks)
    names = tuple(parts)

    def block(pixels: npt.NDArray[Any], *values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return compute(pixels, dtype=rule.dtype, **dict(zip(names, values, strict=True)))

    return da.map_blocks(block, variable.data, *parts.values(), dtype=rule.dtype)  # type: ignore[no-untyped-call]


class _Decoded(BackendArray):
    """Pixels with a rule, decoded when they are read."""

    __slots__ = ("dtype", "rule", "shape", "variable")

    def __init__(self, variable: xr.Variable, rule: _Rule) -> None:
        self.variable = variable
        self.rule = rule
        self.shape = variable.shape
        self.dtype = rule.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> npt.NDArray[Any]:
        outer = indexing.IndexingSupport.OUTER
        values: npt.NDArray[Any] = indexing.explicit_indexing_adapter(key, self.shape, outer, self._read)
        return values

    def _read(self, key: tuple[Any, ...]) -> npt.NDArray[Any]:
        rule = self.rule
        parts = {name: self._part(values, key) for name in _PARTS if (values := getattr(rule, name)) is not None}
        if rule.mask is not None:
            parts["mask"] = self._mask(rule.mask, key)
        return compute(self.variable[key].to_numpy(), dtype=rule.dtype, **parts)

    def _part(self, values: npt.NDArray[Any], key: tuple[Any, ...]) -> npt.NDArray[Any]:
        """The same selection of a broadcast array; views, but for lists of positions."""
        spread = xr.Variable(self.variable.dims, np.broadcast_to(values, self.shape))
        return spread[key].to_numpy()

    def _mask(self, mask: xr.Variable, key: tuple[Any, ...]) -> npt.NDArray[Any]:
        selection = dict(zip(self.variable.dims, key, strict=True))
        chosen = mask[tuple(selection[dim] for dim in mask.dims)]
        kept = [dim for dim in self.variable.dims if not isinstance(selection[dim], int | np.integer)]
        values = chosen.to_numpy()
        return values.reshape([chosen.sizes.get(dim, 1) for dim in kept])


def compute(
    pixels: npt.NDArray[Any],
    *,
    dtype: np.dtype[Any],
    nodata: npt.NDArray[Any] | None = None,
    has_nodata: npt.NDArray[np.bool_] | None = None,
    mask: npt.NDArray[Any] | None = None,
    scale: npt.NDArray[np.float64] | None = None,
    offset: npt.NDArray[np.float64] | None = None,
    signed_square: npt.NDArray[np.bool_] | None = None,
) -> npt.NDArray[Any]:
    """Decode pixels; all arrays broadcast against them.

    Scaling is done in float64 and rounded once to `dtype`.
    """
    result = pixels
    if scale is not None or offset is not None:
        result = pixels.astype(np.promote_types(dtype, np.float64))
        if scale is not None:
            result = result * scale
        if signed_square is not None:
            result = np.where(signed_square, np.copysign(result * result, result), result)
        if offset is not None:
            result = result + offset
    result = np.array(result, dtype)  # a copy, and an array even where one pixel is read
    if nodata is not None:
        hidden = pixels == nodata
        if has_nodata is not None:
            hidden = hidden & has_nodata
        result[hidden] = np.nan
    if mask is not None:
        result[np.broadcast_to(np.asarray(mask) == 0, result.shape)] = np.nan
    return result
