"""Whole builds: what is published, what is left when they fail, how often servers are asked."""

import dataclasses

import pyarrow.parquet as pq
import pytest
import shapely

import rasteret_refs as rr
from rasteret_refs.build.run import build
from rasteret_refs.errors import BuildError, ExistsError, NotFoundError
from rasteret_refs.objects.client import Objects
from tests.build.test_scan import scene, write_cog


@pytest.fixture
def cogs(tmp_path):
    return [write_cog(tmp_path / f"{name}.tif", size=300, block=128, overviews=(2,)) for name in "abc"]


def neighbours(out):
    return sorted(path.name for path in out.parent.iterdir() if out.name in path.name and path.suffix != ".lock")


def test_a_report_counts_what_was_done(cogs, tmp_path, server):
    scenes = [scene(path.stem, f"{server.url}{path.name}") for path in cogs]
    report = build(scenes, tmp_path / "x.refs", axis="scene")
    assert (report.scenes, report.assets, report.failures, report.layout) == (3, 3, (), "grids")
    assert report.requests == server.stats().requests == 3
    assert report.bytes == server.stats().bytes_sent
    assert report.as_json()["out"] == str(tmp_path / "x.refs")


def test_the_scene_table_says_what_each_object_was_and_where_it_lies(cogs, tmp_path, server):
    build([scene("s", f"{server.url}a.tif")], tmp_path / "x.refs", axis="scene")
    (row,) = pq.read_table(tmp_path / "x.refs" / "scenes.parquet").to_pylist()
    asset = row["assets"]["a0"]
    assert asset["href"] == f"{server.url}a.tif"
    assert asset["refs:size"] == cogs[0].stat().st_size
    assert asset["refs:etag"]
    assert (asset["refs:group"], asset["refs:array"], asset["refs:index"]) == ("factor_1", "a0", 0)
    assert shapely.from_wkb(row["geometry"]).bounds[0] == pytest.approx(75.9, abs=0.1)


def test_a_geometry_that_the_source_gives_is_kept(cogs, tmp_path):
    given = shapely.box(1, 2, 3, 4).wkb
    build([dataclasses.replace(scene("s", cogs[0]), geometry=given)], tmp_path / "x.refs", axis="scene")
    (row,) = pq.read_table(tmp_path / "x.refs" / "scenes.parquet").to_pylist()
    assert row["geometry"] == given


def test_an_existing_output_costs_no_request(cogs, tmp_path, server):
    out = tmp_path / "x.refs"
    build([scene("s", cogs[0])], out, axis="scene")
    with pytest.raises(ExistsError):
        build([scene("s", f"{server.url}a.tif")], out, axis="scene")
    assert server.stats().requests == 0


def test_a_failed_build_leaves_nothing_and_a_failed_replacement_leaves_the_old_set(cogs, tmp_path):
    out = tmp_path / "x.refs"
    scenes = [scene("s", cogs[0]), scene("t", tmp_path / "none.tif")]
    with pytest.raises(NotFoundError, match=r"none\.tif"):
        build(scenes, out, axis="scene")
    assert neighbours(out) == []
    build([scene("s", cogs[0])], out, axis="scene")
    with pytest.raises(NotFoundError):
        build(scenes, out, axis="scene", overwrite=True)
    assert neighbours(out) == ["x.refs"]
    assert rr.open(out).scenes["id"].to_pylist() == ["s"]


def test_no_scene_at_all_is_an_error(tmp_path):
    with pytest.raises(BuildError, match="expected at least one scene"):
        build([], tmp_path / "x.refs")


def test_a_storm_of_503_costs_few_repeated_requests(cogs, tmp_path, server, monkeypatch):
    monkeypatch.setattr("rasteret_refs.objects.client._BACKOFF", 0.01)
    server.fail("status", status=503, every=3)
    scenes = [scene(f"s{number}", f"{server.url}{'abc'[number % 3]}.tif") for number in range(150)]
    report = build(scenes, tmp_path / "x.refs", axis="scene")
    assert report.scenes == 150
    assert report.failures == ()
    assert report.requests <= 1.6 * 150


def test_one_client_may_serve_several_builds(cogs, tmp_path):
    objects = Objects()
    for name in ("x", "y"):
        build([scene("s", cogs[0])], tmp_path / f"{name}.refs", axis="scene", objects=objects)
    assert objects.traffic.requests == 2


def test_progress_names_its_phases_and_counts_scenes(cogs, tmp_path):
    seen = []
    scenes = [scene(path.stem, path) for path in cogs]
    build(scenes, tmp_path / "x.refs", axis="scene", progress=lambda *entry: seen.append(entry))
    assert [entry for entry in seen if entry[0] == "scan"] == [("scan", 1, 3), ("scan", 2, 3), ("scan", 3, 3)]
    assert [entry[0] for entry in seen][-2:] == ["plan", "write"]


def test_scenes_with_several_assets_become_several_arrays(cogs, tmp_path):
    build([scene("s", *cogs)], tmp_path / "x.refs", axis="scene")
    (group,) = rr.open(tmp_path / "x.refs").groups
    assert [array.name for array in group.arrays] == ["a0", "a1", "a2"]
