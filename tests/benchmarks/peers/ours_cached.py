"""This library's batched reads with a cache of decoded tiles in memory, as large as GDAL's default block cache."""

import os

import ours
from ours import read  # noqa: F401 - the peer's interface

ours.TILE_CACHE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 20
prepare = ours.prepare
