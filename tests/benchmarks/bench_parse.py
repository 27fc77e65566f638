"""How many COG headers a second the parser turns into values, on one core: `python tests/benchmarks/bench_parse.py`."""

import argparse
import struct
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import rasterio
from rasterio.transform import from_origin

from rasteret_refs.tiff.parse import parse
from rasteret_refs.tiff.values import TiffFile
from rasteret_refs.tiff.windows import Windows

HEADER = 32 * 1024


def cog_header(directory: Path) -> bytes:
    """A genuine COG of 5 IFDs (2,745² in tiles of 512), as GDAL writes it; its first 32 KB."""
    path = directory / "sample.tif"
    profile = {"driver": "COG", "dtype": "uint16", "count": 1, "width": 5490, "height": 5490, "nodata": 0}
    options = {"compress": "deflate", "predictor": 2, "blocksize": 512, "overview_count": 4}
    place = {"crs": "EPSG:32643", "transform": from_origin(600000, 1500000, 20, 20)}
    with rasterio.open(path, "w", **profile, **options, **place) as target:
        target.write(np.random.default_rng(0).integers(1, 60, (5490, 5490), "uint16"), 1)
        target.set_band_description(1, "red")
        target.scales = (0.0001,)
    with path.open("rb") as file:
        return file.read(HEADER)


def variants(header: bytes, number: int, *, move_origin: bool) -> list[bytes]:
    """Headers whose offsets, and origins if asked, differ: what a collection of scenes looks like."""
    windows = Windows()
    windows.add(0, header)
    file = parse(windows)
    assert isinstance(file, TiffFile)
    origin = struct.pack("<dd", 600000.0, 1500000.0)
    arrays = [image.offsets.astype("<u4") for image in file.images if len(image.offsets) > 1]
    places = [header.index(array.tobytes()) for array in arrays]
    where = header.index(origin)
    out = []
    for step in range(number):
        changed = bytearray(header)
        for array, place in zip(arrays, places, strict=True):
            changed[place : place + array.nbytes] = (array + step).tobytes()
        if move_origin:
            changed[where : where + 16] = struct.pack("<dd", 600000.0 + 20 * step, 1500000.0)
        out.append(bytes(changed))
    return out


def files_a_second(headers: list[bytes], size: int) -> float:
    """Headers parsed a second of processor time: one core, whatever else the machine does."""
    begin = time.process_time()
    for header in headers:
        windows = Windows(size)
        windows.add(0, header)
        assert isinstance(parse(windows), TiffFile)
    return len(headers) / (time.process_time() - begin)


def main() -> None:
    """Print the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--files", type=int, default=5000)
    arguments.add_argument("--rounds", type=int, default=5)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        header = cog_header(Path(directory))
    print(f"{options.files} COG headers of 5 IFDs, median of {options.rounds} rounds")
    for name, move in (("equal but for offsets", False), ("each its own origin", True)):
        headers = variants(header, options.files, move_origin=move)
        rates = [files_a_second(headers, 1 << 32) for _ in range(options.rounds)]
        print(f"{name:24} {median(rates):8.0f} files/s (first round {rates[0]:.0f})")


if __name__ == "__main__":
    main()
