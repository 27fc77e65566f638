"""Zarr over fsspec: the plain route, with nothing of ours but the codecs and the mapper."""

from concurrent.futures import ThreadPoolExecutor

import warm
import zarr

import rasteret_refs as rr


def prepare(job):
    """Open the array; let Zarr fetch as many chunks at once as the others do."""
    warm.up()
    zarr.config.set({"async.concurrency": 256})
    return zarr.open_group(rr.plain_store(job["refs"]), mode="r", zarr_format=2, use_consolidated=False)[
        "factor_1/image"
    ]


def read(job, prepared):
    """Read each place once for all scenes, the places side by side."""
    places = list(dict.fromkeys(tuple(window[1:]) for window in job["windows"]))
    with ThreadPoolExecutor(len(places)) as pool:
        stacks = list(pool.map(lambda p: prepared[:, p[0] : p[0] + p[2], p[1] : p[1] + p[3]], places))
    by_place = dict(zip(places, stacks, strict=True))
    return [by_place[tuple(window[1:])][window[0]] for window in job["windows"]]
