"""Reads against the floor and the peers: `python -m tests.benchmarks.bench_read [--scenario NAME] [--runs 5]`.

Each peer reads each scenario in a fresh process, in turns, from a loopback server that waits before each answer
(nginx with its Lua module; where that is missing, the tests' Python server, which costs CPU itself). Medians; requests
and body bytes as the server counts them. The table and the chart go to `tests/benchmarks/RESULTS.md`.

`RASTERET_REFS_PEERS_PYTHON` names the interpreter that has the peers (async-geotiff, rasteret, obstore, imagecodecs,
rasterio); `RASTERET_REFS_BENCH_DATA` a directory for the COGs (default: a temporary one).
"""

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.bench_read_data import write_job, write_scenes
from tests.benchmarks.bench_read_scenarios import SCENARIOS, Scenario
from tests.benchmarks.peers import nginx
from tests.servers.range_server import serve

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"
MARKS = ("<!-- bench_read -->", "<!-- /bench_read -->")
OWN = {"ours", "ours_cached", "ours_zarr", "plain_zarr"}
"""Peers that run in this project's own environment."""
BAR = 40


@dataclass
class Measured:
    """What one peer did in one scenario."""

    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    digest: str = ""
    megabytes: float = 0.0
    requests: int = 0
    bytes: int = 0
    problem: str = ""

    @property
    def median(self) -> float:
        """Seconds."""
        return median(self.seconds)


@contextlib.contextmanager
def server(directory: Path, delay: float) -> Iterator[tuple[str, Any, Any]]:
    """Serve a directory; yields its URL, and functions that forget and give the counts."""
    if nginx.available():
        with nginx.serve(directory, delay) as running:
            yield running.url, running.forget, running.counts
        return
    with serve(directory, delay=delay, process=True) as running:
        yield running.url, running.reset, lambda: (running.stats().requests, running.stats().bytes_sent)


def interpreter(peer: str) -> str:
    """Choose the environment of a peer."""
    return sys.executable if peer in OWN else os.environ.get("RASTERET_REFS_PEERS_PYTHON", sys.executable)


def measure(scenario: Scenario, data: Path, runs: int, peers: tuple[str, ...]) -> dict[str, Measured]:
    """Run all peers of a scenario in turns."""
    import rasteret_refs as rr

    paths = write_scenes(scenario, data / f"{scenario.name}")
    results = {peer: Measured() for peer in peers}
    with server(paths[0].parent, scenario.delay) as (url, forget, counts):
        base = f"{paths[0].parent}/" if scenario.local else url
        refs = data / f"{scenario.name}.refs"
        rr.build([base + path.name for path in paths], refs, overwrite=True)
        job = write_job(scenario, paths, base, refs, data / f"{scenario.name}.json")
        for turn in range(runs):
            for peer in peers:
                if turn == 0 or not (peer in scenario.slow or results[peer].problem):
                    forget()
                    run_once(peer, job, results[peer])
                    if not scenario.local:
                        results[peer].requests, results[peer].bytes = counts()
    return results


def run_once(peer: str, job: Path, result: Measured) -> None:
    """Run a peer in a fresh process."""
    command = [interpreter(peer), "-W", "ignore", str(HERE / "peers" / "run.py"), peer, str(job)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode:
        result.problem = (done.stderr.strip().splitlines() or ["no output"])[-1][:120]
        return
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    result.seconds.append(answer["seconds"])
    result.processor.append(answer["cpu"])
    result.digest, result.megabytes = answer["digest"], answer["megabytes"]


def table(scenario: Scenario, results: dict[str, Measured]) -> list[str]:
    """Write a scenario's results as Markdown, with a bar for each peer."""
    reference = next((r.digest for name, r in results.items() if name.startswith("rasterio") and r.digest), "")
    worked = {name: result for name, result in results.items() if result.seconds}
    longest = max((result.median for result in worked.values()), default=1.0)
    lines = [f"### {scenario.title}", "", "| peer | median s | CPU s | requests | MB | peak MB | pixels | |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for name, r in sorted(worked.items(), key=lambda entry: entry[1].median):
        pixels = "—" if not reference else "equal" if r.digest == reference else "differ"
        bar = "█" * max(1, round(BAR * r.median / longest))
        lines.append(
            f"| {name} | {r.median:.3f} | {median(r.processor):.2f} | {r.requests or ''} | "
            f"{r.bytes / 1e6 or 0:.0f} | {r.megabytes:.0f} | {pixels} | {bar} |"
        )
    lines += [f"| {name} | {r.problem} | | | | | | |" for name, r in results.items() if r.problem]
    return [*lines, "", *ratios(worked), ""]


def ratios(worked: dict[str, Measured]) -> list[str]:
    """Compare ours with the floor, the best peer and rasterio."""
    ours = min((worked[name].median for name in ("ours", "ours_cached") if name in worked), default=None)
    if ours is None:
        return []
    peers = {name: result.median for name, result in worked.items() if name not in OWN | {"floor"}}
    said = [f"{ours / worked['floor'].median:.2f} × the floor"] if "floor" in worked else []
    if peers:
        best = min(peers, key=lambda name: peers[name])
        said.append(f"{peers[best] / ours:.1f} × faster than the best peer ({best})")
    said += [f"{peers[name] / ours:.1f} × faster than {name}" for name in ("rasterio_one",) if name in peers]
    return [f"Ours: {', '.join(said)}."]


def publish(lines: list[str]) -> None:
    """Replace this benchmark's part of RESULTS.md."""
    text = RESULTS.read_text() if RESULTS.exists() else "# Results\n"
    part = "\n".join([MARKS[0], *lines, MARKS[1]])
    before, found, rest = text.partition(MARKS[0])
    after = rest.partition(MARKS[1])[2] if found else "\n"
    RESULTS.write_text(before.rstrip() + "\n\n" + part + after)


def main() -> None:
    """Run the scenarios asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenario", action="append", choices=[s.name for s in SCENARIOS], help="default: all")
    parser.add_argument("--peer", action="append", help="default: all of the scenario")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    served = "nginx with Lua" if nginx.available() else "the tests' Python server"
    place = f"{os.cpu_count()} cores, Python {platform.python_version()}, {served}"
    lines = ["## Cold reads", "", f"{place}, medians of {options.runs} fresh processes.", ""]
    with tempfile.TemporaryDirectory(prefix="bench-read-") as temporary:
        data = Path(os.environ.get("RASTERET_REFS_BENCH_DATA", temporary))
        for scenario in SCENARIOS:
            if options.scenario and scenario.name not in options.scenario:
                continue
            peers = tuple(options.peer or scenario.peers)
            part = table(scenario, measure(scenario, data, options.runs, peers))
            print("\n".join(part), flush=True)
            lines += part
    if not (options.scenario or options.peer):
        publish(lines)


if __name__ == "__main__":
    main()
