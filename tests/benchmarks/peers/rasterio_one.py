"""rasterio, one window after the other, each file opened when it is needed."""

import os

import rasterio
from common import address
from rasterio.windows import Window

THREADS = None


def prepare(job):
    """Set what GDAL's documentation recommends for COGs."""
    os.environ |= {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".tif"}
    os.environ |= {"GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES", "GDAL_HTTP_MULTIPLEX": "YES", "VSI_CACHE": "TRUE"}
    return THREADS


def one(job, window, threads=None):
    """Open, read, close."""
    scene, row, column, rows, columns = window
    options = {"num_threads": threads} if threads else {}
    with rasterio.open(address(job, scene), **options) as file:
        return file.read(1, window=Window(column, row, columns, rows))


def read(job, prepared):
    """Read all windows."""
    return [one(job, window, prepared) for window in job["windows"]]
