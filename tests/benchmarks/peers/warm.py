"""What comes before the clock runs, for every peer: imports, and the memory that a virtual machine has given back."""

import mmap
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

PAGE = 2 * 1024 * 1024
"""A huge page."""
SLOW = 0.002
"""Seconds: a host takes 6 ms to find a huge page, a kernel a quarter of one to clear it."""
ROUNDS = 10


def settle(served: Iterable[Path] = ()) -> None:
    """Bring back what a virtual machine has given to its host: pages of files first, then free memory.

    Neither is a peer's doing. Where the system drops what has not been used for a while (Linux's DAMON), libraries and
    the server's files come from the disk again: up to 15 major faults and 100 MB within one series' clock.

    Free memory is touched and given back. Once is not enough: memory that the host has taken back lies among what was
    given back, and each processor has free pages of its own. So until no processor is given a page that takes long, a
    few times at most.

    Parameters
    ----------
    served
        Files that the server reads.
    """
    for path in {*_mapped(), *served}:
        with suppress(OSError), path.open("rb", buffering=0) as file:
            while file.read(PAGE):
                pass
    for _ in range(ROUNDS):
        np.ones(512 * 1024 * 1024, np.uint8)
        if not any(_is_slow(processor) for processor in _processors()):
            return


def _mapped() -> Iterator[Path]:
    """Give the files that this process maps, libraries mostly, and PROJ's databases, which it reads; on Linux."""
    maps = Path("/proc/self/maps")
    for line in maps.read_text().splitlines() if maps.exists() else ():
        *_, name = line.split(maxsplit=5)
        if name.startswith("/") and Path(name).is_file():
            yield Path(name)
    for package in ("pyproj", "rasterio"):
        if package in sys.modules:
            yield from Path(str(sys.modules[package].__file__)).parent.rglob("proj.db")


def _processors() -> Iterator[int | None]:
    yield from sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [None]


def _is_slow(processor: int | None) -> bool:
    """Tell whether any of 32 fresh huge pages takes long on a processor."""
    longest = 0.0

    def touch() -> None:
        nonlocal longest
        if processor is not None:
            os.sched_setaffinity(0, {processor})  # of this thread
        with mmap.mmap(-1, 33 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
            if hasattr(mmap, "MADV_HUGEPAGE"):
                memory.madvise(mmap.MADV_HUGEPAGE)
            for page in range(32):
                begin = time.perf_counter()
                memory[page * PAGE] = 1
                longest = max(longest, time.perf_counter() - begin)

    thread = threading.Thread(target=touch)
    thread.start()
    thread.join()
    return longest > SLOW


def up():
    """Import what reads import at their first use."""
    import aiohttp  # noqa: F401
    import dask.array  # noqa: F401
    import fsspec.implementations.http
    import fsspec.implementations.local  # noqa: F401
    import imagecodecs
    import odc.geo.overlap  # noqa: F401
    import pyarrow.compute
    import pyarrow.parquet  # noqa: F401
    import rasterio.warp  # noqa: F401

    from rasteret_refs.objects.runtime import obstore

    obstore()
    imagecodecs.deflate_decode  # noqa: B018 - loads the extension
    imagecodecs.delta_decode  # noqa: B018
