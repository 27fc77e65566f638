"""`Collection.read`: scenes of any grids as one dataset on one grid, grouped, masked, merged; lazily."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyproj
import xarray as xr
from xarray.core import indexing

from rasteret_refs.errors import QueryError
from rasteret_refs.read.area import target_of
from rasteret_refs.read.bands import Choice, band_labels, check_bands, choose, recipe_of
from rasteret_refs.read.calibrate import ORIGINS, image_calibrations
from rasteret_refs.read.clip import as_geometry, clip_to, unwrapped
from rasteret_refs.read.clouds import cloud_rules
from rasteret_refs.read.images import Image, Images, near
from rasteret_refs.read.masks import Mask, parse_masks
from rasteret_refs.read.mosaic import Layer, MosaicArray, Recipe
from rasteret_refs.read.overlap import transformer
from rasteret_refs.read.reader import Reader
from rasteret_refs.read.resample import METHODS
from rasteret_refs.read.shared import SharedWindows
from rasteret_refs.read.slots import Slots, group_scenes
from rasteret_refs.read.target import Grid

_SMALL_INTEGER = 2
"""Bytes: integers up to this width fit float32 exactly."""
_MASK_BYTES = 128 * 1024 * 1024
"""Of mask assets' windows that the variables of one read share."""
_PIECE_BYTES = 32 * 1024 * 1024
"""Of the largest variable in one dask chunk, where nobody says how large it shall be."""


def read(
    reader: Reader,
    scenes: Any,
    *,
    bbox: Sequence[float] | None,
    geometry: Any,
    like: Any,
    geobox: Any,
    assets: Sequence[str] | None,
    bands: Sequence[str | int] | None,
    crs: Any,
    resolution: float | tuple[float, float] | None,
    groupby: str | None,
    order: str,
    mask: Any,
    resampling: str | Mapping[str, str] | None,
    scale: bool | str,
    masked: bool,
    all_touched: bool,
    chunks: Any,
) -> xr.Dataset:
    """Read scenes onto one grid.

    Parameters
    ----------
    reader, scenes
        What reads the set, and the rows of its scene table (`pyarrow.Table`) to take.
    bbox, …
        As `Collection.read` says, as well as what comes back and what is refused.
    """
    if scale not in (False, True, *ORIGINS):
        raise QueryError(f"expected scale to be True, False or one of {ORIGINS}, got {scale!r}")
    images = Images(reader)
    masks = parse_masks(mask, images.assets(scenes), lambda assets: cloud_rules(reader, scenes, assets))
    chosen = choose(images, scenes, assets, bands, {mask.asset for mask in masks})
    data = list(dict.fromkeys(choice.asset for choice in chosen))
    _check_resampling(resampling, images.assets(scenes))
    found = images.find(scenes, [*data, *(m.asset for m in masks if m.asset not in data)])
    shape = unwrapped(as_geometry(geometry)) if geometry is not None else None
    wanted = {asset: found[asset] for asset in data}
    target = target_of(wanted, bbox=bbox, geometry=shape, like=like, geobox=geobox, crs=crs, resolution=resolution)
    close = {asset: near(images_of, target) for asset, images_of in found.items()}
    units: dict[str, str | None] = {}
    for asset in data if scale else ():
        close[asset], units[asset] = _calibrated(reader, scenes, close[asset], scale)
    rows = sorted({image.scene for asset in data for image in close[asset]})
    _check_masks(masks, found, scenes, rows)
    slots = group_scenes(scenes, rows, groupby=groupby, order=order, longitude=_longitude(target))
    common: dict[str, Any] = {
        "target": target,
        "scale": bool(scale),
        "clip": clip_to(shape, target.crs, all_touched=all_touched) if shape is not None else None,
        "shared": SharedWindows(_MASK_BYTES) if masks and len(chosen) > 1 else None,
    }
    for choice in chosen:
        check_bands(choice, close[choice.asset], scenes)
    axes = _band_axes(reader, chosen, wanted)
    variables = {}
    for choice in chosen:
        everything, layers = wanted[choice.asset], _layers(close, choice.asset, slots, masks)
        if not everything:
            raise QueryError(f"expected scenes with the asset {choice.asset!r}, found none among {scenes.num_rows}")
        recipe = _recipe(choice, everything, layers, resampling, masked=masked, **common)
        attributes = {"grid_mapping": "spatial_ref", "units": units.get(choice.asset)}
        if _nodata_of(everything) and not (scale or masked):
            attributes["nodata"] = recipe.fill.item()
        dim = axes[choice.name][0] if choice.name in axes else None
        variables[choice.name] = _variable(reader, recipe, slots, attributes, band_dim=dim)
    dataset = xr.Dataset(variables, coords={**_coordinates(slots, target), **dict(axes.values())})
    return dataset if chunks is None else dataset.chunk(_pieces(dataset, slots.dim) if chunks == {} else chunks)


def _recipe(
    choice: Choice,
    images: Sequence[Image],
    layers: tuple[tuple[Layer, ...], ...],
    resampling: str | Mapping[str, str] | None,
    *,
    scale: bool,
    masked: bool,
    **common: Any,
) -> Recipe:
    """Say how a variable is made, from all images of its asset and those that are laid in its slots."""
    dtype, empty = _values(images, scaled=scale, masked=masked)
    return Recipe(
        slots=layers,
        dtype=dtype,
        fill=dtype.type(np.nan if empty is None else empty),
        resampling=_method(resampling, choice.asset, images[0]),
        bands=choice.bands,
        scale=scale,
        **common,
    )


def _check_resampling(resampling: Any, assets: Sequence[str]) -> None:
    by_asset = resampling if isinstance(resampling, Mapping) else {}
    given = [*by_asset.values()] if by_asset or resampling is None else [resampling]
    for name in by_asset:
        if name not in assets:
            raise QueryError(f"expected resampling= by assets among {list(assets)}, found {name!r}")
    for method in given:
        if method not in METHODS:
            raise QueryError(f"expected a resampling among {sorted(METHODS)}, found {method!r}")


def _check_masks(masks: Sequence[Mask], found: Mapping[str, Sequence[Image]], scenes: Any, rows: Sequence[int]) -> None:
    """Refuse masks that cannot be applied, and scenes that no mask speaks of: their clouds would pass unseen."""
    if not masks:
        return
    for mask in masks:
        for array in {image.array.path: image.array for image in found[mask.asset]}.values():
            mask.check(array.shape, array.dtype)
    known = {image.scene for mask in masks for image in found[mask.asset]}
    for row in rows:
        if row not in known:
            assets = [mask.asset for mask in masks]
            raise QueryError(
                f"expected a mask asset of each scene, found none of {assets} in {scenes['id'][row].as_py()!r}: leave "
                "such scenes out, by where() or select()"
            )


def _pieces(dataset: xr.Dataset, slots: str | None) -> dict[Any, int]:
    """Choose dask chunks: one slot, and halves of rows and columns until the largest variable keeps to its limit."""
    sizes = {dim: 1 if dim == slots else max(size, 1) for dim, size in dataset.sizes.items()}

    def largest() -> int:
        chunks = (math.prod(sizes[dim] for dim in one.dims) * one.dtype.itemsize for one in dataset.data_vars.values())
        return max(chunks, default=0)

    while largest() > _PIECE_BYTES and max(sizes["y"], sizes["x"]) > 1:
        longer = max(("y", "x"), key=lambda dim: sizes[dim])
        sizes[longer] = -(-sizes[longer] // 2)
    return sizes


def _calibrated(
    reader: Reader, scenes: Any, images: Sequence[Image], scale: bool | str
) -> tuple[list[Image], str | None]:
    """Give images the scale and offset that all sources agree on, and the unit that all of them have."""
    if scale == "tiff" or not images:
        return list(images), None
    tiff = [(image.scale.reshape(-1).tolist(), image.offset.reshape(-1).tolist()) for image in images]
    rows = [image.scene for image in images]
    prefer: Any = scale if isinstance(scale, str) else None
    known = image_calibrations(scenes, rows, images[0].asset, tiff=tiff, recipe=recipe_of(reader), prefer=prefer)
    scaled = []
    for image, calibration in zip(images, known, strict=True):
        if calibration is None:
            scaled.append(image)
            continue
        bands = image.array.shape[1] if image.scale.ndim > 2 else 1  # noqa: PLR2004 - a band axis
        pairs = np.array(calibration.per_band(bands)[:bands], np.float64)
        shape = (-1, 1, 1) if image.scale.ndim > 2 else (1, 1)  # noqa: PLR2004 - a band axis
        scaled.append(
            replace(
                image,
                scale=pairs[:, 0].reshape(shape),
                offset=pairs[:, 1].reshape(shape),
                signed_square=calibration.signed_square,
            )
        )
    units = {calibration.unit for calibration in known if calibration is not None}
    return scaled, units.pop() if len(units) == 1 else None


def _longitude(target: Grid) -> float:
    left, bottom, right, top = target.bounds
    degrees = transformer(target.crs, pyproj.CRS.from_epsg(4326)).transform((left + right) / 2, (bottom + top) / 2)[0]
    return float((degrees + 180) % 360 - 180)


def _method(resampling: str | Mapping[str, str] | None, asset: str, image: Image) -> str:
    default = "bilinear" if image.array.dtype.kind in "fc" else "nearest"
    if resampling is None or isinstance(resampling, str):
        return resampling or default
    return resampling.get(asset, default)


def _layers(
    close: Mapping[str, Sequence[Image]], asset: str, slots: Slots, masks: Sequence[Mask]
) -> tuple[tuple[Layer, ...], ...]:
    """Lay an asset's images in slots, each with the masks of its own scene."""
    by_scene = _by_scene(close[asset])
    hiding = {mask.asset: _by_scene(close[mask.asset]) for mask in masks}

    def layers(scene: int) -> Iterable[Layer]:
        found = tuple((mask, image) for mask in masks for image in hiding[mask.asset].get(scene, ()))
        return (Layer(image=image, masks=found) for image in by_scene.get(scene, ()))

    return tuple(tuple(layer for scene in group for layer in layers(scene)) for group in slots.scenes)


def _by_scene(images: Sequence[Image]) -> dict[int, list[Image]]:
    found: dict[int, list[Image]] = {}
    for image in images:
        found.setdefault(image.scene, []).append(image)
    return found


def _nodata_of(images: Sequence[Image]) -> list[Any]:
    """List the nodata values of images, the commonest first; NaN once."""
    known = [image.nodata for image in images if image.nodata is not None]
    counts = Counter(map(repr, known))
    values = {repr(value): value for value in known}
    return [values[text] for text, _ in counts.most_common()]


def _values(images: Sequence[Image], *, scaled: bool, masked: bool) -> tuple[np.dtype[Any], Any]:
    """Decide dtype of an asset's result, and what stands where there is no data; None: NaN."""
    dtype = np.result_type(*{image.array.dtype for image in images})
    if scaled or masked:
        if dtype.kind not in "fc":
            dtype = np.dtype(np.float32 if dtype.itemsize <= _SMALL_INTEGER else np.float64)
        return dtype, None
    for value in _nodata_of(images):
        return dtype, value
    return dtype, None if dtype.kind == "f" else 0


def _variable(
    reader: Reader, recipe: Recipe, slots: Slots, attributes: Mapping[str, Any], *, band_dim: str | None
) -> xr.Variable:
    data: Any = indexing.LazilyIndexedArray(MosaicArray(reader, recipe))
    band = () if band_dim is None else (band_dim,)
    dims = (slots.dim or "slot", *band, "y", "x")
    known = {name: value for name, value in attributes.items() if value is not None}
    variable = xr.Variable(dims, data, known)
    return variable if slots.dim is not None else variable[0]


def _band_axes(
    reader: Reader, chosen: Iterable[Choice], wanted: Mapping[str, Sequence[Image]]
) -> dict[str, tuple[str, xr.Variable]]:
    """Give variables with bands the name of that dimension and its coordinate; other bands get another dimension."""
    axes: dict[str, tuple[str, xr.Variable]] = {}
    for choice in chosen:
        if choice.bands is None or not wanted[choice.asset]:
            continue
        array = max((image.array for image in wanted[choice.asset]), key=lambda one: (len(one.shape), one.shape[1]))
        labels = band_labels(reader, array) or []
        values = np.array([labels[band] for band in choice.bands])
        taken = dict(axes.values())
        dim = array.dims[1]
        if dim in taken and not np.array_equal(taken[dim].to_numpy(), values):
            dim = f"{choice.name}_band"
        axes[choice.name] = (dim, xr.Variable((dim,), values))
    return axes


def _coordinates(slots: Slots, target: Grid) -> dict[str, Any]:
    wkt = target.crs.to_wkt()
    a, b, c, d, e, f = target.transform
    attributes = {"crs_wkt": wkt, "spatial_ref": wkt, "GeoTransform": " ".join(map(repr, (c, a, b, f, d, e)))}
    coordinates: dict[str, Any] = {"spatial_ref": xr.Variable((), np.int64(0), attributes), **slots.coordinates}
    if b == 0 and d == 0:
        x, y = target.centres()
        coordinates |= {"y": ("y", y), "x": ("x", x)}
    return coordinates
