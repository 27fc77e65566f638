"""rasterio in 32 threads, one window each."""

from concurrent.futures import ThreadPoolExecutor

import rasterio_one


def prepare(job):
    """Start the threads."""
    rasterio_one.prepare(job)
    return ThreadPoolExecutor(32)


def read(job, prepared):
    """Read all windows."""
    return list(prepared.map(lambda window: rasterio_one.one(job, window), job["windows"]))
