"""Mosaics against the peers: `python -m tests.benchmarks.bench_read_mosaics [--runs 5]`.

Three shapes: twelve scenes on both sides of a CRS boundary as one mosaic; two MGRS-like tiles over six days,
cloud-masked and merged by solar day, their median; and 50, 100 and 200 scenes of 600² as one dataset, loaded: its peak
memory should be at most three times the result's bytes, and memory and time linear in scenes. Environment variables as
in `bench_read`.
"""

import argparse
import datetime as dt
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import rasterio
from rasterio.transform import from_origin

from tests.benchmarks.bench_read import HERE, RESULTS, Measured, interpreter, server
from tests.benchmarks.bench_read_data import pixels

MARKS = ("<!-- bench_read_mosaics -->", "<!-- /bench_read_mosaics -->")
SIZE = 2048
DELAY = 0.05
BOUNDARY = (78.0, 13.5)
"""Longitude between UTM zones 43 and 44, and a latitude there."""


def write(path: Path, values: np.ndarray, scene: dict[str, Any], pixel: float) -> None:
    """Write a COG once."""
    if path.exists():
        return
    place = {"crs": f"EPSG:{scene['crs']}", "transform": from_origin(scene["x"], scene["y"], pixel, pixel)}
    profile = {"driver": "COG", "dtype": values.dtype, "count": 1, "height": len(values), "width": values.shape[1]}
    options = {"compress": "deflate", "predictor": 2, "blocksize": 512, "nodata": 0}
    with rasterio.open(path, "w", **profile, **options, **place) as target:
        target.write(values, 1)


def scene(name: str, day: int, crs: int, x: float, y: float) -> dict[str, Any]:
    """Describe a scene whose first pixel's corner is (x, y)."""
    return {"id": name, "day": day, "crs": crs, "x": x, "y": y}


def boundary() -> list[dict[str, Any]]:
    """Six scenes on either side of the boundary, all over one place."""
    scenes = []
    for zone, crs in enumerate((32643, 32644)):
        x, y = pyproj.Transformer.from_crs(4326, crs, always_xy=True).transform(*BOUNDARY)
        corner = (round(x, -2) - 14000.0 * (1 - zone) - 3000.0, round(y, -2) + 10000.0)
        scenes += [scene(f"z{crs}_{n}", 1 + n, crs, *corner) for n in range(6)]
    return scenes


def cloudy() -> list[dict[str, Any]]:
    """Two tiles of one CRS that overlap by 200 columns, on six days."""
    corners = {"A": (600000.0, 1500000.0), "B": (600000.0 + 10.0 * (SIZE - 200), 1500000.0)}
    return [scene(f"{tile}_{day}", day, 32643, *corner) for day in range(1, 7) for tile, corner in corners.items()]


MANY = (50, 100, 200)
"""Scenes of one dataset."""


def many() -> list[dict[str, Any]]:
    """Scenes of one place."""
    return [scene(f"s{n:03d}", 1 + n, 32643, 600000.0, 1500000.0) for n in range(max(MANY))]


SHAPES: dict[str, Any] = {
    "boundary": {
        "title": "12 scenes across a CRS boundary, one mosaic of 512² at 10 m, 50 ms",
        "scenes": boundary(),
        "window": 512,
        "clouds": False,
        "peers": ("ours_mosaic", "rasteret_window", "rasterio_mosaic"),
    },
    "cloudy": {
        "title": "two tiles × six days, cloud-masked solar days of 1024 × 1024, their median, 50 ms",
        "scenes": cloudy(),
        "window": 1024,
        "clouds": True,
        "peers": ("ours_mosaic", "odc_mosaic"),
    },
    "many": {
        "title": "50, 100 and 200 scenes of 600² as one dataset, loaded, 50 ms",
        "scenes": many(),
        "window": 600,
        "clouds": False,
        "peers": ("ours_mosaic",),
    },
}


def window_of(name: str, scenes: list[dict[str, Any]], size: int) -> tuple[float, float]:
    """Choose the upper left corner of the result, in EPSG:32643."""
    if name == "boundary":
        x, y = pyproj.Transformer.from_crs(4326, 32643, always_xy=True).transform(*BOUNDARY)
        return round(x, -1) - 5.0 * size, round(y, -1) + 5.0 * size
    if name == "cloudy":
        return 600000.0 + 10.0 * (SIZE - 100 - size // 2), 1500000.0 - 5000.0
    return scenes[0]["x"], scenes[0]["y"]


def prepare(name: str, data: Path) -> tuple[Path, list[dict[str, Any]]]:
    """Write the COGs of a shape."""
    directory = data / f"mosaic_{name}"
    directory.mkdir(parents=True, exist_ok=True)
    shape = SHAPES[name]
    size = 600 if name == "many" else SIZE
    for number, entry in enumerate(shape["scenes"]):
        path = directory / f"{entry['id']}_red.tif"
        if not path.exists():
            write(path, pixels(size, "uint16", number), entry, 10.0)
        if shape["clouds"]:
            classes = (pixels(size // 2, "uint16", 500 + number) // 7 % 12).astype("uint8")
            write(directory / f"{entry['id']}_scl.tif", classes, entry, 20.0)
    return directory, shape["scenes"]


def build(scenes: list[dict[str, Any]], base: str, out: Path, *, clouds: bool) -> None:
    """Build the reference set."""
    from rasteret_refs.build.run import build as run_build
    from rasteret_refs.build.scene import Asset, Scene

    start = dt.datetime(2024, 1, 1, 5, 30, tzinfo=dt.UTC)
    assets = ("red", "scl") if clouds else ("red",)
    run_build(
        [
            Scene(
                id=entry["id"],
                datetime=start + dt.timedelta(days=entry["day"]),
                assets=tuple(Asset(name=asset, href=f"{base}{entry['id']}_{asset}.tif") for asset in assets),
            )
            for entry in scenes
        ],
        out,
        overwrite=True,
    )


def measure(name: str, data: Path, runs: int) -> list[str]:
    """Run all peers of a shape in turns; give the lines of its table."""
    shape = SHAPES[name]
    directory, scenes = prepare(name, data)
    corner = window_of(name, scenes, shape["window"])
    if name == "many":
        return measure_growth(directory, data, runs)
    results = {peer: Measured() for peer in shape["peers"]}
    with server(directory, DELAY) as (url, forget, counts):
        refs = data / f"mosaic_{name}.refs"
        build(scenes, url, refs, clouds=shape["clouds"])
        job = {"base": url, "refs": str(refs), "scenes": scenes, "corner": corner, "window": shape["window"],
               "clouds": shape["clouds"], "all": False, "size": SIZE, "served": str(directory)}  # fmt: skip
        path = data / f"mosaic_{name}.json"
        path.write_text(json.dumps(job))
        for _ in range(runs):
            for peer, result in results.items():
                forget()
                run_once(peer, path, result)
                result.requests, result.bytes = counts()
    return table(shape["title"], results)


def measure_growth(directory: Path, data: Path, runs: int) -> list[str]:
    """Load ever more scenes as one dataset; give the lines of the table."""
    shape = SHAPES["many"]
    results = {count: Measured() for count in MANY}
    jobs = {}
    with server(directory, DELAY) as (url, forget, counts):
        for count in MANY:
            refs, jobs[count] = data / f"mosaic_many_{count}.refs", data / f"mosaic_many_{count}.json"
            scenes = shape["scenes"][:count]
            build(scenes, url, refs, clouds=False)
            job = {"base": url, "refs": str(refs), "scenes": scenes, "corner": window_of("many", scenes, 600),
                   "window": shape["window"], "clouds": False, "all": True, "size": 600,
                   "served": str(directory)}  # fmt: skip
            jobs[count].write_text(json.dumps(job))
        peaks: dict[int, list[float]] = {count: [] for count in MANY}
        for _ in range(runs):
            for count, result in results.items():
                forget()
                run_once("ours_mosaic", jobs[count], result)
                result.requests, result.bytes = counts()
                peaks[count].append(result.megabytes)
    lines = [
        f"### {shape['title']}",
        "",
        "| scenes | median s | CPU s | s a scene | requests | result MB | peak MB | × |",
    ]
    lines.append("|---|---|---|---|---|---|---|---|")
    for count, result in results.items():
        if not result.seconds:
            lines.append(f"| {count} | {result.problem} | | | | | | |")
            continue
        held, peak = count * shape["window"] ** 2 * 2 / 2**20, float(np.median(peaks[count]))
        busy, wall = float(np.median(result.processor)), result.median
        lines.append(
            f"| {count} | {wall:.3f} | {busy:.2f} | {wall / count:.5f} | {result.requests} | {held:.0f} | {peak:.0f} | "
            f"{peak / held:.2f} |"
        )
    return [*lines, ""]


def run_once(peer: str, job: Path, result: Measured) -> None:
    """Run a peer in a fresh process."""
    python = interpreter("ours" if peer == "ours_mosaic" else peer)
    command = [python, "-W", "ignore", str(HERE / "peers" / "run.py"), peer, str(job)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        result.problem = (done.stderr.strip().splitlines() or ["no output"])[-1][:120]
        return
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    result.seconds.append(answer["seconds"])
    result.processor.append(answer["cpu"])
    result.digest, result.megabytes = answer["digest"], answer["megabytes"]


def table(title: str, results: dict[str, Measured]) -> list[str]:
    """Write a shape's results as Markdown."""
    lines = [f"### {title}", "", "| peer | median s | CPU s | requests | MB | peak MB | digest of the pixels |"]
    lines.append("|---|---|---|---|---|---|---|")
    for name, r in sorted(results.items(), key=lambda entry: entry[1].median if entry[1].seconds else 1e9):
        if not r.seconds:
            lines.append(f"| {name} | {r.problem} | | | | | |")
            continue
        busy = sorted(r.processor)[len(r.processor) // 2]
        numbers = f"{r.median:.3f} | {busy:.2f} | {r.requests} | {r.bytes / 1e6:.0f} | {r.megabytes:.0f}"
        lines.append(f"| {name} | {numbers} | {r.digest[:12]} |")
    return [*lines, ""]


def main() -> None:
    """Run all shapes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--shape", action="append", choices=list(SHAPES))
    options = parser.parse_args()
    lines = ["## Mosaics", "", f"Medians of {options.runs} fresh processes.", ""]
    with tempfile.TemporaryDirectory(prefix="bench-mosaics-") as temporary:
        data = Path(os.environ.get("RASTERET_REFS_BENCH_DATA", temporary))
        for name in options.shape or SHAPES:
            part = measure(name, data, options.runs)
            print("\n".join(part), flush=True)
            lines += part
    if not options.shape:
        text = RESULTS.read_text() if RESULTS.exists() else "# Results\n"
        before, found, rest = text.partition(MARKS[0])
        after = rest.partition(MARKS[1])[2] if found else "\n"
        RESULTS.write_text("\n".join([before.rstrip(), "", MARKS[0], *lines, MARKS[1]]) + after)


if __name__ == "__main__":
    main()
