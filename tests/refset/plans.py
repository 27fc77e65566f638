"""Plans made by hand over uncompressed TIFFs, whose strips are Zarr chunks: tifffile writes, rasterio judges."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
import tifffile

from rasteret_refs.virtual.values import (
    ChunkManifest,
    CodecChain,
    CoordinateArray,
    Placement,
    ReferenceSetPlan,
    VirtualArray,
    VirtualGroup,
)

HEIGHT, WIDTH, ROWS = 40, 30, 8
"""Five strips of eight rows each."""
GROUP = "32643_600000_1500000_10/factor_1"
HOLE = np.full((ROWS, WIDTH), 7, np.uint16).tobytes()
"""An encoded chunk of "nodata"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A plan, and the pixels that rasterio reads from its sources: (scene, row, column)."""

    plan: ReferenceSetPlan
    pixels: npt.NDArray[np.uint16]
    ids: tuple[str, ...]
    urls: tuple[str, ...]


def write_tiffs(directory: Path, count: int, seed: int = 0) -> list[Path]:
    """Write little-endian, uncompressed, striped TIFFs of random pixels."""
    random = np.random.default_rng(seed)
    paths = []
    for number in range(count):
        path = directory / f"scene_{seed}_{number}.tif"
        pixels = random.integers(0, 65535, (HEIGHT, WIDTH), np.uint16)
        tifffile.imwrite(path, pixels, rowsperstrip=ROWS, byteorder="<", compression=None)
        paths.append(path)
    return paths


def plan_of(paths: Sequence[Path], urls: Sequence[str] | None = None, holes: Sequence[int] = ()) -> Planned:
    """Stack TIFFs along `scene`; scenes in `holes` are inlined chunks of sevens instead."""
    ids = tuple(path.stem for path in paths)
    addresses = tuple(urls if urls is not None else map(str, paths))
    offsets, sizes, url_index, inline, pixels = [], [], [], [], []
    for number, path in enumerate(paths):
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            offsets += list(page.dataoffsets)
            sizes += list(page.databytecounts)
        pixels.append(np.full((HEIGHT, WIDTH), 7, np.uint16) if number in holes else _pixels(path))
        strips = HEIGHT // ROWS
        url_index += [-1 if number in holes else number] * strips
        inline += [0 if number in holes else -1] * strips
    manifest = ChunkManifest(
        urls=addresses,
        url_index=np.array(url_index, np.int32),
        offsets=np.array(offsets, np.int64),
        sizes=np.array(sizes, np.int64),
        inlined=(HOLE,) if holes else (),
        inline=np.array(inline, np.int32) if holes else None,
    )
    plan = plan_around(manifest, ids)
    return Planned(plan=plan, pixels=np.stack(pixels), ids=ids, urls=addresses)


def _pixels(path: Path) -> npt.NDArray[np.uint16]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path) as dataset:
            return dataset.read(1)


def plan_around(manifest: ChunkManifest, ids: Sequence[str], **changes: Any) -> ReferenceSetPlan:
    """Return a plan with one array of this manifest and all kinds of coordinates."""
    count = len(ids)
    image = VirtualArray(
        name="image",
        shape=(count, HEIGHT, WIDTH),
        chunks=(1, ROWS, WIDTH),
        chain=CodecChain(dtype="<u2", chunk_shape=(ROWS, WIDTH), filters=(), compressor=None),
        dims=("scene", "y", "x"),
        attributes={"coordinates": "id spatial_ref", "grid_mapping": "spatial_ref"},
        manifest=manifest,
    )
    group = VirtualGroup(
        path=GROUP,
        attributes={"title": "tests"},
        arrays=(replace(image, **changes),),
        coordinates=coordinates(ids),
    )
    placements = tuple(
        Placement(scene_id=scene, asset="image", group=GROUP, array="image", index=index)
        for index, scene in enumerate(ids)
    )
    parent = VirtualGroup(path=GROUP.partition("/")[0], attributes={})
    return ReferenceSetPlan(
        groups=(VirtualGroup(path="", attributes={}), parent, group), placements=placements, layout="grids"
    )


def coordinates(ids: Sequence[str]) -> tuple[CoordinateArray, ...]:
    """Return a text, a compressed float and a scalar coordinate."""
    zlib = {"id": "zlib", "level": 6}
    delta = ({"id": "delta", "dtype": "<f8"},)
    return (
        CoordinateArray(name="id", values=np.array(ids, "<U16"), dims=("scene",), chunks=(4,), compressor=zlib),
        CoordinateArray(name="x", values=600005.0 + 10 * np.arange(WIDTH), dims=("x",), compressor=zlib, filters=delta),
        CoordinateArray(name="y", values=1499995.0 - 10 * np.arange(HEIGHT), dims=("y",), compressor=zlib),
        CoordinateArray(name="spatial_ref", values=np.array(0, "<i4"), dims=(), attributes={"crs_wkt": "LOCAL_CS[-]"}),
    )
