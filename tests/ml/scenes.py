"""Small collections of generated COGs for datasets: scenes by assets, with dates, splits and labels."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import from_origin

import rasteret_refs as rr


@dataclass(frozen=True, kw_only=True)
class SceneSpec:
    """One scene to write."""

    id: str
    x: float = 600_000.0
    y: float = 1_500_000.0
    crs: str = "EPSG:32643"
    day: int = 0
    """Days after 2024-01-01."""
    size: int = 300
    properties: tuple = ()
    """(name, value) pairs."""


@dataclass(frozen=True, kw_only=True)
class AssetSpec:
    """One asset to write for each scene."""

    name: str
    pixel: float = 10.0
    dtype: str = "uint16"
    nodata: float | None = 0
    bands: int = 1
    low: int = 1
    high: int = 4000
    blank: float = 0.0
    """Share of the columns, from the left, that is nodata."""


def write_scenes(directory: Path, scenes, assets, *, block=128, base=None, seed=0, pixels=None) -> dict:
    """Write COGs `<scene>_<asset>.tif` and give them as a STAC ItemCollection, with hrefs below `base`."""
    directory.mkdir(parents=True, exist_ok=True)
    features = []
    for number, scene in enumerate(scenes):
        hrefs = {}
        for at, asset in enumerate(assets):
            name = f"{scene.id}_{asset.name}.tif"
            hrefs[asset.name] = {
                "href": f"{base}{name}" if base else str(directory / name),
                "type": "image/tiff; application=geotiff; profile=cloud-optimized",
                "roles": ["data"],
            }
            if not (directory / name).exists():
                write_one(directory / name, scene, asset, block=block, seed=(seed, number, at), pixels=pixels)
        when = np.datetime64("2024-01-01T05:00:00") + np.timedelta64(scene.day, "D")
        features.append({
            "type": "Feature", "stac_version": "1.0.0", "id": scene.id, "geometry": None, "links": [],
            "properties": {"datetime": f"{when}Z", **dict(scene.properties)}, "assets": hrefs,
        })  # fmt: skip
    items = {"type": "FeatureCollection", "features": features}
    (directory / "items.json").write_text(json.dumps(items))
    return items


def write_one(path, scene, asset, *, block, seed, pixels=None) -> None:
    """Write one tiled GeoTIFF; all-nodata tiles are sparse."""
    size = round(scene.size * 10.0 / asset.pixel)
    random = np.random.default_rng(seed)
    if pixels is None:
        data = random.integers(asset.low, asset.high, (asset.bands, size, size)).astype(asset.dtype)
    else:
        data = pixels(size, asset.dtype, int(random.integers(1000)))[None]
    if asset.blank:
        data[:, :, : round(size * asset.blank)] = asset.nodata
    profile = {
        "driver": "GTiff", "tiled": True, "blockxsize": block, "blockysize": block, "compress": "deflate",
        "predictor": 3 if data.dtype.kind == "f" else 2, "sparse_ok": True, "count": asset.bands, "height": size,
        "width": size, "dtype": asset.dtype, "crs": scene.crs, "nodata": asset.nodata, "num_threads": 2,
        "transform": from_origin(scene.x, scene.y, asset.pixel, asset.pixel),
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(data)


def collection(directory: Path, scenes, assets, *, layout="auto", columns=(), **options):
    """Write scenes and reference them."""
    write_scenes(directory, scenes, assets, **options)
    return rr.build(
        str(directory / "items.json"), directory / "set.refs", layout=layout, columns=columns, overwrite=True
    )


def read(directory: Path, scene: str, asset: str):
    """Read a whole image with rasterio: (bands, rows, columns)."""
    with rasterio.open(directory / f"{scene}_{asset}.tif") as file:
        return file.read()
