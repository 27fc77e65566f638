"""This library's mosaics: `Collection.read`, loaded."""

import numpy as np
import warm
from affine import Affine
from odc.geo.geobox import GeoBox

import rasteret_refs as rr
from rasteret_refs.read import compose  # noqa: F401 - imports are no part of what is measured


def prepare(job):
    """Open the set and its reader; import what the read will need."""
    warm.up()
    collection = rr.open(job["refs"])
    collection.reader  # noqa: B018 - imports, on first use
    x, y = job["corner"]
    collection.scenes  # noqa: B018 - read on first use
    return collection, GeoBox((job["window"],) * 2, Affine(10, 0, x, 0, -10, y), "EPSG:32643")


def read(job, prepared):
    """Read one mosaic, the median of days, or all scenes."""
    collection, geobox = prepared
    options = {"geobox": geobox, "assets": ["red"]}
    if job["clouds"]:
        days = collection.read(**options, groupby="solar_day", mask={"scl": [3, 8, 9]}, masked=True)
        return [np.nanmedian(days.red.to_numpy(), axis=0)]
    found = collection.read(**options, groupby="id" if job["all"] else None, order="id")
    return [found.red.to_numpy()]
