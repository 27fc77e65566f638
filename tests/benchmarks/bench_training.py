"""Training, as DataLoaders read: ours beside TorchGeo on rasterio, same sampler and seed. `.venv-ml` runs it.

python -m tests.benchmarks.bench_training [--delay 0.05] [--part chips|local|headline|all] [--pairs 3]

Each measurement is a fresh process; they take turns, medians are compared. Files come from the loopback server of
`bench_read` (nginx with its Lua module where that is installed). `RASTERET_REFS_PEERS_PYTHON` names the interpreter
that has Rasteret, which reads the same chips one by one; `RASTERET_REFS_BENCH_DATA` a directory for the COGs (default:
a temporary one). A run of all parts writes its table to `tests/benchmarks/RESULTS.md`.
"""

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.bench_read import RESULTS, server
from tests.benchmarks.peers import nginx

ROOT = Path(__file__).resolve().parents[2]
MARKS = ("<!-- bench_training -->", "<!-- /bench_training -->")
PAIRS = 3
"""Measurements of each, one after the other; medians are compared."""
HEAD = (
    "| shape | peer | its chips/s | ours | faster | target | pixels | it opens in, s | ours, s | build, s |",
    "|---|---|---|---|---|---|---|---|---|---|",
)


def child(**job) -> dict:
    """Run one measurement in a fresh process."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.bench_training_jobs", json.dumps(job)]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, timeout=900)
    return json.loads(done.stdout.splitlines()[-1])


def rasteret(job: dict, chips: list) -> dict:
    """Let Rasteret read chips one by one; empty where it is not installed or fails."""
    from tests.benchmarks.bench_training_jobs import SHAPES

    scenes = [{"id": s.id, "x": s.x, "y": s.y, "day": s.day, "size": s.size} for s in SHAPES[job["name"]]["scenes"]]
    path = Path(job["refs"]).with_suffix(".rasteret.json")
    path.write_text(json.dumps({**job, "scenes": scenes, "chips": chips, "bands": SHAPES[job["name"]]["bands"]}))
    python = os.environ.get("RASTERET_REFS_PEERS_PYTHON", str(ROOT / ".venv-bench" / "bin" / "python"))
    command = [python, "-W", "ignore", str(ROOT / "tests/benchmarks/peers/run.py"), "rasteret_chips", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        print(f"Rasteret: {said[-1] if said else error!r}", file=sys.stderr)
        return {}
    return {**json.loads(done.stdout.splitlines()[-1]), "opening": 0.0, "chips": len(chips)}


def chip_by_chip(theirs: list[str], ours: dict) -> str:
    """Say how many chips are equal, and whether the others lie across two scenes, of which one was asked for."""
    from tests.benchmarks import bench_training_jobs as jobs

    ends = {scene.id: scene.x + scene.size * 10 for scene in jobs.SHAPES["chips"]["scenes"]}
    other = [place for a, b, place in zip(theirs, ours["each"], ours["places"], strict=True) if a != b]
    across = all(east > ends[name] for name, _, _, east, _ in other)
    rest = "the rest lie across two scenes, of which it reads one" if across else "the rest differ"
    return f"{len(theirs) - len(other)} of {len(theirs)} equal, {rest}"


def compare(title: str, target: float, pairs: int, *, one_by_one: bool = False, **job) -> list[str]:
    """Measure the peers and ours in turn; give the lines of the table."""
    from tests.benchmarks import bench_training_jobs as jobs

    runs: dict[str, list[dict]] = {"TorchGeo on rasterio": [], "ours": [], "Rasteret, chip by chip": []}
    for turn in range(pairs):
        if jobs.SHAPES[job["name"]]["stacked"]:
            job["seed"] = jobs.SEED + turn  # two chips are few: much depends on how many tiles they lie across
        runs["TorchGeo on rasterio"].append(child(who="torchgeo", **job))
        runs["ours"].append(child(who="ours", **job))
        if one_by_one and (found := rasteret(job, runs["ours"][0]["places"])):
            runs["Rasteret, chip by chip"].append(found)
    ours = runs.pop("ours")
    fast, lines = statistics.median(run["seconds"] for run in ours), []
    for (peer, theirs), wanted in zip(runs.items(), (target, 1.5), strict=True):
        if not theirs:
            continue
        slow, chips = statistics.median(run["seconds"] for run in theirs), ours[0]["chips"]
        same = "equal" if all(a["digest"] == b["digest"] for a, b in zip(theirs, ours, strict=False)) else "differ"
        if same == "differ" and "Rasteret" in peer:
            same = chip_by_chip(theirs[0]["each"], ours[0])
        if job["name"] == "boundary":
            same += f"; warped: {max(run['off'] for run in ours)} off GDAL's at most"
        opening = [statistics.median(run["opening"] for run in those) for those in (theirs, ours)]
        cells = [
            title, peer, f"{chips / slow:.2f}", f"{chips / fast:.1f}", f"{slow / fast:.1f}×", f"≥ {wanted:g}×", same,
            *(f"{seconds:.2f}" for seconds in opening), f"{job.get('build', 0):.2f}",
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    return lines


def measure(root: Path, options: argparse.Namespace) -> list[str]:
    """Run the parts asked for; give the table."""
    from tests.benchmarks import bench_training_jobs as jobs

    lines, delay = [*HEAD], f"{options.delay * 1000:.0f} ms"
    print("\n".join(lines), flush=True)
    with server(root, options.delay) as (url, _, _):
        if options.part in ("chips", "all"):
            job = jobs.prepare("chips", root, url)
            for workers in (0, 2):
                title = f"random 256², 4 assets, {delay}, batch 32, {workers} workers"
                lines += compare(title, 5, options.pairs, one_by_one=not workers, workers=workers, **job)
        if options.part in ("local", "all"):
            job = jobs.prepare("local", root, None)
            lines += compare("random 256², 4 assets, local files, 0 workers", 2, options.pairs, workers=0, **job)
        for name, target in (("one", 8), ("several", 19), ("boundary", 21)):
            if options.part in (name, "headline", "all"):
                job = jobs.prepare(name, root, url)
                lines += compare(f"{job.pop('title')}, {delay}", target, options.pairs, workers=0, **job)
    return lines


def publish(lines: list[str]) -> None:
    """Replace this benchmark's part of RESULTS.md."""
    text = RESULTS.read_text() if RESULTS.exists() else "# Results\n"
    before, found, rest = text.partition(MARKS[0])
    after = rest.partition(MARKS[1])[2] if found else "\n"
    RESULTS.write_text("\n".join([before.rstrip(), "", MARKS[0], *lines, "", MARKS[1]]) + after)


def main() -> int:
    """Print one table."""
    if importlib.util.find_spec("torchgeo") is None:
        other = ROOT / ".venv-ml" / "bin" / "python"
        if not other.exists():
            print("skipped: torch and torchgeo are not installed here, `make test-ml` makes .venv-ml with them")
            return 0
        return subprocess.run([other, "-m", "tests.benchmarks.bench_training", *sys.argv[1:]], check=False).returncode
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--delay", type=float, default=0.05)
    parser.add_argument(
        "--part", default="all", choices=["chips", "local", "headline", "one", "several", "boundary", "all"]
    )
    parser.add_argument("--pairs", type=int, default=PAIRS)
    options = parser.parse_args()
    served = "nginx with Lua" if nginx.available() else "the tests' Python server"
    with tempfile.TemporaryDirectory(prefix="bench-training-") as scratch:
        # What the builds write must count as written here, for the child processes too.
        os.environ.setdefault("RASTERET_REFS_STATE", scratch)
        lines = measure(Path(os.environ.get("RASTERET_REFS_BENCH_DATA", scratch)), options)
    if options.part == "all":
        place = f"{os.cpu_count()} cores, Python {platform.python_version()}, {served}"
        said = (
            f"{place}, medians of {options.pairs} fresh processes. The clock runs over one pass of a DataLoader; for "
            "series over opening the dataset too. `build` is the one-off making of our index. Series are drawn anew "
            "for each pair of runs, alike for both. Across the boundary, scenes are as Earth Search publishes "
            "Sentinel-2, and chips lie where Rasteret's own comparison draws them. There TorchGeo warps scenes of "
            "the other CRS by nearest neighbour before it resamples them, ours once: scenes of the dataset's CRS are "
            "compared with TorchGeo's, the others with what GDAL makes of the files when it warps them straight onto "
            "the chip."
        )
        publish(["## Training", "", said, "", *lines])
    return 0


if __name__ == "__main__":
    sys.exit(main())
