"""A few genuine scenes and sets of them, and what the pixels are."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
from rasterio.transform import from_origin

import rasteret_refs as rr
from tests.servers.range_server import Server, serve

SCENES = 3


def write_scene(path: Path, seed: int, *, side: int = 192, compress: str = "deflate") -> npt.NDArray[np.uint16]:
    """Write one tiled GeoTIFF; return its pixels."""
    pixels = np.random.default_rng(seed).integers(1, 4000, (side, side)).astype(np.uint16)
    options = {"predictor": 2} if compress != "none" else {}
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint16", count=1, height=side, width=side, crs="EPSG:32643",
        transform=from_origin(600000.0, 1500000.0, 10.0, 10.0), compress=compress, tiled=True, blockxsize=64,
        blockysize=64, **options,
    ) as target:  # fmt: skip
        target.write(pixels, 1)
    return pixels


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with `s0.tif`, `s1.tif`, …, compressed, and `raw0.tif`, …, not compressed."""
    directory = tmp_path_factory.mktemp("scenes")
    for number in range(SCENES):
        write_scene(directory / f"s{number}.tif", number)
        write_scene(directory / f"raw{number}.tif", number, compress="none")
    return directory


@pytest.fixture(scope="session")
def pixels(scenes: Path) -> npt.NDArray[np.uint16]:
    """What rasterio reads from the scenes, (scene, row, column)."""
    found = []
    for number in range(SCENES):
        with rasterio.open(scenes / f"s{number}.tif") as source:
            found.append(source.read(1))
    return np.stack(found)


@pytest.fixture(scope="session")
def local_refs(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set over local files, built here."""
    out = tmp_path_factory.mktemp("sets") / "local.refs"
    rr.build([str(scenes / f"s{number}.tif") for number in range(SCENES)], out)
    return out


@pytest.fixture
def served(scenes: Path) -> Iterator[Server]:
    """The scenes over HTTP, in a thread."""
    with serve(scenes) as running:
        yield running


@pytest.fixture
def canary() -> Iterator[Server]:
    """A server that must not see any request."""
    with serve() as running:
        running.put("s0.tif", bytes(range(256)) * 2000)
        yield running
