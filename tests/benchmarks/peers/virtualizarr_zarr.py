"""virtual-tiff and VirtualiZarr: headers parsed beforehand into manifests in memory, read by zarr through them."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import zarr
from common import address
from obspec_utils.registry import ObjectStoreRegistry
from obstore.store import HTTPStore, LocalStore
from virtual_tiff import VirtualTIFF


def prepare(job):
    """Parse every header; keep the arrays open."""
    registry = ObjectStoreRegistry()
    base = job["base"] if not job["local"] else "file://"
    store = LocalStore() if job["local"] else HTTPStore.from_url(job["base"], client_options={"allow_http": True})
    registry.register(base, store)
    prefix = "file://" if job["local"] else ""
    parser = VirtualTIFF(ifd=0)
    with ThreadPoolExecutor(32) as pool:
        groups = list(pool.map(lambda n: parser(prefix + address(job, n), registry), range(len(job["files"]))))
    return [zarr.open_group(group, mode="r", zarr_format=3)["0"] for group in groups]


def read(job, prepared):
    """Read all windows at once."""

    async def all_windows():
        windows = [
            prepared[scene].async_array.getitem((slice(row, row + rows), slice(column, column + columns)))
            for scene, row, column, rows, columns in job["windows"]
        ]
        return await asyncio.gather(*windows)

    return asyncio.run(all_windows())
