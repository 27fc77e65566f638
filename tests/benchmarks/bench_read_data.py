"""COGs like the real ones for the read benchmark, and the jobs that peers are given."""

import json
import os
from pathlib import Path

import numpy as np
import rasterio
import tifffile
from rasterio.transform import from_origin

from tests.benchmarks.bench_read_scenarios import Scenario

DISTINCT = 5
"""Genuine files a scenario; further scenes are other names of the same ones."""
ORIGIN = (600000.0, 1500000.0)
PIXEL = 10.0


def pixels(size: int, dtype: str, seed: int) -> np.ndarray:
    """Make an image of smooth relief with noise: deflated 1024² tiles of uint16 take about 1.2 MB, as Sentinel-2's."""
    random = np.random.default_rng(seed)
    coarse = random.normal(size=(size // 64 + 3, size // 64 + 3)).cumsum(0).cumsum(1)
    coarse = (coarse - coarse.mean()) / coarse.std()
    at = np.arange(size) / 64
    low, part = at.astype(int), (at % 1)[:, None]
    rows = coarse[low] * (1 - part) + coarse[low + 1] * part
    smooth = rows[:, low] * (1 - part.T) + rows[:, low + 1] * part.T
    noise = random.normal(scale=0.02, size=(size, size))
    relief = 1500 + 500 * smooth + 500 * noise
    return np.clip(relief, 1, None).astype(dtype)


def write_scenes(scenario: Scenario, directory: Path) -> list[Path]:
    """Write a scenario's COGs once; later calls find them."""
    directory.mkdir(parents=True, exist_ok=True)
    profile = {"driver": "COG", "dtype": scenario.dtype, "count": 1, "width": scenario.size, "height": scenario.size}
    options = {"compress": "deflate", "predictor": scenario.predictor, "blocksize": scenario.tile, "num_threads": 2}
    place = {"crs": "EPSG:32643", "transform": from_origin(*ORIGIN, PIXEL, PIXEL)}
    paths = []
    for number in range(scenario.scenes):
        path = directory / f"scene_{number:03d}.tif"
        paths.append(path)
        if path.exists():
            continue
        if number >= DISTINCT and not scenario.local:
            os.link(paths[number % DISTINCT], path)
            continue
        with rasterio.open(path, "w", **profile, **options, **place) as target:
            target.write(pixels(scenario.size, scenario.dtype, number), 1)
    return paths


def windows(scenario: Scenario) -> list[tuple[int, int, int, int, int]]:
    """Choose the windows: (scene, first row, first column, rows, columns)."""
    if scenario.chips == 0:
        return [(scene, 0, 0, scenario.size, scenario.size) for scene in range(scenario.scenes)]
    random = np.random.default_rng(20240101)
    edge = scenario.size - scenario.chip
    if scenario.random:
        count = scenario.scenes * scenario.chips
        picks = zip(random.integers(0, scenario.scenes, count), random.integers(0, edge, (count, 2)), strict=True)
        return [(int(scene), int(row), int(column), scenario.chip, scenario.chip) for scene, (row, column) in picks]
    if scenario.within:
        tiles = random.integers(0, scenario.size // scenario.tile, (scenario.chips, 2))
        corners = tiles * scenario.tile + random.integers(0, scenario.tile - scenario.chip + 1, (scenario.chips, 2))
    else:
        corners = random.integers(0, edge, (scenario.chips, 2))
    return [
        (scene, int(row), int(column), scenario.chip, scenario.chip)
        for scene in range(scenario.scenes)
        for row, column in corners
    ]


def references(paths: list[Path]) -> list[list[tuple[int, int]]]:
    """Look up offset and byte count of every full-resolution tile, with tifffile: what the floor starts from."""
    known: dict[int, list[tuple[int, int]]] = {}
    found = []
    for path in paths:
        inode = path.stat().st_ino
        if inode not in known:
            with tifffile.TiffFile(path) as file:
                page = file.pages[0]
                known[inode] = list(zip(map(int, page.dataoffsets), map(int, page.databytecounts), strict=True))
        found.append(known[inode])
    return found


def write_job(scenario: Scenario, paths: list[Path], base: str, refs: Path, where: Path) -> Path:
    """Write what a peer needs to know as JSON."""
    job = {
        "base": base,
        "local": scenario.local,
        "files": [path.name for path in paths],
        "served": str(paths[0].parent),
        "windows": windows(scenario),
        "batch": scenario.batch,
        "refs": str(refs),
        "tile": scenario.tile,
        "size": scenario.size,
        "dtype": scenario.dtype,
        "origin": ORIGIN,
        "pixel": PIXEL,
        "tiles": references(paths),
    }
    where.write_text(json.dumps(job))
    return where
