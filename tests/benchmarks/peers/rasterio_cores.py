"""rasterio with GDAL's own decoding threads on all cores."""

import rasterio_one
from rasterio_one import read  # noqa: F401 - the peer's interface


def prepare(job):
    """Ask for all cores."""
    rasterio_one.prepare(job)
    return "all_cpus"
