"""This library's batched reads: `Reader.read_many`."""

import numpy as np
import warm
from common import address, batches

from rasteret_refs.read.engine import open_reader
from rasteret_refs.read.reader import Window

TILE_CACHE = None


def prepare(job):
    """Import, open the reference set and, as the other peers do, the store of its objects."""
    warm.up()
    reader = open_reader(job["refs"], tile_cache=TILE_CACHE)
    reader.objects.connect(address(job, 0))
    return reader, reader.array("factor_1/image")


def read(job, prepared):
    """Read batch after batch."""
    reader, array = prepared
    arrays = []
    for batch in batches(job):
        arrays += reader.read_many([
            Window(array=array, key=(scene, slice(row, row + rows), slice(column, column + columns)))
            for scene, row, column, rows, columns in batch
        ])  # fmt: skip
    return [np.asarray(array) for array in arrays]
