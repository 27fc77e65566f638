"""Very large stacks store the coordinates of overviews once, and all readers of this library see them all the same."""

import datetime as dt

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import rasterio
import xarray as xr
import zarr
from fsspec.implementations.reference import ReferenceFileSystem
from rasterio.enums import Resampling
from rasterio.transform import from_origin
from zarr.storage import FsspecStore

import rasteret_refs as rr
from rasteret_refs.build.append import append
from rasteret_refs.build.run import build
from rasteret_refs.build.scene import Asset, Scene
from rasteret_refs.errors import DamagedError
from rasteret_refs.export.kerchunk_json import export_json
from rasteret_refs.virtual import sparing

SHAPES = ((301, 299), (289, 300), (300, 300), (120, 500), (120, 490))
"""Two stacks of padded images; with odd sizes, so that rounding shows."""


@pytest.fixture
def cogs(tmp_path):
    """Ten files, each with a place of its own; every second one in another zone."""
    random = np.random.default_rng(1)
    paths = []
    for number in range(10):
        height, width = SHAPES[number % len(SHAPES)]
        path = tmp_path / f"{number}.tif"
        profile = {
            "driver": "GTiff", "dtype": "uint16", "count": 1, "height": height, "width": width, "tiled": True,
            "blockxsize": 64, "blockysize": 64, "compress": "deflate", "crs": f"EPSG:{32643 + number % 2}",
            "transform": from_origin(600000 + 317.5 * number, 1500000, 10 + number, 10 + number),
        }  # fmt: skip
        with rasterio.open(path, "w", **profile) as file:
            file.write(random.integers(1, 9999, (height, width), "uint16"), 1)
        with rasterio.open(path, "r+") as file:
            file.build_overviews([2, 4], Resampling.nearest)
        paths.append(path)
    return paths


def scenes(paths):
    begin = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    return [
        Scene(
            id=f"s{path.stem}",
            assets=(Asset(name="red", href=str(path)),),
            datetime=begin + dt.timedelta(days=int(path.stem)),
            properties={"season": "wet" if int(path.stem) % 2 else "dry"},
        )
        for path in paths
    ]


@pytest.fixture
def whole(cogs, tmp_path):
    """The set with all coordinates stored."""
    out = tmp_path / "whole.refs"
    build(scenes(cogs), out, layout="stack", tolerance=0.25, coordinates=["season"])
    return out


@pytest.fixture
def small_bounds(monkeypatch):
    """Take any stack for a very large one."""
    monkeypatch.setattr(sparing, "MANY_REFERENCES", 0)
    monkeypatch.setattr(sparing, "MANY_FILES", 0)


@pytest.fixture
def spared(cogs, whole, tmp_path, small_bounds):
    out = tmp_path / "spared.refs"
    build(scenes(cogs), out, layout="stack", tolerance=0.25, coordinates=["season"])
    return out


def overviews(refs):
    return [
        group for group in rr.open(refs).refset.metadata if group.endswith(("factor_2/.zgroup", "factor_4/.zgroup"))
    ]


def assert_same_datasets(first, second):
    paths = [path.removesuffix("/.zgroup") for path in overviews(first)]
    assert paths
    for path in [*paths, *(f"{path.rpartition('/')[0]}/factor_1" for path in paths)]:
        left = xr.open_dataset(first, engine="rasteret_refs", group=path)
        right = xr.open_dataset(second, engine="rasteret_refs", group=path)
        assert set(left.coords) == set(right.coords)
        assert {name: value.dtype for name, value in left.variables.items()} == {
            name: value.dtype for name, value in right.variables.items()
        }
        xr.testing.assert_equal(left.load(), right.load())


def test_the_overviews_of_a_very_large_stack_share_their_coordinates_files(whole, spared):
    files = [sum(1 for _ in out.rglob("*.parq")) for out in (whole, spared)]
    groups = len(overviews(spared))
    assert groups == 4
    # id, time, crs, transform, height, width and season, for each overview
    assert files[0] - files[1] == 7 * groups


def test_a_reader_sees_the_same_coordinates_whether_they_are_stored_or_not(whole, spared):
    assert_same_datasets(whole, spared)


def test_the_place_of_each_overview_is_the_one_that_gdal_gives_it(cogs, spared):
    for group in (key.removesuffix("/.zgroup") for key in overviews(spared)):
        dataset = xr.open_dataset(spared, engine="rasteret_refs", group=group)
        level = {2: 0, 4: 1}[int(group.rpartition("_")[2])]
        for row, name in enumerate(dataset["id"].to_numpy()):
            with rasterio.open(cogs[int(name[1:])], overview_level=level) as file:
                assert (int(dataset["height"][row]), int(dataset["width"][row])) == file.shape
                assert dataset["transform"][row].to_numpy() == pytest.approx(list(file.transform)[:6], rel=1e-15)
                assert str(dataset["crs"][row].to_numpy()) == file.crs.to_string()
                pixels = dataset["red"][row, : file.height, : file.width].to_numpy()
                np.testing.assert_array_equal(pixels, file.read(1))


def test_plain_stores_and_exports_have_the_coordinates_too(whole, spared, tmp_path):
    export_json(rr.open(spared).refset, tmp_path / "spared.json")
    for group in (key.removesuffix("/.zgroup") for key in overviews(spared)):
        expected = xr.open_zarr(rr.plain_store(whole), group=group, zarr_format=2, consolidated=False).load()
        found = xr.open_zarr(rr.plain_store(spared), group=group, zarr_format=2, consolidated=False).load()
        xr.testing.assert_equal(found, expected)
        together = xr.open_zarr(rr.plain_store(spared), group=group, zarr_format=2, consolidated=True)
        assert set(together.coords) == set(expected.coords)
        exported = xr.open_dataset(str(tmp_path / "spared.json"), engine="kerchunk", group=group).load()
        assert set(exported.coords) == set(expected.coords)


@pytest.mark.filterwarnings("ignore:.*fastparquet.*")
def test_fsspec_alone_reads_the_pixels_of_overviews_and_all_coordinates_beside_the_full_resolution(cogs, spared):
    fs = ReferenceFileSystem(str(spared / "zarr.parq"), remote_protocol="file", asynchronous=True)
    store = FsspecStore(fs, read_only=True)
    root = zarr.open(store, mode="r", zarr_format=2)
    for group in (key.removesuffix("/.zgroup") for key in overviews(spared)):
        full = root[f"{group.rpartition('/')[0]}/factor_1"]
        assert {"id", "time", "crs", "transform", "height", "width", "season"} <= set(full.array_keys())
        assert list(root[group].array_keys()) == ["red"]
        number = int(str(full["id"][0])[1:])
        with rasterio.open(cogs[number], overview_level={2: 0, 4: 1}[int(group.rpartition("_")[2])]) as file:
            np.testing.assert_array_equal(root[group]["red"][0, : file.height, : file.width], file.read(1))


def test_appending_keeps_the_coordinates_stored_once(cogs, whole, tmp_path, small_bounds):
    out = tmp_path / "grown.refs"
    build(scenes(cogs[:6]), out, layout="stack", tolerance=0.25, coordinates=["season"])
    opened = rr.open(out)
    path = next(iter(overviews(out))).removesuffix("/.zgroup")
    before = opened.to_xarray(path.rpartition("/")[0], factor=2).load()
    files = sum(1 for _ in out.rglob("*.parq"))
    append(scenes(cogs), out)
    assert sum(1 for _ in out.rglob("*.parq")) == files
    assert_same_datasets(whole, out)
    xr.testing.assert_equal(opened.to_xarray(path.rpartition("/")[0], factor=2).load(), before)


def test_sizes_that_follow_no_rule_any_more_are_stored_from_then_on(cogs, tmp_path, small_bounds):
    out = tmp_path / "grown.refs"
    build(scenes(cogs[:6]), out, layout="stack", tolerance=0.25)
    odd = tmp_path / "11.tif"
    profile = {"driver": "COG", "dtype": "uint16", "count": 1, "height": 299, "width": 300, "compress": "deflate",
               "blocksize": 128, "crs": "EPSG:32643", "transform": from_origin(0, 0, 10, 10)}  # fmt: skip
    with rasterio.open(odd, "w", **profile, overview_count=1) as file:  # rounded down: 149 × 150
        file.write(np.ones((299, 300), "uint16"), 1)
    with rasterio.open(odd, overview_level=0) as file:
        assert file.shape == (149, 150)
    append(scenes([odd]), out)
    view = rr.open(out)
    group = view.scenes.filter(pc.equal(view.scenes["id"], "s11"))["refs:group"][0].as_py().rpartition("/")[0]
    dataset = view.to_xarray(group, factor=2)
    at = dataset["id"].to_numpy().tolist().index("s11")
    assert (int(dataset["height"][at]), int(dataset["width"][at])) == (149, 150)
    assert (int(dataset["height"][0]), int(dataset["width"][0])) == (151, 150)


def test_labels_and_saved_views_reach_the_overviews(spared, tmp_path):
    labels = pa.table({"id": [f"s{n}" for n in range(10)], "grade": [float(n) for n in range(10)]})
    rr.open(spared).annotate(labels, on="id")
    refs = rr.open(spared)
    for group in refs.groups:
        dataset = refs.to_xarray(group.path, factor=4)
        assert dataset["grade"].to_numpy().tolist() == [float(name[1:]) for name in dataset["id"].to_numpy()]
    stored = [path for path in spared.rglob("grade") if path.is_dir()]
    assert {path.parent.name for path in stored} == {"factor_1"}
    chosen = refs.select(["s1", "s7"])
    chosen.save(tmp_path / "view.refs")
    saved = rr.open(tmp_path / "view.refs")
    for group in saved.groups:
        xr.testing.assert_equal(
            saved.to_xarray(group.path, factor=2).load(), chosen.to_xarray(group.path, factor=2).load()
        )


def test_tiles_of_overviews_have_their_footprints(whole, spared):
    tables = [rr.open(out).tiles().read_all() for out in (whole, spared)]
    assert tables[0].equals(tables[1])
    assert set(tables[1]["factor"].to_pylist()) == {1, 2, 4}


def test_a_missing_coordinate_of_the_full_resolution_is_damage_at_the_overview(spared):
    refs = rr.open(spared)
    for path in spared.glob("zarr.parq/*/factor_1/transform/refs.0.parq"):
        path.unlink()
    with pytest.raises(DamagedError, match="transform"):
        refs.to_xarray(refs.groups[0].path, factor=2)


def test_a_set_that_stores_all_coordinates_goes_on_doing_so(cogs, whole, tmp_path, monkeypatch):
    out = tmp_path / "grown.refs"
    build(scenes(cogs[:6]), out, layout="stack", tolerance=0.25, coordinates=["season"])
    monkeypatch.setattr(sparing, "MANY_REFERENCES", 0)
    monkeypatch.setattr(sparing, "MANY_FILES", 0)
    append(scenes(cogs), out)
    assert len([*out.rglob("transform")]) == len([*whole.rglob("transform")]) == 6
    assert_same_datasets(whole, out)
