"""Small Sentinel-2-like scenes: COGs that GDAL writes, and STAC items that name them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.transform import Affine, from_origin
from rasterio.warp import transform_bounds

HEIGHT, WIDTH, BLOCK = 300, 260, 128
"""Neither is a multiple of the tile's side."""
START = datetime(2024, 3, 1, 5, 30, tzinfo=UTC)
ORIGINS = {"43PGQ": (600_000.0, 1_500_000.0), "43PHQ": (700_000.0, 1_500_000.0)}
"""Upper left corners of two tiles in EPSG:32643."""


def write_cog(path: Path, pixels: npt.NDArray[Any], transform: Affine, **options: Any) -> Path:
    """Write (row, column) or (band, row, column) pixels with overviews."""
    planes = pixels.reshape(-1, *pixels.shape[-2:])
    scales, offsets = options.pop("scales", None), options.pop("offsets", None)
    profile = {
        "driver": "GTiff", "dtype": pixels.dtype, "count": len(planes), "width": planes.shape[2],
        "height": planes.shape[1], "crs": "EPSG:32643", "transform": transform, "tiled": True, "blockxsize": BLOCK,
        "blockysize": BLOCK, "compress": "deflate", "predictor": 2, "nodata": 0, **options,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(planes)
        if scales is not None:
            file.scales, file.offsets = scales, offsets
        file.build_overviews([2], rasterio.enums.Resampling.nearest)
    return path


def pixels_of(seed: int) -> npt.NDArray[np.uint16]:
    return np.random.default_rng(seed).integers(1, 4000, (HEIGHT, WIDTH)).astype(np.uint16)


def transform_of(tile: str) -> Affine:
    return from_origin(*ORIGINS[tile], 10, 10)


def item(name: str, assets: dict[str, Any], when: datetime, tile: str = "43PGQ", **properties: Any) -> dict[str, Any]:
    """A STAC item; `assets` are paths, or whole asset objects."""
    x, y = ORIGINS[tile]
    west, south, east, north = transform_bounds(
        "EPSG:32643", "OGC:CRS84", x, y - 10 * HEIGHT, x + 10 * WIDTH, y
    )  # fmt: skip
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {
        "type": "Feature", "stac_version": "1.0.0", "stac_extensions": [], "id": name,
        "geometry": {"type": "Polygon", "coordinates": [ring]}, "bbox": [west, south, east, north],
        "collection": properties.pop("collection", "scenes"), "links": [],
        "properties": {"datetime": when.isoformat().replace("+00:00", "Z"), **properties},
        "assets": {
            key: value if isinstance(value, dict) else {
                "href": str(value), "type": "image/tiff; application=geotiff; profile=cloud-optimized",
                "roles": ["data"],
            }
            for key, value in assets.items()
        },
    }  # fmt: skip


def items(directory: Path, count: int = 4, first: int = 0) -> list[dict[str, Any]]:
    """Items of two tiles, alternating; assets `red` and `nir`; the later a scene, the smaller its number."""
    found = []
    for number in range(first, first + count):
        tile = ["43PGQ", "43PHQ"][number % 2]
        name = f"S2A_{tile}_{number:03d}"
        assets = {
            band: write_cog(directory / f"{name}_{band}.tif", pixels_of(10 * number + k), transform_of(tile))
            for k, band in enumerate(("red", "nir"))
        }
        when = START + timedelta(days=5 * (100 - number))
        found.append(
            item(name, assets, when, tile, **{"eo:cloud_cover": float(7 * number % 40), "platform": "sentinel-2a"})
        )
    return found


def read(path: str | Path) -> npt.NDArray[Any]:
    """What rasterio reads of the first band."""
    with rasterio.open(path) as file:
        pixels: npt.NDArray[Any] = file.read(1)
    return pixels
