"""Killed, rivalling and starved writers: the old state or the new one, never something between."""

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

import rasteret_refs as rr
from rasteret_refs.errors import ExistsError, ObjectError, RasteretRefsError, RefsetError
from tests.trust.conftest import SCENES, write_scene

ROOT = Path(__file__).resolve().parents[2]
POINTS = int(os.environ.get("RASTERET_REFS_POINTS", "9"))
"""Kills of the small campaign; `make crash` asks for 200."""
RACES = int(os.environ.get("RASTERET_REFS_RACES", "6"))
"""Races of two writers; `make crash` asks for 100."""


def test_killed_writers_leave_one_state_and_resume_to_the_same_set() -> None:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-m", "tests.trust.crash_campaign", str(POINTS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120 + 15 * POINTS)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"\n{found}")
    assert found["problem_count"] == 0, found["problems"]
    assert sum(found["counts"].values()) == POINTS
    # Requests on their way when a kill comes are asked again; few points with few requests say little of the share.
    assert found["again"] <= 0.02 * found["asked"] + (8 * POINTS if POINTS < 50 else 0)


RIVAL = """
import sys
import rasteret_refs as rr
from rasteret_refs.errors import RasteretRefsError
out, overwrite, *paths = sys.argv[1:]
sys.stdin.readline()
try:
    rr.build(paths, out, overwrite=overwrite == "1")
    print("won")
except RasteretRefsError as error:
    print(type(error).__name__)
"""


def test_of_two_writers_one_wins_or_both_do_and_nothing_is_mixed(scenes: Path, tmp_path: Path) -> None:
    outcomes: Counter[str] = Counter()
    sources = [[str(scenes / f"s{n}.tif") for n in range(SCENES)], [str(scenes / f"raw{n}.tif") for n in range(SCENES)]]
    whole = []
    for which, paths in enumerate(sources):
        rr.build(paths, tmp_path / f"whole{which}.refs")
        whole.append((tmp_path / f"whole{which}.refs" / "refs.json").read_bytes())
    for race in range(RACES):
        out = tmp_path / "races" / "x.refs"
        shutil.rmtree(out.parent, ignore_errors=True)
        out.parent.mkdir()
        overwrite = str(race % 2)
        if overwrite == "1":
            rr.build(sources[0], out)
        rivals = [
            subprocess.Popen(
                [sys.executable, "-c", RIVAL, str(out), overwrite, *paths],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
            )
            for paths in sources
        ]  # fmt: skip
        for rival in rivals:
            assert rival.stdin is not None
            rival.stdin.write("go\n")
            rival.stdin.flush()
        said = [rival.communicate(timeout=60)[0].strip() for rival in rivals]
        outcomes["+".join(sorted(said))] += 1
        assert set(said) <= {"won", "ExistsError"}, said
        assert "won" in said
        rr.open(out).verify()
        assert (out / "refs.json").read_bytes() in whole
        assert [path.name for path in out.parent.iterdir()] == ["x.refs"]
    print(f"\n{RACES} races: {dict(outcomes)}")


STARVED = """
import json, resource, signal, sys
import rasteret_refs as rr
from rasteret_refs.errors import RasteretRefsError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
new, standing, *rest = sys.argv[1:]
limits, paths = json.loads(rest[0]), rest[1:]
rr.build(paths[:1], new + ".warm")  # imports write their caches
for limit in limits:
    for out, overwrite in ((new, False), (standing, True)):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            rr.build(paths, out, overwrite=overwrite)
            said = "built"
        except RasteretRefsError as error:
            said = type(error).__name__
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        print(said)
"""


def test_a_full_disk_leaves_nothing_behind(scenes: Path, tmp_path: Path) -> None:
    paths = [str(scenes / f"s{n}.tif") for n in range(SCENES)]
    (tmp_path / "new").mkdir()
    sound = tmp_path / "standing" / "sound.refs"
    rr.build(paths[:2], sound)
    before = (sound / "refs.json").read_bytes()
    rr.build(paths, tmp_path / "whole.refs")
    limits = sorted({1, 100, *(path.stat().st_size - 1 for path in (tmp_path / "whole.refs").rglob("*.*"))})
    arguments = [str(tmp_path / "new" / "x.refs"), str(sound), json.dumps(limits[:-1]), *paths]
    done = subprocess.run(
        [sys.executable, "-c", STARVED, *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    said = done.stdout.split()
    assert said == ["RefsetError"] * (2 * len(limits) - 2), said
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["x.refs.warm"]
    assert [path.name for path in sound.parent.iterdir()] == ["sound.refs"]
    assert (sound / "refs.json").read_bytes() == before
    rr.open(sound).verify()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT, errno.EACCES])
def test_whatever_the_disk_says_while_writing_is_an_error_of_ours_and_changes_nothing(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    out = tmp_path / "x.refs"
    rr.build([str(scenes / "s0.tif")], out)
    before = (out / "refs.json").read_bytes()
    genuine = Path.open
    for failing in range(1, 40, 4):
        calls = 0

        def faulty(self: Path, mode: str = "r", *arguments: Any, failing: int = failing, **options: Any) -> Any:
            nonlocal calls
            if "x" in mode:
                calls += 1
                if calls == failing:
                    raise OSError(code, os.strerror(code), str(self))
            return genuine(self, mode, *arguments, **options)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", faulty)
            try:
                rr.build([str(scenes / "s1.tif")], out, overwrite=True)
            except RefsetError as error:
                said = str(error)
            else:
                break
        assert os.strerror(code) in said
        assert (out / "refs.json").read_bytes() == before
        assert [path.name for path in tmp_path.iterdir()] == ["x.refs"]
    assert failing > 1
    rr.open(out).verify()


def test_an_unreadable_disk_is_an_error_of_ours(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rr.build([str(scenes / "s0.tif")], tmp_path / "x.refs")

    def broken(*_: Any, **__: Any) -> Any:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    refs = rr.open(tmp_path / "x.refs")
    with monkeypatch.context() as patch:
        patch.setattr("rasteret_refs.objects.local._read", broken)
        with pytest.raises(ObjectError, match="Input/output error"):
            refs.to_xarray().image.values  # noqa: B018 - reading is what is tested
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", broken)
        with pytest.raises(ObjectError, match="Input/output error"):
            rr.open(tmp_path / "x.refs")


def test_a_target_that_cannot_be_written_is_refused_before_anything_is_read(scenes: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises((RefsetError, ExistsError)):
        rr.build([str(scenes / "s0.tif")], tmp_path / "file" / "x.refs")
    with pytest.raises((RefsetError, ExistsError)):
        rr.build([str(scenes / "s0.tif")], Path("/proc/x.refs"))


def test_readers_open_during_appends_see_the_old_or_the_new_state(tmp_path: Path) -> None:
    paths, truth = [], {}
    for number in range(8):
        path = tmp_path / f"{number}.tif"
        truth[str(path)] = write_scene(path, 100 + number, side=128)
        paths.append(str(path))
    out = tmp_path / "x.refs"
    rr.build(paths[:2], out)
    early, plain = rr.open(out), _plain(out)
    done, wrong, seen = threading.Event(), [], Counter()

    def watch() -> None:
        while not done.is_set():
            for name, opened in (("ours", _ours(early)), ("ours anew", _ours(rr.open(out))), ("plain", plain)):
                try:
                    ids, pixels = opened()
                except RasteretRefsError as error:
                    wrong.append(f"{name}: {error!r}")
                    continue
                seen[name, len(ids)] += 1
                for label, image in zip(ids, pixels, strict=False):
                    if not np.array_equal(image, truth[str(tmp_path / f"{label}.tif")]):
                        wrong.append(f"{name}: other pixels under {label}")

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for path in paths[2:]:
            rr.open(out).append([path])
    finally:
        done.set()
        watcher.join()
    print(f"\nreads while appending: {dict(seen)}")
    assert not wrong, wrong[:5]
    assert {count for (name, count) in seen if name == "ours"} == {2}
    assert rr.open(out).to_xarray().image.shape[0] == 8


def _ours(refs: Any) -> Any:
    def read() -> tuple[list[str], Any]:
        dataset = refs.to_xarray()
        return [str(value).removesuffix(".tif") for value in dataset["id"].values], dataset.image.values

    return read


def _plain(out: Path) -> Any:
    group = zarr.open_group(rr.plain_store(out), mode="r", zarr_format=2, use_consolidated=False)

    def read() -> tuple[list[str], Any]:
        ids = [str(value).removesuffix(".tif") for value in np.asarray(group["factor_1/id"][...])]
        return ids, np.asarray(group["factor_1/image"][...])

    return read
