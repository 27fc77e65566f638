"""The floor: references in hand, nothing but fetching whole tiles and decoding them in two threads into the output."""

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagecodecs
import numpy as np
import obstore
from obstore.store import HTTPStore

_own = threading.local()


def prepare(job):
    """Plan nothing: only the store and the threads."""
    store = None if job["local"] else HTTPStore.from_url(job["base"], client_options={"allow_http": True})
    return store, ThreadPoolExecutor(2)


def read(job, prepared):
    """Fetch every tile that a window needs, each once."""
    return asyncio.run(_read(job, *prepared))


def _tiles(job):
    """Group windows by tile: {(scene, tile number): [(window, tile row, tile column)]}."""
    tile, across = job["tile"], -(-job["size"] // job["tile"])
    needs = {}
    for index, (scene, row, column, rows, columns) in enumerate(job["windows"]):
        for down in range(row // tile, (row + rows - 1) // tile + 1):
            for right in range(column // tile, (column + columns - 1) // tile + 1):
                needs.setdefault((scene, down * across + right), []).append((index, down * tile, right * tile))
    return needs


async def _read(job, store, pool):
    outputs = [np.empty(window[3:], job["dtype"]) for window in job["windows"]]
    loop = asyncio.get_running_loop()
    scenes = {}
    for (scene, number), uses in _tiles(job).items():
        scenes.setdefault(scene, []).append((number, uses))

    def decode(data, uses):
        tile, dtype = job["tile"], np.dtype(job["dtype"])
        if not hasattr(_own, "buffer"):
            _own.buffer = np.empty(tile * tile * dtype.itemsize, np.uint8)
            _own.pixels = np.empty((tile, tile), dtype)
        imagecodecs.deflate_decode(data, out=_own.buffer)
        pixels = imagecodecs.delta_decode(_own.buffer.view(dtype).reshape(tile, tile), axis=-1, out=_own.pixels)
        for index, top, left in uses:
            _, row, column, rows, columns = job["windows"][index]
            low, high = max(row, top), min(row + rows, top + tile)
            first, last = max(column, left), min(column + columns, left + tile)
            outputs[index][low - row : high - row, first - column : last - column] = pixels[
                low - top : high - top, first - left : last - left
            ]

    def local(scene, number, uses):
        offset, size = job["tiles"][scene][number]
        with Path(job["base"] + job["files"][scene]).open("rb") as file:
            decode(os.pread(file.fileno(), size, offset), uses)

    async def remote(scene, tiles):
        spans = [job["tiles"][scene][number] for number, _ in tiles]
        buffers = await obstore.get_ranges_async(
            store,
            job["files"][scene],
            starts=[offset for offset, _ in spans],
            ends=[offset + size for offset, size in spans],
        )
        work = [loop.run_in_executor(pool, decode, b, uses) for b, (_, uses) in zip(buffers, tiles, strict=True)]
        await asyncio.gather(*work)

    if job["local"]:
        work = [
            loop.run_in_executor(pool, local, scene, number, uses)
            for scene, tiles in scenes.items()
            for number, uses in tiles
        ]
        await asyncio.gather(*work)
    else:
        await asyncio.gather(*(remote(scene, tiles) for scene, tiles in scenes.items()))
    return outputs
