"""`Collection.read`: scenes of any grids as one dataset on one grid, grouped, masked, merged; lazily."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyproj
import xarray as xr
from xarray.core import indexing

from rasteret_refs.errors import QueryError
from rasteret_refs.read.images import Image, Images
from rasteret_refs.read.masks import Mask, parse_masks
from rasteret_refs.read.mosaic import Layer, MosaicArray, Recipe
from rasteret_refs.read.reader import Reader
from rasteret_refs.read.slots import Slots, group_scenes
from rasteret_refs.read.target import Grid, common_crs, grid_around, grid_like, lonlat_bounds, utm_crs

_SMALL_INTEGER = 2
"""Bytes: integers up to this width fit float32 exactly."""


def read(
    reader: Reader,
    scenes: Any,
    *,
    bbox: Sequence[float] | None = None,
    geometry: Any = None,
    like: Any = None,
    geobox: Any = None,
    assets: Sequence[str] | None = None,
    bands: Sequence[str | int] | None = None,
    crs: Any = None,
    resolution: float | tuple[float, float] | None = None,
    groupby: str | None = "id",
    order: str = "time",
    mask: Any = None,
    resampling: str | Mapping[str, str] | None = None,
    scale: bool = False,
    masked: bool = False,
    chunks: Any = None,
) -> xr.Dataset:
    """Read scenes onto one grid.

    Parameters
    ----------
    reader, scenes
        What reads the set, and the rows of its scene table (`pyarrow.Table`) to take.
    bbox, geometry
        (west, south, east, north) in degrees, or a geometry in longitude and latitude whose bounds count.
    like, geobox
        A grid to fill: of an xarray object, or a GeoBox. Then `crs` and `resolution` are given already.
    assets
        Names; None: all that are not used as masks.
    bands
        Bands of assets that have several: values of their band coordinate, or names of assets.
    crs
        Anything that pyproj understands, or `"utm"`; None: the CRS of most images there.
    resolution
        Pixel size in units of `crs`, one number or (x, y); None: that of the finest asset.
    groupby
        What makes one slot: `"id"`, `"time"`, `"solar_day"`, a column of the scene table, or None for a single mosaic.
    order
        Which scene of a slot comes first: a column, `-` before it for descending order; `"time"` then id in the end.
    mask
        Pixels to leave out per scene, before merging; see `masks.parse_masks`.
    resampling
        GDAL's name of a method, for all or by asset; None: nearest for integers, bilinear for floats. Where the grids
        coincide nothing is resampled.
    scale
        value · scale + offset of each scene and band; NaN where there is no data.
    masked
        NaN where there is no data, instead of nodata.
    chunks
        None: lazy without dask; else as in `xarray.Dataset.chunk`, `{}` and `"auto"` giving dask's choice.

    Returns
    -------
    xarray.Dataset
        Variables by asset, (time, [band,] y, x); integers of 8 and 16 bit become float32 where `scale` or `masked` asks
        for NaN, wider ones float64, else the dtype is kept. No data is nodata, or 0 where there is none.

    Raises
    ------
    QueryError
        A name, a grid or a rule that fits nothing; the message says what there is.
    """
    images = Images(reader)
    masks = parse_masks(mask, images.assets(scenes))
    chosen = _chosen(images, scenes, assets, bands, masks)
    found = images.find(scenes, [*chosen, *(m.asset for m in masks if m.asset not in chosen)])
    wanted = {asset: found[asset] for asset in chosen}
    target = _target(wanted, bbox=bbox, geometry=geometry, like=like, geobox=geobox, crs=crs, resolution=resolution)
    near = {asset: _near(images_of, target) for asset, images_of in found.items()}
    rows = sorted({image.scene for asset in chosen for image in near[asset]})
    slots = group_scenes(scenes, rows, groupby=groupby, order=order, longitude=_longitude(target))
    variables = {}
    for asset, positions in chosen.items():
        everything = wanted[asset]
        if not everything:
            raise QueryError(f"expected scenes with the asset {asset!r}, found none among {scenes.num_rows}")
        recipe = Recipe(
            target=target,
            slots=_layers(near, asset, slots, masks),
            **_values(everything, scale=scale, masked=masked),
            resampling=_method(resampling, asset, everything[0]),
            scale=scale,
            bands=positions,
        )
        variables[asset] = _variable(reader, recipe, slots, everything[0])
    dataset = xr.Dataset(variables, coords=_coordinates(images, slots, target, chosen, wanted))
    return dataset if chunks is None else dataset.chunk(chunks)


def _chosen(
    images: Images, scenes: Any, assets: Sequence[str] | None, bands: Sequence[str | int] | None, masks: Sequence[Mask]
) -> dict[str, tuple[int, ...] | None]:
    """Choose assets, and positions of bands in those that have a band axis."""
    known = images.assets(scenes)
    hiding = {mask.asset for mask in masks}
    if assets is None and bands is not None:
        names = [name for name in known if name not in hiding]
    else:
        names = list(assets) if assets is not None else [name for name in known if name not in hiding]
    if not names:
        raise QueryError(f"expected assets to read among {known}, found only masks")
    found = images.find(scenes, names)
    labels = {name: _band_labels(images.reader, group) for name, group in found.items() if group}
    everything: dict[str, tuple[int, ...] | None] = {
        name: None if name not in labels or labels[name] is None else tuple(range(len(labels[name] or ())))
        for name in names
    }
    if bands is None:
        return everything
    picked: dict[str, tuple[int, ...] | None] = {}
    for band in bands:
        if band in names:
            picked[str(band)] = everything[str(band)]
            continue
        holding = [name for name in names if band in (labels.get(name) or ())]
        if len(holding) != 1:
            problem = f"several assets have it: {holding}" if holding else f"there are {labels}"
            raise QueryError(f"expected a band of one asset, found {band!r}: {problem}")
        place = (labels[holding[0]] or []).index(band)
        picked[holding[0]] = (*(picked.get(holding[0]) or ()), place)
    return picked


def _band_labels(reader: Reader, images: Sequence[Image]) -> list[Any] | None:
    """Read the band coordinate of an asset's array; None where it has no band axis."""
    array = images[0].array
    if len(array.shape) < 4:  # noqa: PLR2004 - scene, band, row, column
        return None
    group, dim = array.path.rpartition("/")[0], array.dims[1]
    path = f"{group}/{dim}"
    if f"{path}/.zarray" not in reader.refset.metadata:
        return list(range(1, array.shape[1] + 1))
    labels: list[Any] = reader.read(path).tolist()
    return labels


def _target(
    images: Mapping[str, Sequence[Image]],
    *,
    bbox: Sequence[float] | None,
    geometry: Any,
    like: Any,
    geobox: Any,
    crs: Any,
    resolution: float | tuple[float, float] | None,
) -> Grid:
    if like is not None or geobox is not None:
        if bbox is not None or geometry is not None or crs is not None or resolution is not None:
            raise QueryError("expected like= or geobox= alone: it says bounds, CRS and resolution")
        return grid_like(like if like is not None else geobox)
    bounds = lonlat_bounds(bbox, geometry)
    grids = [image.grid for group in images.values() for image in group]
    if not grids:
        raise QueryError("expected scenes with the assets asked for, found none")
    if crs is None:
        wanted = _commonest(grids, bounds)
    elif crs == "utm":
        wanted = utm_crs((bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2)
    else:
        wanted = common_crs(crs)
    if resolution is None:
        size = _finest(grids, wanted)
    else:
        x, y = (resolution, resolution) if isinstance(resolution, (int, float)) else resolution
        size = (float(x), float(y))
    alike = [grid for grid in grids if grid.crs == wanted and np.allclose(grid.resolution, size, rtol=1e-9)]
    anchor = (alike[0].transform[2], alike[0].transform[5]) if alike else (0.0, 0.0)
    return grid_around(bounds, wanted, size, anchor)


def _commonest(grids: Sequence[Grid], bounds: tuple[float, float, float, float]) -> pyproj.CRS:
    """Give the CRS of most images that meet the bounds; of equals the first."""
    counts: dict[str, tuple[int, pyproj.CRS]] = {}
    area = Grid(crs=pyproj.CRS.from_epsg(4326), transform=(bounds[2] - bounds[0], 0.0, bounds[0], 0.0,
                bounds[1] - bounds[3], bounds[3]), height=1, width=1)  # fmt: skip
    for grid in grids:
        key = grid.crs.srs
        count, _ = counts.get(key, (0, grid.crs))
        counts[key] = (count + int(_overlap(grid, area)), grid.crs)
    return max(counts.values(), key=lambda entry: entry[0])[1]


def _finest(grids: Sequence[Grid], crs: pyproj.CRS) -> tuple[float, float]:
    """Give the finest resolution among images, converted at their centres where the CRS differs."""
    sizes = []
    for grid in {(g.crs.srs, g.resolution): g for g in grids}.values():
        if grid.crs == crs:
            sizes.append(grid.resolution)
            continue
        left, bottom, right, top = grid.bounds
        x, y = (left + right) / 2, (bottom + top) / 2
        width, height = grid.resolution
        transformer = pyproj.Transformer.from_crs(grid.crs, crs, always_xy=True)
        low, _, high, _ = transformer.transform_bounds(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        sizes.append((high - low, high - low))
    return min(sizes)


def _near(images: Sequence[Image], target: Grid) -> list[Image]:
    """Keep the images that may share ground with the target; scenes of one grid are asked about once."""
    answers: dict[int, bool] = {}
    for image in images:
        if id(image.grid) not in answers:
            answers[id(image.grid)] = _overlap(image.grid, target)
    return [image for image in images if answers[id(image.grid)]]


def _overlap(one: Grid, other: Grid) -> bool:
    """Tell whether two grids may share ground; when in doubt, yes."""
    left, bottom, right, top = one.bounds
    if one.crs != other.crs:
        transformer = pyproj.Transformer.from_crs(one.crs, other.crs, always_xy=True)
        left, bottom, right, top = transformer.transform_bounds(left, bottom, right, top, densify_pts=21)
        if not np.isfinite([left, bottom, right, top]).all() or left > right:
            return True
    west, south, east, north = other.bounds
    return left < east and right > west and bottom < north and top > south


def _longitude(target: Grid) -> float:
    left, bottom, right, top = target.bounds
    transformer = pyproj.Transformer.from_crs(target.crs, 4326, always_xy=True)
    return float(transformer.transform((left + right) / 2, (bottom + top) / 2)[0])


def _method(resampling: str | Mapping[str, str] | None, asset: str, image: Image) -> str:
    default = "bilinear" if image.array.dtype.kind in "fc" else "nearest"
    if resampling is None or isinstance(resampling, str):
        return resampling or default
    return resampling.get(asset, default)


def _layers(
    near: Mapping[str, Sequence[Image]], asset: str, slots: Slots, masks: Sequence[Mask]
) -> tuple[tuple[Layer, ...], ...]:
    """Lay an asset's images in slots, each with the masks of its own scene."""
    by_scene = {image.scene: image for image in near[asset]}
    hiding = {mask.asset: {image.scene: image for image in near[mask.asset]} for mask in masks}

    def layer(scene: int) -> Layer:
        found = tuple((mask, hiding[mask.asset][scene]) for mask in masks if scene in hiding[mask.asset])
        return Layer(image=by_scene[scene], masks=found)

    return tuple(tuple(layer(scene) for scene in group if scene in by_scene) for group in slots.scenes)


def _values(images: Sequence[Image], *, scale: bool, masked: bool) -> dict[str, Any]:
    """Decide dtype and fill of an asset's result."""
    dtype = np.result_type(*{image.array.dtype for image in images})
    if not (scale or masked):
        nodata = {repr(image.nodata): image.nodata for image in images}
        fill = next(iter(nodata.values())) if len(nodata) == 1 else None
        return {"dtype": dtype, "fill": dtype.type(0 if fill is None else fill)}
    if dtype.kind not in "fc":
        dtype = np.dtype(np.float32 if dtype.itemsize <= _SMALL_INTEGER else np.float64)
    return {"dtype": dtype, "fill": dtype.type(np.nan)}


def _variable(reader: Reader, recipe: Recipe, slots: Slots, image: Image) -> xr.Variable:
    data: Any = indexing.LazilyIndexedArray(MosaicArray(reader, recipe))
    band = () if recipe.bands is None else (image.array.dims[1],)
    attributes: dict[str, Any] = {"grid_mapping": "spatial_ref"}
    if image.nodata is not None and recipe.dtype == image.array.dtype:
        attributes["nodata"] = image.nodata
    dims = (slots.dim or "slot", *band, "y", "x")
    variable = xr.Variable(dims, data, attributes)
    return variable if slots.dim is not None else variable[0]


def _coordinates(
    images: Images,
    slots: Slots,
    target: Grid,
    chosen: Mapping[str, tuple[int, ...] | None],
    wanted: Mapping[str, Sequence[Image]],
) -> dict[str, Any]:
    wkt = target.crs.to_wkt()
    a, b, c, d, e, f = target.transform
    attributes = {"crs_wkt": wkt, "spatial_ref": wkt, "GeoTransform": " ".join(map(repr, (c, a, b, f, d, e)))}
    coordinates: dict[str, Any] = {"spatial_ref": xr.Variable((), np.int64(0), attributes), **slots.coordinates}
    if b == 0 and d == 0:
        x, y = target.centres()
        coordinates |= {"y": ("y", y), "x": ("x", x)}
    for asset, bands in chosen.items():
        if bands is not None and wanted[asset]:
            labels = _band_labels(images.reader, wanted[asset]) or []
            dim = wanted[asset][0].array.dims[1]
            coordinates[dim] = (dim, np.array([labels[band] for band in bands]))
    return coordinates
