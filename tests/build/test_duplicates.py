"""Scenes of one id: equal ones are one scene, others are kept and marked, whatever order they come in."""

import itertools

import pyarrow.parquet as pq
import pytest

import rasteret_refs as rr
from rasteret_refs.build.run import build
from tests.build.test_append import scene
from tests.build.test_scan import write_cog


@pytest.fixture
def cogs(tmp_path):
    return [write_cog(tmp_path / f"{name}.tif", size=300, block=128, overviews=()) for name in "abc"]


def test_a_scene_that_comes_twice_stands_once(cogs, tmp_path):
    report = build([scene("s", cogs[0]), scene("t", cogs[1], 1), scene("s", cogs[0])], tmp_path / "x.refs")
    assert (report.scenes, report.repeated, report.duplicates) == (2, 1, 0)
    assert "refs:duplicate_of" not in rr.open(tmp_path / "x.refs").scenes.column_names


def test_scenes_that_differ_are_kept_and_marked_in_any_order(cogs, tmp_path):
    scenes = [
        scene("s", cogs[1], 0, updated="2024-03-01T00:00:00Z"),
        scene("s", cogs[0], 0, updated="2024-02-01T00:00:00Z"),
        scene("s", cogs[2], 0, updated="2024-04-01T00:00:00Z"),
    ]
    tables = []
    for number, order in enumerate(itertools.permutations(scenes)):
        report = build(order, tmp_path / f"{number}.refs")
        assert (report.scenes, report.duplicates) == (3, 2)
        tables.append((tmp_path / f"{number}.refs" / "scenes.parquet").read_bytes())
    assert len(set(tables)) == 1
    rows = pq.read_table(tmp_path / "0.refs" / "scenes.parquet").to_pylist()
    assert [(row["id"], row["refs:duplicate_of"]) for row in rows] == [("s", None), ("s~2", "s"), ("s~3", "s")]
    assert [row["assets"]["red"]["href"][-5] for row in rows] == ["a", "b", "c"]


def test_an_id_that_is_taken_is_not_given_again(cogs, tmp_path):
    build([scene("s", cogs[0]), scene("s", cogs[1]), scene("s~2", cogs[2], 1)], tmp_path / "x.refs")
    assert rr.open(tmp_path / "x.refs").scenes["id"].to_pylist() == ["s", "s~3", "s~2"]
