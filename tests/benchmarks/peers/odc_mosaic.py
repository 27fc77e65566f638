"""odc-stac: STAC items in hand, `stac_load` by solar day in 32 threads, masked, median."""

from datetime import UTC, datetime, timedelta

import numpy as np
import odc.stac
import pystac
import rasterio_one
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from pystac.extensions.projection import ProjectionExtension


def item(job, scene):
    """Describe a scene with the projection extension, as Earth Search does."""
    edge = job["size"] * 10.0
    move = Transformer.from_crs(scene["crs"], 4326, always_xy=True)
    box = move.transform_bounds(scene["x"], scene["y"] - edge, scene["x"] + edge, scene["y"])
    time = datetime(2024, 1, 1, 5, 30, tzinfo=UTC) + timedelta(days=scene["day"])
    found = pystac.Item(scene["id"], shapely.geometry.mapping(shapely.box(*box)), list(box), time, {})
    ProjectionExtension.add_to(found)
    for name, pixel in (("red", 10.0), ("scl", 20.0)):
        asset = pystac.Asset(f"{job['base']}{scene['id']}_{name}.tif", media_type=pystac.MediaType.COG, roles=["data"])
        found.add_asset(name, asset)
        projection = ProjectionExtension.ext(asset)
        projection.epsg = scene["crs"]
        projection.shape = [int(edge / pixel)] * 2
        projection.transform = [pixel, 0, scene["x"], 0, -pixel, scene["y"]]
    return found


def prepare(job):
    """Make the items."""
    rasterio_one.prepare(job)
    x, y = job["corner"]
    geobox = GeoBox((job["window"],) * 2, Affine(10, 0, x, 0, -10, y), "EPSG:32643")
    return [item(job, scene) for scene in job["scenes"]], geobox


def read(job, prepared):
    """Load each item, mask it, merge by solar day, take the median."""
    items, geobox = prepared
    found = odc.stac.load(items, bands=["red", "scl"], geobox=geobox, groupby="id", nodata=0, pool=32)
    days = np.array([entry.datetime.date() for entry in sorted(items, key=lambda entry: (entry.datetime, entry.id))])
    red = np.where(np.isin(found.scl, [3, 8, 9]), 0, found.red)
    merged = []
    for day in np.unique(days):
        out = np.zeros(red.shape[1:], red.dtype)
        for layer in red[days == day]:
            out = np.where(out == 0, layer, out)
        merged.append(np.where(out == 0, np.nan, out.astype(np.float32)))
    return [np.nanmedian(np.stack(merged), axis=0)]
