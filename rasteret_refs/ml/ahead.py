"""What the first batch needs besides its pixels, begun in threads as soon as a dataset is made."""

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from urllib.parse import urlsplit

import numpy as np

from rasteret_refs.errors import RasteretRefsError
from rasteret_refs.ml.images import AssetImages, Integers
from rasteret_refs.read.reader import Reader

ARRAYS = 8
"""Arrays whose first manifest file is loaded ahead, at most; the others' are when they are needed."""

_running: list[threading.Thread] = []


def begin(reader: Reader, images: Sequence[AssetImages], rows: Integers) -> None:
    """Load manifests and versions and open the connections' stores beside what the caller goes on with.

    What fails here fails again, and is told, when pixels are read.

    Parameters
    ----------
    reader
        What reads the pixels.
    images, rows
        What is read, and the rows of the scene table that are read.
    """
    _in_thread(lambda: _load(reader, images, rows))


def _in_thread(work: Callable[[], None]) -> None:
    def run() -> None:
        with suppress(RasteretRefsError):
            work()

    _running[:] = [thread for thread in _running if thread.is_alive()]
    thread = threading.Thread(target=run, name="rasteret-refs-ahead", daemon=True)
    _running.append(thread)
    thread.start()


def _load(reader: Reader, images: Sequence[AssetImages], rows: Integers) -> None:
    hosts: set[str] = set()
    for one in images[:ARRAYS]:
        codes, first = np.unique(one.code[rows], return_index=True)
        for code, at in list(zip(codes.tolist(), first.tolist(), strict=True))[:ARRAYS]:
            array, row = one.arrays[code], rows[at]
            number = int(one.index[row]) // array.chunks[0] * array.strides[0]
            url = reader.manifests.locate(array, np.array([number], np.int64)).urls[0]
            connect = getattr(reader.objects, "connect", None)
            if url is None or connect is None or reader.objects.is_local(url):
                continue
            host = urlsplit(url).netloc
            if host not in hosts:
                hosts.add(host)
                connect(url)
    if hosts and reader.versions is not None:
        reader.versions.load()


def _finish() -> None:
    """Wait for the threads before a fork: the child would inherit their locks, and never get them."""
    for thread in _running:
        thread.join()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_finish)
