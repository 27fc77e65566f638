"""One measurement of `bench_training` in a fresh process, and the collections that they read."""

import hashlib
import importlib
import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np

from tests.benchmarks.bench_read_data import pixels
from tests.ml.scenes import AssetSpec, SceneSpec, write_scenes

BANDS = ("red", "green", "blue", "nir")
CHIP = 256


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
    "boundary": {
        "scenes": [
            SceneSpec(id=f"s{n:03d}", day=n, size=4096, crs=f"EPSG:{32643 + n % 2}",
                      x=(772_000.0, 118_000.0)[n % 2], y=1_500_000.0) for n in range(12)
        ],
        "bands": ("red",), "chips": 2, "stacked": True, "title": "across a CRS boundary, 12 scenes, as a series",
    },
}  # fmt: skip


def prepare(name: str, root: Path, url: str | None) -> dict:
    """Write a shape's COGs and reference them; what `child` needs to know."""
    import rasteret_refs as rr

    shape = SHAPES[name]
    directory = root / ("chips" if name == "local" else name)
    base = f"{url}{directory.name}/" if url else None
    assets = [AssetSpec(name=band) for band in shape["bands"]]
    items = write_scenes(directory, shape["scenes"], assets, block=1024, base=base, pixels=_distinct())
    begin = time.perf_counter()
    rr.build(items, root / f"{name}.refs", overwrite=True)
    built = time.perf_counter() - begin
    job = {"name": name, "refs": str(root / f"{name}.refs"), "files": base or f"{directory}/", "build": built}
    return {**job, "title": shape["title"]} if "title" in shape else job


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


def sampler_of(dataset, shape: dict, name: str, times: int = 1):
    """The same places for both."""
    from torchgeo.samplers import RandomPatchSampler

    roi = None
    if name == "boundary":
        import shapely

        roi = shapely.box(774_000.0, 1_482_000.0, 790_000.0, 1_498_000.0)
    return RandomPatchSampler(dataset, size=CHIP, length=shape["chips"] * times, generator=20240101, roi=roi)


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
    begin = time.perf_counter()
    dataset = make(job, shape)
    opening = time.perf_counter() - begin
    loader = DataLoader(
        dataset, sampler=sampler_of(dataset, shape, job["name"], 2 * job["workers"] or 1), batch_size=32,
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
    digest = hashlib.sha256()
    for image, _ in kept:
        for chip in image:
            digest.update(chip.numpy().astype(np.uint16).tobytes())
    total = seconds if shape.get("warm") else seconds + opening
    return {
        "seconds": total, "opening": opening, "chips": count, "digest": digest.hexdigest(),
        "places": [places for _, bounds in kept for places in _places(bounds, shape["scenes"])],
    }  # fmt: skip


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
    import pyarrow.compute
    import pyarrow.parquet  # noqa: F401
    import rasterio.warp  # noqa: F401
    import torchgeo.samplers  # noqa: F401

    import rasteret_refs
    from rasteret_refs.objects.runtime import obstore

    obstore()
    imagecodecs.deflate_decode  # noqa: B018 - loads the extension
    imagecodecs.delta_decode  # noqa: B018
    for module in pkgutil.walk_packages(rasteret_refs.__path__, "rasteret_refs."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def make_environment() -> None:
    """GDAL as Rasteret's own comparison with TorchGeo sets it, after Pangeo's advice for remote COGs.

    https://terrafloww.github.io/rasteret/explanation/benchmark/
    """
    import os

    os.environ["GDAL_DISABLE_READDIR_ON_OPEN"] = "EMPTY_DIR"
    for name in ("GDAL_MAX_RAW_BLOCK_CACHE_SIZE", "GDAL_SWATH_SIZE", "VSI_CURL_CACHE_SIZE"):
        os.environ[name] = "200000000"


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps(measure(json.loads(sys.argv[1]))))
