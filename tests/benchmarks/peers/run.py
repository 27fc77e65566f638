"""Runs one peer on one job in a fresh process: `python run.py PEER JOB.json`; prints JSON.

Needs NumPy and the peer's own libraries only. The clock runs from the prepared state (imports done, an index opened,
where the peer has one) to the last pixel in memory. Every window's pixels are hashed afterwards.
"""

import hashlib
import importlib
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))


def peak_memory(*, reset: bool = False) -> float:
    """Give the process's largest resident size in megabytes; Linux forgets it on request, and counts anew."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


def main(peer: str, path: str) -> None:
    """Prepare, read, report."""
    module, warm = importlib.import_module(peer), importlib.import_module("warm")
    job = json.loads(Path(path).read_text())
    prepared = module.prepare(job)
    warm.settle(Path(job["served"]).glob("*.tif"))
    before = peak_memory(reset=True)
    begin, busy = time.perf_counter(), time.process_time()
    arrays = module.read(job, prepared)
    seconds, busy = time.perf_counter() - begin, time.process_time() - busy
    peak = peak_memory()
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array.tobytes())
    each = [hashlib.sha256(array.tobytes()).hexdigest()[:16] for array in arrays]
    found = {"seconds": seconds, "cpu": busy, "digest": digest.hexdigest(), "each": each, "megabytes": peak - before}
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
