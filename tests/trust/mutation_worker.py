"""Mutates seeds and examines each case, in a process of its own; reports as lines of JSON.

python -m tests.trust.mutation_worker MUTATIONS SEED...
"""

import io
import json
import logging
import random
import resource
import sys
import time
import warnings
import zlib

import numpy as np
import rasterio
import tifffile
from rasterio.io import MemoryFile

from rasteret_refs.errors import RasteretRefsError
from rasteret_refs.tiff.values import ImageDescription, Planar
from tests.tiff.reading import parsed
from tests.trust.examine import Examined, examine
from tests.trust.mutate import mutated
from tests.trust.seeds import seeds

DEFLATE = (8, 32946)
MOST_PIXELS = 1 << 22
"""Images that the oracle reads."""


def oracle(data: bytes) -> "np.ndarray | None":
    """What GDAL reads, (band, row, column); None where it refuses or warns."""
    heard.told = False
    try:
        with warnings.catch_warnings(action="ignore"), MemoryFile(data) as memory, memory.open() as source:
            if source.count * source.width * source.height > MOST_PIXELS:
                return None
            pixels = source.read()
    except Exception:  # noqa: BLE001 - whatever GDAL finds wrong
        return None
    return None if heard.told else pixels


class _Heard(logging.Handler):
    """Whether GDAL complained, be it of an odd size or of a stream that it gives up on silently."""

    told = False

    def emit(self, record: logging.LogRecord) -> None:
        self.told = self.told or record.levelno >= logging.WARNING or "CPLE" in record.getMessage()


heard = _Heard()
logging.getLogger("rasterio").addHandler(heard)
logging.getLogger("rasterio").setLevel(logging.INFO)


def verdict(found: Examined, data: bytes, original: bytes) -> str:
    """Say how a case ended: refused, undecoded, read, the same as GDAL or other pixels.

    Pixels whose own bytes were damaged have no right value: libraries differ in what they make of them.
    """
    if found.refused:
        return "refused"
    if found.pixels is None:
        return "undecoded" if found.undecoded else "referenced"
    expected = oracle(data)
    if expected is None or expected.shape != found.pixels.shape or expected.dtype != found.pixels.dtype:
        return "read"
    same = np.array_equal(expected, found.pixels, equal_nan=expected.dtype.kind in "fc")
    if same:
        return "same"
    if not _has_whole_chunks(data, original):
        return "damaged data"
    return "same" if _tifffile_agrees(data, found.pixels) else "other pixels"


def _has_whole_chunks(data: bytes, original: bytes) -> bool:
    """Whether each chunk of the first image is a run of bytes of the original, and no more than a chunk.

    Where a stream goes on behind its chunk, GDAL leaves the chunk's last bytes unset (libdeflate gives up on them).
    """
    image = parsed(data).images[0]
    about = image.description
    most = about.chunk_height * -(-about.chunk_width * about.bits * _interleaved(about) // 8)
    for start, count in zip(image.offsets.tolist(), image.byte_counts.tolist(), strict=True):
        chunk = data[start : start + count]
        if chunk not in original:
            return False
        if about.compression in DEFLATE and len(zlib.decompressobj().decompress(chunk, most + 1)) > most:
            return False
    return True


def _interleaved(about: ImageDescription) -> int:
    return about.samples if about.planar is Planar.CHUNKY else 1


def _tifffile_agrees(data: bytes, pixels: "np.ndarray") -> bool:
    """Whether the other oracle sides with us: GDAL silently gives zeros for tiles of sizes that are not 16 k."""
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            found = file.pages[0].asarray()
    except Exception:  # noqa: BLE001 - whatever tifffile finds wrong
        return False
    found = found[None] if found.ndim == 2 else found
    candidates = [found, np.moveaxis(found, -1, 0)]
    return any(each.shape == pixels.shape and np.array_equal(each, pixels, equal_nan=True) for each in candidates)


def main(mutations: int, numbers: list[int]) -> None:
    """Examine `mutations` cases of each seed."""
    known = seeds()
    for _, data in known:  # imports, caches and PROJ's database do not count
        examine(data)
    rasterio.Env(GDAL_NUM_THREADS=1, CPL_LOG="/dev/null").__enter__()
    for number in numbers:
        name, data = known[number]
        source = random.Random(number)  # noqa: S311 - to be repeated
        for case in range(mutations):
            changed = mutated(data, source)
            before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
            row: dict[str, object] = {"seed": name, "case": case}
            try:
                found = examine(changed)
            except RasteretRefsError as error:
                row["foreign"] = f"escaped: {error!r}"
            except BaseException as error:  # noqa: BLE001 - what must not come is what is looked for
                row["foreign"] = repr(error)[:300]
            else:
                row["seconds"] = time.process_time() - began
                row["mib"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
                row["verdict"] = verdict(found, changed, data)
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), [int(number) for number in sys.argv[2:]])
