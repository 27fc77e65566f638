"""rasterio with all files kept open."""

import rasterio
from common import address
from rasterio.windows import Window


def prepare(job):
    """Open all files."""
    return [rasterio.open(address(job, number)) for number in range(len(job["files"]))]


def read(job, prepared):
    """Read window after window."""
    return [prepared[s].read(1, window=Window(column, row, w, h)) for s, row, column, h, w in job["windows"]]
