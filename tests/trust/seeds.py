"""Seeds of the campaigns: small sound TIFFs of many kinds, written by rasterio, by tifffile and by hand."""

import random
import tempfile
from functools import cache
from pathlib import Path

from tests.oracle.matrix import combinations
from tests.oracle.special import special_files
from tests.tiff.test_hostile import SEEDS as HAND_MADE

LARGEST = 40_000
"""Bytes: mutations of small files hit more."""
OF_THE_MATRIX = 30


@cache
def seeds() -> tuple[tuple[str, bytes], ...]:
    """Names and bytes, always the same ones; at least forty."""
    found = [(f"by hand {number}", data) for number, data in enumerate(HAND_MADE)]
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        wanted = random.Random(0).sample(list(combinations()), 3 * OF_THE_MATRIX)  # noqa: S311 - to be repeated
        for combination in wanted:
            path = combination.write(directory)
            if path is not None and path.stat().st_size <= LARGEST and len(found) < OF_THE_MATRIX + len(HAND_MADE):
                found.append((combination.name, path.read_bytes()))
        for label, write in sorted(special_files().items()):
            if "gigabytes" in label:
                continue
            path = directory / f"{label}.tif"
            write(path)
            if path.stat().st_size <= LARGEST:
                found.append((label, path.read_bytes()))
    assert len(found) >= 40
    return tuple(found)
