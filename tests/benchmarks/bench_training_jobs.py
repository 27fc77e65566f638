"""One measurement of `bench_training` in a fresh process, and the collections that they read."""

import hashlib
import importlib
import json
import os
import sys
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import rasterio
from rasterio.transform import from_origin
from rasterio.vrt import WarpedVRT
from rasterio.warp import Resampling

from tests.benchmarks.bench_read_data import pixels
from tests.benchmarks.peers.warm import settle
from tests.ml.scenes import AssetSpec, SceneSpec, write_scenes

BANDS = ("red", "green", "blue", "nir")
CHIP = 256
SEED = 20240101


def _spread(count: int, size: int) -> list[SceneSpec]:
    return [SceneSpec(id=f"s{n:03d}", x=600_000.0 + n * size * 10, day=n, size=size) for n in range(count)]


# Scenes of many tiles, as real ones: few of them would end in GDAL's block cache, and no request would be measured.
SHAPES = {
    "chips": {"scenes": _spread(12, 4096), "bands": BANDS, "chips": 64, "stacked": False, "warm": True},
    "local": {"scenes": _spread(12, 4096), "bands": BANDS, "chips": 512, "stacked": False, "warm": True},
    "one": {
        "scenes": [SceneSpec(id=f"s{n:03d}", day=n, size=4096) for n in range(15)],
        "bands": ("red",), "chips": 2, "stacked": True, "title": "one area, 15 scenes, as a series",
    },
    "several": {
        "scenes": [SceneSpec(id=f"s{n:03d}", day=n, size=4096) for n in range(30)],
        "bands": ("red",), "chips": 4, "stacked": True, "title": "several areas, 30 scenes, as series",
    },
    # Where Rasteret's own comparison crosses a boundary: Sentinel-2's tiles 43QHV and 44QKE, six days of each.
    "boundary": {
        "scenes": [
            SceneSpec(id=f"s{n:03d}", day=n // 2 * 5, size=10_980, crs=f"EPSG:{32643 + n % 2}",
                      x=(799_980.0, 199_980.0)[n % 2], y=2_000_040.0) for n in range(12)
        ],
        "bands": ("red",), "chips": 2, "stacked": True, "genuine": 3,
        "title": "across a CRS boundary, 12 scenes, as a series",
    },
}  # fmt: skip
AREA = (78.25, 17.30, 78.45, 17.40)
"""Degrees: where Rasteret's own comparison draws its chips across the boundary, see `make_environment`."""


def prepare(name: str, root: Path, url: str | None) -> dict:
    """Write a shape's COGs and reference them; what `child` needs to know."""
    import rasteret_refs as rr

    shape = SHAPES[name]
    directory = root / ("chips" if name == "local" else name)
    base = f"{url}{directory.name}/" if url else None
    assets = [AssetSpec(name=band) for band in shape["bands"]]
    if "genuine" in shape:
        _write_as_published(directory, shape)
    items = write_scenes(directory, shape["scenes"], assets, block=1024, base=base, pixels=_distinct())
    begin = time.perf_counter()
    rr.build(items, root / f"{name}.refs", overwrite=True)
    built = time.perf_counter() - begin
    job = {"name": name, "refs": str(root / f"{name}.refs"), "files": base or f"{directory}/", "build": built}
    job["served"] = str(directory)
    return {**job, "title": shape["title"]} if "title" in shape else job


def _write_as_published(directory: Path, shape: dict) -> None:
    """Write scenes as Earth Search publishes Sentinel-2 L2A: 10,980² pixels, tiles of 1024², overviews, headers first.

    A few genuine files for each CRS; further scenes are other names of the same ones, as in `bench_read_data`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    written: dict[str, list[Path]] = {}
    for number, scene in enumerate(shape["scenes"]):
        path, genuine = directory / f"{scene.id}_{shape['bands'][0]}.tif", written.setdefault(scene.crs, [])
        genuine.append(path)
        if path.exists():
            continue
        if len(genuine) > shape["genuine"]:
            os.link(genuine[(len(genuine) - 1) % shape["genuine"]], path)
            continue
        profile = {
            "driver": "COG", "width": scene.size, "height": scene.size, "count": 1, "dtype": "uint16", "nodata": 0,
            "crs": scene.crs, "transform": from_origin(scene.x, scene.y, 10, 10), "compress": "deflate",
            "predictor": 2, "blocksize": 1024, "overview_resampling": "nearest", "num_threads": 2,
        }  # fmt: skip
        half = pixels(scene.size // 2, "uint16", number)
        with rasterio.open(path, "w", **profile) as file:
            file.write(np.tile(half, (2, 2)), 1)


def _distinct():
    made: dict[tuple, np.ndarray] = {}

    def make(size, dtype, seed):
        key = (size, dtype, seed % 5)
        if key not in made:
            made[key] = pixels(*key)
        return made[key]

    return make


def torchgeo_dataset(job: dict, shape: dict):
    """TorchGeo's own, on rasterio: one file a band."""
    from tests.ml_torch.peer import Scenes

    prefix = f"/vsicurl/{job['files']}" if job["files"].startswith("http") else job["files"]
    names = [scene.id for scene in shape["scenes"]]
    days = [scene.day for scene in shape["scenes"]]
    return Scenes(prefix, names, days, shape["bands"], crs=_crs(job), time_series=shape["stacked"])


def _crs(job):
    from pyproj import CRS

    return CRS.from_epsg(32643) if job["name"] == "boundary" else None


def our_dataset(job: dict, shape: dict):
    """Ours, in native dtypes."""
    import rasteret_refs as rr

    collection = rr.open(job["refs"])
    return collection.to_torchgeo(shape["bands"], time_series=shape["stacked"], crs=_crs(job), resampling="bilinear")


def sampler_of(dataset, shape: dict, name: str, times: int = 1, seed: int = SEED):
    """The same places for both."""
    from torchgeo.samplers import RandomPatchSampler

    roi = None
    if name == "boundary":
        dataset, roi = _common_ground(shape)
    return RandomPatchSampler(dataset, size=CHIP, length=shape["chips"] * times, generator=seed, roi=roi)


def _common_ground(shape: dict):
    """What chips across the boundary are drawn from: the area, on the pixels of the scenes in the dataset's CRS.

    Samplers count pixels from the corner of all scenes. TorchGeo warps the other scenes to grids of their own, so its
    corner lies between pixels, and the same seed would give both datasets other places.
    """
    import geopandas
    import pyproj
    import shapely

    first = shape["scenes"][0]
    box = shapely.box(first.x, first.y - first.size * 10, first.x + first.size * 10, first.y)
    index = geopandas.GeoDataFrame(geometry=[box], crs=first.crs)
    to_scene = pyproj.Transformer.from_crs(4326, first.crs, always_xy=True)
    roi = shapely.transform(shapely.box(*AREA), to_scene.transform, interleaved=False)
    return SimpleNamespace(index=index, res=(10.0, 10.0)), roi


def measure(job: dict) -> dict:
    """Open, then read every chip once through a DataLoader."""
    import torch
    from torch.utils.data import DataLoader
    from torchgeo.datasets import stack_samples

    import tests.ml_torch.peer  # noqa: F401 - imports are no part of what is measured

    import_all()

    torch.set_num_threads(1)
    shape = SHAPES[job["name"]]
    make = our_dataset if job["who"] == "ours" else torchgeo_dataset
    make_environment()
    settle(Path(job["served"]).glob("*.tif"))
    begin = time.perf_counter()
    dataset = make(job, shape)
    opening = time.perf_counter() - begin
    loader = DataLoader(
        dataset, batch_size=32,
        sampler=sampler_of(dataset, shape, job["name"], 2 * job["workers"] or 1, job.get("seed", SEED)),
        num_workers=job["workers"], collate_fn=stack_samples,
        multiprocessing_context="spawn" if job["workers"] else None, # forked, GDAL's connections are shared and garbled
    )  # fmt: skip
    begin = time.perf_counter()
    seconds, count, kept = 0.0, 0, []
    for number, batch in enumerate(loader):
        kept.append((batch["image"], batch["bounds"]))
        if number < job["workers"]:  # until the workers have started
            begin = time.perf_counter()
        else:
            count += len(batch["bounds"])
        seconds = time.perf_counter() - begin  # the workers' end does not count
    total = seconds if shape.get("warm") else seconds + opening
    return {
        "seconds": total, "opening": opening, "chips": count, **_pixels(kept, job, shape),
        "places": [places for _, bounds in kept for places in _places(bounds, shape["scenes"])],
    }  # fmt: skip


def _pixels(kept: list, job: dict, shape: dict) -> dict:
    """A digest of the chips; where CRSs differ, of those scenes that nobody warps.

    TorchGeo warps the others by nearest neighbour to a grid of their own and resamples that, ours once: those of ours
    are compared with what GDAL makes of the files when it warps them straight onto the chip.
    """
    digest, each, off = hashlib.sha256(), [], [0]
    for image, bounds in kept:
        for chip, place in zip(image.numpy().astype(np.uint16), bounds.double().tolist(), strict=True):
            each.append(hashlib.sha256(chip.tobytes()).hexdigest()[:16])
            for number, layer in enumerate(chip if "genuine" in shape else [chip]):
                scene = shape["scenes"][number]
                if "genuine" not in shape or scene.crs == shape["scenes"][0].crs:
                    digest.update(layer.tobytes())
                elif job["who"] == "ours":
                    path = Path(job["refs"]).with_suffix("") / f"{scene.id}_{shape['bands'][0]}.tif"
                    wanted = _warped(path, place[0], place[4], shape["scenes"][0].crs)
                    off.append(int(np.abs(layer[0].astype(int) - wanted).max()))
    return {"digest": digest.hexdigest(), "each": each, "off": max(off)}


def _warped(path: Path, west: float, north: float, crs: str) -> np.ndarray:
    """What GDAL makes of a file on the grid of a chip."""
    place = {"crs": crs, "transform": from_origin(west, north, 10, 10), "width": CHIP, "height": CHIP}
    with rasterio.open(path) as file, WarpedVRT(file, resampling=Resampling.bilinear, **place) as warped:
        return warped.read(1).astype(int)


def _places(bounds, scenes) -> list[list]:
    """Scene and (west, south, east, north) of each chip, where scenes lie side by side from west to east."""
    found = []
    for west, east, _, south, north, *_ in bounds.double().round().tolist():
        name = next((s.id for s in scenes if s.x <= west < s.x + s.size * 10), scenes[0].id)
        found.append([name, west, south, east, north])
    return found


def import_all() -> None:
    """Import what is imported lazily: the clock runs from "imports done"."""
    import pkgutil

    import aiohttp  # noqa: F401
    import fsspec.implementations.local  # noqa: F401
    import imagecodecs
    import orjson  # noqa: F401
    import pyarrow.compute
    import pyarrow.parquet  # noqa: F401
    import rasterio.warp  # noqa: F401
    import torchgeo.samplers  # noqa: F401

    import rasteret_refs
    import rasteret_refs_codecs
    from rasteret_refs.objects.runtime import obstore

    obstore()
    imagecodecs.deflate_decode  # noqa: B018 - loads the extension
    imagecodecs.delta_decode  # noqa: B018
    for package in (rasteret_refs, rasteret_refs_codecs):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)


def make_environment() -> None:
    """GDAL as Rasteret's own comparison with TorchGeo sets it, after Pangeo's advice for remote COGs.

    https://terrafloww.github.io/rasteret/explanation/benchmark/
    """
    os.environ["GDAL_DISABLE_READDIR_ON_OPEN"] = "EMPTY_DIR"
    for name in ("GDAL_MAX_RAW_BLOCK_CACHE_SIZE", "GDAL_SWATH_SIZE", "VSI_CURL_CACHE_SIZE"):
        os.environ[name] = "200000000"


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps(measure(json.loads(sys.argv[1]))))
