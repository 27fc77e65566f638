"""async-geotiff: all windows at once, headers included (it keeps no index)."""

import asyncio

from async_geotiff import GeoTIFF, Window
from obstore.store import HTTPStore


def prepare(job):
    """Open the store."""
    return HTTPStore.from_url(job["base"], client_options={"allow_http": True})


def read(job, prepared):
    """Read all windows."""

    async def one(file, window):
        _, row, column, rows, columns = window
        return (await file.read(window=Window(col_off=column, row_off=row, width=columns, height=rows))).data[0]

    async def all_windows():
        files = await asyncio.gather(*(GeoTIFF.open(name, store=prepared) for name in job["files"]))
        return await asyncio.gather(*(one(files[window[0]], window) for window in job["windows"]))

    return asyncio.run(all_windows())
