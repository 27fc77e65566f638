"""Writes TIFFs with rasterio for the planner's tests."""

import numpy as np
import rasterio
from rasterio.transform import from_origin

UTM = {"crs": "EPSG:32643", "transform": from_origin(600000, 1500000, 10, 10)}


def pixels(seed, shape, dtype="uint16"):
    values = np.random.default_rng(seed).integers(1, 200, shape)
    return values.astype(dtype)


def write(path, data, *, overviews=(), mask=None, descriptions=None, scales=None, offsets=None, tags=None, **profile):
    """A tiled GeoTIFF of `data` (bands, rows, columns); 64-pixel deflate tiles unless said otherwise."""
    options = {
        "driver": "GTiff",
        "count": data.shape[0],
        "height": data.shape[1],
        "width": data.shape[2],
        "dtype": data.dtype.name,
        "tiled": True,
        "blockxsize": 64,
        "blockysize": 64,
        "compress": "deflate",
        **profile,
    }
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **options) as file:
        file.write(data)
        if descriptions is not None:
            file.descriptions = descriptions
        if scales is not None:
            file.scales = scales
        if offsets is not None:
            file.offsets = offsets
        if tags is not None:
            file.update_tags(**tags)
        if mask is not None:
            file.write_mask(mask)
    if overviews:
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
            file.build_overviews(list(overviews), rasterio.enums.Resampling.nearest)
    return path


def read(path, level=None, band=None):
    with rasterio.open(path, **({} if level is None else {"overview_level": level})) as file:
        return file.read(band)
