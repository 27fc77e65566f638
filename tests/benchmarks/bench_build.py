"""COGs a second from headers to finished reference set: `python -m tests.benchmarks.bench_build`.

2,000 single-band COGs of 5 IFDs on a loopback server, in a process of its own, that waits 30 ms before each answer.
"""

import argparse
import os
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import rasterio
from rasterio.transform import from_origin

from tests.servers.range_server import serve


def write_cogs(directory: Path, number: int, grids: int) -> None:
    """Write `number` names of `grids` genuine COGs (5,490² in tiles of 512, 5 IFDs) that differ in their origin."""
    path = directory / "sample.tif"
    profile = {"driver": "COG", "dtype": "uint16", "count": 1, "width": 5490, "height": 5490, "nodata": 0}
    options = {"compress": "deflate", "predictor": 2, "blocksize": 512, "overview_count": 4}
    place = {"crs": "EPSG:32643", "transform": from_origin(600000, 1500000, 20, 20)}
    with rasterio.open(path, "w", **profile, **options, **place) as target:
        target.write(np.full((5490, 5490), 7, "uint16"), 1)
    content = path.read_bytes()
    path.unlink()
    where = content.index(struct.pack("<dd", 600000.0, 1500000.0))
    for grid in range(grids):
        origin = struct.pack("<dd", 600000.0 + 109800.0 * grid, 1500000.0)
        (directory / f"grid_{grid}.bin").write_bytes(content[:where] + origin + content[where + 16 :])
    for index in range(number):
        os.link(directory / f"grid_{index % grids}.bin", directory / f"scene_{index}.tif")


def measured(url: str, number: int, out: Path) -> None:
    """Build once in this process; print seconds after imports, requests, bytes, MB at peak and seconds of CPU."""
    import rasteret_refs as rr

    urls = [f"{url}scene_{index}.tif" for index in range(number)]
    rr.build(urls[:1], out / "warm.refs")
    begin, cpu = time.perf_counter(), time.process_time()
    report = rr.build(urls, out / "all.refs").report
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    assert report is not None
    # VmHWM belongs to this program; ru_maxrss would be inherited from the one that started it.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    print(seconds, report.requests, report.bytes, peak, cpu)


def main() -> None:
    """Print the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--files", type=int, default=2000)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--delay", type=float, default=0.03)
    arguments.add_argument("--child", nargs=2, metavar=("URL", "OUT"), help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.child:
        measured(options.child[0], options.files, Path(options.child[1]))
        return
    print(f"{options.files} COGs of 5 IFDs, {options.delay * 1000:.0f} ms, median of {options.rounds} fresh processes")
    print(
        f"{'grids':>6} {'COGs/s':>8} {'worst':>8} {'requests/COG':>13} {'KB/COG':>7} {'MB at peak':>11} {'s of CPU':>9}"
    )
    for grids in (1, 20):
        with tempfile.TemporaryDirectory() as directory:
            write_cogs(Path(directory), options.files, grids)
            with serve(directory, delay=options.delay, process=True) as server:
                rows = [_round(server.url, options.files) for _ in range(options.rounds)]
        seconds, requests, size, peak, cpu = (median(column) for column in zip(*rows, strict=True))
        worst = options.files / max(row[0] for row in rows)
        print(
            f"{grids:6} {options.files / seconds:8.0f} {worst:8.0f} {requests / options.files:13.3f} "
            f"{size / options.files / 1024:7.1f} {peak:11.0f} {cpu:9.2f}"
        )


def _round(url: str, number: int) -> list[float]:
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "tests.benchmarks.bench_build", "--files", str(number), "--child", url, out]
        result = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    return [float(value) for value in result.stdout.split()]


if __name__ == "__main__":
    main()
