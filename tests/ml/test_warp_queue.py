"""Warps beside the decoding: each as rasterio warps it alone, whoever shares its warp; in few threads; after a fork."""

import os
import threading

import numpy as np
import pyproj
import pytest
from affine import Affine
from rasterio.warp import Resampling, reproject

from rasteret_refs.errors import QueryError
from rasteret_refs.ml import warp_queue
from rasteret_refs.ml.warp_queue import WarpQueue, WarpTask
from rasteret_refs.read import workers
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


class Held:
    """A queue whose first warp waits until it is let go, so that others gather behind it."""

    def __init__(self, monkeypatch):
        self.queue, self.calls, self.begun, self.go = WarpQueue(), [], threading.Event(), threading.Event()
        self.waits, self.threads = [], set()
        original = warp_queue.onto

        def onto(bands, *args, **kwargs):
            self.begun.set()
            assert self.go.wait(60)
            self.calls.append(len(bands))
            self.threads.add(threading.current_thread().name)
            return original(bands, *args, **kwargs)

        monkeypatch.setattr(warp_queue, "onto", onto)

    def add(self, given, target, resampling="bilinear", *, nodata=None, fill=0, source=SOURCE):
        found = []
        task = WarpTask(
            pixels=given, source=source, wanted=target, resampling=resampling, nodata=nodata, fill=fill,
            then=lambda warped: found.append(warped.copy()),
        )  # fmt: skip
        self.waits.append((self.queue.add(task), found))
        assert self.begun.wait(60)

    def results(self):
        self.go.set()
        return [(done.result(60), found[0])[1] for done, found in self.waits]


@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "cubic", "average"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32"])
def test_warps_that_share_grids_are_one_and_each_is_rasterio_s_own(monkeypatch, resampling, dtype):
    monkeypatch.setattr(workers, "cores", lambda: 1)
    held = Held(monkeypatch)
    given = [pixels(dtype, bands) for bands in (1, 1, 3, 1, 2, 1)]
    for one in given:
        held.add(one, wanted(), resampling)
    held.add(given[0], wanted(40), resampling)
    found = held.results()
    # The first alone: nothing else was there; then all of its grid; then the other's.
    assert held.calls == ([1, 8, 1] if resampling != "cubic" else [1, 1, 3, 1, 2, 1, 1])
    for one, of_one in zip(given, found[:-1], strict=True):
        np.testing.assert_array_equal(of_one, alone(one, wanted(), resampling))
    np.testing.assert_array_equal(found[-1], alone(given[0], wanted(40), resampling))
    assert (found[0] != 0).mean() > 0.9  # they do meet


def test_images_with_nodata_are_warped_alone(monkeypatch):
    monkeypatch.setattr(workers, "cores", lambda: 1)
    held = Held(monkeypatch)
    given = [pixels() for _ in range(4)]
    for number, one in enumerate(given):
        one[0, 30 * number : 30 * number + 40, 50:90] = 7
        held.add(one, wanted(), nodata=7, fill=7)
    held.add(given[0], wanted())
    found = held.results()
    assert held.calls == [1] * 5
    for one, of_one in zip(given, found[:-1], strict=True):
        np.testing.assert_array_equal(of_one, alone(one, wanted(), "bilinear", nodata=7, fill=7))
    np.testing.assert_array_equal(found[-1], alone(given[0], wanted(), "bilinear"))


def test_no_more_pixels_than_gdal_warps_in_one_piece_are_warped_together(monkeypatch):
    monkeypatch.setattr(workers, "cores", lambda: 1)
    held = Held(monkeypatch)
    one = pixels()
    of_one = one.nbytes + 96 * 100 * 2
    monkeypatch.setattr(warp_queue, "GROUP_BYTES", 3 * of_one)
    for _ in range(8):
        held.add(one, wanted())
    assert all((found == alone(one, wanted(), "bilinear")).all() for found in held.results())
    assert held.calls == [1, 3, 3, 1]


def test_a_failure_reaches_all_who_wait_for_it_and_nobody_else(monkeypatch):
    monkeypatch.setattr(workers, "cores", lambda: 1)
    held = Held(monkeypatch)
    nowhere = pyproj.CRS.from_wkt('LOCAL_CS["nowhere",UNIT["metre",1]]')
    lost = Grid(crs=nowhere, transform=SOURCE.transform, height=SOURCE.height, width=SOURCE.width)
    one = pixels()
    held.add(one, wanted())
    held.add(one, wanted(), source=lost)
    held.add(one, wanted(), source=lost)
    held.add(one, wanted())
    held.go.set()
    outcomes = [done.exception(60) for done, _ in held.waits]
    assert outcomes[0] is None
    assert isinstance(outcomes[1], QueryError)
    assert outcomes[2] is outcomes[1]
    assert outcomes[3] is None
    assert "expected a way from nowhere" in str(outcomes[1])


def test_more_threads_take_part_only_where_much_waits(monkeypatch):
    monkeypatch.setattr(workers, "cores", lambda: 3)
    monkeypatch.setattr(workers, "_warpers", None)
    one, few = pixels(), Held(monkeypatch)
    for number in range(7):
        few.add(one, wanted(10 * number))
    assert len(few.results()) == 7
    assert len(few.threads) == 1
    many = Held(monkeypatch)
    for number in range(60):  # one and eight wait for the first thread, eight more for the second
        many.add(one, wanted(10 * number))
    assert all((found == alone(one, wanted(10 * number), "bilinear")).all() for number, found in
               enumerate(many.results()))  # fmt: skip
    assert 2 <= len(many.threads) <= 3
    workers.warpers().shutdown()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_warps_though_its_parent_is_at_it(monkeypatch):
    held = Held(monkeypatch)
    monkeypatch.setattr(warp_queue, "_queue", held.queue)
    one = pixels()
    held.add(one, wanted())
    child = os.fork()
    if child == 0:
        code = 1
        try:
            held.go.set()
            found = []
            task = WarpTask(pixels=one, source=SOURCE, wanted=wanted(), resampling="bilinear", nodata=None, fill=0,
                            then=lambda warped: found.append(warped.copy()))  # fmt: skip
            warp_queue.submit(task).result(30)
            code = 0 if found[0].shape == (1, 96, 100) and (found[0] != 0).all() else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    np.testing.assert_array_equal(held.results()[0], alone(one, wanted(), "bilinear"))
