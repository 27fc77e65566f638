"""Genuine COGs, and reference sets of them."""

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

import rasteret_refs as rr
from rasteret_refs.build.run import build
from tests.servers.range_server import serve


def write_cog(path, pixels, *, origin=(600000.0, 1500000.0), pixel=10.0, crs="EPSG:32643", **options):
    """Write pixels (bands, rows, columns) as a COG."""
    profile = {
        "driver": "COG",
        "dtype": pixels.dtype,
        "count": pixels.shape[0],
        "height": pixels.shape[1],
        "width": pixels.shape[2],
        "crs": crs,
        "transform": from_origin(*origin, pixel, pixel),
        "compress": "deflate",
        "predictor": 2,
        "blocksize": 128,
    }
    with rasterio.open(path, "w", **(profile | options)) as target:
        target.write(pixels)
    return path


def noise(shape, dtype="u2", seed=0):
    return np.random.default_rng(seed).integers(1, 4000, shape).astype(dtype)


def set_of(scenes, out, **options):
    """Build a set of `build.scene.Scene`s, and open it."""
    build(scenes, out, **options)
    return rr.open(out)


@pytest.fixture(scope="session")
def cogs(tmp_path_factory):
    """Four single-band scenes of one grid, 500 × 700."""
    directory = tmp_path_factory.mktemp("cogs")
    return [write_cog(directory / f"scene_{n}.tif", noise((1, 500, 700), seed=n)) for n in range(4)]


@pytest.fixture(scope="session")
def pixels(cogs):
    stack = []
    for path in cogs:
        with rasterio.open(path) as file:
            stack.append(file.read(1))
    return np.stack(stack)


@pytest.fixture(scope="session")
def refs(cogs, tmp_path_factory):
    """A reference set over files."""
    out = tmp_path_factory.mktemp("sets") / "local.refs"
    rr.build([str(path) for path in cogs], out)
    return out


@pytest.fixture(scope="session")
def server(cogs):
    with serve(cogs[0].parent, process=True) as running:
        yield running


@pytest.fixture(scope="session")
def remote_refs(cogs, server, tmp_path_factory):
    """A reference set over the same files behind HTTP."""
    out = tmp_path_factory.mktemp("sets") / "remote.refs"
    rr.build([server.url + path.name for path in cogs], out)
    return out
