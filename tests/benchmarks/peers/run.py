"""Runs one peer on one job in a fresh process: `python run.py PEER JOB.json`; prints JSON.

Needs NumPy and the peer's own libraries only. The clock runs from the prepared state (imports done, an index opened,
where the peer has one) to the last pixel in memory. Every window's pixels are hashed afterwards.
"""

import hashlib
import importlib
import json
import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))


def main(peer: str, path: str) -> None:
    """Prepare, read, report."""
    module = importlib.import_module(peer)
    job = json.loads(Path(path).read_text())
    prepared = module.prepare(job)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin, busy = time.perf_counter(), time.process_time()
    arrays = module.read(job, prepared)
    seconds, busy = time.perf_counter() - begin, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array.tobytes())
    memory = (peak - before) / 1024
    print(json.dumps({"seconds": seconds, "cpu": busy, "digest": digest.hexdigest(), "megabytes": memory}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
