"""Kills writers at random points and lets them resume; a process of its own, which forks one child an attempt.

python -m tests.trust.crash_campaign POINTS

It prints one line of JSON: points by action, how often the kill hit, requests repeated, and what went wrong.
"""

import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rasteret_refs as rr
from rasteret_refs.build import append as append_module
from rasteret_refs.build import run as build_run
from rasteret_refs.build.scene import Asset, Scene
from rasteret_refs.errors import NotFoundError
from rasteret_refs.objects.client import Objects
from tests.headers import Cog
from tests.servers.range_server import Server, serve

FILES = 400
BASE = 100
"""Scenes that stand before an append."""
IN_FLIGHT = 4
"""Requests at once: what is on its way when the kill comes cannot but be asked for again."""
Action = Callable[[list[Scene], Path, bool], int]


def build(scenes: list[Scene], out: Path, resume: bool) -> int:
    """Build; returns the requests."""
    report = build_run.build(scenes, out, axis="scene", resume=resume, objects=Objects(concurrency=IN_FLIGHT))
    return report.requests


def append(scenes: list[Scene], out: Path, resume: bool) -> int:
    """Append to what stands."""
    return append_module.append(scenes, out, resume=resume, objects=Objects(concurrency=IN_FLIGHT)).requests


def annotate(scenes: list[Scene], out: Path, _resume: bool) -> int:
    """Label all scenes of what stands; a second time gives the same, and tidies up behind a killed one."""
    ids = [scene.id for scene in scenes]
    rr.open(out).annotate({"id": ids, "label": list(range(len(ids)))}, on="id", write=True)
    return 0


ACTIONS: dict[str, Action] = {"build": build, "append": append, "annotate": annotate}


def forked(work: Callable[[], Any]) -> tuple[int, int]:
    """Run in a child; returns its id and the pipe that carries its answer as JSON."""
    read, write = os.pipe()
    child = os.fork()
    if child:
        os.close(write)
        return child, read
    status = 1
    try:
        os.close(read)
        os.write(write, json.dumps(work()).encode())
        status = 0
    except BaseException:  # noqa: BLE001 - told to the parent
        os.write(write, json.dumps({"error": traceback.format_exc()[-1500:]}).encode())
    finally:
        os._exit(status)


def finished(child: int, pipe: int) -> Any:
    """Wait for a child; its answer, None where it was killed."""
    data = b""
    while block := os.read(pipe, 65536):
        data += block
    os.close(pipe)
    os.waitpid(child, 0)
    return json.loads(data) if data else None


def state(out: Path) -> Any:
    """What stands at a place: None where nothing does, else what all its files are, verified."""
    try:
        refs = rr.open(out)
    except NotFoundError:
        return None
    refs.verify()
    sealed = {name: entry.sha256 for name, entry in refs.refset.seal.all_files().items()}
    return {"files": sealed, "scenes": len(refs.scenes), "seal": refs.refset.sha256}


class Campaign:
    """Everything that is counted."""

    def __init__(self, server: Server, directory: Path) -> None:
        self.server, self.directory = server, directory
        self.scenes = [
            Scene(id=f"{number:04d}", assets=(Asset(name="image", href=f"{server.url}{number % 20}.tif?n={number}"),))
            for number in range(FILES)
        ]
        self.counts: Counter[str] = Counter()
        self.again = self.asked = 0
        self.problems: list[str] = []

    def prepare(self, action: str, out: Path) -> None:
        """Give the place the state before the action."""
        shutil.rmtree(out.parent, ignore_errors=True)
        out.parent.mkdir(parents=True)
        if action != "build":
            shutil.copytree(self.directory / "base.refs", out)

    def run(self, points: int) -> None:
        """Kill so many writers, the three kinds in turn."""
        base = self.directory / "base.refs"
        assert "error" not in str(finished(*forked(lambda: build(self.scenes[:BASE], base, False))))
        wholes = {name: self._whole(name, action) for name, action in ACTIONS.items()}
        source = random.Random(0)  # noqa: S311 - to be repeated
        for number in range(points):
            name = list(ACTIONS)[number % 3]
            before, reference, seconds = wholes[name]
            self._point(name, source.uniform(0, 1.1 * seconds), before, reference)

    def _whole(self, name: str, action: Action) -> tuple[Any, Any, float]:
        """Do an action without interruption: the state before, the state after, and how long it took."""
        out = self.directory / "whole" / "x.refs"
        self.prepare(name, out)
        before = finished(*forked(lambda: state(out)))
        began = time.monotonic()
        answer = finished(*forked(lambda: action(self._scenes(name), out, False)))
        assert isinstance(answer, int), answer
        seconds = time.monotonic() - began
        return before, finished(*forked(lambda: state(out))), seconds

    def _scenes(self, name: str) -> list[Scene]:
        return self.scenes[:BASE] if name == "annotate" else self.scenes

    def _point(self, name: str, delay: float, before: Any, reference: Any) -> None:
        out = self.directory / "points" / "x.refs"
        self.prepare(name, out)
        scenes = self._scenes(name)
        self.server.reset()
        child, pipe = forked(lambda: ACTIONS[name](scenes, out, False))
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
        answer = finished(child, pipe)
        killed = answer is None
        self.counts[f"{name} killed" if killed else f"{name} ended before"] += 1
        first = self.server.stats().requests
        left = finished(*forked(lambda: state(out)))
        if left not in (before, reference):
            self.problems.append(f"{name} killed after {delay:.3f} s left {str(left)[:300]}")
        ended = left == reference
        if not ended or name == "annotate":
            resumed = finished(*forked(lambda: ACTIONS[name](scenes, out, True)))
            if not isinstance(resumed, int):
                self.problems.append(f"{name} resumed after {delay:.3f} s: {resumed}")
        if killed and name != "annotate" and left != reference:
            needed = FILES if name == "build" else FILES - BASE
            self.asked += needed
            self.again += max(0, first + resumed - needed) if isinstance(resumed, int) else 0
        found = finished(*forked(lambda: state(out)))
        if ended and name == "annotate" and isinstance(found, dict):
            found["seal"] = reference["seal"]  # labelled once more: its seal has a predecessor more
        if found != reference:
            self.problems.append(f"{name} after {delay:.3f} s differs from an uninterrupted one: {str(found)[:300]}")
        rest = sorted(path.name for path in out.parent.iterdir() if path != out)
        if rest and (not ended or name == "annotate"):  # a writer killed while it tidies up leaves that to the next one
            self.problems.append(f"{name} left {rest} beside its output")


def main(points: int) -> None:
    """Run the campaign and print its figures."""
    with tempfile.TemporaryDirectory(prefix="crash-") as text:
        directory = Path(text)
        os.environ["RASTERET_REFS_STATE"] = str(directory / "state")
        (directory / "served").mkdir()
        for number in range(20):
            Cog(size=1024, tile=256, overviews=2, mean_tile_bytes=1000).write(
                directory / "served" / f"{number}.tif", number
            )
        with serve(directory / "served", process=True) as server:
            campaign = Campaign(server, directory)
            campaign.run(points)
    print(
        json.dumps(
            {
                "points": points,
                "counts": dict(campaign.counts),
                "asked": campaign.asked,
                "again": campaign.again,
                "problems": campaign.problems[:10],
                "problem_count": len(campaign.problems),
            }
        )
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
