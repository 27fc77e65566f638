"""Two sets into one: grids meet whatever their source, columns of both stay, and the first set's scenes do not move."""

import copy
import shutil

import numpy as np
import pyarrow as pa
import pytest
import rasterio
from rasterio.transform import from_origin

import rasteret_refs as rr
from rasteret_refs.build.merge import scenes_of
from rasteret_refs.build.run import build
from rasteret_refs.errors import LayoutError, NotFoundError, QueryError, RefsetError
from tests.build.test_append import cogs, scene, state  # noqa: F401 - a fixture
from tests.build.test_scan import scene as plain_scene


@pytest.fixture
def two(cogs, tmp_path):  # noqa: F811 - the fixture
    build([scene(f"a{n}", cogs[n], 2 * n, cloud=n) for n in range(3)], tmp_path / "a.refs")
    build([scene(f"b{n}", cogs[3 + n], 2 * n + 1, view=f"v{n}") for n in range(3)], tmp_path / "b.refs")
    return tmp_path / "a.refs", tmp_path / "b.refs"


def test_scenes_of_the_other_set_come_behind(two):
    first, second = two
    other = state(second)
    merged = rr.open(first).merge(second)
    assert merged.append_report.appended == ("b0", "b1", "b2")
    assert state(second) == other
    table = merged.refset.all_scenes
    assert table["id"].to_pylist() == ["a0", "a1", "a2", "b0", "b1", "b2"]
    assert table["refs:index"].to_pylist() == list(range(6))
    assert table["cloud"].to_pylist() == [0, 1, 2, None, None, None]
    assert table["view"].to_pylist() == [None, None, None, "v0", "v1", "v2"]
    pixels = merged.to_xarray()["red"].isel(x=0, y=0).to_numpy()
    assert sorted(pixels.tolist()) == [100, 101, 102, 103, 104, 105]
    merged.verify()
    assert [entry["sha256"] for entry in merged.refset.seal.recipe["merged"]] == [rr.open(second).refset.sha256]


def test_scenes_in_both_sets_stand_once_and_dropped_ones_stay_away(two, cogs, tmp_path):  # noqa: F811
    first, second = two
    rr.open(second).drop(["b1"])
    build([scene("a1", cogs[1], 2), scene("c", cogs[5], 9)], tmp_path / "c.refs")
    merged = rr.open(first).merge(rr.open(second)).merge(tmp_path / "c.refs")
    assert merged.append_report.known == 1
    assert merged.refset.all_scenes["id"].to_pylist() == ["a0", "a1", "a2", "b0", "b2", "c"]


def test_a_scene_table_gives_back_the_scenes_it_was_made_of(cogs, tmp_path):  # noqa: F811
    given = [
        scene(f"s{n}", cogs[n], n, **{"id": "mine", "eo:cloud_cover": 1.5, "nested": {"a": [1]}}) for n in range(2)
    ]
    build(given, tmp_path / "x.refs")
    found = list(scenes_of(rr.open(tmp_path / "x.refs").scenes))
    assert [one.id for one in found] == ["s0", "s1"]
    assert [one.datetime for one in found] == [one.datetime for one in given]
    assert [dict(one.properties) for one in found] == [dict(one.properties) for one in given]
    assert [one.assets[0].href for one in found] == [one.assets[0].href for one in given]


def test_sets_with_other_axes_are_refused(two, cogs, tmp_path):  # noqa: F811
    build([plain_scene("s", cogs[0])], tmp_path / "plain.refs", axis="scene")
    before = state(two[0])
    with pytest.raises(LayoutError, match="axis"):
        rr.open(two[0]).merge(tmp_path / "plain.refs")
    assert state(two[0]) == before


def test_an_object_that_is_gone_leaves_the_set_as_it_was(two, cogs):  # noqa: F811
    before = state(two[0])
    cogs[4].unlink()
    with pytest.raises(NotFoundError, match=r"4\.tif"):
        rr.open(two[0]).merge(two[1], reread=True)
    assert state(two[0]) == before


def shapes(tmp_path):
    """Files in many ways: bands, planes, profiles, overviews that some lack, sparse tiles, several grids, no CRS."""
    nir = {"descriptions": ("red", "nir"), "count": 2}
    ways = [
        {"compress": "deflate", "predictor": 2},
        {"compress": "zstd", "nodata": 7},
        {"compress": "deflate", "predictor": 2},
        {"count": 3, "interleave": "band", "compress": "lzw"},
        {"count": 3, "interleave": "pixel", "compress": "deflate"},
        {"sparse_ok": True, "compress": "deflate", "nodata": 3},
        {"dtype": "float32", "predictor": 3, "compress": "zstd", "nodata": float("nan")},
        {"x": 700_000},
        {"x": 700_000, "compress": "deflate"},
        {"crs": None},
        {"blockxsize": 64, "blockysize": 64},
        {"tiled": False, "blockxsize": None, "blockysize": 50},
        {"dtype": "int16", "nodata": -9999},
        nir,
        nir,
        {"tags": {"mission": "a"}},
        {"tags": {"mission": "b"}},
    ]
    return [write_way(tmp_path / f"w{number}.tif", number, **way) for number, way in enumerate(ways)]


def write_way(path, number, *, x=600_000, crs="EPSG:32643", descriptions=(), tags=(), **options):
    profile = {
        "driver": "GTiff", "dtype": "uint16", "count": 1, "width": 300, "height": 280, "tiled": True, "blockxsize": 128,
        "blockysize": 128, **options,
    }  # fmt: skip
    profile = {name: value for name, value in profile.items() if value is not None}
    if crs is not None:
        profile |= {"crs": crs, "transform": from_origin(x, 1_500_000, 10, 10)}
    pixels = np.random.default_rng(number).integers(1, 200, (profile["count"], 280, 300)).astype(profile["dtype"])
    with rasterio.open(path, "w", **profile) as file:
        if "sparse_ok" in options:
            file.write(pixels[:, :128, :128], window=((0, 128), (0, 128)))
        else:
            file.write(pixels)
        if number % 3:
            file.build_overviews([2, 4])
        if descriptions:
            file.descriptions = descriptions
        if tags:
            file.update_tags(**tags)
    return path


@pytest.mark.parametrize("first", [1, 6, 12])
@pytest.mark.filterwarnings("ignore:.*NotGeoreferenced")
def test_manifests_tell_all_that_headers_do(tmp_path, first):
    """The set is the same, byte for byte, whether headers are read or not."""
    scenes = [
        scene(f"s{n:02}", path, n, cloud=n / 3, **({"kind": "x"} if n % 4 else {}))
        for n, path in enumerate(shapes(tmp_path))
    ]
    build(scenes[::2][:first] + scenes[1::2][:2], tmp_path / "a.refs", layout="grids")
    shutil.copytree(tmp_path / "a.refs", tmp_path / "again.refs")
    build(scenes, tmp_path / "b.refs", layout="grids")
    other = rr.open(tmp_path / "b.refs")
    read = rr.open(tmp_path / "again.refs").merge(other, reread=True)
    for path in tmp_path.glob("w*.tif"):
        path.rename(path.with_suffix(".gone"))
    merged = rr.open(tmp_path / "a.refs").merge(other)
    assert (merged.append_report.requests, read.append_report.requests > 0) == (0, True)
    assert len(merged) == len(scenes)
    assert state(tmp_path / "a.refs") == state(tmp_path / "again.refs")


def test_headers_are_read_where_manifests_do_not_tell_enough(two, cogs, tmp_path):  # noqa: F811
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(cogs[5], "r+", IGNORE_COG_LAYOUT_BREAK="YES") as file,
    ):
        file.write_mask(np.arange(300 * 300).reshape(300, 300) % 2 == 0)
    build([scene("m0", cogs[4], 3), scene("m1", cogs[5], 4)], tmp_path / "masked.refs")
    merged = rr.open(two[0]).merge(tmp_path / "masked.refs")
    assert merged.append_report.requests > 0
    with rasterio.open(cogs[5]) as file:
        assert np.array_equal(merged.to_xarray(id="m1")["red_mask"].to_numpy(), file.dataset_mask())
    wide = [
        write_way(tmp_path / f"wide{n}.tif", n, count=2, descriptions=("red", name))
        for n, name in enumerate(["nir", "swir"])
    ]
    build([scene(f"w{n}", path, 6 + n) for n, path in enumerate(wide)], tmp_path / "wide.refs")
    assert merged.merge(tmp_path / "wide.refs").append_report.requests > 0
    build([scene("t0", cogs[4], 5)], tmp_path / "stack.refs", layout="stack")
    assert merged.merge(tmp_path / "stack.refs").append_report.requests > 0


def test_remote_sets_are_merged_from_but_not_into(two, server):
    url = f"{server.url}b.refs"
    assert rr.open(two[0]).merge(url).append_report.scenes == 6
    with pytest.raises(RefsetError, match="local"):
        rr.open(url).merge(two[0])


RING = [[75.9, 13.5], [76.0, 13.5], [76.0, 13.6], [75.9, 13.6], [75.9, 13.5]]
SENTINEL = {
    "type": "Feature",
    "stac_version": "1.0.0",
    "links": [],
    "geometry": {"type": "Polygon", "coordinates": [RING]},
}


def item(name, collection, key, href, moment, **properties):
    found = copy.deepcopy(SENTINEL)
    kind = "image/tiff; application=geotiff; profile=cloud-optimized"
    asset = {"href": href, "type": kind, "roles": ["data"]}
    return found | {
        "id": name, "collection": collection, "assets": {key: asset},
        "properties": {"datetime": moment, **properties},
    }  # fmt: skip


def test_one_frame_through_two_providers_has_one_grid_and_merges(cogs, tmp_path, server):  # noqa: F811
    """Earth Search names assets by common name and has `grid:code`; Planetary Computer names bands, `s2:mgrs_tile`."""
    earth = item("S2A_43PGQ_20240101_0_L2A", "sentinel-2-l2a", "red", f"{server.url}0.tif", "2024-01-01T05:20:00Z",
                 **{"grid:code": "MGRS-43PGQ", "proj:epsg": 32643})  # fmt: skip
    planetary = item("S2A_MSIL2A_20240106T052151_R105_T43PGQ", "sentinel-2-l2a", "B04", f"{server.url}1.tif",
                     "2024-01-06T05:20:00Z", **{"s2:mgrs_tile": "43PGQ", "proj:code": "EPSG:32643"})  # fmt: skip
    first = rr.build([earth], tmp_path / "es.refs", assets={"red": "red"})
    second = rr.build([planetary], tmp_path / "pc.refs", assets={"red": "B04"})
    names = [c.refset.metadata[".zattrs"]["rasteret_refs"]["grid"] for c in (first, second)]
    assert names[0] == names[1]
    merged = first.merge(second)
    assert len(merged.groups) == 1
    cube = merged.to_xarray()["red"]
    assert cube.sizes["time"] == 2
    for row, path in enumerate(cogs[:2]):
        with rasterio.open(path) as file:
            assert np.array_equal(cube[row].to_numpy(), file.read(1))
    assert isinstance(merged.scenes, pa.Table)


def test_labels_by_tile_come_along(two, cogs, tmp_path):  # noqa: F811
    far = write_way(tmp_path / "far.tif", 0, x=700_000)
    build([scene("far", far, 20)], tmp_path / "far.refs")
    labelled = rr.open(tmp_path / "far.refs").annotate(
        {"row": [0, 1], "column": [0, 2], "kind": ["wood", "lake"], "cover": [0.5, None]}, on=("row", "column")
    )
    ours = rr.open(two[0]).annotate({"row": [1], "column": [1], "kind": ["field"]}, on=("row", "column"))
    merged = ours.merge(labelled)
    assert {group.path for group in merged.groups} == {"", "32643_700000_1500000_10"}
    assert sorted(merged.refset.tiles().to_pylist(), key=lambda row: (row["group"], row["row"])) == [
        {"group": "", "row": 1, "column": 1, "kind": "field", "cover": None},
        {"group": "32643_700000_1500000_10", "row": 0, "column": 0, "kind": "wood", "cover": 0.5},
        {"group": "32643_700000_1500000_10", "row": 1, "column": 2, "kind": "lake", "cover": None},
    ]
    assert len(merged) == 4
    assert merged.append_report.appended == ("far",)
    merged.verify()


def test_labels_by_other_keys_are_refused_before_anything_is_written(two):
    other = rr.open(two[1])
    other.annotate({"id": ["b0"], "row": [0], "column": [0], "kind": ["x"]}, on=("id", "row", "column"))
    ours = rr.open(two[0]).annotate({"row": [1], "column": [1], "kind": ["field"]}, on=("row", "column"))
    before = state(two[0])
    with pytest.raises(QueryError, match="expected labels by"):
        ours.merge(rr.open(two[1]))
    assert state(two[0]) == before


def test_of_a_view_only_its_scenes_are_merged(two):
    other = rr.open(two[1])
    merged = rr.open(two[0]).merge(other.select(["b2"]))
    assert merged.refset.all_scenes["id"].to_pylist() == ["a0", "a1", "a2", "b2"]
    assert sorted(merged.to_xarray()["red"].isel(x=0, y=0).to_numpy().tolist()) == [100, 101, 102, 105]
