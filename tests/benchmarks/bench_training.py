"""Training, as DataLoaders read: ours beside TorchGeo on rasterio, same sampler and seed. `.venv-ml` runs it.

python -m tests.benchmarks.bench_training [--delay 0.05] [--part chips|local|headline|all]
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BANDS = ("red", "green", "blue", "nir")
PAIRS = 3
"""Measurements of each, one after the other; medians are compared."""


def child(**job) -> dict:
    """Run one measurement in a fresh process."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_training_jobs", json.dumps(job)]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, timeout=600)
    return json.loads(done.stdout.splitlines()[-1])


def compare(title: str, target: float, pairs: int, **job) -> list[str]:
    """Measure TorchGeo and ours in turn."""
    ours, theirs = [], []
    for _ in range(pairs):
        theirs.append(child(who="torchgeo", **job))
        ours.append(child(who="ours", **job))
    fast, slow = (statistics.median(run["seconds"] for run in runs) for runs in (ours, theirs))
    chips = ours[0]["chips"]
    row = [
        title, f"{chips / slow:.2f}", f"{chips / fast:.1f}", f"{slow / fast:.1f}×", f"≥ {target:g}×",
        f"{statistics.median(run['opening'] for run in theirs):.2f}",
        f"{statistics.median(run['opening'] for run in ours):.2f}", f"{ours[0].get('build', 0):.2f}",
    ]  # fmt: skip
    print("| " + " | ".join(row) + " |", flush=True)
    return row


def main() -> int:
    """Print one table."""
    if importlib.util.find_spec("torchgeo") is None:
        other = ROOT / ".venv-ml" / "bin" / "python"
        if not other.exists():
            print("skipped: torch and torchgeo are not installed here, `make test-ml` makes .venv-ml with them")
            return 0
        return subprocess.run([other, "-m", "tests.benchmarks.bench_training", *sys.argv[1:]], check=False).returncode
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--delay", type=float, default=0.05)
    parser.add_argument("--part", default="all")
    parser.add_argument("--pairs", type=int, default=PAIRS)
    options = parser.parse_args()
    from tests.benchmarks import bench_training_jobs as jobs
    from tests.servers.range_server import serve

    print("| shape | TorchGeo, chips/s | ours, chips/s | faster | target | TorchGeo opens, s | ours, s | build, s |")
    print("|---|---|---|---|---|---|---|---|")
    # What the builds write must count as written here, for the child processes too.
    with tempfile.TemporaryDirectory() as scratch:
        os.environ.setdefault("RASTERET_REFS_STATE", scratch)
        root = Path(os.environ.get("RASTERET_REFS_BENCH", scratch))
        with serve(root, delay=options.delay, process=True) as server:
            if options.part in ("chips", "all"):
                job = jobs.prepare("chips", root, server.url)
                for workers in (0, 2):
                    title = f"random 256², 4 assets, {options.delay * 1000:.0f} ms, {workers} workers"
                    compare(title, 5, options.pairs, workers=workers, **job)
            if options.part in ("local", "all"):
                job = jobs.prepare("local", root, None)
                compare("random 256², 4 assets, local files, 0 workers", 2, options.pairs, workers=0, **job)
            if options.part in ("headline", "all"):
                for name, target in (("one", 8), ("several", 19), ("boundary", 21)):
                    job = jobs.prepare(name, root, server.url)
                    compare(job.pop("title"), target, options.pairs, workers=0, **job)
            stats = server.stats()
            print(f"{stats.requests} requests in all", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
