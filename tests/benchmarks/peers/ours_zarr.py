"""This library's store and codec pipeline under plain Zarr indexing."""

from concurrent.futures import ThreadPoolExecutor

import warm
from common import address

from rasteret_refs.read.engine import open_reader
from rasteret_refs.read.pipeline import open_array
from rasteret_refs.read.store import ReferenceStore


def prepare(job):
    """Import, open the array and, as the other peers do, the store of its objects."""
    warm.up()
    reader = open_reader(job["refs"])
    reader.objects.connect(address(job, 0))
    return open_array(ReferenceStore(reader), "factor_1/image")


def read(job, prepared):
    """Read each place once for all scenes, the places side by side."""
    places = list(dict.fromkeys(tuple(window[1:]) for window in job["windows"]))
    with ThreadPoolExecutor(len(places)) as pool:
        stacks = list(pool.map(lambda p: prepared[:, p[0] : p[0] + p[2], p[1] : p[1] + p[3]], places))
    by_place = dict(zip(places, stacks, strict=True))
    return [by_place[tuple(window[1:])][window[0]] for window in job["windows"]]
