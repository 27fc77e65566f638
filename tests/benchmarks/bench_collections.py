"""Whole collections: files, bytes, opening times, memory and what an append rewrites.

`python -m tests.benchmarks.bench_collections [--scenes 10000] [NAME...]`. Headers come from COGs without pixels, at
their full sizes, on a loopback server in a process of its own, without delay; each build and each opening has a fresh
process. Opening times are after imports, median of five.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from rasteret_refs.build.scene import Asset, Scene
from tests.headers import SENTINEL_2, Cog
from tests.servers.range_server import serve

START = datetime(2024, 1, 1, tzinfo=UTC)
APPENDS = 5
"""Appends of 1 % each, one after another."""
DEM_WIDTHS = (3600, 2400, 1800, 1200, 720, 360)
"""Copernicus DEM GLO-30: columns by latitude (3,600 rows always)."""


def own_grids(number: int) -> Iterator[Cog]:
    """COGs that each have a grid of their own: in turn a DEM tile, a Landsat scene, a NAIP quarter quadrangle."""
    for index in range(number):
        place = (300000.0 + 30.0 * (index % 997), 4000000.0 + 30.0 * index)
        kind = index % 3
        if kind == 0:
            width = DEM_WIDTHS[index // 3 % len(DEM_WIDTHS)]
            yield Cog(size=3600, width=width, bits=32, overviews=2, resolution=30.0, origin=place)
        elif kind == 1:
            height, width = 7600 + 7 * (index % 53), 7500 + 11 * (index % 47)
            yield Cog(size=height, width=width, tile=256, overviews=4, resolution=30.0, origin=place, epsg=32644)
        else:
            height, width = 12000 + 10 * (index % 37), 9800 + 10 * (index % 41)
            yield Cog(size=height, width=width, tile=512, bits=8, overviews=4, resolution=0.6, origin=place, epsg=26910)


def write_own_grids(directory: Path, number: int) -> list[Scene]:
    """Write the files and name them as scenes of one asset, a minute apart."""
    for index, cog in enumerate(own_grids(number)):
        cog.write(directory / f"{index}.tif", seed=index % 64)
    return [
        Scene(id=f"scene_{index:06}", assets=(Asset(name="image", href=f"{index}.tif"),), datetime=_moment(index))
        for index in range(number)
    ]


def write_shared_grids(directory: Path, number: int, grids: int, assets: int) -> list[Scene]:
    """Write a file for each grid and asset, and scenes that share them."""
    for grid in range(grids):
        for asset in range(assets):
            cog = Cog(size=10980, origin=(600000.0 + 109800.0 * grid, 1500000.0))
            cog.write(directory / f"grid_{grid}_{asset}.bin", seed=grid * assets + asset)
    scenes = []
    for index in range(number):
        parts = []
        for asset in range(assets):
            name = f"{index}_{asset}.tif"
            os.link(directory / f"grid_{index % grids}_{asset}.bin", directory / name)
            parts.append(Asset(name=f"b{asset}", href=name))
        scenes.append(Scene(id=f"scene_{index:06}", assets=tuple(parts), datetime=_moment(index)))
    return scenes


def write_sentinel(directory: Path, number: int) -> list[Scene]:
    """Write Sentinel-2 scenes of 13 assets over one tile."""
    scenes = []
    for index in range(number):
        parts = []
        for band, (name, cog) in enumerate(SENTINEL_2.items()):
            cog.write(directory / f"{index}_{name}.tif", seed=index * 100 + band)
            parts.append(Asset(name=name, href=f"{index}_{name}.tif"))
        scenes.append(Scene(id=f"S2A_43PGQ_{index:05}_L2A", assets=tuple(parts), datetime=_moment(index * 7200)))
    return scenes


def at(scenes: list[Scene], url: str) -> list[Scene]:
    """The same scenes with absolute hrefs."""
    from dataclasses import replace

    return [
        replace(
            scene,
            assets=tuple(
                replace(asset, href=asset.href if asset.header is not None else url + asset.href)
                for asset in scene.assets
            ),
        )
        for scene in scenes
    ]


def _moment(minutes: int) -> datetime:
    return START + timedelta(minutes=minutes)


def ready_scenes(number: int) -> list[Scene]:
    """Scenes of Sentinel-2's four bands of 10 m over one tile, with headers in memory: nothing is fetched."""
    from dataclasses import replace

    import numpy as np

    from rasteret_refs.tiff.parse import parse
    from rasteret_refs.tiff.values import TiffFile
    from rasteret_refs.tiff.windows import Windows

    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "a.tif")
        Cog(size=10980).write(path, seed=0)
        windows = Windows(path.stat().st_size)
        windows.add(0, path.open("rb").read(64 * 1024))
    header = parse(windows)
    if not isinstance(header, TiffFile):
        raise TypeError("expected a header within 64 KB")
    random = np.random.default_rng(0)
    scenes = []
    for index in range(number):
        assets = []
        for name in ("B02", "B03", "B04", "B08"):
            images = []
            for image in header.images:
                counts = random.normal(9e5, 1.5e5, len(image.offsets)).clip(2000).astype(np.int64)
                images.append(replace(image, offsets=8192 + np.cumsum(counts + 8) - counts, byte_counts=counts))
            href = f"https://sentinel-cogs.example/43/P/GQ/2024/S2A_43PGQ_{index:05}_L2A/{name}.tif"
            assets.append(Asset(name=name, href=href, header=replace(header, images=tuple(images))))
        scenes.append(Scene(id=f"S2A_43PGQ_{index:05}_L2A", assets=tuple(assets), datetime=_moment(index)))
    return scenes


MAKERS: dict[str, Callable[[Path, int], list[Scene]]] = {
    "own": write_own_grids,
    "shared": lambda directory, number: write_shared_grids(directory, number, 100, 3),
    "one": lambda _, number: ready_scenes(number),
    "sentinel": write_sentinel,
}


def facts_of(out: Path) -> dict[str, Any]:
    """Files and bytes of a set."""
    files = [path for path in out.rglob("*") if path.is_file()]
    return {"files": len(files), "bytes": sum(path.stat().st_size for path in files)}


# What runs in a process of its own ------------------------------------------------------------------------------------


def child_build(kind: str, number: int, url: str, out: str) -> dict[str, Any]:
    """Build once; the scenes are named here, so that their memory counts."""
    import rasteret_refs as rr

    del rr
    from rasteret_refs.build.run import build

    with tempfile.TemporaryDirectory() as scratch:
        scenes = named(kind, Path(scratch), number)
    begun = time.perf_counter()
    report = build(at(scenes, url), out)
    seconds = time.perf_counter() - begun
    return {"seconds": seconds, "scenes": report.scenes, "requests": report.requests, "layout": report.layout,
            "peak_mb": peak()}  # fmt: skip


def named(kind: str, directory: Path, number: int) -> list[Scene]:
    """Scenes as `MAKERS` names them, without writing their files again."""
    if kind == "one":
        return ready_scenes(number)
    write = Cog.write
    link = os.link
    try:
        Cog.write = lambda *_, **__: 0  # type: ignore[method-assign]
        os.link = lambda *_, **__: None  # type: ignore[assignment]
        return MAKERS[kind](directory, number)
    finally:
        Cog.write = write  # type: ignore[method-assign]
        os.link = link


def child_append(kind: str, number: int, url: str, out: str) -> dict[str, Any]:
    """Append 1 % of the scenes, `APPENDS` times; a reader opened before must see what it saw."""
    import rasteret_refs as rr
    from rasteret_refs.build.append import append

    with tempfile.TemporaryDirectory() as scratch:
        scenes = at(named(kind, Path(scratch), grown_to(number)), url)
    opened = rr.open(out)
    group = first_grid(opened)
    before = references(opened, group)
    found: dict[str, Any] = {"seconds": [], "percent_rewritten": [], "files": []}
    for start in range(number, grown_to(number), number // 100):
        size = facts_of(Path(out))["bytes"]
        begun = time.perf_counter()
        report = append(scenes[start : start + number // 100], out)
        found["seconds"].append(round(time.perf_counter() - begun, 2))
        found["percent_rewritten"].append(round(100 * report.rewritten / size, 2))
        found["files"].append(facts_of(Path(out))["files"])
    return found | {"same": references(opened, group) == before, "peak_mb": peak()}


def grown_to(number: int) -> int:
    """Scenes of a set of `number` after all appends."""
    return number + APPENDS * (number // 100)


def references(opened: Any, group: str) -> list[Any]:
    """First and last reference of each record file of a grid's arrays, as the opened reader sees them."""
    found = []
    for path, sealed in opened.refset.seal.records.items():
        shape = opened.refset.metadata[f"{path}/.zarray"]["shape"]
        if path.startswith(f"{group}/factor_1/".lstrip("/")) and len(shape) > 2 and shape[-1] > 6:
            rows = math_prod(opened.refset.metadata[f"{path}/.zarray"])
            for number in range(len(sealed)):
                table = opened.refset.records(path, number)
                last = min(opened.refset.record_size, rows - number * opened.refset.record_size) - 1
                found.append([table.slice(row, 1).to_pylist() for row in (0, last)])
    return found


def math_prod(document: dict[str, Any]) -> int:
    """Chunks of an array."""
    chunks = 1
    for size, chunk in zip(document["shape"], document["chunks"], strict=True):
        chunks *= -(-size // chunk)
    return chunks


def child_open(kind: str, number: int, url: str, out: str) -> dict[str, Any]:
    """Open with our reader and with plain zarr, after imports."""
    import xarray as xr
    import zarr  # noqa: F401 - imported before the clock starts

    import rasteret_refs as rr
    import rasteret_refs.read.view

    warm = out + ".warm"
    if Path(warm).exists():
        first = rr.open(warm)
        first.to_xarray(first.groups[0].path or None)
        rr.plain_store(warm)
    begun = time.perf_counter()
    opened = rr.open(out)
    seconds = {"open": time.perf_counter() - begun}
    path = first_grid(opened)
    opened.to_xarray(path)
    seconds["open and to_xarray"] = time.perf_counter() - begun
    begun = time.perf_counter()
    len(opened.groups)
    seconds["groups"] = time.perf_counter() - begun
    begun = time.perf_counter()
    store = rr.plain_store(out)
    xr.open_zarr(store, group=f"{path}/factor_1".lstrip("/"), zarr_format=2, consolidated=False)
    seconds["plain"] = time.perf_counter() - begun
    return seconds


def first_grid(opened: Any) -> str:
    """Path of some grid, from the metadata."""
    return next(
        key.removesuffix("factor_1/.zgroup").rstrip("/")
        for key in opened.refset.metadata
        if key.endswith("factor_1/.zgroup")
    )


def peak() -> float:
    """MB at peak of this program (`ru_maxrss` would be inherited from the one that started it)."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def child(what: str, kind: str, number: int, url: str, out: Path) -> dict[str, Any]:
    """Run one of the functions above in a fresh process."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_collections", "--child", what, kind, str(number), url,
               str(out)]  # fmt: skip
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=560)
    if done.returncode:
        raise RuntimeError(done.stderr)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def opening(kind: str, out: Path, warm: Path) -> dict[str, float]:
    """Median of five openings in fresh processes, in milliseconds."""
    link = Path(f"{out}.warm")
    if not link.exists():
        link.symlink_to(warm)
    rounds = [child("open", kind, 0, "", out) for _ in range(5)]
    return {name: round(1000 * median(one[name] for one in rounds), 1) for name in rounds[0]}


# Scenarios ------------------------------------------------------------------------------------------------------------


def measure(kind: str, number: int, *, grown: bool = True) -> dict[str, Any]:
    """Build, open, append: sizes, memory, openings, and what appends rewrite."""
    found: dict[str, Any] = {"kind": kind, "scenes": number}
    with tempfile.TemporaryDirectory() as place:
        files, out = Path(place) / "files", Path(place) / "all.refs"
        files.mkdir()
        MAKERS[kind](files, grown_to(number) if grown else number)
        with serve(files, process=True) as server:
            found["build"] = child("build", kind, number, server.url, out)
            child("build", kind, min(number, 200), server.url, Path(place) / "warm.refs")
            found |= facts_of(out)
            found["bytes_a_scene"] = round(found["bytes"] / number)
            found["milliseconds"] = opening(kind, out, Path(place) / "warm.refs")
            full = sum(path.stat().st_size for path in out.glob("zarr.parq/**/factor_1/[bBSi]*/refs.*.parq"))
            found["full_resolution_bytes_a_scene"] = round(full / number)
            if grown:
                found["append"] = child("append", kind, number, server.url, out)
    return found


CHILDREN = {"build": child_build, "append": child_append, "open": child_open}
SCENARIOS = {"own": 10_000, "shared": 10_000, "one": 10_000, "sentinel": 100}


def main() -> None:
    """Print one JSON document a scenario."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("names", nargs="*", choices=[*SCENARIOS, []], metavar="NAME")
    arguments.add_argument("--scenes", type=int, help="Instead of the scenario's own number.")
    arguments.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.child:
        what, kind, number, url, out = options.child
        print(json.dumps(CHILDREN[what](kind, int(number), url, out)))
        return
    for name in options.names or SCENARIOS:
        print(json.dumps(measure(name, options.scenes or SCENARIOS[name]), indent=1), flush=True)


if __name__ == "__main__":
    main()
