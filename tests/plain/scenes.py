"""A few genuine COGs, written by GDAL, and the pixels that were written."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.transform import from_origin

HEIGHT, WIDTH = 700, 610
"""Not a multiple of the tile size, and odd on the way down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenes:
    """Scenes of one grid: files and their pixels."""

    paths: tuple[Path, ...]
    pixels: npt.NDArray[np.uint16]
    """(scene, row, column)."""
    overview: npt.NDArray[np.uint16]
    """(scene, row, column) of factor 2, as rasterio reads it."""


def write_cog(path: Path, pixels: npt.NDArray[np.generic], **options: object) -> Path:
    """Write (row, column) pixels as a COG on a UTM grid of 10 m."""
    with rasterio.open(
        path,
        "w",
        driver="COG",
        width=pixels.shape[1],
        height=pixels.shape[0],
        count=1,
        dtype=pixels.dtype,
        crs="EPSG:32643",
        transform=from_origin(600000, 1500000, 10, 10),
        **{"compress": "deflate", "predictor": 2, "blocksize": 256, "nodata": 0, **options},
    ) as file:
        file.write(pixels, 1)
    return path


def write_scenes(directory: Path, count: int = 3) -> Scenes:
    """Write scenes of one grid: uint16, Deflate, predictor 2, 256-pixel tiles, overviews."""
    random = np.random.default_rng(7)
    pixels = random.integers(0, 3000, (count, HEIGHT, WIDTH), dtype=np.uint16).cumsum(axis=2, dtype=np.uint16)
    paths = tuple(write_cog(directory / f"scene_{number}.tif", image) for number, image in enumerate(pixels))
    overviews = []
    for path in paths:
        with rasterio.open(path, overview_level=0) as file:
            overviews.append(file.read(1))
    return Scenes(paths=paths, pixels=pixels, overview=np.stack(overviews))
