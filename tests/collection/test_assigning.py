"""Splits of collections: recorded, reproducible, stable as a set grows, and without leaks within a tile."""

import json
from pathlib import Path

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely
import xarray as xr

import rasteret_refs as rr
from rasteret_refs.errors import QueryError
from rasteret_refs.ml.assign import recorded_rules
from rasteret_refs.ml.splits import stable_fractions
from tests.collection.scenes import item, items, pixels_of, transform_of, write_cog


def splits_of(location):
    query = f"select id, split from '{location}/scenes.parquet'"  # noqa: S608
    return dict(duckdb.sql(query).fetchall())


def recipe_of(location):
    return json.loads((Path(location) / "refs.json").read_text())["recipe"]


def test_a_random_split_is_that_of_the_ids_hash_and_is_recorded(own):
    own.assign_splits(train=0.5, val=0.25, test=0.25, seed=3)
    ids = list(splits_of(own.location))
    numbers = stable_fractions(ids, 3)
    expected = {
        name: "train" if x < 0.5 else "val" if x < 0.75 else "test" for name, x in zip(ids, numbers, strict=True)
    }
    assert splits_of(own.location) == expected
    store = rr.plain_store(own.location)
    path = f"{own.groups[0].path}/factor_1"
    dataset = xr.open_zarr(store, group=path, consolidated=False, zarr_format=2, chunks=None)
    assert {name: expected[name] for name in dataset["id"].to_numpy()} == dict(
        zip(dataset["id"].to_numpy(), dataset["split"].to_numpy(), strict=True)
    )
    chosen = dataset.where(dataset["split"] == "train", drop=True)
    assert chosen.sizes["time"] == sum(expected[name] == "train" for name in dataset["id"].to_numpy())
    rule = recorded_rules(recipe_of(own.location))["split"]
    assert (rule.by, rule.seed, dict(rule.fractions)) == ("id", 3, {"train": 0.5, "val": 0.25, "test": 0.25})
    assert own.where("split = 'train'").scenes["split"].unique().to_pylist() == ["train"]


def test_the_recorded_rule_gives_the_same_splits_again(own, location):
    own.assign_splits(seed=5, by="block", block_metres=50_000)
    record = recipe_of(own.location)["splits"]["split"]
    fractions = record.pop("fractions")
    again = rr.open(location).assign_splits(
        write=False, **fractions, by=record["by"], seed=record["seed"], block_metres=record["block_metres"]
    )
    assert dict(zip(again.scenes["id"].to_pylist(), again.scenes["split"].to_pylist(), strict=True)) == splits_of(
        own.location
    )


@pytest.mark.parametrize(
    "options",
    [
        {"by": "id"},
        {"by": "time", "train": 0.5, "val": 0.25, "test": 0.25},
        {"by": "block", "block_metres": 30_000},
        {"by": "platform"},
        {"by": "id", "stratify": "platform", "train": 0.5, "val": 0.5, "test": 0},
    ],
    ids=lambda options: options["by"] + ("-stratified" if "stratify" in options else ""),
)
def test_growing_a_set_changes_no_split_and_gives_new_scenes_theirs(tmp_path, options):
    stac = items(tmp_path, count=20)
    refs = rr.build(stac[2:], tmp_path / "x.refs", layout="grids")
    refs.assign_splits(**options)
    before = splits_of(refs.location)
    grown = refs.append(stac)
    after = splits_of(grown.location)
    assert len(after) == 20
    assert {name: after[name] for name in before} == before
    assert all(after.values())
    fresh = xr.open_zarr(
        rr.plain_store(grown.location), group=f"{grown.groups[0].path}/factor_1", consolidated=False, zarr_format=2,
        chunks=None,
    )  # fmt: skip
    assert {name: after[name] for name in fresh["id"].to_numpy()} == dict(
        zip(fresh["id"].to_numpy(), fresh["split"].to_numpy(), strict=True)
    )
    grown.assign_splits(**options)
    assert splits_of(grown.location) == after


def test_another_rule_assigns_anew_and_labels_of_one_s_own_end_the_record(own):
    own.assign_splits(seed=1)
    own.assign_splits(seed=2, train=0.3, val=0.3, test=0.4)
    assert recipe_of(own.location)["splits"]["split"]["seed"] == 2
    ids = own.scenes["id"].to_pylist()
    own.annotate({"id": ids, "split": ["train"] * 8})
    assert set(splits_of(own.location).values()) == {"train"}
    assert "splits" not in recipe_of(own.location)


def test_leakage_between_scenes_is_what_shapely_counts(own):
    own.assign_splits(train=0.5, val=0.25, test=0.25, seed=0)
    rows = own.scenes.select(["split", "geometry"]).to_pylist()
    shapes = [(row["split"], shapely.from_wkb(row["geometry"])) for row in rows]
    expected = sum(
        one[0] != other[0] and one[1].intersection(other[1]).area > 0
        for position, one in enumerate(shapes)
        for other in shapes[position + 1 :]
    )
    report = own.leakage()
    assert report.total == expected > 0
    assert sum(report.units.values()) == 8
    own.assign_splits(by="block", block_metres=500_000)
    assert own.leakage().total == 0
    with pytest.raises(QueryError, match="no column"):
        own.leakage("partition")


@pytest.mark.parametrize(
    "options",
    [
        {"by": "id", "chip_size": 64},
        {"by": "id", "chip_size": 50, "stride": 70},
        {"by": "block", "chip_size": 16, "block_metres": 500},
        {"by": "block", "chip_size": 16, "stride": 8, "block_metres": 500},
        {"by": "block", "chip_size": 16, "stride": 8, "block_metres": 500, "buffer_metres": 100},
    ],
    ids=str,
)
def test_chips_of_different_splits_within_one_tile_share_no_ground(tmp_path, options):
    path = write_cog(tmp_path / "a.tif", pixels_of(1), transform_of("43PGQ"))
    refs = rr.build([item("one", {"red": path}, items_time())], tmp_path / "x.refs")
    refs.assign_splits(unit="chip", train=0.5, val=0.2, test=0.3, **options)
    rows = duckdb.sql(f"select * from '{refs.location}/tiles.parquet'").to_arrow_table().to_pylist()  # noqa: S608
    boxes = {
        split: [
            shapely.box(r["x_offset"], r["y_offset"], r["x_offset"] + r["width"], r["y_offset"] + r["height"])
            for r in rows
            if r["split"] == split
        ]
        for split in ("train", "val", "test")
    }
    assert all(boxes.values())
    apart = 10 * options.get("buffer_metres", 0) / 100
    for one, other in (("train", "test"), ("train", "val"), ("val", "test")):
        left, right = shapely.union_all(boxes[one]), shapely.union_all(boxes[other])
        assert left.intersection(right).area == 0
        assert left.distance(right) >= apart
    assert refs.leakage().total == 0
    assert all(r["x_offset"] + r["width"] <= 260 and r["y_offset"] + r["height"] <= 300 for r in rows)
    entry = recipe_of(refs.location)["chip_splits"]["split"]
    assert (entry["unit"], entry["chip_size"]) == ("chip", options["chip_size"])
    assert refs.verify().files > 0


def items_time():
    from tests.collection.scenes import START

    return START


def test_the_leakage_report_sees_chips_that_do_overlap(own):
    grid = own.groups[0].path
    overlapping = {
        "group": [grid] * 3, "row": [0, 0, 1], "column": [0, 1, 0], "x_offset": [0, 50, 0], "y_offset": [0, 0, 64],
        "width": [64] * 3, "height": [64] * 3, "split": ["train", "test", "val"],
    }  # fmt: skip
    own.annotate(overlapping, on=("group", "row", "column"))
    report = own.leakage()
    assert dict(report.overlaps) == {("test", "train"): 1}


def test_scenes_and_chips_of_one_set_have_rules_and_reports_of_their_own(own):
    own.assign_splits(train=0.5, val=0.25, test=0.25)
    by_scene = own.leakage()
    own.assign_splits(unit="chip", chip_size=64)
    assert recipe_of(own.location).keys() >= {"splits", "chip_splits"}
    assert own.leakage().units != by_scene.units
    assert own.leakage(unit="scene") == by_scene
    assert own.assign_splits(by="platform", write=False).leakage().total == 0
    with pytest.raises(QueryError, match="unit="):
        own.leakage(unit="pixel")
    with pytest.raises(QueryError, match="chips with the column 'other'"):
        own.leakage("other", unit="chip")


def test_splits_of_chips_as_large_as_tiles_stand_beside_the_tiles(own):
    own.assign_splits(unit="chip", chip_size=128, train=0.5, val=0.2, test=0.3, by="id")
    tiles = own.tiles(["row", "column", "factor", "split", "width", "height", "x_offset", "y_offset", "group"])  # noqa: F841 - DuckDB finds it
    joined = duckdb.sql(
        f"""select count(*), count(t.split), bool_and(t.split = c.split) from tiles t
        join '{own.location}/tiles.parquet' c on t."group" = c."group" and t.x_offset = c.x_offset
        and t.y_offset = c.y_offset and t.factor = 1"""  # noqa: S608
    ).fetchall()
    assert joined == [(2 * 4 * 8, 2 * 4 * 8, True)]  # 2 × 2 whole tiles of 8 scenes' two assets


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "nothing"}, "nothing"),
        ({"train": 0.9}, "sum to 1"),
        ({"unit": "chip", "by": "time"}, "for chips"),
        ({"unit": "chip", "by": "id", "chip_size": 64, "stride": 32}, "overlap"),
        ({"unit": "chip", "chip_size": 10_000}, "smaller"),
        ({"chip_size": 64}, "unit='chip'"),
        ({"stratify": "nothing"}, "nothing"),
        ({"by": "block", "stratify": "platform"}, "stratify"),
        ({"colour": 3}, "options"),
        ({"unit": "pixel"}, "unit"),
    ],
    ids=str,
)
def test_rules_that_cannot_be_carried_out_are_refused(refs, options, message):
    with pytest.raises(QueryError, match=message):
        refs.assign_splits(write=False, **options)


def test_scenes_without_a_time_cannot_be_split_by_it(tmp_path):
    path = write_cog(tmp_path / "a.tif", pixels_of(1), transform_of("43PGQ"))
    refs = rr.build(path, tmp_path / "x.refs")
    with pytest.raises(QueryError, match=r"datetime for every scene.*'a'"):
        refs.assign_splits(by="time")
    assert len(refs.assign_splits(by="id")) == 1


def test_stratified_splits_divide_each_label(tmp_path):
    stac = items(tmp_path, count=8)
    for number, one in enumerate(stac):
        one["properties"]["kind"] = "ab"[number // 4]
    refs = rr.build(stac, tmp_path / "x.refs", layout="grids")
    refs.assign_splits(train=0.5, val=0.5, test=0, stratify="kind")
    query = f"select kind, split, count(*) from '{refs.location}/scenes.parquet' group by all order by all"  # noqa: S608
    assert duckdb.sql(query).fetchall() == [("a", "train", 2), ("a", "val", 2), ("b", "train", 2), ("b", "val", 2)]


def test_a_view_that_carries_splits_saves_them_with_their_rule(refs, tmp_path):
    view = refs.assign_splits(write=False, seed=9)
    saved = view.save(tmp_path / "saved.refs")
    assert splits_of(saved.location) == dict(
        zip(view.scenes["id"].to_pylist(), view.scenes["split"].to_pylist(), strict=True)
    )
    assert recipe_of(saved.location)["splits"]["split"]["seed"] == 9
    assert np.array_equal(
        saved.to_xarray(saved.groups[0].path)["split"].to_numpy(),
        view.to_xarray(saved.groups[0].path)["split"].to_numpy(),
    )


@pytest.mark.parametrize("layout", ["grids", "stack"])
@pytest.mark.parametrize("options", [{"by": "id"}, {"by": "block", "block_metres": 500}], ids=["id", "block"])
def test_growing_a_set_gives_new_grids_chips_their_splits_and_changes_none(tmp_path, layout, options):
    stac = items(tmp_path, count=8)
    refs = rr.build(stac[:1], tmp_path / "x.refs", layout=layout)
    refs.assign_splits(unit="chip", chip_size=16, **options)
    refs.assign_splits(unit="chip", chip_size=16, column="fold", seed=7, **options)
    before = chips_of(refs.location)
    grown = refs.append(stac)
    after = chips_of(grown.location)
    assert len(after) > len(before)
    assert {key: after[key] for key in before} == before
    assert None not in {label for labels in after.values() for label in labels}
    assert {"train", "test"} <= {split for key, (split, _) in after.items() if key not in before}
    grown.assign_splits(unit="chip", chip_size=16, **options)
    assert chips_of(grown.location) == after
    assert rr.open(grown.location).append(stac).append_report.rewritten == 0


def chips_of(location):
    table = pq.read_table(f"{location}/tiles.parquet").to_pylist()
    return {
        (row.get("id"), row["group"], row["x_offset"], row["y_offset"]): (row["split"], row["fold"]) for row in table
    }
