"""Builds and reads files one by one in a process of its own and reports, as lines of JSON, what each cost and gave."""

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
import tifffile

import rasteret_refs as rr
from rasteret_refs.errors import RasteretRefsError
from tests.oracle.compare import only
from tests.oracle.expected import pixel_hash
from tests.oracle.plain_set import PlainSet


def peak_mib() -> float:
    """The most memory that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def attempt(path: str, out: Path) -> dict[str, object]:
    """Build one file, and read its first image where that is possible."""
    try:
        rr.build([path], out)
    except RasteretRefsError as error:
        return {"outcome": "refused", "error": f"{type(error).__name__}: {error}"}
    except Exception as error:  # noqa: BLE001 - what must not come is what is looked for
        return {"outcome": "foreign", "error": repr(error)}
    try:
        opened = PlainSet(out)
        return {"outcome": "read", "hash": pixel_hash(opened.image(*only(opened.named("image"), "factor_1")))}
    except Exception as error:  # noqa: BLE001 - a codec's own error, by way of zarr
        return {"outcome": "unreadable", "error": repr(error)[:300]}


def main(directory: Path, paths: list[str]) -> None:
    """Warm up on a good file, so that imports do not count; then each path."""
    good = directory / "good.tif"
    tifffile.imwrite(good, np.zeros((64, 64), np.uint8), tile=(32, 32), compression="zlib")
    attempt(str(good), directory / "good.refs")
    before = peak_mib()
    for number, path in enumerate(paths):
        start = time.perf_counter()
        row = attempt(path, directory / f"{number}.refs")
        row |= {"path": path, "seconds": time.perf_counter() - start, "grown_mib": peak_mib() - before}
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
