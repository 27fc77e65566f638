"""Warps beside the decoding: each as rasterio warps it alone, whoever shares its warp; in few threads; after a fork."""

import os
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from rasterio.warp import Resampling, reproject

from rasteret_refs.errors import QueryError
from rasteret_refs.ml import warp_queue
from rasteret_refs.ml.warp_queue import WarpBatch, WarpQueue, WarpTask
from rasteret_refs.read import gdal_threads, workers
from rasteret_refs.read.target import Grid

pytestmark = pytest.mark.timeout(120)
EAST, WEST = pyproj.CRS.from_epsg(32644), pyproj.CRS.from_epsg(32643)
X, Y = pyproj.Transformer.from_crs(EAST, WEST, always_xy=True).transform(300_200.0, 1_909_800.0)
SOURCE = Grid(crs=EAST, transform=(10.0, 0.0, 300_000.0, 0.0, -10.0, 1_910_000.0), height=140, width=150)
RNG = np.random.default_rng(6)


def wanted(shift=0):
    place = (10.0, 0.0, round(X / 10) * 10.0 + shift, 0.0, -10.0, round(Y / 10) * 10.0)
    return Grid(crs=WEST, transform=place, height=96, width=100)


def pixels(dtype="uint16", bands=1):
    return RNG.integers(1, 9_000, (bands, SOURCE.height, SOURCE.width)).astype(dtype)


def alone(given, target, resampling, nodata=None, fill=0):
    """What rasterio makes of one image."""
    out = np.full((len(given), target.height, target.width), fill, given.dtype)
    reproject(
        given, out, src_crs=SOURCE.crs.to_wkt(), src_transform=Affine(*SOURCE.transform), src_nodata=nodata,
        dst_crs=target.crs.to_wkt(), dst_transform=Affine(*target.transform), dst_nodata=nodata,
        resampling=Resampling[resampling], init_dest_nodata=True,
    )  # fmt: skip
    return out


class Warps:
    """A batch of warps, whose calls of GDAL are noted, and wait until they are let go."""

    def __init__(self, monkeypatch):
        self.batch, self.calls, self.threads, self.waits, self.planned = WarpBatch(), [], set(), [], []
        self.go = threading.Event()
        monkeypatch.setattr(warp_queue, "_queue", WarpQueue())
        original = warp_queue.onto

        def onto(bands, *args, **kwargs):
            assert self.go.wait(60)
            self.calls.append(len(bands))
            self.threads.add(threading.current_thread().name)
            return original(bands, *args, **kwargs)

        monkeypatch.setattr(warp_queue, "onto", onto)

    def plan(self, given, target, resampling="bilinear", *, nodata=None, fill=0, source=SOURCE):
        found = []
        task = WarpTask(
            pixels=given, source=source, wanted=target, whole=SOURCE, resampling=resampling, nodata=nodata, fill=fill,
            then=lambda warped: found.append(warped.copy()),
        )  # fmt: skip
        self.batch.expect(source, target, SOURCE)
        self.planned.append((task, found))

    def arrive(self, count=None):
        self.waits += [(self.batch.add(task), found) for task, found in self.planned[:count]]
        del self.planned[:count]

    def results(self):
        self.arrive()
        self.go.set()
        return [(done.result(60), found[0])[1] for done, found in self.waits]


@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "cubic", "average"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32"])
def test_warps_that_share_grids_are_one_and_each_is_rasterio_s_own(monkeypatch, resampling, dtype):
    monkeypatch.setattr(workers, "cores", lambda: 1)
    warps = Warps(monkeypatch)
    given = [pixels(dtype, bands) for bands in (1, 1, 3, 1, 2, 1)]
    for number, one in enumerate(given):
        if number == 4:
            warps.plan(given[0], wanted(40), resampling)
        warps.plan(one, wanted(), resampling)
    found = warps.results()
    # The other grid's comes when it is there; those of one grid when the last of them is.
    assert warps.calls == ([1, 9] if resampling != "cubic" else [1, 1, 1, 3, 1, 2, 1])
    np.testing.assert_array_equal(found.pop(4), alone(given[0], wanted(40), resampling))
    for one, of_one in zip(given, found, strict=True):
        np.testing.assert_array_equal(of_one, alone(one, wanted(), resampling))
    assert (found[0] != 0).mean() > 0.9  # they do meet


def test_images_with_nodata_are_warped_alone(monkeypatch):
    monkeypatch.setattr(workers, "cores", lambda: 1)
    warps = Warps(monkeypatch)
    given = [pixels() for _ in range(4)]
    for number, one in enumerate(given):
        one[0, 30 * number : 30 * number + 40, 50:90] = 7
        warps.plan(one, wanted(), nodata=7, fill=7)
    for _ in range(2):
        warps.plan(given[0], wanted())
    found = warps.results()
    assert warps.calls == [1, 1, 1, 1, 2]
    for one, of_one in zip(given, found[:4], strict=True):
        np.testing.assert_array_equal(of_one, alone(one, wanted(), "bilinear", nodata=7, fill=7))
    for of_one in found[4:]:
        np.testing.assert_array_equal(of_one, alone(given[0], wanted(), "bilinear"))


def test_pixels_of_two_resamplings_or_types_are_not_mixed(monkeypatch):
    monkeypatch.setattr(workers, "cores", lambda: 1)
    warps = Warps(monkeypatch)
    given = [pixels("uint16"), pixels("uint8"), pixels("uint16"), pixels("uint16")]
    for one, resampling in zip(given, ["bilinear", "bilinear", "nearest", "bilinear"], strict=True):
        warps.plan(one, wanted(), resampling)
    found = warps.results()
    assert warps.calls == [2, 1, 1]
    for one, of_one, resampling in zip(given, found, ["bilinear", "bilinear", "nearest", "bilinear"], strict=True):
        np.testing.assert_array_equal(of_one, alone(one, wanted(), resampling))


def test_no_more_pixels_than_gdal_warps_in_one_piece_are_warped_together(monkeypatch):
    monkeypatch.setattr(workers, "cores", lambda: 1)
    warps = Warps(monkeypatch)
    one = pixels()
    of_one = one.nbytes + 96 * 100 * 2
    monkeypatch.setattr(warp_queue, "GROUP_BYTES", 3 * of_one)
    for _ in range(8):
        warps.plan(one, wanted())
    assert all((found == alone(one, wanted(), "bilinear")).all() for found in warps.results())
    assert warps.calls == [3, 3, 2]


def test_a_failure_reaches_all_who_wait_for_it_and_nobody_else(monkeypatch):
    monkeypatch.setattr(workers, "cores", lambda: 1)
    warps = Warps(monkeypatch)
    nowhere = pyproj.CRS.from_wkt('LOCAL_CS["nowhere",UNIT["metre",1]]')
    lost = Grid(crs=nowhere, transform=SOURCE.transform, height=SOURCE.height, width=SOURCE.width)
    one = pixels()
    for source in (SOURCE, lost, lost, SOURCE):
        warps.plan(one, wanted(), source=source)
    warps.arrive()
    warps.go.set()
    outcomes = [done.exception(60) for done, _ in warps.waits]
    assert outcomes[0] is None
    assert isinstance(outcomes[1], QueryError)
    assert outcomes[2] is outcomes[1]
    assert outcomes[3] is None
    assert "expected a way from nowhere" in str(outcomes[1])


def test_warps_whose_reads_fail_keep_no_other_batch_waiting(monkeypatch):
    warps, one = Warps(monkeypatch), pixels()
    for _ in range(3):
        warps.plan(one, wanted())
    warps.arrive(2)  # the third never comes
    broken, warps.waits, warps.planned, warps.batch = warps.waits, [], [], WarpBatch()
    warps.plan(one, wanted())
    np.testing.assert_array_equal(warps.results()[0], alone(one, wanted(), "bilinear"))
    assert len(broken) == 2
    assert not any(done.done() for done, _ in broken)


def test_more_threads_take_part_only_where_much_waits(monkeypatch):
    monkeypatch.setattr(workers, "cores", lambda: 3)
    monkeypatch.setattr(workers, "_warpers", None)
    one, few = pixels(), Warps(monkeypatch)
    for number in range(7):
        few.plan(one, wanted(10 * number))
    assert len(few.results()) == 7
    assert len(few.threads) == 1
    many = Warps(monkeypatch)
    for number in range(60):  # one and eight wait for the first thread, eight more for the second
        many.plan(one, wanted(10 * number))
    assert all((found == alone(one, wanted(10 * number), "bilinear")).all() for number, found in
               enumerate(many.results()))  # fmt: skip
    assert 2 <= len(many.threads) <= 3
    workers.warpers().shutdown()


def test_a_thread_begins_once_before_the_first_warps_and_not_where_none_are_expected(monkeypatch):
    begun = []
    monkeypatch.setattr(workers, "_warpers", None)
    monkeypatch.setattr(warp_queue, "_queue", WarpQueue())
    monkeypatch.setattr(warp_queue, "onto", lambda pixels, *grids, **_: begun.append((pixels.size, grids)))
    warp_queue.begin_expected()
    WarpBatch().expect(SOURCE, wanted(), SOURCE)
    warp_queue.begin_expected()
    warp_queue.begin_expected()
    workers.warpers().shutdown()
    assert [(size, source.crs, target.crs) for size, (source, target) in begun] == [(4, EAST, WEST)]


def test_gdal_begins_without_python_s_lock_and_raises_nothing():
    """In a process of its own, for it begins but once."""
    code = """
    import threading, time
    import numpy, pyproj, rasterio.warp
    from rasteret_refs.read import gdal_threads

    ticks, over = [], threading.Event()
    def tick():
        while not over.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.0005)

    def measured(source, target):
        began = time.perf_counter()
        gdal_threads.begin(source, target)
        ended = time.perf_counter()
        seen = [began, *(at for at in ticks if began <= at <= ended), ended]
        found.append((ended - began, max(b - a for a, b in zip(seen, seen[1:]))))

    found, clock = [], threading.Thread(target=tick)
    clock.start()
    east, west = pyproj.CRS.from_epsg(32644), pyproj.CRS.from_epsg(32643)
    with rasterio.Env():
        for pair in [(east, west), (pyproj.CRS.from_wkt('LOCAL_CS["nowhere",UNIT["metre",1]]'), west)]:
            thread = threading.Thread(target=measured, args=pair)
            thread.start()
            thread.join()
    over.set()
    clock.join()
    (took, longest), _ = found
    print(took, longest, longest < 0.6 * took)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.endswith("True\n"), done.stdout
    assert done.stderr == ""


def test_gdal_begins_once_in_each_thread(monkeypatch):
    opened = []

    def refuse(text):
        opened.append(text)
        raise rasterio.errors.RasterioIOError

    monkeypatch.setattr(rasterio, "open", refuse)
    for _ in range(2):
        thread = threading.Thread(target=lambda: [gdal_threads.begin(EAST, WEST) for _ in range(3)])
        thread.start()
        thread.join()
    assert len(opened) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_warps_though_its_parent_is_at_it(monkeypatch):
    warps = Warps(monkeypatch)
    one = pixels()
    warps.plan(one, wanted())
    warps.arrive()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            warps.waits.clear()
            warps.batch = WarpBatch()
            warps.plan(one, wanted())
            code = 0 if (warps.results()[0] != 0).all() else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    np.testing.assert_array_equal(warps.results()[0], alone(one, wanted(), "bilinear"))
