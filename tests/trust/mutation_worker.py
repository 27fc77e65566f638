"""Mutates seeds and examines each case, in a process of its own; reports as lines of JSON.

python -m tests.trust.mutation_worker FIRST_SEED LAST_SEED MUTATIONS
"""

import json
import random
import resource
import sys
import time
import warnings

import numpy as np
import rasterio
from rasterio.io import MemoryFile

from rasteret_refs.errors import RasteretRefsError
from tests.trust.examine import Examined, examine
from tests.trust.mutate import mutated
from tests.trust.seeds import seeds

MOST_PIXELS = 1 << 22
"""Images that the oracle reads."""


def oracle(data: bytes) -> "np.ndarray | None":
    """What GDAL reads, (band, row, column); None where it refuses or warns."""
    try:
        with warnings.catch_warnings(action="ignore"), MemoryFile(data) as memory, memory.open() as source:
            if source.count * source.width * source.height > MOST_PIXELS:
                return None
            return source.read()
    except Exception:  # noqa: BLE001 - whatever GDAL finds wrong
        return None


def verdict(found: Examined, data: bytes) -> str:
    """Say how a case ended: refused, undecoded, read, the same as GDAL or other pixels."""
    if found.refused:
        return "refused"
    if found.pixels is None:
        return "undecoded" if found.undecoded else "referenced"
    expected = oracle(data)
    if expected is None or expected.shape != found.pixels.shape or expected.dtype != found.pixels.dtype:
        return "read"
    same = np.array_equal(expected, found.pixels, equal_nan=expected.dtype.kind in "fc")
    return "same" if same else "other pixels"


def main(first: int, last: int, mutations: int) -> None:
    """Examine `mutations` cases of each seed."""
    known = seeds()
    for _, data in known:  # imports, caches and PROJ's database do not count
        examine(data)
    rasterio.Env(GDAL_NUM_THREADS=1, CPL_LOG="/dev/null").__enter__()
    for number in range(first, min(last, len(known))):
        name, data = known[number]
        source = random.Random(number)  # noqa: S311 - to be repeated
        for case in range(mutations):
            changed = mutated(data, source)
            before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
            row: dict[str, object] = {"seed": name, "case": case}
            try:
                found = examine(changed)
            except RasteretRefsError as error:
                row["foreign"] = f"escaped: {error!r}"
            except BaseException as error:  # noqa: BLE001 - what must not come is what is looked for
                row["foreign"] = repr(error)[:300]
            else:
                row["seconds"] = time.process_time() - began
                row["mib"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
                row["verdict"] = verdict(found, changed)
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
