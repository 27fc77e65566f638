"""Appends: what is new, late or replaced, what stays where it was, and what failures leave."""

import datetime as dt

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
from rasterio.transform import from_origin

import rasteret_refs as rr
from rasteret_refs.build.append import append
from rasteret_refs.build.run import build
from rasteret_refs.build.scene import Asset, Scene
from rasteret_refs.errors import NotATiffError, NotFoundError, SourceError
from tests.build.test_scan import write_cog


def day(number):
    return dt.datetime(2024, 1, 1, tzinfo=dt.UTC) + dt.timedelta(days=number)


def scene(name, href, when=0, **properties):
    asset = Asset(name="red", href=str(href))
    return Scene(id=name, assets=(asset,), datetime=None if when is None else day(when), properties=properties)


@pytest.fixture
def cogs(tmp_path):
    """Six files of different pixels on one grid."""
    paths = []
    for number in range(6):
        path = write_cog(tmp_path / f"{number}.tif", size=300, block=128, overviews=(2,))
        with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as file:
            file.write(np.full((300, 300), 100 + number, "uint16"), 1)
        paths.append(path)
    return paths


@pytest.fixture
def base(cogs, tmp_path):
    out = tmp_path / "x.refs"
    build([scene(f"s{n}", cogs[n], n) for n in range(3)], out)
    return out


def state(out):
    return {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def values(dataset):
    return dataset["red"].isel(x=0, y=0).to_numpy().tolist()


def test_new_scenes_come_behind_those_that_are_there(base, cogs):
    before = rr.open(base).to_xarray()
    report = append([scene("s4", cogs[4], 4), scene("s3", cogs[3], -5)], base)
    assert (report.scenes, report.appended, report.late, report.known) == (5, ("s4", "s3"), ("s3",), 0)
    table = rr.open(base).refset.all_scenes
    assert table["id"].to_pylist() == ["s0", "s1", "s2", "s3", "s4"]
    assert table["refs:index"].to_pylist() == [0, 1, 2, 3, 4]
    assert values(before) == [100, 101, 102]
    store = rr.plain_store(base)
    import xarray as xr

    plain = xr.open_zarr(store, group="factor_1", zarr_format=2, consolidated=False)
    assert values(plain) == [100, 101, 102, 103, 104]
    assert plain["id"].to_numpy().tolist() == ["s0", "s1", "s2", "s3", "s4"]
    rr.open(base).verify()


def test_scenes_of_the_set_are_left_out_without_a_request(cogs, tmp_path, server):
    out = tmp_path / "x.refs"
    scenes = [scene(f"s{n}", f"{server.url}{n}.tif", n, updated=f"2024-01-0{n + 1}T00:00:00Z") for n in range(4)]
    build(scenes[:3], out)
    server.reset()
    report = append(scenes, out)
    assert (report.known, report.appended, report.requests) == (3, ("s3",), 1)
    assert {request.path for request in server.requests()} == {"3.tif"}
    untouched = state(out)
    again = append(scenes, out)
    assert (again.known, again.appended, again.rewritten) == (4, (), 0)
    assert state(out) == untouched


def test_a_replaced_item_is_kept_beside_the_old_one_and_marked(base, cogs):
    report = append([scene("s1", cogs[5], 1, updated="2024-06-01T00:00:00Z")], base)
    assert report.appended == report.replaced == ("s1~2",)
    table = rr.open(base).refset.all_scenes
    assert table["id"].to_pylist() == ["s0", "s1", "s2", "s1~2"]
    assert table["refs:duplicate_of"].to_pylist() == [None, None, None, "s1"]
    assert append([scene("s1", cogs[5], 1, updated="2024-06-01T00:00:00Z")], base).known == 1


def test_an_item_that_only_says_it_was_updated_is_looked_at_and_known(base, cogs):
    report = append([scene("s1", cogs[1], 1, updated="2024-06-01T00:00:00Z")], base)
    assert (report.appended, report.known, report.requests) == ((), 1, 1)


def test_dropped_scenes_do_not_come_back(base, cogs):
    collection = rr.open(base).drop(["s1"])
    assert collection.scenes["id"].to_pylist() == ["s0", "s2"]
    assert append([scene("s1", cogs[1], 1)], base).known == 1
    assert rr.open(base).scenes["id"].to_pylist() == ["s0", "s2"]


def test_a_failure_leaves_the_older_state_byte_for_byte(base, cogs, tmp_path):
    (tmp_path / "page.tif").write_bytes(b"<!DOCTYPE html><html>sign in</html>")
    before = state(base)
    with pytest.raises(NotATiffError, match=r"page\.tif"):
        append([scene("s3", cogs[3], 3), scene("bad", tmp_path / "page.tif", 4)], base)
    assert state(base) == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".x.refs")] == []


def test_skipped_failures_are_recorded_and_forgotten_once_they_work(base, cogs, tmp_path):
    scenes = [scene("s3", cogs[3], 3), scene("later", tmp_path / "later.tif", 4)]
    report = append(scenes, base, on_error="skip")
    assert [type(failure.error) for failure in report.failures] == [NotFoundError]
    assert [row["scene"] for row in rr.open(base).refset.failures().to_pylist()] == ["later"]
    write_cog(tmp_path / "later.tif", size=300, block=128, overviews=(2,))
    assert append(scenes, base, on_error="skip").appended == ("later",)
    assert rr.open(base).refset.failures().num_rows == 0


def test_a_scene_without_a_time_is_refused_or_recorded(base, cogs):
    with pytest.raises(SourceError, match="timeless"):
        append([scene("timeless", cogs[3], None)], base)
    report = append([scene("timeless", cogs[3], None), scene("s3", cogs[3], 3)], base, on_error="skip")
    assert report.appended == ("s3",)
    assert [failure.scene for failure in report.failures] == ["timeless"]


def test_columns_of_other_types_are_kept_in_both_batches(cogs, tmp_path):
    out = tmp_path / "x.refs"
    first = [scene("a", cogs[0], 0, cloud=None, count=1, label="x", nested={"a": 1}, odd=5)]
    build(first, out)
    append([scene("b", cogs[1], 1, cloud=3.5, count=1.5, label="y", nested={"b": "t"}, odd="text", more=7)], out)
    rows = pq.read_table(out / "scenes.parquet").to_pylist()
    assert [row["cloud"] for row in rows] == [None, 3.5]
    assert [row["count"] for row in rows] == [1.0, 1.5]
    assert [row["nested"] for row in rows] == [{"a": 1, "b": None}, {"a": None, "b": "t"}]
    assert [row["odd"] for row in rows] == ["5", "text"]
    assert [row["more"] for row in rows] == [None, 7]


def test_coordinates_grow_with_the_set(cogs, tmp_path):
    out = tmp_path / "x.refs"
    build([scene("a", cogs[0], 0, split="train", score=1.5)], out, coordinates=["split", "score"])
    append([scene("b", cogs[1], 1, split="a much longer name of a split than before")], out)
    dataset = rr.open(out).to_xarray()
    assert dataset["split"].to_numpy().tolist() == ["train", "a much longer name of a split than before"]
    assert dataset["score"].to_numpy()[0] == 1.5
    assert np.isnan(dataset["score"].to_numpy()[1])


def test_new_grids_and_assets_find_their_places(base, cogs, tmp_path):
    other = write_cog(
        tmp_path / "far.tif", size=300, block=128, overviews=(2,), transform=from_origin(700000, 1500000, 10, 10)
    )
    two = Scene(
        id="two", assets=(Asset(name="red", href=str(cogs[3])), Asset(name="nir", href=str(cogs[4]))), datetime=day(9)
    )
    append([two, scene("far", other, 10)], base)
    collection = rr.open(base)
    assert len(collection.groups) == 2
    with rasterio.open(other) as file:
        assert np.array_equal(collection.to_xarray(id="far")["red"].to_numpy(), file.read(1))
    assert collection.to_xarray(id="two")["nir"].to_numpy()[0, 0] == 104
    collection.verify()


def test_two_appends_of_the_same_scenes_make_the_same_bytes(cogs, tmp_path):
    for name in ("x", "y"):
        out = tmp_path / f"{name}.refs"
        build([scene(f"s{n}", cogs[n], n) for n in range(3)], out)
        append([scene(f"s{n}", cogs[n], n) for n in range(3, 6)], out)
    assert state(tmp_path / "x.refs") == state(tmp_path / "y.refs")


def test_a_set_that_is_not_there_is_named_and_no_lock_is_left(cogs, tmp_path):
    with pytest.raises(NotFoundError, match=r"none\.refs"):
        append([scene("s", cogs[0])], tmp_path / "none.refs")
    assert not list(tmp_path.glob(".none*"))


def test_readers_that_have_the_set_open_go_on(base, cogs):
    opened = rr.open(base)
    dataset = opened.to_xarray()
    append([scene("s3", cogs[3], 3)], base)
    assert values(dataset) == [100, 101, 102]
    assert len(opened) == 3
    assert isinstance(opened.scenes, pa.Table)
