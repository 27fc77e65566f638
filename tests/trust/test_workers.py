"""Readers in data-loading workers: every way to start them, with a parent that has read or not, over epochs."""

import multiprocessing
import resource
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import rasteret_refs as rr
from rasteret_refs.read.reader import Reader
from tests.servers.range_server import serve
from tests.trust.conftest import SCENES

IMAGE = "factor_1/image"
CHIPS = [(scene, row, column) for scene in range(SCENES) for row in range(0, 192, 48) for column in range(0, 192, 48)]
EPOCHS = 4
GROWTH = 48
"""MiB that a worker may grow by after its first epoch."""


@pytest.fixture(scope="module")
def remote(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A set over HTTP, served by a process of its own."""
    out = tmp_path_factory.mktemp("remote") / "x.refs"
    with serve(scenes, process=True) as server:
        rr.build([f"{server.url}s{number}.tif" for number in range(SCENES)], out)
        yield out


def chip(work: tuple[Reader, tuple[int, int, int]]) -> tuple[int, float]:
    """Read one chip, as a worker does; its sum and the worker's peak memory in MiB."""
    reader, (scene, row, column) = work
    pixels = reader.read(IMAGE, (scene, slice(row, row + 48), slice(column, column + 48)))
    return int(pixels.sum(dtype=np.int64)), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.mark.parametrize("parent_has_read", [True, False])
@pytest.mark.parametrize("workers", [0, 4])
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
@pytest.mark.parametrize("place", ["local", "remote"])
def test_workers_give_equal_samples_and_keep_their_memory(  # noqa: PLR0917 - pytest passes by name
    request: pytest.FixtureRequest,
    pixels: npt.NDArray[Any],
    place: str,
    method: str,
    workers: int,
    parent_has_read: bool,
) -> None:
    if not workers and method != "fork":
        pytest.skip("without workers there is nothing to start")
    location = request.getfixturevalue("local_refs" if place == "local" else "remote")
    reader = rr.open(location).reader
    expected = [int(pixels[s, r : r + 48, c : c + 48].sum(dtype=np.int64)) for s, r, c in CHIPS]
    if parent_has_read:
        assert [chip((reader, where))[0] for where in CHIPS] == expected
    work = [(reader, where) for where in CHIPS]
    peaks = []
    with _pool(method, workers) as run:
        for _ in range(EPOCHS):
            answers = run(work)
            assert [total for total, _ in answers] == expected
            peaks.append(max(peak for _, peak in answers))
    assert peaks[-1] - peaks[0] < GROWTH, peaks


class _pool:  # noqa: N801 - used like a function
    """Something that maps `chip` over work: a pool, or this very process."""

    def __init__(self, method: str, workers: int) -> None:
        self._workers = workers
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what is tested
            context = multiprocessing.get_context(method)
            self._pool = context.Pool(workers) if workers else None

    def __enter__(self) -> Any:
        if self._pool is None:
            return lambda work: [chip(each) for each in work]
        return lambda work: self._pool.map_async(chip, work, chunksize=4).get(timeout=120)  # type: ignore[union-attr]

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.terminate()
            self._pool.join()
