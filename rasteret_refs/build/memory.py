"""Memory between the steps of a build: what scanning took is given back before writing takes its own."""

import ctypes
import gc
import sys


def give_back() -> None:
    """Return freed memory to the system.

    glibc keeps the pages of freed small arrays for itself, and the offsets of ten thousand headers are such: a hundred
    megabytes stayed taken while the set was written. See malloc_trim(3); elsewhere this only collects garbage.
    """
    gc.collect()
    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)
