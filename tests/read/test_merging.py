"""What stands where there is no data, which scenes a mask speaks of, how slots are named, and what each read costs."""

import threading
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from odc.geo.geobox import GeoBox

import rasteret_refs as rr
from rasteret_refs.build.scene import Asset, Scene
from rasteret_refs.errors import NotFoundError, QueryError
from rasteret_refs.read.masks import parse_masks
from rasteret_refs.read.reader import Reader
from rasteret_refs.read.shared import SharedWindows
from tests.read.conftest import noise, set_of, write_cog
from tests.servers.range_server import serve

pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # odc-geo's own
ORIGIN = (600000.0, 1400000.0)
SIZE = 256


def grid(columns=0):
    """The grid of all images here, moved by some columns."""
    from affine import Affine

    return GeoBox((SIZE, SIZE), Affine(10, 0, ORIGIN[0] + 10 * columns, 0, -10, ORIGIN[1]), "EPSG:32643")


@pytest.fixture
def make(tmp_path):
    """Build a set; each scene is a mapping of assets to (pixels, options), its properties as `_`."""

    def build_set(*scenes: dict[str, Any], base: str = "") -> rr.Collection:
        found = []
        for number, scene in enumerate(scenes):
            properties, times = scene.pop("_", {}), scene.pop("times", {})
            times = {"datetime": datetime(2024, 1, 1 + number, tzinfo=UTC), **times}
            assets = []
            for name, (pixels, options) in scene.items():
                path = write_cog(
                    tmp_path / f"{name}_{number}.tif", pixels.reshape(-1, *pixels.shape[-2:]), origin=ORIGIN, **options
                )
                assets.append(Asset(name=name, href=base + path.name if base else str(path)))
            found.append(Scene(id=f"s{number}", assets=tuple(assets), properties=properties, **times))
        return set_of(found, tmp_path / "x.refs")

    return build_set


def classes(seed=0):
    return (noise((SIZE, SIZE), seed=seed) % 12).astype("u1")


def test_no_data_is_the_commonest_nodata_and_the_attribute_says_so(make):
    pixels = [noise((SIZE, SIZE), seed=n) % 250 + 1 for n in range(3)]
    nodata = (255, 0, 255)
    for one, value in zip(pixels, nodata, strict=True):
        one[10:40] = value
    pixels[1][100:110] = 255  # data there
    refs = make(*({"red": (one.astype("u1"), {"nodata": n})} for one, n in zip(pixels, nodata, strict=True)))
    found = refs.read(geobox=grid())["red"]
    assert found.attrs["nodata"] == 255
    assert isinstance(found.attrs["nodata"], int)
    assert (found[:, 10:40] == 255).all()
    masked = refs.read(geobox=grid(), masked=True)["red"]
    assert "nodata" not in masked.attrs
    for number, (one, value) in enumerate(zip(pixels, nodata, strict=True)):
        np.testing.assert_array_equal(masked[number], np.where(one == value, np.nan, one))


def test_floats_without_nodata_are_nan_where_there_is_nothing_alone_and_merged(make):
    pixels = noise((SIZE, SIZE)) / np.float32(3)
    pixels[:50] = np.nan
    refs = make({"f": (pixels.astype("f4"), {"predictor": 3})}, {"f": (pixels.astype("f4"), {"predictor": 3})})
    for groupby in ("id", None):
        found = refs.read(geobox=grid(100), groupby=groupby)["f"].to_numpy().reshape(-1, SIZE, SIZE)[0]
        np.testing.assert_array_equal(found[:, :156], pixels.astype("f4")[:, 100:])
        assert np.isnan(found[:, 156:]).all()


def test_nodata_that_the_dtype_cannot_hold_is_none(make, tmp_path):
    import rasterio

    refs = make({"red": (noise((SIZE, SIZE)), {})})
    with rasterio.open(tmp_path / "red_0.tif") as file:
        expected = file.read(1)
    metadata = refs.refset.metadata
    metadata["factor_1/red/.zattrs"]["nodata"] = -9999
    np.testing.assert_array_equal(refs.read(geobox=grid())["red"][0], expected)


def test_an_empty_area_gives_no_slots_and_one_mosaic_of_nothing(make):
    refs = make({"red": (noise((SIZE, SIZE)), {"nodata": 7})})
    far = (76.5, 12.0, 76.51, 12.01)
    assert refs.read(far).load().sizes["time"] == 0
    assert refs.read(far, groupby="solar_day", chunks={}).compute().sizes["time"] == 0
    assert (refs.read(far, groupby=None)["red"] == 7).all()


def test_a_scene_that_no_mask_asset_speaks_of_is_refused_by_name(make):
    red = noise((SIZE, SIZE))
    refs = make(
        {"red": (red, {}), "scl": (classes(), {})}, {"red": (red, {}), "qa": (classes(1), {})}, {"red": (red, {})}
    )
    rules = {"scl": [3, 8], "qa": {"bits": [1]}}
    with pytest.raises(QueryError, match=r"found none of \['scl', 'qa'\] in 's2'"):
        refs.read(geobox=grid(), mask=rules)
    found = refs.select(["s0", "s1"]).read(geobox=grid(), mask=rules)["red"]
    np.testing.assert_array_equal(found[0], np.where(np.isin(classes(), [3, 8]), 0, red))
    np.testing.assert_array_equal(found[1], np.where(classes(1) & 2, 0, red))


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ([0.5], "expected values"), ([], "expected values"), ("3", "expected values"),
        ({"bits": [-1]}, "expected values"), ({"values": [1]}, "expected values"),
        ({"bits": [8]}, r"bits \[8\].*uint8"),
    ],
)  # fmt: skip
def test_rules_that_cannot_hide_anything_are_refused(make, rule, message):
    refs = make({"red": (noise((SIZE, SIZE)), {}), "scl": (classes(), {})})
    with pytest.raises(QueryError, match=message):
        refs.read(geobox=grid(), mask={"scl": rule})


def test_the_highest_bit_of_signed_integers_hides(make):
    flags = noise((SIZE, SIZE)).astype("i2")
    flags[:100] |= np.int16(-(2**15))
    red = noise((SIZE, SIZE), seed=1)
    found = make({"red": (red, {}), "qa": (flags, {})}).read(geobox=grid(), mask={"qa": {"bits": [15]}})["red"][0]
    np.testing.assert_array_equal(found, np.where(flags < 0, 0, red))


def test_an_asset_of_several_bands_is_no_mask(make):
    refs = make({"red": (noise((SIZE, SIZE)), {}), "rgb": (noise((3, SIZE, SIZE)), {})})
    with pytest.raises(QueryError, match="one band, found 3 bands in 'rgb'"):
        refs.read(geobox=grid(), mask={"rgb": [0]})


def test_one_value_is_a_rule_and_names_may_be_given_alone(make):
    refs = make({"red": (noise((SIZE, SIZE)), {}), "scl": (classes(), {})})
    found = refs.read(geobox=grid(), assets="red", mask={"scl": 3})
    assert list(found) == ["red"]
    np.testing.assert_array_equal(found["red"][0] == 0, classes() == 3)
    assert list(refs.read(geobox=grid(), bands="red")) == ["red"]
    assert parse_masks({"scl": np.array([3, 8], "u1")}, ["scl"], dict)[0].values == (3, 8)


def test_slots_follow_any_plain_column_and_refuse_others(make):
    scenes = [
        {"red": (noise((SIZE, SIZE), seed=n), {}), "_": {"tile": tile, "eo:cloud_cover": cover}}
        for n, (tile, cover) in enumerate([("b", 5.0), (None, 1.0), ("a", float("nan")), ("b", 2.0)])
    ]
    refs = make(*scenes)
    found = refs.read(geobox=grid(), groupby="tile", order="eo:cloud_cover")
    names = found["tile"].to_numpy().tolist()
    assert names[:2] == ["a", "b"]
    assert names[2] is None or names[2] != names[2]
    np.testing.assert_array_equal(found["red"][1], noise((SIZE, SIZE), seed=3))
    top = refs.read(geobox=grid(), groupby=None, order="-eo:cloud_cover")["red"]
    np.testing.assert_array_equal(top, noise((SIZE, SIZE), seed=0))
    assert refs.read(geobox=grid(), groupby="datetime").sizes["time"] == 4
    for how in ({"groupby": "geometry"}, {"groupby": "assets"}, {"order": "assets"}):
        with pytest.raises(QueryError, match="column of numbers, texts or times"):
            refs.read(geobox=grid(), **how)


def test_scenes_that_last_are_placed_by_their_beginning(make):
    first, second = datetime(2024, 5, 1, tzinfo=UTC), datetime(2024, 4, 1, tzinfo=UTC)
    refs = make(
        *({"red": (noise((SIZE, SIZE), seed=n), {}), "times": {"datetime": None, "start_datetime": when}}
          for n, when in enumerate((first, second)))
    )  # fmt: skip
    found = refs.read(geobox=grid(), groupby="solar_day")
    assert found["time"].dt.month.to_numpy().tolist() == [4, 5]
    np.testing.assert_array_equal(found["red"][0], noise((SIZE, SIZE), seed=1))


def test_default_chunks_hold_one_slot_and_32_megabytes_at_most(make):
    refs = make(*({"red": (noise((SIZE, SIZE), seed=n), {}), "rgb": (noise((3, SIZE, SIZE)), {})} for n in range(3)))
    found = refs.read(geobox=grid(), chunks={})
    assert found.chunks["time"] == (1, 1, 1)
    assert found["rgb"].data.chunksize == (1, 3, SIZE, SIZE)
    wide = refs.read(geobox=grid().zoom_to((6000, 6000)), chunks={})
    assert (wide.chunks["y"], wide.chunks["x"]) == ((1500,) * 4, (3000,) * 2)  # 27 of 216 MB
    assert len(wide["rgb"].data.dask) <= 3 * 8 + 2


def test_variables_of_one_dask_read_share_each_mask_window(make, monkeypatch):
    names = ["red", "green", "blue", "nir"]
    scene = {name: (noise((SIZE, SIZE), seed=n), {}) for n, name in enumerate(names)}
    refs = make({**scene, "scl": (classes(), {})})
    asked: list[Any] = []
    lock, plan = threading.Lock(), Reader.read_many

    def counting(self: Reader, windows: Any) -> Any:
        with lock:
            asked.extend((w.array.path, w.key[1:]) for w in windows if w.array.path.endswith("scl"))
        return plan(self, windows)

    monkeypatch.setattr(Reader, "read_many", counting)
    found = refs.read(geobox=grid(), mask={"scl": [3]}, chunks={"y": 64, "x": 64}).compute(scheduler="threads")
    assert len(asked) == 16
    for n, name in enumerate(names):
        np.testing.assert_array_equal(found[name][0], np.where(classes() == 3, 0, noise((SIZE, SIZE), seed=n)))


def test_windows_that_could_not_be_read_are_read_by_who_waits():
    shared, failed = SharedWindows(1000), NotFoundError("gone")
    assert shared.ask("a") is None
    waiting = shared.ask("a")
    shared.give_up("a")
    assert waiting.result(1) is None  # type: ignore[union-attr]
    assert shared.ask("a") is None
    pixels = np.ones(3)
    waiting = shared.ask("a")
    shared.give("a", pixels)
    assert waiting.result(1) is pixels  # type: ignore[union-attr]
    assert shared.ask("a") is pixels
    assert str(failed) == "gone"


def test_a_read_that_fails_lets_nobody_wait_for_its_masks(make, monkeypatch):
    refs = make({"red": (noise((SIZE, SIZE)), {}), "nir": (noise((SIZE, SIZE)), {}), "scl": (classes(), {})})
    found = refs.read(geobox=grid(), mask={"scl": [3]})
    plan, calls = Reader.read_many, []

    def failing(self: Reader, windows: Any) -> Any:
        calls.append(len(windows))
        if len(calls) == 1:
            raise NotFoundError("gone")
        return plan(self, windows)

    monkeypatch.setattr(Reader, "read_many", failing)
    with pytest.raises(NotFoundError, match="gone"):
        found["red"].load()
    np.testing.assert_array_equal(found["nir"][0], np.where(classes() == 3, 0, noise((SIZE, SIZE))))


@pytest.fixture
def planar(make, tmp_path):
    """Sixty-four bands apart, in four tiles each, behind HTTP."""
    pixels = np.random.default_rng(5).integers(-127, 127, (64, SIZE, SIZE)).astype("i1")
    with serve(tmp_path, process=True) as server:
        options = {"driver": "GTiff", "interleave": "band", "tiled": True, "blockxsize": 128, "blockysize": 128}
        write_cog(tmp_path / "e_0.tif", pixels, origin=ORIGIN, blocksize=None, **options)
        scene = Scene(
            id="s0", datetime=datetime(2024, 1, 1, tzinfo=UTC), assets=(Asset(name="e", href=server.url + "e_0.tif"),),
            properties={},
        )  # fmt: skip
        set_of([scene], tmp_path / "x.refs")
        yield rr.open(tmp_path / "x.refs", tile_cache=0), server, pixels


def tiles_of(path):
    """Byte range of each tile: (band, tile) → (start, stop), by tifffile."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        places = zip(page.dataoffsets, page.databytecounts, strict=True)
        return {divmod(n, 4): (start, start + size) for n, (start, size) in enumerate(places)}


def test_of_a_planar_image_only_the_tiles_of_asked_bands_are_fetched(planar, tmp_path):
    refs, server, pixels = planar
    labels = refs.to_xarray()["band"].to_numpy().tolist()
    refs.read(geobox=grid(), bands=[labels[0]]).isel(y=[0], x=[0]).load()
    server.reset()
    found = refs.read(geobox=grid(), bands=[labels[3], labels[40]])["e"][0]
    np.testing.assert_array_equal(found, pixels[[3, 40]])
    tiles = tiles_of(tmp_path / "e_0.tif")
    wanted = sum(stop - start for (band, _), (start, stop) in tiles.items() if band in {3, 40})
    asked = [request for request in server.requests() if request.path.endswith("e_0.tif")]
    assert len(asked) == 2  # the four tiles of a band lie together, the two bands half a megabyte apart
    assert sum(request.stop - request.start for request in asked) == wanted
    server.reset()
    one = refs.read(geobox=grid(), bands=[labels[7]])["e"][0, :, :100, :100]
    np.testing.assert_array_equal(one[0], pixels[7, :100, :100])
    (request,) = server.requests()
    assert (request.start, request.stop) == tiles[7, 0]


def test_points_chips_and_cuts_of_a_planar_image_fetch_only_asked_bands(planar, tmp_path):
    refs, server, pixels = planar
    labels = refs.to_xarray()["band"].to_numpy().tolist()
    tiles = tiles_of(tmp_path / "e_0.tif")
    point = [(ORIGIN[0] + 1295, ORIGIN[1] - 15)]
    refs.sample_points(point, bands=[labels[0]], crs=32643)
    server.reset()
    found = refs.sample_points(point, bands=[labels[5]], crs=32643)
    assert found["e_6"].to_pylist() == [pixels[5, 1, 129]]
    (request,) = server.requests()
    assert (request.start, request.stop) == tiles[5, 1]
    server.reset()
    cut = refs.get_numpy((75.925, 12.659, 75.93, 12.66), [labels[9]])
    assert cut.ndim == 3
    assert all(tiles[9, 0][0] <= one.start and one.stop <= tiles[9, 3][1] for one in server.requests())


def test_a_chip_over_four_tiles_takes_two_requests_by_every_way_of_reading(make, tmp_path):
    pixels = noise((SIZE, SIZE))
    with serve(tmp_path, process=True) as server:
        refs = make({"red": (pixels, {})}, base=server.url)
        chips = refs.chips(64)
        place = grid()[100:164, 100:164]
        refs.read(geobox=place).isel(y=[0]).load()
        ways = {
            "read": lambda window: refs.read(geobox=window)["red"][0],
            "xarray": lambda _: refs.to_xarray()["red"][0, 100:164, 100:164],
            "chips": lambda _: chips.windows([0], [100], [100])["red"][0],
        }
        for name, read in ways.items():
            server.reset()
            np.testing.assert_array_equal(read(place), pixels[100:164, 100:164], err_msg=name)
            assert server.stats().requests <= 2, name


def test_bands_that_a_scene_lacks_are_refused_by_name_and_never_dropped(make):
    three, four = noise((3, SIZE, SIZE)), noise((4, SIZE, SIZE), seed=1)
    refs = make({"rgb": (three, {})}, {"rgb": (four, {})})
    with pytest.raises(QueryError, match="band 4 of 'rgb' in each scene, found 3 in 's0'"):
        refs.read(geobox=grid())
    with pytest.raises(QueryError, match="band 4 of 'rgb' in each scene, found 3 in 's0'"):
        refs.get_gdf((75.921, 12.655, 75.925, 12.66), ["rgb"])
    with pytest.raises(QueryError, match=r"one number of bands in all images of 'rgb', found \[3, 4\]"):
        refs.chips(64)
    found = refs.read(geobox=grid(), bands=[1, 3])["rgb"]
    np.testing.assert_array_equal(found, np.stack([three[[0, 2]], four[[0, 2]]]))
    assert refs.select(["s1"]).read(geobox=grid())["rgb"].shape == (1, 4, SIZE, SIZE)
    sampled = refs.sample_points([(ORIGIN[0] + 5, ORIGIN[1] - 5)], crs=32643)
    assert sampled["rgb_4"].to_pylist() == [None, four[3, 0, 0]]


def test_an_asset_of_one_band_here_and_three_there_is_refused_by_name(make):
    refs = make({"red": (noise((SIZE, SIZE)), {})}, {"red": (noise((3, SIZE, SIZE)), {})})
    with pytest.raises(QueryError, match="band 3 of 'red' in each scene, found 1 in 's0'"):
        refs.read(geobox=grid(), bands="red")


def test_chips_of_scenes_without_the_reference_asset_are_refused(make):
    refs = make({"red": (noise((SIZE, SIZE)), {})}, {"nir": (noise((SIZE, SIZE)), {})})
    with pytest.raises(QueryError, match="asset 'red', found row 1 without it"):
        refs.chips(64, assets=["red", "nir"]).windows([1], [0], [0])
